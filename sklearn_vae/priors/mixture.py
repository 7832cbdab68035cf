"""Learned mixture of Gaussians as prior."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import ClassVar

import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn
from torch.distributions import Normal

from sklearn_vae._data.devices import FLOAT32
from sklearn_vae.priors.base import Prior, PriorModule
from sklearn_vae.priors.diagonal_mixture import DiagonalMixture


class Mixture(Prior):
    r"""Mixture of Gaussians, :math:`p(z) = \sum_k \pi_k N(z; m_k, \mathrm{diag}(s_k^2))`.

    Weights, means and scales are trained together with the networks. This is the prior of
    Dilokthanakul et al. (2016), without their other changes. The KL between posterior and prior is
    estimated with the draw that the decoder gets.

    Parameters
    ----------
    n_mixture_components : int, default=10
        Number of Gaussians.

    See Also
    --------
    VampPrior : Mixture of posteriors.
    StandardNormal : The usual prior.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.priors import Mixture
    >>> vae = VAETransformer(2, prior=Mixture(3), max_iter=10, random_state=0).fit(load_iris().data)
    >>> vae.sample(5, random_state=0).shape
    (5, 4)
    """

    _parameter_constraints: ClassVar[dict] = {"n_mixture_components": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, n_mixture_components=10):
        self.n_mixture_components = n_mixture_components

    def build(self, n_components: int, n_inputs: int, generator: torch.Generator) -> PriorModule:
        """Make the torch module for `n_components` latent variables."""
        return MixtureModule(int(self.n_mixture_components), n_components)


class MixtureModule(DiagonalMixture):
    """Mixture with learned weights, means and scales."""

    def __init__(self, n_mixture_components: int, n_components: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(n_mixture_components, **FLOAT32))
        self.loc = nn.Parameter(torch.zeros(n_mixture_components, n_components, **FLOAT32))
        self.log_scale = nn.Parameter(torch.zeros(n_mixture_components, n_components, **FLOAT32))

    @torch.no_grad()
    def start_at(self, rows: Callable[[int], Tensor]) -> None:
        """Set each Gaussian to the posterior of one training row, widened as in a kernel density estimate.

        The kernel has Scott's bandwidth. Means and variances are shrunk, so that the mixture keeps the variance of
        the posteriors. If there are fewer rows than Gaussians, the remaining Gaussians start at N(0, I).
        """
        n, d = self.loc.shape
        q = self.encode(rows(n))
        width = n ** (-1 / (d + 4))
        self.loc[: len(q.loc)] = q.loc * (1 - width**2) ** 0.5
        self.log_scale[: len(q.loc)] = 0.5 * (q.variance * (1 - width**2) + width**2).log()

    def parameters_of(self) -> tuple[Tensor, Normal]:
        """Return the mixture's log-weights and Gaussians."""
        return self.logits.log_softmax(-1), Normal(self.loc, self.log_scale.exp(), validate_args=False)
