"""The VAE of tutorials, with two training loops: that of tutorials, and a fast hand-written one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

LEARNING_RATE = 1e-3
Loss = Callable[[tuple[Tensor, Tensor, Tensor], Tensor], Tensor]


class Size(NamedTuple):
    """Layer sizes and the number of rows per step."""

    hidden_layer_sizes: tuple[int, ...]
    n_components: int
    batch_size: int


def layers(*widths: int) -> nn.Sequential:
    """Return linear layers with a ReLU after each."""
    return nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairwise(widths)))


class TextbookVAE(nn.Module):
    """The VAE of tutorials: ReLU networks and a Gaussian posterior."""

    def __init__(self, n_features: int, size: Size):
        super().__init__()
        hidden, d = size.hidden_layer_sizes, size.n_components
        self.encoder = layers(n_features, *hidden)
        self.mu, self.log_variance = nn.Linear(hidden[-1], d), nn.Linear(hidden[-1], d)
        self.decoder = nn.Sequential(layers(d, *hidden[::-1]), nn.Linear(hidden[0], n_features))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior means and log-variances."""
        features = self.encoder(x)
        return self.mu(features), self.log_variance(features)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the reconstruction of a draw, the means and the log-variances."""
        mu, log_variance = self.posterior(x)
        z = mu + (0.5 * log_variance).exp() * torch.randn_like(mu)
        return self.decoder(z), mu, log_variance

    @torch.inference_mode()
    def embed(self, x: Tensor) -> Tensor:
        """Return the posterior means."""
        return self.posterior(x)[0]


def kl_sum(mu: Tensor, log_variance: Tensor) -> Tensor:
    """Return the KL divergence from the standard normal prior, summed over the rows."""
    return -0.5 * (1 + log_variance - mu.square() - log_variance.exp()).sum()


def elbo_loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """Return the sum of squared error and KL, per row."""
    reconstruction, *posterior = output
    return (mse_loss(reconstruction, x, reduction="sum") + kl_sum(*posterior)) / len(x)


def optimal_scale_loss(output: tuple[Tensor, Tensor, Tensor], x: Tensor) -> Tensor:
    """Return the negative ELBO per row, up to a constant, with the batch's optimal variance (Rybkin et al. 2021)."""
    reconstruction, *posterior = output
    return 0.5 * x.shape[1] * mse_loss(reconstruction, x).log() + kl_sum(*posterior) / len(x)


def tutorial_epochs(model: TextbookVAE, X: np.ndarray, batch_size: int, loss_of: Loss = elbo_loss) -> Iterator[None]:
    """Train with a DataLoader and Adam, as in tutorials; yield after each epoch."""
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loader = DataLoader(TensorDataset(torch.from_numpy(X)), batch_size=batch_size, shuffle=True)
    while True:
        for (x,) in loader:
            loss = loss_of(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        yield


def tutorial(X: np.ndarray, size: Size, n_epochs: int, n_threads: int, loss_of: Loss = elbo_loss) -> TextbookVAE:
    """Train the tutorial VAE in the loop of tutorials."""
    model = TextbookVAE(X.shape[1], size)
    for _ in islice(tutorial_epochs(model, X, size.batch_size, loss_of), n_epochs):
        pass
    return model


class FastVAE(TextbookVAE):
    """`TextbookVAE` with one linear layer for both means and log-variances."""

    def __init__(self, n_features: int, size: Size):
        super().__init__(n_features, size)
        self.head = nn.Linear(size.hidden_layer_sizes[-1], 2 * size.n_components)
        del self.mu, self.log_variance

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior means and log-variances."""
        return self.head(self.encoder(x)).chunk(2, 1)


def by_hand(X: np.ndarray, size: Size, n_epochs: int, n_threads: int) -> TextbookVAE:
    """Train in a fast loop: one head, batches selected by index, fused Adam, and the loss never read."""
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
