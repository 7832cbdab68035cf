"""Rows of other units than those that a model started from."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris
from sklearn.decomposition import IncrementalPCA

from sklearn_vae import VAETransformer
from sklearn_vae._data.ppca import fit_moments
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training.restart import seen_in

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(3, 8))
X = RNG.normal(size=(1400, 3)) @ WEIGHT + 0.3 * RNG.normal(size=(1400, 8))
TEST = RNG.normal(size=(300, 3)) @ WEIGHT + 0.3 * RNG.normal(size=(300, 8))
FIRST = {
    "idle columns": np.where(np.arange(8) < 4, X[:200], 0.0),
    "one row": np.repeat(X[:1], 200, axis=0),
    "small": X[:200] * 1e-3,
    "shifted": X[:200] + 1000,
}


def lost(vae, test=TEST):
    """Share of the variance that is lost in the reconstruction."""
    residual = vae.inverse_transform(vae.transform(test)) - test
    return np.square(residual).sum() / np.square(test - test.mean(0)).sum()


def in_chunks(*chunks, **params):
    vae = VAETransformer(3, hidden_layer_sizes=(32,), random_state=0, **params)
    for chunk in chunks:
        vae.partial_fit(chunk)
    return vae


CHUNKS = np.split(X[200:], 6)


@pytest.mark.parametrize("first", FIRST)
def test_first_chunk_unlike_the_rest_does_not_fix_the_start(first):
    with pytest.warns(
        UserWarning, match="differ in means or scales from those that the model started from: a new start"
    ):
        vae = in_chunks(FIRST[first], *CHUNKS)
    assert lost(vae) < 0.1 and vae.n_steps_ == 7 * 4


@pytest.mark.parametrize("params", [{}, {"init": "random"}, {"likelihood": "gaussian"}])
def test_chunks_that_are_alike_continue_the_training(params):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae = in_chunks(X[:200], *CHUNKS, **params)
    assert vae._training_state["trainer"]["step"] == vae.n_steps_ == 7 * 4


def test_chunks_of_two_kinds_have_few_new_starts():
    """Chunks of two kinds in turn do not end the training each time."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_chunks(*(chunk + 10 * (i % 2) for i, chunk in enumerate([*CHUNKS, *CHUNKS])))
    assert len(caught) <= 3  # in calls 2, 4 and 8


def test_new_starts_that_are_not_due_are_announced():
    """The second start would be in call 3; it comes in call 4."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vae = in_chunks(X[:200] * 1e-3, X[:200], X[:200] + 50, X[:200] + 50)
    outcomes = [str(warning.message).partition("per row and ")[2].partition(".")[0] for warning in caught]
    assert outcomes == [
        "replaces the model",
        "will replace the model in call 4 if it is still better then",
        "replaces the model",
    ]
    assert lost(vae, TEST + 50) < 0.5


@pytest.mark.parametrize(("scale", "shift"), [(1, 1000), (1e-3, 0), (100, 0)])
def test_warm_start_on_rows_of_other_units_is_as_good_as_a_cold_one(scale, shift):
    vae = VAETransformer(3, hidden_layer_sizes=(32,), max_iter=10, warm_start=True, random_state=0).fit(X)
    with pytest.warns(UserWarning, match="replaces the model"):
        vae.fit(X * scale + shift)
    assert lost(vae, TEST * scale + shift) < 0.1


@pytest.mark.parametrize("n_features", [5, 100])
def test_summary_of_chunks_is_that_of_all_rows(n_features):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 4)) @ rng.normal(size=(4, n_features)) + rng.normal(size=n_features)
    weight = np.arange(300) % 3 + 1.0
    seen = None
    for part in np.split(np.arange(300), [100, 190]):
        seen = seen_in(DenseRows(torch.from_numpy(X[part]), torch.from_numpy(weight[part])), seen)
    mean = np.average(X, axis=0, weights=weight)
    covariance = np.cov(X.T, aweights=weight, ddof=0)
    np.testing.assert_allclose([seen.weight, seen.variance], [weight.sum(), covariance.trace() / n_features])
    np.testing.assert_allclose(seen.mean, mean)
    np.testing.assert_allclose(seen.directions.T @ seen.directions, covariance, atol=1e-10)
    representatives = seen.representatives(torch.device("cpu"))
    moments = fit_moments(representatives)
    np.testing.assert_allclose(moments.center, mean)
    assert representatives.total_weight == pytest.approx(weight.sum())
    x = representatives[torch.arange(len(representatives))]["x"].numpy()
    np.testing.assert_allclose(np.cov(x.T, ddof=0), covariance, atol=1e-10)


def test_summary_has_the_variance_that_its_directions_leave_out():
    X = np.random.default_rng(0).normal(size=(100, 200))
    seen = seen_in(DenseRows(torch.from_numpy(X)))
    assert len(seen.directions) == 64
    assert seen.variance == pytest.approx(X.var(0).mean())
    values = np.linalg.svd(X - X.mean(0), compute_uv=False) / 10
    np.testing.assert_allclose(np.linalg.norm(seen.directions, axis=1), values[:64])


def test_sorted_classes_do_not_end_with_the_last_class():
    """A new start is made from all rows seen, not from the last chunk alone."""
    X, y = load_iris(return_X_y=True)
    vae, pca = VAETransformer(2, random_state=0), IncrementalPCA(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in range(3):
            vae.partial_fit(X[y == k])
            pca.partial_fit(X[y == k])
    errors = [np.square(m.inverse_transform(m.transform(X)) - X).sum() for m in (vae, pca)]
    assert errors[0] < 1.5 * errors[1]
