"""Continuous Bernoulli likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli

from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.unit_interval import MARGIN, UnitInterval, UnitIntervalModule

# Largest |a| for power series. There the closed forms lose digits, as differences of large numbers.
CUTOFF = 0.1
# Coefficients of (mean - 1/2) / a and of the variance, as power series in a^2.
MEAN_SERIES = (1 / 12, -1 / 720, 1 / 30240)
VARIANCE_SERIES = (1 / 12, -1 / 240, 1 / 6048)
# Floor for |a|. Below it the distribution is uniform within float64 precision.
MIN_RATE = 1e-18
# Number of bisection steps, enough for float64 precision.
N_BISECTIONS = 60


class ContinuousBernoulli(UnitInterval):
    r"""Continuous Bernoulli distribution per column, :math:`p(x|z) = \prod_j e^{a_j x_j - A(a_j)}`, x in [0, 1].

    The log-normaliser :math:`A(a) = \log((e^a - 1) / a)` makes it a density, unlike the
    cross-entropy on grey pixels (Loaiza-Ganem and Cunningham 2019, eq. 7, here in natural
    parameters [1]_). ``inverse_transform`` returns the mean,
    :math:`1 / (1 - e^{-a}) - 1 / a`, and ``sample`` draws values between 0 and 1; both are
    multiplied by `max_value`.

    Parameters
    ----------
    max_value : float or "auto", default="auto"
        The largest possible value. Columns are divided by it, and results are multiplied by
        it. "auto": 255 for unsigned bytes with values above 1, otherwise 1. Log-densities are
        in the data's units: each column contributes :math:`-\log` of this value.

    See Also
    --------
    Bernoulli : Probabilities for zeros and ones.
    DiscretizedLogistic : Probabilities for equally spaced values.

    References
    ----------
    .. [1] G. Loaiza-Ganem and J. P. Cunningham (2019). The continuous Bernoulli: fixing a
       pervasive error in variational autoencoders. NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.likelihoods import ContinuousBernoulli
    >>> X = load_digits().data[:200]
    >>> likelihood = ContinuousBernoulli(max_value=16)
    >>> vae = VAETransformer(2, likelihood=likelihood, max_iter=5, early_stopping=False, random_state=0).fit(X)
    >>> draws = vae.sample(10, random_state=0)
    >>> bool(draws.min() >= 0 and draws.max() <= 16)
    True
    """

    def __init__(self, max_value="auto"):
        self.max_value = max_value

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return ContinuousBernoulliModule(n_features, self.max_value)


class ContinuousBernoulliModule(UnitIntervalModule):
    """Continuous Bernoulli distribution whose raw outputs are natural parameters."""

    sums_cells = True

    def link(self, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return natural parameters and reciprocal variances."""
        a = invert_mean(torch.from_numpy(mean.clip(MARGIN, 1 - MARGIN)))
        return a.numpy(), 1 / variance_of(a).numpy()

    def forward(self, raw: Tensor) -> TorchContinuousBernoulli:
        """Return the distribution with logits `raw` per column, in [0, 1]."""
        return TorchContinuousBernoulli(logits=raw, validate_args=False)

    def log_normalizer(self, raw: Tensor) -> Tensor:
        """Return log((exp(raw) - 1) / raw) + log(`max_value`)."""
        return log_normalizer_of(raw) + math.log(self.max_value)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean in the data's units, float64."""
        return mean_of(raw.double()) * self.max_value

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw with the inverse distribution function at -abs(raw), which cannot overflow; mirror for raw > 0."""
        raw = raw.double()
        u = torch.rand(raw.shape, generator=generator, dtype=raw.dtype, device=raw.device)
        rate = raw.abs().clamp_min(MIN_RATE)
        y = torch.log1p(u * torch.expm1(-rate)) / -rate
        return torch.where(raw > 0, 1 - y, y) * self.max_value


class _LogNormalizer(torch.autograd.Function):
    r"""Log-normaliser :math:`A(a) = \max(a, 0) + \log((1 - e^{-|a|}) / |a|)`, with the mean as its gradient.

    This form is free of cancellation. The explicit gradient needs a third of the passes over the
    cells that autograd would need.
    """

    @staticmethod
    def forward(ctx, a: Tensor) -> Tensor:
        """Return A(a)."""
        ctx.save_for_backward(a)
        rate = a.abs().clamp_min(MIN_RATE)
        return torch.expm1(-rate).div_(rate).neg_().log_().add_(a.clamp_min(0))

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> Tensor:
        """Return the incoming gradient times A'(a)."""
        (a,) = ctx.saved_tensors
        return gradients[0] * mean_of(a)


def log_normalizer_of(a: Tensor) -> Tensor:
    r"""Return :math:`A(a) = \log((e^a - 1) / a)`."""
    return _LogNormalizer.apply(a)


def mean_of(a: Tensor) -> Tensor:
    r"""Return :math:`A'(a) = (1 + \coth(a / 2)) / 2 - 1 / a`."""
    small, near, far = _split(a)
    return 0.5 + torch.where(small, near * _power_series(near, MEAN_SERIES), 0.5 / torch.tanh(far / 2) - 1 / far)


def variance_of(a: Tensor) -> Tensor:
    r"""Return :math:`A''(a) = 1 / a^2 - 1 / (2 \sinh(a / 2))^2`."""
    small, near, far = _split(a)
    return torch.where(
        small, _power_series(near, VARIANCE_SERIES), far.square().reciprocal() - (2 * (far / 2).sinh()).pow(-2)
    )


def invert_mean(mean: Tensor) -> Tensor:
    """Return the natural parameters that have these means in (0, 1), by bisection.

    The mean is below 1 / abs(a) for negative a, and above 1 - 1 / a for positive a. These bounds give the interval.
    """
    low, high = -1 / mean, 1 / (1 - mean)
    for _ in range(N_BISECTIONS):
        middle = (low + high) / 2
        below = mean_of(middle) < mean
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _split(a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a mask of small `a`, and `a` in each of the two regions.

    Each part holds a harmless constant outside its region, because autograd differentiates both branches.
    """
    small = a.abs() < CUTOFF
    return small, torch.where(small, a, 0.0), torch.where(small, 1.0, a)


def _power_series(a: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Return the polynomial in the square of `a`; the constant is the first coefficient."""
    square = a.square()
    value = torch.full_like(a, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = coefficient + value * square
    return value
