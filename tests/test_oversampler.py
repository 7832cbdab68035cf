"""VAEOverSampler appends rows of rare classes, with the interface of imbalanced-learn."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from imblearn.over_sampling import SMOTE
from imblearn.over_sampling.base import BaseOverSampler
from imblearn.pipeline import Pipeline
from imblearn.utils import estimator_checks
from imblearn.utils.estimator_checks import parametrize_with_checks
from scipy import sparse
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks as scikit_learn_checks
from small_estimators import small_classifier

from sklearn_vae import VAEOverSampler, sample
from sklearn_vae._model import posterior_samples
from sklearn_vae.likelihoods import Poisson

# The checks count the rows that a sampler returns only if it is one of these.
BaseOverSampler.register(VAEOverSampler)
LEFT_OUT = ["check_param_validation", "check_dataframe_column_names_consistency"]


def small_sampler(**params):
    return VAEOverSampler(**{"vae_estimator": small_classifier(), "random_state": 0, **params})


def imbalanced(n=200, seed=0):
    X, y = make_classification(n, 6, weights=[0.85], random_state=seed)
    return X, y


@parametrize_with_checks([small_sampler()])
def test_check_of_imbalanced_learn(estimator, check):
    check(estimator)


@scikit_learn_checks([small_sampler()])
def test_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", LEFT_OUT)
def test_check_of_imbalanced_learn_that_is_left_out(check):
    getattr(estimator_checks, check)("VAEOverSampler", small_sampler())


# Numbers of rows


@pytest.mark.parametrize(
    ("strategy", "counts"),
    [
        ("auto", [60, 60, 60]),
        ("minority", [60, 25, 60]),
        ("all", [60, 60, 60]),
        ({2: 40}, [60, 25, 40]),
        (lambda y: {1: 30, 2: 11}, [60, 30, 11]),
    ],
)
def test_numbers_of_rows_are_those_of_smote(iris, strategy, counts):
    X, y = iris[:95], np.repeat([0, 1, 2], [60, 25, 10])
    sampler = small_sampler(sampling_strategy=strategy)
    X_new, y_new = sampler.fit_resample(X, y)
    peer = SMOTE(sampling_strategy=strategy, random_state=0)
    np.testing.assert_array_equal(y_new, peer.fit_resample(X, y)[1])
    assert np.bincount(y_new).tolist() == counts and len(X_new) == len(y_new)
    assert sampler.sampling_strategy_ == peer.sampling_strategy_
    np.testing.assert_array_equal(X_new[:95], X)


def test_a_float_is_a_ratio_of_two_classes():
    X, y = imbalanced()
    counts = np.bincount(small_sampler(sampling_strategy=0.5).fit_resample(X, y)[1])
    assert counts[1] == int(0.5 * counts[0])


# What the rows are


def two_classes(shift, seed=0):
    """2000 and 200 rows of a linear model with two latent variables; `shift` is the distance of the means."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(2, 6))
    y = np.repeat([0, 1], [2000, 200])
    return rng.normal(size=(2200, 2)) @ W + rng.normal(size=(2200, 6)) + shift * y[:, None] * W[0], y


def linear_sampler(**params):
    return small_sampler(vae_estimator=small_classifier(max_iter=0), **params)


def test_rows_of_the_linear_start_have_the_covariance_of_posteriors_about_a_single_row():
    X, y = two_classes(0)
    kept = np.r_[:2000, 2000]
    sampler = linear_sampler(sampling_strategy={1: 20_001})
    # The limits of the columns cut few draws of a row near the mean.
    X[2000] = X.mean(0)
    new = sampler.fit_resample(X[kept], y[kept])[0][len(kept) :]
    model = sampler.vae_.module_
    W = model.linear.decoder.weight.detach().double().numpy() * float(model.likelihood.cell_unit)
    expected = (W * np.exp(2 * model.linear.log_scale.detach().double().numpy())) @ W.T
    np.testing.assert_allclose(new.mean(0), X[2000], atol=0.03)
    np.testing.assert_allclose(np.cov(new.T), expected, atol=0.05 * np.abs(expected).max())


def test_without_noise_rows_of_the_linear_start_lie_between_two_rows_of_the_class(monkeypatch):
    monkeypatch.setattr(posterior_samples, "_parameters", lambda model, x: pad(model.posterior(x).loc))
    X, y = two_classes(0)
    rare, new = X[y == 1], linear_sampler(sampling_strategy={1: 300}).fit_resample(X, y)[0][len(X) :]
    a, b = (part.reshape(-1, X.shape[1]) for part in np.broadcast_arrays(rare[:, None], rare[None]))
    for x in new:
        t = (((x - a) * (b - a)).sum(1) / np.square(b - a).sum(1).clip(1e-12)).clip(0, 1)[:, None]
        assert np.abs((1 - t) * a + t * b - x).max(1).min() < 1e-4


def pad(loc):
    """Append scales of 0 to means of posteriors."""
    return torch.cat([loc, torch.zeros_like(loc)], dim=1)


def test_rows_are_kept_by_the_probability_of_their_class():
    X, y = two_classes(1.5)
    sampler = small_sampler()
    new = sampler.fit_resample(X, y)[0][len(X) :]
    p_new, p = (sampler.vae_.predict_proba(rows)[:, 1] for rows in (new, X[y == 1]))
    assert p_new.mean() > p.mean() + 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64, bool])
def test_arrays_keep_their_dtype_and_range(dtype):
    X, y = imbalanced()
    X = (X > 0) if dtype is bool else (20 * (X - X.min(0))).astype(dtype)
    X_new, _ = small_sampler().fit_resample(X, y)
    assert X_new.dtype == dtype and len(X_new) > len(X)
    assert (X_new.min(0) == X.min(0)).all() and (X_new.max(0) == X.max(0)).all()


def test_lists_keep_integers():
    X, y = imbalanced()
    rows = np.rint(20 * X).astype(int)
    X_new, y_new = small_sampler().fit_resample(rows.tolist(), y.tolist())
    assert isinstance(X_new, list) and isinstance(y_new, list) and X_new[: len(X)] == rows.tolist()
    assert {type(value) for row in X_new for value in row} == {int}
    np.testing.assert_array_equal(X_new, small_sampler().fit_resample(rows, y)[0])


def table(n=120):
    """A frame with gaps in columns of four kinds, and its labels."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [n - 20, 20])
    level = (y + (rng.random(n) < 0.2)).clip(0, 2)
    frame = pd.DataFrame(
        {
            "size": level + 0.1 * rng.normal(size=n),
            "count": pd.array(10 * level, dtype="Int64"),
            "kind": pd.Categorical(np.array(["a", "b", "c"])[level], categories=["c", "b", "a"], ordered=True),
            "large": pd.array(level == 2, dtype="boolean"),
        },
        index=np.arange(n) + 1000,
    )
    return frame.mask(rng.random(frame.shape) < 0.1), y


@pytest.mark.parametrize("columns", [["size", "count", "kind", "large"], ["size", "count"]])
def test_a_frame_keeps_its_dtypes_and_rows(columns):
    X, y = table()
    X_new, y_new = small_sampler().fit_resample(X[columns], pd.Series(y, index=X.index, name="class"))
    assert (X_new.dtypes == X[columns].dtypes).all() and X_new.index.equals(pd.RangeIndex(200))
    pd.testing.assert_frame_equal(X_new[:120], X[columns].reset_index(drop=True))
    assert y_new.name == "class" and y_new.index.equals(X_new.index) and y_new.value_counts().tolist() == [100, 100]


def test_new_rows_have_the_gaps_of_rows_of_the_class():
    X, y = table()
    X_new, _ = small_sampler().fit_resample(X, y)
    gaps = {tuple(row) for row in X[y == 1].isna().to_numpy()}
    new = {tuple(row) for row in X_new[120:].isna().to_numpy()}
    assert len(new) > 1 and new <= gaps


def test_polars_frames():
    X, y = table()
    X = pl.from_pandas(X.reset_index(drop=True))
    X_new, _ = small_sampler().fit_resample(X, y)
    assert X_new.schema == X.schema and len(X_new) == 200 and X_new[:120].equals(X)


@pytest.mark.parametrize("form", [sparse.csr_array, sparse.csc_matrix])
def test_sparse_rows_keep_their_format(form):
    X, y = imbalanced()
    X_new, _ = small_sampler().fit_resample(form(X), y)
    assert X_new.format == form(X).format and isinstance(X_new, sparse.sparray) == issubclass(form, sparse.sparray)
    np.testing.assert_allclose(X_new.toarray(), small_sampler().fit_resample(X, y)[0], rtol=1e-5)


def test_counts_stay_counts():
    X, y = imbalanced()
    counts = np.random.default_rng(0).poisson(np.exp(0.3 * X))
    X_new, _ = small_sampler(vae_estimator=small_classifier(likelihood=Poisson())).fit_resample(counts, y)
    assert X_new.dtype == counts.dtype and X_new.min() >= 0


@pytest.mark.parametrize("n", [1, 2])
def test_classes_of_few_rows(n):
    X, y = imbalanced()
    kept = np.r_[np.flatnonzero(y == 0), np.flatnonzero(y == 1)[:n]]
    X_new, y_new = small_sampler().fit_resample(X[kept], y[kept])
    assert len(set(Counter(y_new).values())) == 1 and np.isfinite(X_new).all()


@pytest.mark.parametrize("labels", [np.array([-1, 1]), np.array(["no", "yes"]), pd.Categorical(["a", "b"])])
def test_labels_may_be_of_any_kind(labels):
    X, y = imbalanced()
    X_new, y_new = small_sampler().fit_resample(X, labels[y])
    np.testing.assert_array_equal(X_new, small_sampler().fit_resample(X, y)[0])
    assert y_new.dtype == labels.dtype and len(set(Counter(y_new).values())) == 1


def test_balanced_classes_get_no_rows():
    X, y = table()
    X, y = X.iloc[80:], pd.Series(y[80:], index=X.index[80:])
    X_new, y_new = small_sampler().fit_resample(X, y)
    pd.testing.assert_frame_equal(X_new, X.reset_index(drop=True))
    pd.testing.assert_series_equal(y_new, y.reset_index(drop=True))


def test_rows_are_drawn_in_chunks(monkeypatch):
    X, y = imbalanced()
    monkeypatch.setattr(posterior_samples, "CHUNK_SIZE", 7 * X.shape[1])
    X_new, y_new = small_sampler().fit_resample(X, y)
    assert len(X_new) == len(y_new) == 2 * np.bincount(y).max() and len(np.unique(X_new, axis=0)) == len(X_new)


# Randomness


def test_random_state_is_the_only_source_of_randomness(global_random_state):
    X, y = imbalanced()
    before = global_random_state()
    first, again = (small_sampler().fit_resample(X, y)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (small_sampler(random_state=1).fit_resample(X, y)[0] != first).any()
    drawn, other = (small_sampler(random_state=None).fit_resample(X, y)[0] for _ in range(2))
    assert (drawn != other).any() and global_random_state() == before


def test_the_model_is_a_clone_with_a_seed_of_its_own():
    vae = small_classifier(random_state=3)
    sampler = small_sampler(vae_estimator=vae)
    sampler.fit_resample(*imbalanced())
    assert not hasattr(vae, "module_") and vae.random_state == 3 and sampler.vae_.random_state != 3


# Tools


def test_search_over_a_pipeline_of_imbalanced_learn():
    X, y = imbalanced()
    steps = [("scale", StandardScaler()), ("sample", small_sampler()), ("classify", LogisticRegression())]
    grid = {"sample__sampling_strategy": [0.5, "auto"], "sample__vae_estimator__n_components": [1, 2]}
    search = GridSearchCV(Pipeline(steps), grid, scoring="average_precision", cv=3, error_score="raise").fit(X, y)
    assert len(search.predict(X)) == len(X) and search.best_score_ > y.mean()


def test_samples_of_a_pipeline_with_a_sampler():
    X, y = imbalanced()
    steps = [("scale", StandardScaler()), ("sample", small_sampler()), ("classify", small_classifier())]
    pipeline = Pipeline(steps).fit(X, y)
    drawn, labels = sample(pipeline, 5, random_state=0)
    rows, expected = pipeline[-1].sample(5, random_state=0)
    np.testing.assert_array_equal(drawn, pipeline[0].inverse_transform(rows))
    np.testing.assert_array_equal(labels, expected)


# Wrong input


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"k_neighbors": 0}, "'k_neighbors' parameter"),
        ({"sampling_strategy": {1: 5}}, "number of samples"),
        ({"sampling_strategy": 2.0}, "'sampling_strategy' parameter"),
        ({"vae_estimator": small_classifier(generative_weight=0)}, r"with a model p\(x\), got VAEClassifier"),
        ({"vae_estimator": small_classifier(objective="none")}, "'objective' parameter of VAEClassifier"),
        ({"vae_estimator": LogisticRegression()}, "'vae_estimator' parameter"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        small_sampler(**params).fit_resample(*imbalanced())


def test_labels_of_another_length_are_refused():
    X, y = imbalanced()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        small_sampler().fit_resample(X, y[1:])


WITHOUT = """
import sys
sys.modules["imblearn"] = None
from sklearn.base import clone
from sklearn_vae import VAEOverSampler
from sklearn_vae._model import posterior_samples
sampler = clone(VAEOverSampler(random_state=0)).set_params(sampling_strategy=0.5)
assert sampler.get_params()["sampling_strategy"] == 0.5 and sampler._repr_html_()
try:
    sampler.fit_resample([[0.0], [1.0], [2.0]], [0, 0, 1])
except ImportError as error:
    print(repr(sampler), error)
"""


def test_without_imbalanced_learn_only_resampling_fails():
    printed = subprocess.run([sys.executable, "-c", WITHOUT], check=True, capture_output=True, text=True).stdout
    assert printed.startswith("VAEOverSampler(random_state=0, sampling_strategy=0.5) VAEOverSampler needs imbalanced")
    assert 'pip install "sklearn_vae[imbalance]"' in printed
