"""What every prior p(z) is: a specification that builds a torch module."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from sklearn_vae._capabilities import DeclaresCapabilities

# Encoder inputs, (n_rows, n_inputs) -> q(z|x), (n_rows, n_components).
Encode = Callable[[Tensor], Normal]
# Draws of a prior that estimate the density of each component.
N_MARGINAL_DRAWS = 2048


class Prior(BaseEstimator, ABC):
    """Specification of a prior p(z), given to an estimator as ``prior=``."""

    @abstractmethod
    def build(self, n_components: int, n_inputs: int, generator: torch.Generator) -> PriorModule:
        """Make the torch module.

        Parameters
        ----------
        n_components : int
            Number of latent variables.
        n_inputs : int
            Number of columns of the encoder's input.
        generator : torch.Generator
            The only source of randomness of initial weights.

        Returns
        -------
        module : PriorModule
            The prior, to be trained with the networks.
        """


class PriorModule(DeclaresCapabilities, nn.Module, ABC):
    """Distribution p(z) as a torch module. It may depend on the encoder, to which the model binds it once.

    A new prior is `forward` and `sample`; `log_prob`, `kl` and `marginal_kl` follow from them, and are
    overridden where a closed form is faster or exact.

    Attributes
    ----------
    is_standard_normal : bool
        Class attribute. True if the prior is N(0, I) and has no parameters, so that training may use the
        closed-form gradient of its KL. Not inherited: a subclass may override the KL.
    """

    capabilities: ClassVar[tuple[str, ...]] = ("is_standard_normal",)
    is_standard_normal: bool = False
    encode: Encode

    def bind(self, encode: Encode) -> None:
        """Keep the encoder; the model calls this once, when it is built.

        Parameters
        ----------
        encode : callable
            Encoder inputs (n_rows, n_inputs) -> q(z|x).
        """
        self.encode = encode

    def start_at(self, rows: Callable[[int], Tensor]) -> None:
        """Set parameters from the data, before training.

        Parameters
        ----------
        rows : callable
            Number -> as many training rows, or all where there are fewer, drawn at random,
            as the encoder's inputs.
        """

    @abstractmethod
    def forward(self) -> Distribution:
        """Return p(z).

        Returns
        -------
        p : torch.distributions.Distribution
            With z, of shape (n_components,), as its event.
        """

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw z.

        Parameters
        ----------
        n_samples : int
            Number of draws.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        z : Tensor of shape (n_samples, n_components)
            The draws.
        """

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z).

        Parameters
        ----------
        z : Tensor of shape (..., n_rows, n_components)
            Latent variables.

        Returns
        -------
        log_prob : Tensor of shape (..., n_rows)
            In nats.
        """
        return self().log_prob(z)

    def kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q || p) in nats per row and block of components that are independent in p.

        By default it is estimated, for all components in one block, at `z`.

        Parameters
        ----------
        q : Normal
            The posteriors, of shape (n_rows, n_components).
        z : Tensor of shape (n_rows, n_components)
            Drawn from `q`.

        Returns
        -------
        kl : Tensor of shape (n_rows, n_blocks)
            In nats.
        """
        return (q.log_prob(z).sum(-1) - self.log_prob(z))[:, None]

    def marginal_kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q(z_j) || p(z_j)) per row and component.

        By default it is estimated at `z`, with p(z_j) as a kernel density estimate from 2048 draws of
        the prior, of Scott's width. The estimate is for diagnostics: training does not use it.

        Parameters
        ----------
        q : Normal
            The posteriors, of shape (n_rows, n_components).
        z : Tensor of shape (n_rows, n_components)
            Drawn from `q`.

        Returns
        -------
        kl : Tensor of shape (n_rows, n_components)
            In nats.
        """
        draws = self.sample(N_MARGINAL_DRAWS, torch.Generator(z.device).manual_seed(0)).detach()
        widths = draws.std(0) * len(draws) ** -0.2
        kernels = (Normal(*parameters, validate_args=False) for parameters in zip(draws.T, widths, strict=True))
        log_p = [kernel.log_prob(z_j[:, None]).logsumexp(-1) for kernel, z_j in zip(kernels, z.T, strict=True)]
        return q.log_prob(z) - torch.stack(log_p, -1) + math.log(len(draws))
