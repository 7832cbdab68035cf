"""The standard normal prior."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal

from sklearn_vae.priors.base import Prior, PriorModule


class StandardNormal(Prior):
    """Independent standard normal components, p(z) = N(0, I) (Kingma & Welling 2014).

    Examples
    --------
    >>> from sklearn_vae.priors import StandardNormal
    >>> StandardNormal().build(n_components=2)().sample().shape
    torch.Size([2])
    """

    def build(self, n_components: int) -> PriorModule:
        """Make the torch module for `n_components` latent variables."""
        return StandardNormalModule(n_components)


class StandardNormalModule(PriorModule):
    """N(0, I); its buffers follow the model's device and precision."""

    loc: Tensor
    scale: Tensor

    def __init__(self, n_components: int):
        super().__init__()
        self.register_buffer("loc", torch.zeros(n_components), persistent=False)
        self.register_buffer("scale", torch.ones(n_components), persistent=False)

    def forward(self) -> Normal:
        """Return N(0, I)."""
        return Normal(self.loc, self.scale, validate_args=False)

    def sample(self, n_samples: int, generator: torch.Generator) -> Tensor:
        """Draw from N(0, I)."""
        shape = (n_samples, len(self.loc))
        return torch.randn(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device)
