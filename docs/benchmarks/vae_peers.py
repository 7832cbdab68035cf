"""Hand-written VAEs and those of this and other packages, which several scripts compare.

Each function in `TRAINERS` trains the same layers on float32 rows for a number of epochs and returns the model. They
need the extra "bench".
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPRegressor
from skorch import NeuralNet
from textbook_vae import LEARNING_RATE, Size, TextbookVAE, by_hand, elbo_loss, tutorial
from torch import Tensor, nn

from sklearn_vae import VAETransformer
from sklearn_vae.networks import MLP

Train = Callable[[np.ndarray, Size, int, int], Any]


def skorch(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train the tutorial VAE with skorch's defaults, except that nothing is printed or held out."""

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


def fit_pythae(X: np.ndarray, n_components: int, networks: tuple = (), **options) -> Any:
    """Train pythae's VAE with the given networks or its own, whose output is in (0, 1).

    `options` are those of pythae's trainer.
    """
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        model = VAE(VAEConfig(input_dim=(X.shape[1],), latent_dim=n_components), *networks)
        data = BaseDataset(torch.from_numpy(X), torch.ones(len(X)))
        BaseTrainer(model, data, None, BaseTrainerConfig(output_dir=folder, no_cuda=True, **options)).train()
    logging.disable(logging.NOTSET)
    return model.eval()


def pythae(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train pythae's VAE with the layers of `size`."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.vae = TextbookVAE(X.shape[1], size)
            del self.vae.decoder

        def forward(self, x):
            mu, log_variance = self.vae.posterior(x)
            return ModelOutput(embedding=mu, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.decoder = TextbookVAE(X.shape[1], size).decoder

        def forward(self, z):
            return ModelOutput(reconstruction=self.decoder(z))

    options = {"num_epochs": n_epochs, "learning_rate": LEARNING_RATE, "per_device_train_batch_size": size.batch_size}
    return fit_pythae(X, size.n_components, (Encoder(), Decoder()), **options)


def fit_pyod(X: np.ndarray, n_components: int, **options) -> Any:
    """Train PyOD's VAE. Its `fit` also standardises the columns and scores the training rows once."""
    from pyod.models.vae import VAE

    return VAE(latent_dim=n_components, verbose=0, **options).fit(X)


def pyod(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train PyOD's VAE with the layers of `size`."""
    hidden = list(size.hidden_layer_sizes)
    return fit_pyod(
        X,
        size.n_components,
        epoch_num=n_epochs,
        batch_size=size.batch_size,
        encoder_neuron_list=hidden,
        decoder_neuron_list=hidden[::-1],
        lr=LEARNING_RATE,
        dropout_rate=0.0,
    )


def mlp_regressor(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train scikit-learn's MLPRegressor as a deterministic autoencoder with the layers of `size`."""
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


def middle_layer(model: MLPRegressor, X: np.ndarray) -> np.ndarray:
    """Return the pre-activations of the middle layer, which are the autoencoder's latents."""
    weights = list(zip(model.coefs_, model.intercepts_, strict=True))[: len(model.coefs_) // 2]
    for W, b in weights[:-1]:
        X = np.maximum(X @ W + b, 0)
    return X @ weights[-1][0] + weights[-1][1]


def same_layers(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train VAETransformer with the layers of `size` only: no linear maps, weight averaging or input noise."""
    network = MLP(activation="relu")
    return fit_vae(X, size, n_epochs, n_threads, init="random", network=network, averaging=0.0, input_noise=0.0)


def defaults(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Any:
    """Train VAETransformer with the layers of `size` and its other defaults."""
    return fit_vae(X, size, n_epochs, n_threads)


def fit_vae(X: np.ndarray, size: Size, n_epochs: int, n_threads: int, **params) -> VAETransformer:
    """Fit a VAETransformer for `n_epochs` epochs, without early stopping."""
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
    """Return rows as a float32 tensor, which shares the memory of float32 rows."""
    return torch.from_numpy(X.astype(np.float32, copy=False))


@torch.inference_mode()
def pythae_embed(model: nn.Module, X: np.ndarray) -> np.ndarray:
    """Return the result of pythae's `embed`, which draws from the posteriors."""
    return model.embed(float_tensor(X)).numpy()


# The trainers of this package, and their names in the columns of tables.
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

# For each trainer, the public method for new rows: its name and a function that calls it.
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
