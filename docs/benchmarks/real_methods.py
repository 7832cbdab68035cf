"""Unsupervised methods of a panel: each is fitted to rows, and gives latents of any rows.

Peers are at their own defaults but for n_components, and for what is said here. Where a peer's result depends on the
unit of its rows, it gets them centred and divided by one number (KernelPCA, MLPRegressor, tutorial), or each
column in [0, 1] (NMF, pythae).
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import vae_peers
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import NMF, PCA, FactorAnalysis, KernelPCA
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from sklearn_vae import VAETransformer

HAVE_SCORE = {"PCA", "FactorAnalysis", "VAETransformer"}
MAX_ROWS = {"KernelPCA": 5_000, "NMF": 20_000, "UMAP": 20_000}  # for the training
HIDDEN = (256, 128)  # of MLPRegressor and of the tutorial
TUTORIAL_EPOCHS = 50
MAX_PYTHAE_STEPS = 20_000  # 100 epochs are its default; rows above 12,800 get fewer


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
        weights = list(zip(self.model_.coefs_, self.model_.intercepts_, strict=True))[: len(HIDDEN) + 1]
        for W, b in weights[:-1]:
            X = np.maximum(X @ W + b, 0)
        return X @ weights[-1][0] + weights[-1][1]


class TorchLatents(TransformerMixin, BaseEstimator):
    """A peer's encoder; `train(X, n_components, seed)` returns a function from rows to latents, float32 tensors."""

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


def train_tutorial(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train the textbook's VAE with skorch."""
    size = vae_peers.Size(HIDDEN, n_components, 128)
    module = vae_peers.skorch(X, size, TUTORIAL_EPOCHS, 1).module_.eval()
    return lambda x: module.mu(module.encoder(x))


def train_pythae(X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train pythae's VAE with its own layers and options, but at most MAX_PYTHAE_STEPS."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        options = BaseTrainerConfig(output_dir=folder, seed=seed, no_cuda=True)
        options.num_epochs = min(options.num_epochs, MAX_PYTHAE_STEPS * options.per_device_train_batch_size // len(X))
        model = VAE(VAEConfig(input_dim=(X.shape[1],), latent_dim=n_components))
        BaseTrainer(model, BaseDataset(torch.from_numpy(X), torch.ones(len(X))), None, options).train()
    logging.disable(logging.NOTSET)
    encoder = model.eval().encoder
    return lambda x: encoder(x).embedding  # `embed` would draw.


def train_pyod(name: str, X: np.ndarray, n_components: int, seed: int) -> Callable:
    """Train a detector of PyOD; it scales columns itself."""
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.vae import VAE

    if name == "VAE":
        detector = VAE(latent_dim=n_components, random_state=seed, verbose=0)
    else:
        detector = AutoEncoder(hidden_neuron_list=[64, n_components], random_state=seed, verbose=0)
    model = detector.fit(X).model.eval()
    encode = (lambda x: model.encode(x)[0]) if name == "VAE" else model.encoder
    mean, scale = (torch.from_numpy(np.asarray(v, np.float32)) for v in (detector.X_mean, detector.X_std + 1e-8))
    return lambda x: encode((x - mean) / scale)


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
    "VAETransformer": lambda d, seed, **params: VAETransformer(d, **{"whiten": False, "random_state": seed, **params}),
    "pythae": lambda d, seed: in_unit_interval(TorchLatents(train_pythae, d, seed)),
    "PyOD VAE": lambda d, seed: TorchLatents(partial(train_pyod, "VAE"), d, seed),
    "PyOD AutoEncoder": lambda d, seed: TorchLatents(partial(train_pyod, "AutoEncoder"), d, seed),
    "tutorial": lambda d, seed: make_pipeline(OneUnit(), TorchLatents(train_tutorial, d, seed)),
    "UMAP": umap,
}


def load_all(methods: list[str]) -> None:
    """Let methods load and compile what they do at first use, so that no fit's time has it."""
    X = np.random.RandomState(0).normal(size=(200, 10))
    for method in methods:
        METHODS[method](2, 0).fit(X).transform(X)
