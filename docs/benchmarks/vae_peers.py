"""VAEs by hand, of other packages and of this one: what `epoch_seconds.py` and `quality_seconds.py` time.

Each of `TRAINERS` trains the same layers on float32 rows for a number of epochs; other packages' VAEs are returned as
`Fitted`. They need the extra "bench".
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import NamedTuple

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


Train = Callable[[np.ndarray, Size, int, int], object]
Loss = Callable[[tuple[Tensor, Tensor, Tensor], Tensor], Tensor]


class Fitted(NamedTuple):
    """A fitted VAE: rows to means and log-variances of their posteriors, and latents to rows."""

    posterior: Callable[[Tensor], tuple[Tensor, Tensor]]
    decode: Callable[[Tensor], Tensor]


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

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances."""
        features = self.encoder(x)
        return self.mu(features), self.log_variance(features)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction of a draw, the means and the log-variances."""
        mu, log_variance = self.posterior(x)
        z = mu + (0.5 * log_variance).exp() * torch.randn_like(mu)
        return self.decoder(z), mu, log_variance


def elbo_loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """Return squared error and KL per row."""
    reconstruction, mu, log_variance = output
    kl = -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum()
    return (mse_loss(reconstruction, x, reduction="sum") + kl) / len(x)


def optimal_scale_loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """Return -ELBO per row, up to a constant, with the noise variance at the batch's optimum (Rybkin et al. 2021)."""
    reconstruction, mu, log_variance = output
    kl = -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum()
    return 0.5 * x.shape[1] * mse_loss(reconstruction, x).log() + kl / len(x)


def tutorial_epochs(model: TextbookVAE, X: np.ndarray, batch_size: int, loss_of: Loss = elbo_loss) -> Iterator[None]:
    """Train with a DataLoader and Adam, as tutorials do; yield after each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=batch_size, shuffle=True)
    while True:
        for (x,) in loader:
            loss = loss_of(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield


def tutorial(X: np.ndarray, size: Size, n_epochs: int, n_threads: int, loss_of: Loss = elbo_loss) -> Fitted:
    """Train the tutorials' VAE in their loop."""
    model = TextbookVAE(X.shape[1], size)
    for _ in islice(tutorial_epochs(model, X, size.batch_size, loss_of), n_epochs):
        pass
    return Fitted(model.posterior, model.decoder)


class FastVAE(TextbookVAE):
    """The same with one layer for means and log-variances."""

    def __init__(self, n_features: int, size: Size):
        super().__init__(n_features, size)
        self.head = nn.Linear(size.hidden_layer_sizes[-1], 2 * size.n_components)
        del self.mu, self.log_variance

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-variances."""
        return self.head(self.encoder(x)).chunk(2, 1)


def by_hand(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> None:
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


def skorch(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Fitted:
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
    net.fit(X, X)
    return Fitted(net.module_.posterior, net.module_.decoder)


def fit_pythae(X: np.ndarray, n_components: int, networks: tuple = (), **options) -> Fitted:
    """Train pythae's VAE with these networks or its own, whose output is in (0, 1); `options` are its trainer's."""
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        config = VAEConfig(input_dim=(X.shape[1],), latent_dim=n_components, reconstruction_loss="mse")
        model = VAE(config, *networks)
        data = BaseDataset(torch.from_numpy(X), torch.ones(len(X)))
        BaseTrainer(model, data, None, BaseTrainerConfig(output_dir=folder, no_cuda=True, **options)).train()
    logging.disable(logging.NOTSET)
    model.eval()

    def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
        output = model.encoder(x)
        return output.embedding, output.log_covariance

    return Fitted(posterior, lambda z: model.decoder(z).reconstruction)


def pythae(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Fitted:
    """Train pythae's VAE with these layers."""
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


def fit_pyod(X: np.ndarray, n_components: int, **options) -> Fitted:
    """Train PyOD's VAE, which standardises the columns; `options` are its parameters."""
    from pyod.models.vae import VAE

    detector = VAE(latent_dim=n_components, verbose=0, **options).fit(X)
    model, center = detector.model.eval(), torch.from_numpy(detector.X_mean)
    # It divides by its standard deviations: in a constant column a test row would be out of all bounds.
    scale = torch.from_numpy(np.where(detector.X_std > 0, detector.X_std, 1).astype(np.float32))
    return Fitted(lambda x: model.encode((x - center) / scale), lambda z: model.decode(z) * scale + center)


def pyod(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> Fitted:
    """Train PyOD's VAE with these layers; it also scores its rows, once."""
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


def mlp_regressor(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> None:
    """Train scikit-learn's MLPRegressor as a deterministic autoencoder with these layers."""
    hidden = size.hidden_layer_sizes
    model = MLPRegressor(
        hidden_layer_sizes=(*hidden, size.n_components, *hidden[::-1]),
        batch_size=size.batch_size,
        learning_rate_init=LEARNING_RATE,
        max_iter=n_epochs,
        n_iter_no_change=n_epochs + 1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, X)


def same_layers(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> None:
    """Train VAETransformer with these layers alone, and without averaging of weights."""
    fit_vae(X, size, n_epochs, n_threads, init="random", network=MLP(activation="relu"), averaging=0.0, input_noise=0.0)


def defaults(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> None:
    """Train VAETransformer with what it adds to these layers by default."""
    fit_vae(X, size, n_epochs, n_threads)


def fit_vae(X: np.ndarray, size: Size, n_epochs: int, n_threads: int, **params) -> None:
    """Fit a VAETransformer for all of the epochs."""
    VAETransformer(
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
