"""Inference on rows: in chunks, and in numpy for few rows."""

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_vae import VAETransformer
from sklearn_vae._model.inference import FEW_ROWS, MeansOfFewRows, map_rows
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP, Modules

CPU = torch.device("cpu")
IN_NUMPY = {
    "defaults": {},
    "networks alone": {"init": "random"},
    "ReLUs": {"network": MLP("relu")},
    "layer normalisation": {"network": MLP(layer_norm=True)},
    "principal coordinates": {"network": MLP(principal_coordinates=9)},
    "all principal coordinates": {"network": MLP(principal_coordinates=16), "n_components": 1},
    "learned scale per column": {"likelihood": Gaussian("learned", per_column=True)},
    "layer used twice": {"network": Modules(nn.Sequential(*2 * [nn.Linear(16, 16)]), nn.Linear(1, 16))},
}


def fit(**params):
    """Return a transformer, a few epochs after its start, and more rows than count as few."""
    X = np.random.default_rng(0).random((FEW_ROWS + 36, 16))
    params = {"n_components": 1, "hidden_layer_sizes": (8, 6), "max_iter": 5, "random_state": 0, **params}
    return VAETransformer(**params).fit(X), X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chunk", [1, 7, 149, 150, 10000])
def test_map_rows_does_not_depend_on_the_chunk(iris, dtype, chunk):
    X = iris.astype(dtype)
    mapped = map_rows(lambda x: x[:, :2].square().sum(1), X, CPU, chunk)
    assert mapped.dtype == dtype
    np.testing.assert_allclose(mapped, np.square(X[:, :2]).sum(1), rtol=1e-6)


@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_transformer_does_not_depend_on_the_chunk(monkeypatch, fitted, iris, method):
    whole = getattr(fitted, method)(iris)
    for name in ("CHUNK_SIZE", "CHUNK_SIZE_OF_DRAWS"):
        monkeypatch.setattr(f"sklearn_vae._model.inference.{name}", 2000)
    np.testing.assert_allclose(getattr(fitted, method)(iris), whole, rtol=1e-9)


def test_map_rows_hands_out_no_more_than_a_chunk(iris):
    sizes = []
    map_rows(lambda x: sizes.append(len(x)) or x, iris, CPU, 40)
    assert sizes == [40, 40, 40, 30]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("params", IN_NUMPY.values(), ids=IN_NUMPY)
def test_few_rows_have_the_means_of_many(params, dtype):
    vae, X = fit(**params)
    X = X.astype(dtype)
    assert MeansOfFewRows.supports(vae.module_)
    few = np.concatenate([vae.transform(rows) for rows in np.array_split(X, [1, FEW_ROWS])])
    assert few.dtype == dtype
    np.testing.assert_allclose(few, vae.transform(X), rtol=0, atol=1e-12 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize(
    "params",
    [
        {"network": MLP("silu")},
        {"likelihood": "bernoulli"},
        {"network": "conv"},
        {"network": Modules(nn.Sequential(nn.Linear(16, 8), nn.LeakyReLU(1.5)), nn.Sequential(nn.Linear(1, 16)))},
        {"network": Modules(nn.Sequential(nn.Linear(16, 8, bias=False)), nn.Sequential(nn.Linear(1, 16)))},
    ],
)
def test_other_models_are_left_to_torch(params):
    vae, X = fit(**params)
    assert not MeansOfFewRows.supports(vae.module_)
    np.testing.assert_allclose(vae.transform(X[:3]), vae.transform(X)[:3], rtol=0, atol=1e-12)


def test_an_activation_that_is_used_twice_counts_twice():
    activation = nn.ReLU()
    layers = [nn.Linear(16, 8), activation, nn.Linear(8, 8), activation]
    vae, X = fit(network=Modules(nn.Sequential(*layers), nn.Sequential(nn.Linear(1, 16))), init="random")
    assert MeansOfFewRows.supports(vae.module_)
    np.testing.assert_allclose(vae.transform(X[:3]), vae.transform(X)[:3], rtol=0, atol=1e-12)


def test_few_rows_follow_weights_that_are_loaded():
    vae, X = fit(whiten=True)
    X = X.astype(np.float32)
    other, _ = fit(random_state=1, whiten=True)
    vae.transform(X[:3])
    vae.module_.load_state_dict(other.module_.state_dict())
    np.testing.assert_allclose(vae.transform(X[:3]), other.transform(X[:3]), rtol=0, atol=1e-6)


def test_few_rows_that_overflow_do_not_warn():
    vae, _ = fit()
    assert not np.isfinite(vae.transform(np.full((2, 16), 1.7e308))).any()
