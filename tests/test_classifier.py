"""VAEClassifier's results: probabilities, scores and latents; precision, names and clones."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from small_estimators import CLASS, METHODS, NAMES, SEVERAL, marked
from small_estimators import small_classifier as small

from sklearn_vae import VAEClassifier
from sklearn_vae.likelihoods import Gaussian


@pytest.fixture(scope="module")
def few(iris):
    """Trained on iris with every fifth label; not to be changed."""
    return small(max_iter=30, n_draws=64).fit(iris, marked(CLASS, dtype=int))


# Probabilities


@pytest.mark.parametrize("name", ["trained", "few"])
def test_classifier_probabilities_agree(request, iris, name):
    vae = request.getfixturevalue(name)
    p = vae.predict_proba(iris)
    assert p.shape == (150, 3) and (p >= 0).all()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.log(p), vae.predict_log_proba(iris), atol=1e-12)
    np.testing.assert_array_equal(vae.predict(iris), vae.classes_[p.argmax(1)])
    assert p.max(0).min() > 0.5


def test_classifier_log_probabilities_are_finite_where_probabilities_are_not(trained, iris):
    log_p = trained.predict_log_proba(1e4 * iris)
    assert np.isfinite(log_p).all() and log_p.min() < -1000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_classifier_preserves_precision(trained, iris, method, dtype):
    result = getattr(trained, method)(iris.astype(dtype))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, getattr(trained, method)(iris), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_classifier_rows_do_not_depend_on_their_companions(digits, method):
    vae = small(8, hidden_layer_sizes=(512, 512), max_iter=1, learning_rate_init=1e-3)
    vae.fit(digits[:80], np.arange(80) % 3)
    whole, order = getattr(vae, method)(digits[:30]), np.random.default_rng(0).permutation(30)
    one_by_one = np.concatenate([getattr(vae, method)(row[None]) for row in digits[:30]])
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(getattr(vae, method)(digits[:30][order]), whole[order], rtol=1e-7, atol=1e-9)


# Scores


def test_classifier_score_warns_of_unlabelled_rows_and_counts_them_as_errors(few, iris):
    y = marked(CLASS, dtype=int)
    accuracy = few.score(iris[SEVERAL], y[SEVERAL])
    assert accuracy > 0.8
    with pytest.warns(UserWarning, match=r"^120 of 150 rows are unlabelled .* an error; score X\[y") as record:
        assert few.score(iris, y) == pytest.approx(accuracy * SEVERAL.mean())
    assert len(record) == 1 and record[0].filename == __file__
    with pytest.warns(UserWarning, match="2 of 2 rows are unlabelled"):
        assert few.score(iris[:2], [-1, -1]) == 0


LABELS = {
    "integers": [0, 1, 2],
    "numpy integers": list(np.arange(3)),
    "floats": [0.0, 1.0, 2.0],
    "booleans": [False, True, True],
    "numpy booleans": list(np.array([False, True, True])),
    "strings": ["a", "b", "c"],
}


@pytest.mark.parametrize("unlabelled", [False, True])
@pytest.mark.parametrize("values", LABELS.values(), ids=LABELS)
def test_classifier_scores_labels_that_fit_takes(iris, values, unlabelled):
    """Object arrays work too; fit requires them if labels and -1 have different types."""
    y = np.empty(3, dtype=object)
    y[:] = values
    y = marked(y[CLASS]) if unlabelled else y[CLASS]
    vae = small(max_iter=5).fit(iris, y)
    known = np.array([label != -1 for label in y])
    expected = np.mean(vae.predict(iris)[known] == np.array(y[known].tolist()))
    weight = np.arange(150) + 1.0
    for rows in (y[known], y[known].tolist(), pd.Series(y[known])):
        assert vae.score(iris[known], rows) == pytest.approx(expected)
    if unlabelled:
        with pytest.warns(UserWarning, match="rows are unlabelled"):
            score = vae.score(iris, y, sample_weight=weight)
        right = vae.predict(iris)[known] == np.array(y[known].tolist())
        assert score == pytest.approx((weight[known] * right).sum() / weight.sum())


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (NAMES[CLASS][:9], ValueError, "inconsistent numbers of samples"),
        (np.where(CLASS, NAMES[CLASS], "-1"), ValueError, "got the string '-1'"),
        (np.where(CLASS, NAMES[CLASS].astype(object), None), ValueError, "expected the integer -1 .* got None"),
        (np.c_[CLASS, CLASS], ValueError, "1d array"),
    ],
    ids=["length", "-1", "None", "shape"],
)
def test_classifier_score_of_wrong_labels(trained, iris, y, error, message):
    with pytest.raises(error, match=message):
        trained.score(iris, y)


def test_classifier_score_samples_finds_outliers(trained, iris):
    scores = trained.score_samples(iris)
    assert scores.shape == (150,) and np.isfinite(scores).all()
    assert trained.score_samples(iris + np.array([0, 10, -10, 0])).max() < scores.min()


# Latents


def test_classifier_transform_is_the_mean_of_the_posterior(trained, iris):
    Z = trained.transform(iris)
    assert Z.shape == (150, 2) and Z.std(0).min() > 0.1
    q = trained.module_.posterior(torch.tensor(iris, dtype=torch.float32))
    np.testing.assert_allclose(Z, trained.latent_scale_ * q.loc.detach().numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_components", [1, 4, 6])
def test_classifier_latents_have_any_width(iris, n_components):
    vae = small(n_components).fit(iris, CLASS)
    Z = vae.transform(iris)
    assert Z.shape == (150, n_components) and vae.inverse_transform(Z[:7]).shape == (7, 4)
    np.testing.assert_array_equal(small(n_components).fit_transform(iris, CLASS), Z)


def test_classifier_inverse_transform_reconstructs(trained, iris):
    X = trained.inverse_transform(trained.transform(iris))
    assert np.square(X - iris).mean() < 0.1 * iris.var(0).mean()


def test_classifier_unwhitened_latents_are_scaled(iris):
    white, scaled = (small(whiten=flag).fit(iris, CLASS) for flag in (True, False))
    np.testing.assert_allclose(scaled.transform(iris), white.transform(iris) * scaled.latent_scale_)
    np.testing.assert_allclose(scaled.predict_proba(iris), white.predict_proba(iris))


# Conventions


def test_classifier_feature_names(iris):
    X = pd.DataFrame(iris, columns=list("abcd"))
    vae = small().fit(X, CLASS)
    assert vae.feature_names_in_.tolist() == list("abcd") and vae.n_features_in_ == 4
    assert vae.get_feature_names_out().tolist() == ["vaeclassifier0", "vaeclassifier1"]
    frame = vae.set_output(transform="pandas").transform(X)
    assert list(frame.columns) == ["vaeclassifier0", "vaeclassifier1"] and frame.index.equals(X.index)
    assert isinstance(vae.predict_proba(X), np.ndarray)


def test_classifier_clone_has_equal_parameters_and_no_model(trained):
    copied = clone(trained)
    assert repr(copied) == repr(trained) and not hasattr(copied, "classes_")
    params = copied.get_params()
    assert {"generative_weight", "consistency_weight", "unlabelled", "class_weight"} <= params.keys()
    assert VAEClassifier(**params).get_params() == params


def test_classifier_leaves_its_input_alone(iris):
    X, y, weight = np.array(iris), marked(CLASS, dtype=int), np.linspace(0, 1, 150)
    copies = X.copy(), y.copy(), weight.copy()
    small(likelihood=Gaussian()).fit(X, y, sample_weight=weight).predict(X)
    for before, after in zip(copies, (X, y, weight), strict=True):
        np.testing.assert_array_equal(before, after)
