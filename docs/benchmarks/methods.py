"""Unsupervised methods of a panel: each is fitted to rows, and gives latents of any rows.

All are at their own defaults but for n_components and what is said here. "VAETransformer, whiten" has `whiten=True`:
components of unit scale. Where a peer's result depends on the
unit of its rows, it gets them centred and divided by one number (KernelPCA, MLPRegressor, tutorial), or each column in
[0, 1] (NMF, pythae). Layers, steps and numbers of rows that are not a peer's own are the constants below.
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
MAX_ROWS = {"KernelPCA": 5_000, "NMF": 20_000, "UMAP": 20_000}  # for the training
HIDDEN = (256, 128)  # of MLPRegressor and of the tutorial
TUTORIAL_EPOCHS, TUTORIAL_STEPS = 50, 2000  # at least
PYTHAE_EPOCHS, PYTHAE_BATCH_SIZE = 100, 64  # its defaults
MAX_PYTHAE_STEPS = 20_000  # rows above 12,800 get fewer epochs


class OneUnit(TransformerMixin, BaseEstimator):
    """Centre columns, and divide all by one number, so that the mean of their variances is 1."""

    def fit(self, X, y=None):
        """Measure the rows."""
        self.mean_, self.unit_ = X.mean(0), np.sqrt(X.var(0).mean())
        return self

    def transform(self, X):
        """Scale rows."""
        return (X - self.mean_) / self.unit_


class MLPLatents(TransformerMixin, BaseEstimator):
    """MLPRegressor as an autoencoder; latents are what enters its middle layer's ReLU."""

    def __init__(self, n_components, random_state=None):
        self.n_components = n_components
        self.random_state = random_state

    def fit(self, X, y=None):
        """Train the network to return its rows."""
        layers = (*HIDDEN, self.n_components, *HIDDEN[::-1])
        self.model_ = MLPRegressor(hidden_layer_sizes=layers, random_state=self.random_state).fit(X, X)
        return self

    def transform(self, X):
        """Return the middle layer's sums."""
        return vae_peers.middle_layer(self.model_, X)


class TorchLatents(TransformerMixin, BaseEstimator):
    """A peer's encoder; `train(X, n_components, seed)` returns a function from float32 tensors of rows to latents."""

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
        """Return the means."""
        return self.encode_(torch.from_numpy(X.astype(np.float32))).numpy()


def means(fitted: Fitted) -> Callable:
    """Return the function from rows to their posteriors' means: `embed` of pythae would draw."""
    return lambda x: fitted.posterior(x)[0]


def train_tutorial(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train the textbook's VAE with skorch."""
    size = Size(HIDDEN, n_components, 128)
    n_epochs = max(TUTORIAL_EPOCHS, TUTORIAL_STEPS // -(-len(X) // size.batch_size))
    return vae_peers.skorch(X, size, n_epochs, 1).module_.embed


def train_pythae(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train pythae's VAE with its own layers and options, but at most MAX_PYTHAE_STEPS."""
    n_epochs = min(PYTHAE_EPOCHS, MAX_PYTHAE_STEPS * PYTHAE_BATCH_SIZE // len(X))
    return means(of_pythae(vae_peers.fit_pythae(X, n_components, num_epochs=n_epochs, seed=seed)))


def train_pyod_vae(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train PyOD's VAE."""
    return means(of_pyod(vae_peers.fit_pyod(X, n_components, random_state=seed)))


def train_pyod_autoencoder(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train PyOD's AutoEncoder, whose last layer is as wide as the latents."""
    from pyod.models.auto_encoder import AutoEncoder

    detector = AutoEncoder(hidden_neuron_list=[64, n_components], random_state=seed, verbose=0).fit(X)
    model, (center, scale) = detector.model.eval(), pyod_scaling(detector)
    return lambda x: model.encoder((x - center) / scale)


def umap(d: int, seed: int):
    """Make umap-learn's UMAP, which computes in one thread where it has a seed."""
    from umap import UMAP

    return UMAP(n_components=d, random_state=seed, n_jobs=1)


def in_unit_interval(estimator):
    """Scale columns to [0, 1] first, and clip what is outside."""
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
    """Let a method load and compile what it does at first use, so that no fit's time has it; once in a process."""
    X = np.random.RandomState(0).normal(size=(200, 10))
    METHODS[method](2, 0).fit(X).transform(X)
