"""Bernoulli likelihood."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli

from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.unit_interval import MARGIN, UnitInterval, UnitIntervalModule
from sklearn_vae.likelihoods.values import Observed


class Bernoulli(UnitInterval):
    r"""Bernoulli distribution per column, :math:`p(x|z) = \prod_j \pi_j^{x_j} (1 - \pi_j)^{1 - x_j}`.

    A value between 0 and 1 is treated as the probability of a one, which gives the usual
    cross-entropy on grey pixels. Log-likelihoods are true log-probabilities only if all values
    are 0 or 1. ``sample`` draws zeros and ones, and ``inverse_transform`` returns the
    probabilities; both are multiplied by `max_value`.

    Parameters
    ----------
    max_value : float or "auto", default="auto"
        The value that represents a one. Columns are divided by it, and results are multiplied
        by it. "auto": 255 for unsigned bytes with values above 1, otherwise 1.
    dynamic_binarization : bool, default=False
        Whether training draws a zero or a one in place of each value, with the value as its
        probability (Salakhutdinov & Murray 2008). The draw is new in every epoch. Published
        log-likelihoods of grey images use this training, and test images that are binarised
        once.

    See Also
    --------
    ContinuousBernoulli : Density for grey values.
    DiscretizedLogistic : Probabilities for equally spaced values.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_vae import VAETransformer
    >>> X = load_digits().data[:200] > 7
    >>> vae = VAETransformer(2, likelihood="bernoulli", max_iter=5, random_state=0).fit(X)
    >>> sorted(set(vae.sample(10, random_state=0).ravel().tolist()))
    [0.0, 1.0]
    """

    _parameter_constraints: ClassVar[dict] = {
        **UnitInterval._parameter_constraints,
        "dynamic_binarization": ["boolean"],
    }

    def __init__(self, max_value="auto", dynamic_binarization=False):
        self.max_value = max_value
        self.dynamic_binarization = dynamic_binarization

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return BernoulliModule(n_features, self.max_value, self.dynamic_binarization)

    def kinds_of_means(self, n_features: int) -> list[str]:
        """Return "probability" for each column, unless a number other than 1 represents a one."""
        return ["probability" if self.max_value == 1 else "number"] * n_features


class BernoulliModule(UnitIntervalModule):
    """Bernoulli distribution whose raw outputs are logits."""

    sums_cells = True

    def __init__(self, n_features: int, max_value: float, dynamic_binarization: bool):
        super().__init__(n_features, max_value)
        self.dynamic_binarization = dynamic_binarization

    def link(self, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and reciprocal variances."""
        mean = mean.clip(MARGIN, 1 - MARGIN)
        return np.log(mean / (1 - mean)), 1 / (mean * (1 - mean))

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Return the columns in [0, 1]. With dynamic binarisation and a generator, draw zeros and ones."""
        observed = super().observe(x)
        if not self.dynamic_binarization or generator is None:
            return observed
        y = torch.bernoulli(observed.cells, generator=generator)
        return Observed(y, y)

    def forward(self, raw: Tensor) -> TorchBernoulli:
        """Return Bernoulli(logits=raw) per column."""
        return TorchBernoulli(logits=raw, validate_args=False)

    def log_normalizer(self, raw: Tensor) -> Tensor:
        """Return log(1 + exp(raw))."""
        return torch.nn.functional.softplus(raw)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw zeros and ones, times `max_value`."""
        return torch.bernoulli(raw.double().sigmoid(), generator=generator) * self.max_value
