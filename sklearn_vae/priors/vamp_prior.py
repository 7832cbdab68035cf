"""Variational mixture of posteriors as prior."""

from __future__ import annotations

import math
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


class VampPrior(Prior):
    r"""Mixture of the posteriors of learned pseudo-inputs, :math:`p(z) = \frac{1}{K} \sum_k q(z|u_k)`.

    The prior that maximises the bound is the average of the posteriors of all training rows.
    This prior approximates it with K pseudo-inputs (Tomczak & Welling 2018, eq. 11). They start
    at random training rows and are trained together with the networks.

    Parameters
    ----------
    n_pseudo_inputs : int, default=100
        The number K of pseudo-inputs. All of them are encoded in each training step, and for
        each chunk of rows that is scored.

    See Also
    --------
    Mixture : Mixture of Gaussians with learned weights, means and scales.
    StandardNormal : The usual prior.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.priors import VampPrior
    >>> vae = VAETransformer(2, prior=VampPrior(20), max_iter=10, random_state=0).fit(load_iris().data)
    >>> vae.sample(5, random_state=0).shape
    (5, 4)
    """

    _parameter_constraints: ClassVar[dict] = {"n_pseudo_inputs": [Interval(Integral, 1, None, closed="left")]}

    def __init__(self, n_pseudo_inputs=100):
        self.n_pseudo_inputs = n_pseudo_inputs

    def build(self, n_components: int, n_inputs: int, generator: torch.Generator) -> PriorModule:
        """Make the torch module for encoder inputs of width `n_inputs`."""
        return VampPriorModule(int(self.n_pseudo_inputs), n_inputs)


class VampPriorModule(DiagonalMixture):
    """Mixture of the posteriors of pseudo-inputs, which are points in the encoder's input space."""

    def __init__(self, n_pseudo_inputs: int, n_inputs: int):
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.zeros(n_pseudo_inputs, n_inputs, **FLOAT32))

    @torch.no_grad()
    def start_at(self, rows: Callable[[int], Tensor]) -> None:
        """Start at training rows. If there are fewer rows than pseudo-inputs, rows are repeated."""
        drawn = rows(len(self.pseudo_inputs))
        index = torch.arange(len(self.pseudo_inputs), device=drawn.device) % len(drawn)
        self.pseudo_inputs.copy_(drawn[index])

    def parameters_of(self) -> tuple[Tensor, Normal]:
        """Return equal log-weights and the posteriors of the pseudo-inputs."""
        q = self.encode(self.pseudo_inputs)
        return q.loc.new_full((len(q.loc),), -math.log(len(q.loc))), q
