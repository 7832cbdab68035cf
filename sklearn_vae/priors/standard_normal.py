"""Standard normal prior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from sklearn_vae._data.devices import FLOAT32
from sklearn_vae.priors.base import Prior, PriorModule


class StandardNormal(Prior):
    """Independent standard normal components, p(z) = N(0, I).

    This is the prior of Kingma and Welling (2014). The KL between posterior and prior has a
    closed form for each component.

    See Also
    --------
    Mixture : Learned mixture of Gaussians.
    VampPrior : Mixture of posteriors.

    Examples
    --------
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.priors import StandardNormal
    >>> vae = VAETransformer(prior=StandardNormal())
    """

    def build(self, n_components: int, n_inputs: int, generator: torch.Generator) -> PriorModule:
        """Make the torch module for `n_components` latent variables."""
        return StandardNormalModule(n_components)


class StandardNormalModule(PriorModule):
    """N(0, I), with buffers that follow the model's device and precision."""

    is_standard_normal = True
    loc: Tensor
    scale: Tensor

    def __init__(self, n_components: int):
        super().__init__()
        self.register_buffer("loc", torch.zeros(n_components, **FLOAT32), persistent=False)
        self.register_buffer("scale", torch.ones(n_components, **FLOAT32), persistent=False)

    def forward(self) -> Independent:
        """Return N(0, I)."""
        return Independent(Normal(self.loc, self.scale, validate_args=False), 1, validate_args=False)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw from N(0, I)."""
        shape = (n_samples, len(self.loc))
        return torch.randn(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device)

    def kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q || p) in nats per row and component, in closed form."""
        return kl_divergence(q, Normal(self.loc, self.scale, validate_args=False))

    def marginal_kl(self, q: Normal, z: Tensor) -> Tensor:
        """Return KL(q || p) in nats per row and component, in closed form."""
        return self.kl(q, z)
