"""What every prior p(z) is: a specification that builds a torch module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

# q(z|y), (n_rows, n_components), for rows (n_rows, n_inputs) as the likelihood observes them.
Encode = Callable[[Tensor], Normal]


class Prior(BaseEstimator, ABC):
    """Specification of a prior p(z), given to an estimator as ``prior=``."""

    @abstractmethod
    def build(self, n_components: int, n_inputs: int) -> PriorModule:
        """Make the torch module for `n_components` latent variables and `n_inputs` columns of the encoder's input."""


class PriorModule(nn.Module, ABC):
    """p(z) as a torch module. What it says may depend on the encoder, which is handed to it."""

    def start_at(self, rows: Callable[[int], Tensor], encode: Encode) -> None:
        """Set parameters from the data, before training.

        Parameters
        ----------
        rows : callable
            Number -> as many training rows, or all where there are fewer, drawn at random,
            as the likelihood observes them.
        encode : callable
        """

    @abstractmethod
    def forward(self, encode: Encode) -> Distribution:
        """Return p(z), with z (n_components,) as its event."""

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator, encode: Encode) -> Tensor:
        """Draw z of shape (n_samples, n_components), from `generator` alone."""

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        """Return log p(z) in nats for z (..., n_rows, n_components), shape (..., n_rows)."""
        return self(encode).log_prob(z)

    def kl(self, q: Normal, z: Tensor, encode: Encode) -> Tensor:
        """Return KL(q || p) in nats per row and block of components that are independent in p.

        Without a closed form it is estimated, for all components in one block, at `z`.

        Parameters
        ----------
        q : Normal, (n_rows, n_components)
        z : Tensor of shape (n_rows, n_components)
            Drawn from `q`.
        encode : callable

        Returns
        -------
        kl : Tensor of shape (n_rows, n_blocks)
        """
        return (q.log_prob(z).sum(-1) - self.log_prob(z, encode))[:, None]

    @abstractmethod
    def marginal_kl(self, q: Normal, z: Tensor, encode: Encode) -> Tensor:
        """Return KL(q(z_j) || p(z_j)) in nats per row and component, perhaps estimated at `z`.

        The result has shape (n_rows, n_components).
        """
