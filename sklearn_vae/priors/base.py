"""What every prior p(z) is: a specification that builds a torch module."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence


class Prior(BaseEstimator, ABC):
    """Specification of a prior p(z), given to an estimator as ``prior=``."""

    @abstractmethod
    def build(self, n_components: int) -> PriorModule:
        """Make the torch module for `n_components` latent variables."""


class PriorModule(nn.Module, ABC):
    """p(z) as a torch module."""

    @abstractmethod
    def forward(self) -> Distribution:
        """Return p(z), with independent components as batch shape (n_components,)."""

    @abstractmethod
    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw z of shape (n_samples, n_components), from `generator` alone."""

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, summed over components, shape (..., n_rows)."""
        return self().log_prob(z).sum(-1)

    def kl(self, q: Distribution) -> Tensor:
        """Return KL(q || p) in nats per row and component, shape (n_rows, n_components)."""
        return kl_divergence(q, self())
