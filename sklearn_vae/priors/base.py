"""Base classes of priors p(z): the specification and its torch module."""

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

# Function from encoder inputs (n_rows, n_inputs) to q(z|x), a Normal of shape (n_rows, n_components).
Encode = Callable[[Tensor], Normal]
# Number of draws from a prior for the kernel density estimate of each component.
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
            Width of the encoder's input.
        generator : torch.Generator
            The only source of randomness for initial weights.

        Returns
        -------
        module : PriorModule
            The module, which is trained together with the networks.
        """


class PriorModule(DeclaresCapabilities, nn.Module, ABC):
    """Distribution p(z) as a torch module.

    A prior may depend on the encoder, which the model passes to `bind` once. A subclass defines
    `forward` and `sample`. `log_prob`, `kl` and `marginal_kl` have defaults that call these two;
    a subclass may override the defaults with a closed form that is faster or exact.

    Attributes
    ----------
    is_standard_normal : bool
        Class attribute. True if the prior is N(0, I) and has no parameters, so that training may use the
        closed-form gradient of its KL. A subclass does not inherit it, because it may override the KL.
    """

    capabilities: ClassVar[tuple[str, ...]] = ("is_standard_normal",)
    is_standard_normal: bool = False
    encode: Encode

    def bind(self, encode: Encode) -> None:
        """Store the encoder. The model calls this method once, when it is built.

        Parameters
        ----------
        encode : callable
            Maps encoder inputs (n_rows, n_inputs) to q(z|x).
        """
        self.encode = encode

    def start_at(self, rows: Callable[[int], Tensor]) -> None:
        """Set initial parameters from the training rows.

        Parameters
        ----------
        rows : callable
            Maps a number n to the encoder's inputs of n different training rows, drawn at random.
            If there are fewer than n rows, it returns all.
        """

    @abstractmethod
    def forward(self) -> Distribution:
        """Return p(z).

        Returns
        -------
        p : torch.distributions.Distribution
            Distribution with event shape (n_components,).
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
        """Return KL(q || p) in nats per row and block of components.

        Blocks are groups of components that are independent of each other in p. The default has one
        block with all components, and estimates the KL as log q(z) - log p(z) at the draw `z`.

        Parameters
        ----------
        q : Normal
            The posteriors, of shape (n_rows, n_components).
        z : Tensor of shape (n_rows, n_components)
            One draw from `q` per row.

        Returns
        -------
        kl : Tensor of shape (n_rows, n_blocks)
            In nats.
        """
        return (q.log_prob(z).sum(-1) - self.log_prob(z))[:, None]

    def marginal_kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q(z_j) || p(z_j)) per row and component.

        The default estimates it at the draw `z`. There, p(z_j) is a kernel density estimate from 2048
        draws of the prior, with Scott's bandwidth. Only diagnostics use this method, not training.

        Parameters
        ----------
        q : Normal
            The posteriors, of shape (n_rows, n_components).
        z : Tensor of shape (n_rows, n_components)
            One draw from `q` per row.

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
