"""The variational mixture of posteriors as prior."""

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
    r"""The posteriors of learned pseudo-inputs, mixed: :math:`p(z) = \frac{1}{K} \sum_k q(z|u_k)`.

    The prior that is best for the bound is the mean of all rows' posteriors; this one
    stands for it with K rows that are trained with the networks, from training rows drawn at random
    (Tomczak & Welling 2018, eq. 11).

    Parameters
    ----------
    n_pseudo_inputs : int, default=100
        K. Each step, and each chunk of rows that is scored, encodes all of them.

    See Also
    --------
    Mixture : A mixture with parameters of its own.
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
        """Make the torch module for rows of `n_inputs` columns, as the likelihood observes them."""
        return VampPriorModule(int(self.n_pseudo_inputs), n_inputs)


class VampPriorModule(DiagonalMixture):
    """Pseudo-inputs, in the encoder's input space."""

    def __init__(self, n_pseudo_inputs: int, n_inputs: int):
        super().__init__()
        self.pseudo_inputs = nn.Parameter(torch.zeros(n_pseudo_inputs, n_inputs, **FLOAT32))

    @torch.no_grad()
    def start_at(self, rows: Callable[[int], Tensor]) -> None:
        """Start at training rows; with fewer rows than pseudo-inputs, at each more than once."""
        drawn = rows(len(self.pseudo_inputs))
        index = torch.arange(len(self.pseudo_inputs), device=drawn.device) % len(drawn)
        self.pseudo_inputs.copy_(drawn[index])

    def parameters_of(self) -> tuple[Tensor, Normal]:
        """Return equal log-weights, and the posteriors of the pseudo-inputs."""
        q = self.encode(self.pseudo_inputs)
        return q.loc.new_full((len(q.loc),), -math.log(len(q.loc))), q
