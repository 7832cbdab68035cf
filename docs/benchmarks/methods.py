"""Unsupervised methods for panel.py: each is fitted to training rows and transforms any rows to latents.

All methods have their own defaults except for n_components and the following. "VAETransformer, whiten" has
`whiten=True`, so that its components have unit scale. Some peers' results depend on the unit of the data: KernelPCA,
MLPRegressor and the tutorial get centred rows divided by one number; NMF and pythae get columns scaled to [0, 1]. The
constants below set layers, steps and numbers of rows that are not a peer's defaults.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import vae_peers
from fitted_vaes import Fitted, of_pyod, of_pythae, pyod_scaling
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import NMF, PCA, FactorAnalysis, KernelPCA
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from textbook_vae import Size

from sklearn_vae import VAETransformer

HAVE_SCORE = {"PCA", "FactorAnalysis", "VAETransformer"}
MAX_ROWS = {"KernelPCA": 5_000, "NMF": 20_000, "UMAP": 20_000}  # maximum number of training rows
HIDDEN = (256, 128)  # hidden layer sizes of MLPRegressor and the tutorial
TUTORIAL_EPOCHS, TUTORIAL_STEPS = 50, 2000  # minimum numbers of epochs and steps
PYTHAE_EPOCHS, PYTHAE_BATCH_SIZE = 100, 64  # pythae's defaults
MAX_PYTHAE_STEPS = 20_000  # maximum number of steps: sets of more than 12,800 rows get fewer epochs


class OneUnit(TransformerMixin, BaseEstimator):
    """Transformer that centres columns and divides all of them by one number, so that their mean variance is 1."""

    def fit(self, X, y=None):
        """Compute the column means and the common scale."""
        self.mean_, self.unit_ = X.mean(0), np.sqrt(X.var(0).mean())
        return self

    def transform(self, X):
        """Centre and scale rows."""
        return (X - self.mean_) / self.unit_


class MLPLatents(TransformerMixin, BaseEstimator):
    """MLPRegressor as an autoencoder. The latents are the inputs of its middle layer's ReLU."""

    def __init__(self, n_components, random_state=None):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y=None):
        """Train the network to reproduce its rows."""
        layers = (*HIDDEN, self.n_components, *HIDDEN[::-1])
        self.model_ = MLPRegressor(hidden_layer_sizes=layers, random_state=self.random_state).fit(X, X)
        return self

    def transform(self, X):
        """Return the pre-activations of the middle layer."""
        return vae_peers.middle_layer(self.model_, X)


class TorchLatents(TransformerMixin, BaseEstimator):
    """Encoder of a peer. `train(X, n_components, seed)` returns a function from float32 tensors of rows to latents."""

    def __init__(self, train, n_components, random_state=None):
        self.train = train
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y=None):
        """Train the peer."""
        torch.manual_seed(self.random_state)
        self.encode_ = self.train(X.astype(np.float32), self.n_components, self.random_state)
        return self

    @torch.no_grad()
    def transform(self, X):
        """Return the latents of rows."""
        return self.encode_(torch.from_numpy(X.astype(np.float32))).numpy()


def means(fitted: Fitted) -> Callable:
    """Return a function from rows to posterior means. (`embed` of pythae would return draws.)"""
    return lambda x: fitted.posterior(x)[0]


def train_tutorial(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train the tutorial VAE with skorch."""
    size = Size(HIDDEN, n_components, 128)
    n_epochs = max(TUTORIAL_EPOCHS, TUTORIAL_STEPS // -(-len(X) // size.batch_size))
    return vae_peers.skorch(X, size, n_epochs, 1).module_.embed


def train_pythae(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train pythae's VAE with its own layers and options, for at most `MAX_PYTHAE_STEPS` steps."""
    n_epochs = min(PYTHAE_EPOCHS, MAX_PYTHAE_STEPS * PYTHAE_BATCH_SIZE // len(X))
    return means(of_pythae(vae_peers.fit_pythae(X, n_components, num_epochs=n_epochs, seed=seed)))


def train_pyod_vae(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train PyOD's VAE with its own layers."""
    return means(of_pyod(vae_peers.fit_pyod(X, n_components, random_state=seed)))


def train_pyod_autoencoder(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train PyOD's AutoEncoder, whose last encoder layer has the width of the latents."""
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(hidden_neuron_list=[64, n_components], random_state=seed, verbose=0).fit(X)
    model, (center, scale) = detector.model.eval(), pyod_scaling(detector)
    return lambda x: model.encoder((x - center) / scale)


def umap(d: int, seed: int):
    """Return umap-learn's UMAP, which uses a single thread if it has a seed."""
    from umap import UMAP

    return UMAP(n_components=d, random_state=seed, n_jobs=1)


def in_unit_interval(estimator):
    """Return a pipeline that scales columns to [0, 1], clips new rows to that range, and applies the estimator."""
    return make_pipeline(MinMaxScaler(clip=True), estimator)


METHODS: dict[str, Callable] = {
    "PCA": lambda d, seed: PCA(d, random_state=seed),
    "FactorAnalysis": lambda d, seed: FactorAnalysis(d, random_state=seed),
    "KernelPCA": lambda d, seed: make_pipeline(OneUnit(), KernelPCA(d, kernel="rbf", random_state=seed)),
    "NMF": lambda d, seed: in_unit_interval(NMF(d, random_state=seed)),
    "MLPRegressor": lambda d, seed: make_pipeline(OneUnit(), MLPLatents(d, seed)),
    "VAETransformer": lambda d, seed, **params: VAETransformer(d, **{"random_state": seed, **params}),
    "VAETransformer, whiten": lambda d, seed, **params: VAETransformer(
        d, **{"whiten": True, "random_state": seed, **params}
    ),
    "pythae": lambda d, seed: in_unit_interval(TorchLatents(train_pythae, d, seed)),
    "PyOD VAE": lambda d, seed: TorchLatents(train_pyod_vae, d, seed),
    "PyOD AutoEncoder": lambda d, seed: TorchLatents(train_pyod_autoencoder, d, seed),
    "tutorial": lambda d, seed: make_pipeline(OneUnit(), TorchLatents(train_tutorial, d, seed)),
    "UMAP": umap,
}


@cache
def load(method: str) -> None:
    """Fit and transform once per process, so that first-use imports and compilation are not timed."""
    X = np.random.RandomState(0).normal(size=(200, 10))
    METHODS[method](2, 0).fit(X).transform(X)
