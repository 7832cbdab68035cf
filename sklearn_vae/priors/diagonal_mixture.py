"""Base class of priors that are mixtures of Gaussians."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from sklearn_vae.priors.base import PriorModule


class DiagonalMixture(PriorModule):
    """Mixture of K Gaussians with diagonal covariances."""

    @abstractmethod
    def parameters_of(self) -> tuple[Tensor, Normal]:
        """Return the log-weights (K,) and the Gaussians (K, n_components) of the mixture."""

    def forward(self) -> MixtureSameFamily:
        """Return the mixture."""
        log_weight, gaussians = self.parameters_of()
        weights = Categorical(logits=log_weight, validate_args=False)
        return MixtureSameFamily(weights, Independent(gaussians, 1, validate_args=False), validate_args=False)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw a Gaussian for each sample, then z from this Gaussian."""
        log_weight, gaussians = self.parameters_of()
        k = torch.multinomial(log_weight.exp(), n_samples, replacement=True, generator=generator)
        loc, scale = gaussians.loc[k], gaussians.scale[k]
        return loc + scale * torch.randn(loc.shape, generator=generator, dtype=loc.dtype, device=loc.device)

    def log_prob(self, z: Tensor) -> Tensor:
        """Return log p(z) in nats, (..., n_rows).

        The squared distances are expanded, so that one matrix product replaces an array of shape
        (..., n_rows, K, n_components). For narrow Gaussians the expanded terms nearly cancel.
        They are therefore computed in float64, after subtracting the mean of the Gaussians' means.
        """
        log_weight, gaussians = self.parameters_of()
        center, scale, dtype = gaussians.loc.detach().mean(0), gaussians.scale.double(), z.dtype
        z, loc, precision = z.double() - center, gaussians.loc.double() - center, scale.square().reciprocal()
        constant = log_weight - (scale.log() + 0.5 * loc.square() * precision).sum(-1)
        constant = constant - 0.5 * z.shape[-1] * math.log(2 * math.pi)
        factors = torch.cat([loc * precision, -0.5 * precision], -1)
        log_p = nn.functional.linear(torch.cat([z, z.square()], -1), factors, constant)
        return log_p.to(dtype).logsumexp(-1)

    def marginal_kl(self, q: Normal, z: Tensor) -> Tensor:
        """Estimate KL(q(z_j) || p(z_j)) at `z`, in nats, (n_rows, n_components)."""
        log_weight, gaussians = self.parameters_of()
        log_p = torch.full_like(z, -math.inf)
        # The loop avoids an array of shape (n_rows, K, n_components), which may be large.
        for log_w, loc, scale in zip(log_weight, gaussians.loc, gaussians.scale, strict=True):
            log_p = log_p.logaddexp(log_w + Normal(loc, scale, validate_args=False).log_prob(z))
        return q.log_prob(z) - log_p
