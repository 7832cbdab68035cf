"""What every prior p(z) is: a specification that builds a torch module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from sklearn_vae._documentation import DocumentationLinkMixin

# q(z|y), (n_rows, n_components), for rows (n_rows, n_inputs) as the likelihood observes them.
Encode = Callable[[Tensor], Normal]


class Prior(DocumentationLinkMixin, BaseEstimator, ABC):
    """Specification of a prior p(z), given to an estimator as ``prior=``."""

    @abstractmethod
    def build(self, n_components: int, n_inputs: int) -> PriorModule:
        """Make the torch module.

        Parameters
        ----------
        n_components : int
            Number of latent variables.
        n_inputs : int
            Number of columns of the encoder's input.

        Returns
        -------
        module : PriorModule
            The prior, to be trained with the networks.
        """


class PriorModule(nn.Module, ABC):
    """Distribution p(z) as a torch module. What it says may depend on the encoder, which is handed to it."""

    def start_at(self, rows: Callable[[int], Tensor], encode: Encode) -> None:
        """Set parameters from the data, before training.

        Parameters
        ----------
        rows : callable
            Number -> as many training rows, or all where there are fewer, drawn at random,
            as the likelihood observes them.
        encode : callable
            Observed rows -> q(z|x).
        """

    @abstractmethod
    def forward(self, encode: Encode) -> Distribution:
        """Return p(z).

        Parameters
        ----------
        encode : callable
            Observed rows -> q(z|x).

        Returns
        -------
        p : torch.distributions.Distribution
            With z, of shape (n_components,), as its event.
        """

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator, encode: Encode) -> Tensor:
        """Draw z.

        Parameters
        ----------
        n_samples : int
            Number of draws.
        generator : torch.Generator
            The only source of randomness.
        encode : callable
            Observed rows -> q(z|x).

        Returns
        -------
        z : Tensor of shape (n_samples, n_components)
            The draws.
        """

    def log_prob(self, z: Tensor, encode: Encode) -> Tensor:
        """Return log p(z).

        Parameters
        ----------
        z : Tensor of shape (..., n_rows, n_components)
            Latent variables.
        encode : callable
            Observed rows -> q(z|x).

        Returns
        -------
        log_prob : Tensor of shape (..., n_rows)
            In nats.
        """
        return self(encode).log_prob(z)

    def kl(self, q: Normal, z: Tensor, encode: Encode) -> Tensor:
        """Return KL(q || p) in nats per row and block of components that are independent in p.

        Without a closed form it is estimated, for all components in one block, at `z`.

        Parameters
        ----------
        q : Normal
            The posteriors, of shape (n_rows, n_components).
        z : Tensor of shape (n_rows, n_components)
            Drawn from `q`.
        encode : callable
            Observed rows -> q(z|x).

        Returns
        -------
        kl : Tensor of shape (n_rows, n_blocks)
            In nats.
        """
        return (q.log_prob(z).sum(-1) - self.log_prob(z, encode))[:, None]

    @abstractmethod
    def marginal_kl(self, q: Normal, z: Tensor, encode: Encode) -> Tensor:
        """Return KL(q(z_j) || p(z_j)) per row and component.

        Parameters
        ----------
        q : Normal
            The posteriors, of shape (n_rows, n_components).
        z : Tensor of shape (n_rows, n_components)
            Drawn from `q`: where there is no closed form, it is estimated there.
        encode : callable
            Observed rows -> q(z|x).

        Returns
        -------
        kl : Tensor of shape (n_rows, n_components)
            In nats.
        """
