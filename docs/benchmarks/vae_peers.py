"""VAEs by hand, of other packages and of this one, with the same layers: what the scripts on costs measure.

Each function trains on float32 rows for a number of epochs, and returns what it trained. They need the extra "bench".
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.neural_network import MLPRegressor
from skorch import NeuralNet
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from sklearn_vae import VAETransformer
from sklearn_vae.networks import MLP

LEARNING_RATE = 1e-3


class Size(NamedTuple):
    """Layers, and rows per step."""

    hidden_layer_sizes: tuple[int, ...]
    n_components: int
    batch_size: int


Train = Callable[[np.ndarray, Size, int, int], Any]


def layers(*widths: int) -> nn.Sequential:
    """Return linear layers with a ReLU after each."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)))


class TextbookVAE(nn.Module):
    """The VAE of tutorials."""

    def __init__(self, n_features: int, size: Size):
        super().__init__()
        hidden, d = size.hidden_layer_sizes, size.n_components
        self.encoder = layers(n_features, *hidden)
        self.mu, self.log_variance = nn.Linear(hidden[-1], d), nn.Linear(hidden[-1], d)
        self.decoder = nn.Sequential(layers(d, *hidden[::-1]), nn.Linear(hidden[0], n_features))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction of a draw, the means and the log-variances."""
        features = self.encoder(x)
        mu, log_variance = self.mu(features), self.log_variance(features)
        z = mu + (0.5 * log_variance).exp() * torch.randn_like(mu)
        return self.decoder(z), mu, log_variance

    @torch.inference_mode()
    def embed(self, x: Tensor) -> Tensor:
        """Return the means."""
        return self.mu(self.encoder(x))


def elbo_loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """Return squared error and KL per row."""
    reconstruction, mu, log_variance = output
    kl = -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum()
    return (mse_loss(reconstruction, x, reduction="sum") + kl) / len(x)


def tutorial(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train with a DataLoader and Adam, as tutorials do."""
    model = TextbookVAE(X.shape[1], size)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=size.batch_size, shuffle=True)
    for _ in range(n_epochs):
        for (x,) in loader:
            loss = elbo_loss(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


class FastVAE(TextbookVAE):
    """The same with one layer for means and log-variances."""

    def __init__(self, n_features: int, size: Size):
        super().__init__(n_features, size)
        self.head = nn.Linear(size.hidden_layer_sizes[-1], 2 * size.n_components)
        del self.mu, self.log_variance

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction of a draw, the means and the log-variances."""
        mu, log_variance = self.head(self.encoder(x)).chunk(2, 1)
        z = mu + (0.5 * log_variance).exp() * torch.randn_like(mu)
        return self.decoder(z), mu, log_variance

    @torch.inference_mode()
    def embed(self, x: Tensor) -> Tensor:
        """Return the means."""
        return self.head(self.encoder(x)).chunk(2, 1)[0]


def by_hand(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train with all that makes a loop fast: one head, rows by index, fused Adam, no loss read."""
    model, x = FastVAE(X.shape[1], size), torch.from_numpy(X)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, fused=True)
    for _ in range(n_epochs):
        for index in torch.randperm(len(x)).split(size.batch_size):
            batch = x.index_select(0, index)
            loss = elbo_loss(model(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def skorch(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train with skorch's defaults, but for what is printed and held out."""

    class Net(NeuralNet):
        def get_loss(self, y_pred, y_true, *args, **kwargs):
            return elbo_loss(y_pred, y_true)

    net = Net(
        TextbookVAE(X.shape[1], size),
        criterion=nn.Identity,
        optimizer=torch.optim.Adam,
        lr=LEARNING_RATE,
        batch_size=size.batch_size,
        iterator_train__shuffle=True,
        max_epochs=n_epochs,
        train_split=None,
        verbose=0,
    )
    return net.fit(X, X)


def pythae(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train pythae's VAE with these layers."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.vae = TextbookVAE(X.shape[1], size)
            del self.vae.decoder

        def forward(self, x):
            features = self.vae.encoder(x)
            return ModelOutput(embedding=self.vae.mu(features), log_covariance=self.vae.log_variance(features))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.decoder = TextbookVAE(X.shape[1], size).decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.decoder(z))

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        config = VAEConfig(input_dim=(X.shape[1],), latent_dim=size.n_components, reconstruction_loss="mse")
        options = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=n_epochs,
            learning_rate=LEARNING_RATE,
            per_device_train_batch_size=size.batch_size,
            no_cuda=True,
        )
        data = BaseDataset(torch.from_numpy(X), torch.ones(len(X)))
        model = VAE(config, Encoder(), Decoder())
        BaseTrainer(model, data, None, options).train()
    logging.disable(logging.NOTSET)
    return model.eval()


def pyod(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train PyOD's VAE with these layers; it also scores its rows, once."""
    from pyod.models.vae import VAE

    hidden = list(size.hidden_layer_sizes)
    return VAE(
        epoch_num=n_epochs,
        batch_size=size.batch_size,
        encoder_neuron_list=hidden,
        decoder_neuron_list=hidden[::-1],
        latent_dim=size.n_components,
        lr=LEARNING_RATE,
        dropout_rate=0.0,
        verbose=0,
    ).fit(X)


def mlp_regressor(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train scikit-learn's MLPRegressor as a deterministic autoencoder with these layers."""
    hidden = size.hidden_layer_sizes
    model = MLPRegressor(
        hidden_layer_sizes=(*hidden, size.n_components, *hidden[::-1]),
        batch_size=size.batch_size,
        learning_rate_init=LEARNING_RATE,
        max_iter=n_epochs,
        n_iter_no_change=n_epochs + 1,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, X)
    return model


def same_layers(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train VAETransformer with these layers alone, and without averaging of weights."""
    network = MLP(activation="relu")
    return fit_vae(X, size, n_epochs, n_threads, init="random", network=network, averaging=0.0, input_noise=0.0)


def defaults(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train VAETransformer with what it adds to these layers by default."""
    return fit_vae(X, size, n_epochs, n_threads)


def fit_vae(X: np.ndarray, size: Size, n_epochs: int, n_threads: int, **params) -> VAETransformer:
    """Fit a VAETransformer for all of the epochs."""
    return VAETransformer(
        size.n_components,
        hidden_layer_sizes=size.hidden_layer_sizes,
        batch_size=size.batch_size,
        learning_rate_init=LEARNING_RATE,
        max_iter=n_epochs,
        early_stopping=False,
        n_jobs=n_threads,
        random_state=0,
        **params,
    ).fit(X)


def float_tensor(X: np.ndarray) -> Tensor:
    """Share the memory of float32 rows, and convert others, which torch's layers would refuse."""
    return torch.from_numpy(X.astype(np.float32, copy=False))


@torch.inference_mode()
def pythae_embed(model: nn.Module, X: np.ndarray) -> np.ndarray:
    """Return what pythae's `embed` does: draws, not means."""
    return model.embed(float_tensor(X)).numpy()


# With what columns of a table call them.
OURS = {"VAETransformer, same layers": "same", "VAETransformer, defaults": "defaults"}
TRAINERS: dict[str, Train] = {
    "VAETransformer, same layers": same_layers,
    "VAETransformer, defaults": defaults,
    "by hand": by_hand,
    "tutorial": tutorial,
    "skorch": skorch,
    "pythae": pythae,
    "PyOD": pyod,
    "MLPRegressor": mlp_regressor,
}

# What their users call for new rows.
TRANSFORMS: dict[str, tuple[str, Callable[[Any, np.ndarray], np.ndarray]]] = {
    "VAETransformer, same layers": ("transform", lambda model, X: model.transform(X)),
    "VAETransformer, defaults": ("transform", lambda model, X: model.transform(X)),
    "by hand": ("encoder", lambda model, X: model.embed(float_tensor(X)).numpy()),
    "tutorial": ("encoder", lambda model, X: model.embed(float_tensor(X)).numpy()),
    "skorch": ("predict", lambda model, X: model.predict(X.astype(np.float32, copy=False))),
    "pythae": ("embed", pythae_embed),
    "PyOD": ("decision_function", lambda model, X: model.decision_function(X)),
    "MLPRegressor": ("predict", lambda model, X: model.predict(X)),
}
