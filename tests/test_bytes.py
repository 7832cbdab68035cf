"""Unsigned bytes and the same values in float32 give the same fit, without a float copy of all rows."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils._python_dispatch import TorchDispatchMode

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._data import neighbors as neighbors_module
from sklearn_vae._data import ppca as _ppca
from sklearn_vae._data import rows as _rows
from sklearn_vae._data.neighbors import principal_components
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._model import inference as _inference
from sklearn_vae._training import column_noise as _column_noise
from sklearn_vae._training import evaluate as _evaluate
from sklearn_vae.likelihoods import LIKELIHOODS

DIGITS = load_digits()
CLASS = (DIGITS.target[:240] % 3).astype(int)
FEW = np.where(np.arange(240) % 4 == 0, CLASS, -1)
# Bytes with which float32 computes without rounding; 64 and 4 columns are more and fewer than the graph takes.
IMAGES = (DIGITS.data[:240] * 15).astype(np.uint8)
NARROW = IMAGES[:, 18:22].copy()
WEIGHT = np.arange(240) % 3 / 2.0

over_widths = pytest.mark.parametrize("X", [IMAGES, NARROW], ids=["64 columns", "4 columns"])


def small(cls=VAETransformer, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 3, "n_draws": 8, "random_state": 0}
    return cls(2, **{**values, **params})


def results(vae, X):
    """Return all results of a fitted estimator on rows, and its draws."""
    Z = vae.transform(X)
    said = {"transform": Z, "score_samples": vae.score_samples(X), "inverse_transform": vae.inverse_transform(Z)}
    if isinstance(vae, VAEClassifier):
        return said | {"predict_proba": vae.predict_proba(X), "sample": vae.sample(20)[0], "loss": vae.loss_curve_}
    return said | {"sample": vae.sample(20), "loss": vae.loss_curve_, "noise": vae.noise_variance_}


def assert_equal(of_bytes, of_floats, X):
    """Results agree bit by bit, in float32."""
    said, expected = results(of_bytes, X), results(of_floats, X.astype(np.float32))
    for name, value in said.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
        if name not in ("sample", "loss", "noise"):
            assert value.dtype == np.float32, name


# What is fitted


@over_widths
@pytest.mark.parametrize(
    "params",
    [{}, {"early_stopping": False, "whiten": False}, {"init": "random"}, {"max_iter": 0}, {"prior": "vamp"}],
    ids=str,
)
def test_transformer_fitted_to_bytes_equals_one_fitted_to_floats(X, params):
    assert_equal(*(small(**params).fit(rows) for rows in (X, X.astype(np.float32))), X)


@over_widths
@pytest.mark.parametrize("y", [CLASS, FEW], ids=["labelled", "few labels"])
@pytest.mark.parametrize("params", [{}, {"unlabelled": "ignore", "early_stopping": True}], ids=str)
def test_classifier_fitted_to_bytes_equals_one_fitted_to_floats(X, y, params):
    assert_equal(*(small(VAEClassifier, **params).fit(rows, y) for rows in (X, X.astype(np.float32))), X)


def test_classifier_fitted_to_bytes_searches_neighbours_in_clusters_alike(monkeypatch):
    monkeypatch.setattr(neighbors_module, "MAX_EXACT_ROWS", 100)
    assert_equal(*(small(VAEClassifier).fit(rows, FEW) for rows in (IMAGES, IMAGES.astype(np.float32))), IMAGES)


@over_widths
def test_principal_components_of_bytes_are_those_of_floats(X):
    """Bytes less their mean do not wrap around."""
    of_bytes, of_floats = (
        principal_components(DenseRows(torch.from_numpy(rows))) for rows in (X, X.astype(np.float32))
    )
    assert of_bytes.dtype == np.float32
    np.testing.assert_array_equal(of_bytes, of_floats)
    variances = np.linalg.eigvalsh(np.cov(X.T.astype(float)))[::-1][: of_bytes.shape[1]]
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(of_bytes.T))[::-1], variances, rtol=1e-4)


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_weights_of_bytes(cls):
    y = () if cls is VAETransformer else (FEW,)
    assert_equal(
        *(small(cls).fit(rows, *y, sample_weight=WEIGHT) for rows in (IMAGES, IMAGES.astype(np.float32))), IMAGES
    )


def test_passes_over_bytes():
    def passes(rows):
        return small().partial_fit(rows[:100]).partial_fit(rows[100:], sample_weight=WEIGHT[100:]).partial_fit(rows)

    assert_equal(passes(IMAGES), passes(IMAGES.astype(np.float32)), IMAGES)


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_warm_start_on_bytes(cls):
    y = () if cls is VAETransformer else (FEW,)

    def twice(rows):
        return small(cls, warm_start=True).fit(rows, *y).fit(rows[::-1].copy(), *(labels[::-1] for labels in y))

    assert_equal(twice(IMAGES), twice(IMAGES.astype(np.float32)), IMAGES)


@pytest.mark.parametrize("first", [np.uint8, np.float32, np.float64])
def test_bytes_and_floats_take_turns(first):
    """A model that is fitted to one type embeds the other and continues training with it."""
    vae = small().partial_fit(IMAGES.astype(first))
    for method in (vae.transform, vae.score_samples):
        np.testing.assert_array_equal(method(IMAGES), method(IMAGES.astype(np.float32)))
        np.testing.assert_allclose(method(IMAGES), method(IMAGES.astype(np.float64)), rtol=1e-3, atol=1e-3)
    assert np.isfinite(vae.partial_fit(IMAGES).transform(IMAGES)).all()


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64, bool])
def test_integers_of_other_types_are_float64(dtype):
    X = (IMAGES // 2).astype(dtype)
    vae, expected = small().fit(X), small().fit(X.astype(np.float64))
    assert vae.transform(X).dtype == np.float64
    np.testing.assert_array_equal(vae.transform(X), expected.transform(X.astype(np.float64)))


# The user's array, and memory


@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_bytes_are_not_changed(cls, likelihood):
    X = IMAGES.copy()
    X[0, 0] = 255
    before = X.copy()
    vae = small(cls, likelihood=likelihood).fit(X, FEW)
    results(vae, X) if likelihood == "gaussian" else (vae.transform(X), vae.score_samples(X))
    np.testing.assert_array_equal(X, before)


class LargestFloat(TorchDispatchMode):
    """Record the size of the largest floating-point tensor that torch creates."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                self.largest = max(self.largest, tensor.numel())
        return out


@pytest.fixture
def few_at_a_time(monkeypatch):
    """Make chunks and batches small compared with a small array."""
    for module in (_rows, _inference, _ppca):
        monkeypatch.setattr(module, "CHUNK_SIZE", 2**13)
    monkeypatch.setattr(_evaluate, "CHUNK_SIZE", 2**13)
    monkeypatch.setattr(_column_noise, "MAX_CELLS", 2**13)
    monkeypatch.setattr(_rows, "EVALUATION_BATCH", 256)


@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
def test_no_float_copy_of_all_bytes_is_made(few_at_a_time, likelihood):
    """Neither torch nor numpy makes one, in training or inference."""
    # Means of quantiles are sums over all values, which takes time.
    n_values = 16 if likelihood == "quantile_gaussian" else 256
    X = np.random.default_rng(0).integers(0, n_values, (6000, 200), dtype=np.uint8)
    vae = small(likelihood=likelihood, max_iter=1, n_draws=2)
    vae.fit(X[:100])  # The first call makes the allocations that occur once per process.
    tracemalloc.start()
    with LargestFloat() as mode:
        vae.fit(X).transform(X)
        vae.score_samples(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < mode.largest < X.size / 4
    assert peak < 4 * X.size / 2


def test_no_float_copy_of_all_bytes_is_made_with_few_labels(few_at_a_time):
    """Neighbours are searched in 32 principal components of 400 columns."""
    X = np.random.default_rng(0).integers(0, 256, (3000, 400), dtype=np.uint8)
    y = np.where(np.arange(3000) % 50 < 2, np.arange(3000) % 2, -1)
    vae = small(VAEClassifier, max_iter=1, n_draws=2, n_mixture_components=1)
    vae.fit(X[:100], y[:100])
    with LargestFloat() as mode:
        vae.fit(X, y).predict_proba(X)
    assert 0 < mode.largest < X.size / 2


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_bytes_in_a_file(tmp_path, cls):
    """A read-only memory map, without torch's warning."""
    np.save(tmp_path / "images.npy", IMAGES)
    X = np.load(tmp_path / "images.npy", mmap_mode="r")
    vae, expected = small(cls).fit(X, FEW), small(cls).fit(IMAGES, FEW)
    for method in ("transform", "score_samples"):
        np.testing.assert_array_equal(getattr(vae, method)(X), getattr(expected, method)(IMAGES))


@pytest.mark.parametrize("order", ["F", "strided"])
def test_bytes_in_another_order(order):
    X = np.asfortranarray(IMAGES) if order == "F" else np.repeat(IMAGES, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(small().fit_transform(X), small().fit_transform(IMAGES))


# scikit-learn's tools


def test_bytes_in_a_data_frame():
    frame = pd.DataFrame(IMAGES).add_prefix("pixel")
    vae = small().set_output(transform="pandas").fit(frame)
    assert vae.feature_names_in_[1] == "pixel1" and (vae.transform(frame).dtypes == np.float32).all()
    np.testing.assert_array_equal(vae.transform(frame), small().fit_transform(IMAGES))


def test_bytes_in_a_pipeline():
    """A scaler converts bytes to float64; without one they reach the estimator as bytes."""
    scaled = make_pipeline(StandardScaler(), small()).fit(IMAGES)
    assert scaled.transform(IMAGES).dtype == np.float64
    pipeline = make_pipeline(small(), LogisticRegression())
    assert pipeline.fit(IMAGES, CLASS).predict(IMAGES).shape == (240,)
    np.testing.assert_array_equal(pipeline[0].transform(IMAGES), small().fit_transform(IMAGES))


def test_bytes_in_a_grid_search():
    likelihoods = {"likelihood": sorted(LIKELIHOODS), "n_components": [1, 2]}
    search = GridSearchCV(small(max_iter=1), likelihoods, cv=2).fit(IMAGES)
    assert search.best_estimator_.transform(IMAGES).dtype == np.float32
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_bytes_in_a_cross_validation_of_a_classifier():
    scores = cross_val_score(small(VAEClassifier), IMAGES, CLASS, cv=2)
    np.testing.assert_array_equal(scores, cross_val_score(small(VAEClassifier), IMAGES.astype(np.float32), CLASS, cv=2))


@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli"])
def test_fractions_after_bytes_are_refused(likelihood):
    vae = small(likelihood=likelihood).fit(IMAGES)
    with pytest.raises(ValueError, match="numbers from 0 to 255, got fractions of at most 1; multiply the rows by 255"):
        vae.transform(IMAGES / 255)
    np.testing.assert_allclose(vae.transform(IMAGES.astype(float)), vae.transform(IMAGES), atol=1e-3)
    assert np.isfinite(vae.transform(np.zeros((2, IMAGES.shape[1])))).all()
