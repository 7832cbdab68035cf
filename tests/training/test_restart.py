"""Rows of other units than those that a model started from."""

import warnings

import numpy as np
import pytest
import torch

from sklearn_vae import VAETransformer
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
    with pytest.warns(UserWarning, match="other means or scales than those that the model started from: a new start"):
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


@pytest.mark.parametrize(("scale", "shift"), [(1, 1000), (1e-3, 0), (100, 0)])
def test_warm_start_on_rows_of_other_units_is_as_good_as_a_cold_one(scale, shift):
    vae = VAETransformer(3, hidden_layer_sizes=(32,), max_iter=10, warm_start=True, random_state=0).fit(X)
    with pytest.warns(UserWarning, match="replaces the model"):
        vae.fit(X * scale + shift)
    assert lost(vae, TEST * scale + shift) < 0.1


def test_moments_of_chunks_are_those_of_all_rows():
    weight = np.arange(1400) % 3 + 1.0
    seen = None
    for part in np.split(np.arange(1400), [100, 500]):
        seen = seen_in(DenseRows(torch.from_numpy(X[part]), torch.from_numpy(weight[part])), seen)
    mean = np.average(X, axis=0, weights=weight)
    np.testing.assert_allclose(seen.weight, weight.sum())
    np.testing.assert_allclose(seen.mean, mean)
    np.testing.assert_allclose(seen.variance, np.average(np.square(X - mean), axis=0, weights=weight), rtol=0.01)
