"""Discretised logistic likelihood."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import Interval
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid

from sklearn_vae._data.devices import FLOAT32, FLOAT64
from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae.likelihoods.linear_start import LinearStart
from sklearn_vae.likelihoods.module import LikelihoodModule, is_close
from sklearn_vae.likelihoods.unit_interval import UnitInterval
from sklearn_vae.likelihoods.values import Observed

# Smallest scale, in bin widths. A distribution centred in a bin then has 0.9999 of its mass there.
MIN_SCALE = 0.05
# Largest distance of a value from a level, in bin widths; it allows for rounding to float32.
LEVEL_TOLERANCE = 0.01
# Number of values that `check_data` compares with the levels at a time.
CHUNK_SIZE = 2**20
# Standard deviation of a logistic distribution with scale 1.
STD_PER_SCALE = math.pi / math.sqrt(3)
# Largest rate (bin width / scale) at which a sum over levels is computed as an integral, with an error below 2e-8.
MAX_SMOOTH_RATE = 0.5
# Argument at which a sigmoid is 0 or 1 in float64.
SATURATION = 40.0


class DiscretizedLogistic(UnitInterval):
    r"""Logistic distribution per column, rounded to equally spaced values.

    .. math:: P(x|z) = F(x + \tfrac{b}{2}) - F(x - \tfrac{b}{2}),
        \qquad F(x) = \frac{1}{1 + e^{-(x - f(z)) / s}},

    where b is the distance between neighbouring values. The first and the last value also get
    the mass beyond them (Kingma et al. 2016 [1]_; Salimans et al. 2017, eq. 2 [2]_).
    Log-likelihoods are true log-probabilities, so they do not depend on the data's units. The
    networks see columns that are centred and divided by one global unit, as with `Gaussian`.
    ``inverse_transform`` returns the mean of the rounded distribution. ``sample`` draws rounded
    values.

    Parameters
    ----------
    levels : int, default=256
        Number of possible values, which are equally spaced from 0 to `max_value`.
    max_value : float or "auto", default="auto"
        The largest possible value. "auto": ``levels - 1`` for unsigned bytes with values
        above 1, otherwise 1.
    per_column : bool, default=True
        Whether each column has its own scale :math:`s`, instead of one scale for all columns.
        Scales are trained by gradient and are at least b / 20.

    See Also
    --------
    Gaussian : Density for real values.
    ContinuousBernoulli : Density for values in [0, 1].

    References
    ----------
    .. [1] D. P. Kingma et al. (2016). Improving variational inference with inverse
       autoregressive flow. NeurIPS.
    .. [2] T. Salimans, A. Karpathy, X. Chen and D. P. Kingma (2017). PixelCNN++. ICLR.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.likelihoods import DiscretizedLogistic
    >>> X = load_digits().data[:200]  # 0, 1, ..., 16
    >>> likelihood = DiscretizedLogistic(levels=17, max_value=16)
    >>> vae = VAETransformer(2, likelihood=likelihood, max_iter=5, early_stopping=False, random_state=0).fit(X)
    >>> set(vae.sample(10, random_state=0).ravel().tolist()) <= set(range(17))
    True
    >>> bool((vae.score_samples(X) < 0).all())
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **UnitInterval._parameter_constraints,
        "levels": [Interval(Integral, 2, None, closed="left")],
        "per_column": ["boolean"],
    }

    def __init__(self, levels=256, max_value="auto", per_column=True):
        self.levels = levels
        self.max_value = max_value
        self.per_column = per_column

    @property
    def max_byte(self) -> int:
        """The largest value of bytes with `levels` levels."""
        return self.levels - 1

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return DiscretizedLogisticModule(n_features, n_features if self.per_column else 1, self.levels, self.max_value)

    def check_data(self, X: np.ndarray) -> None:
        """Raise ValueError unless all values are levels."""
        super().check_data(X)
        step = self.max_value / (self.levels - 1)
        if X.dtype == np.uint8 and step == 1:
            return
        n_rows = max(1, CHUNK_SIZE // X.shape[1])
        for start in range(0, len(X), n_rows):
            position = X[start : start + n_rows] / step
            is_between = np.abs(position - np.rint(position)) > LEVEL_TOLERANCE
            if is_between.any():
                raise ValueError(
                    f"likelihood DiscretizedLogistic: expected the {self.levels} values 0, {step:g}, ..., "
                    f"{self.max_value:g}, got {X[start : start + n_rows][is_between][0]:.6g}; set levels and "
                    "max_value to those of the data, or use likelihood='gaussian' or 'continuous_bernoulli' for values "
                    "between the levels."
                )


class DiscretizedLogisticModule(LikelihoodModule):
    """Discretised logistic distribution whose raw outputs are locations.

    `log_scale`, of shape (1,) or (n_features,), is the logarithm of the scale divided by `unit`.
    """

    center: Tensor
    unit: Tensor

    def __init__(self, n_features: int, n_scales: int, levels: int, max_value: float):
        super().__init__(n_features, n_features)
        self.levels = levels
        self.step = max_value / (levels - 1)
        self.register_buffer("center", torch.zeros(n_features, **FLOAT64))
        self.register_buffer("unit", torch.ones((), **FLOAT64))
        self.log_scale = nn.Parameter(torch.zeros(n_scales, **FLOAT32))

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the data's center and unit."""
        self.center.copy_(moments.center)
        self.unit.fill_(moments.unit)

    def linear_start(self, ppca: PPCA) -> LinearStart:
        """Return the maps of probabilistic PCA; set the scales to the residual variances of the columns."""
        min_std = STD_PER_SCALE * MIN_SCALE * self.step / float(self.unit)
        noise_variance = max(ppca.noise_variance, min_std**2)
        maps = ppca.maps(noise_variance)
        residual = ppca.moments.variance.cpu().numpy() / float(self.unit) ** 2 - np.square(maps.decoder).sum(1)
        residual = residual if len(self.log_scale) > 1 else residual.mean(keepdims=True)
        with torch.no_grad():
            self.log_scale.copy_(torch.from_numpy(np.sqrt(residual.clip(min_std**2)) / STD_PER_SCALE).log())
        return LinearStart(
            encoder_weight=maps.encoder,
            encoder_bias=np.zeros(len(maps.encoder)),
            posterior_variance=maps.posterior_variance,
            decoder_weight=maps.decoder,
            decoder_bias=np.zeros(self.n_outputs),
            spread=maps.spread,
            input_mean=np.zeros(self.n_outputs),
            input_weight=maps.decoder,
            input_variance=np.full(self.n_outputs, noise_variance),
        )

    @property
    def variance(self) -> Tensor:
        """Variance before rounding, in the data's units, shape (1,) or (n_features,)."""
        return (self.floored_log_scale().detach().double().exp() * STD_PER_SCALE * self.unit).square()

    def floored_log_scale(self) -> Tensor:
        """Return the log-scale with its floor, `MIN_SCALE` bin widths; the gradient ignores the floor."""
        floor = (MIN_SCALE * self.step / self.unit).log().to(self.log_scale.dtype)
        return self.log_scale + (self.log_scale.maximum(floor) - self.log_scale).detach()

    @property
    def cell_unit(self) -> float:
        """The data's unit."""
        return float(self.unit)

    def suits(self, mean: np.ndarray, unit: float) -> bool:
        """Return whether center and unit are about those of the columns."""
        return is_close(self.center.cpu().numpy(), float(self.unit), mean, unit)

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Centre the columns and divide them by the unit."""
        x = x if x.is_floating_point() else x.to(self.dtype)
        y = ((x - self.center.to(x.dtype)) / self.unit.to(x.dtype)).to(self.dtype)
        return Observed(y, y)

    def restore(self, cells: Tensor) -> Tensor:
        """Return the columns in the data's units."""
        return cells * self.unit + self.center

    def forward(self, raw: Tensor) -> RoundedLogistic:
        """Return the distribution with locations `raw` per column, in standardised units."""
        first, step = (t.to(raw.dtype) for t in (-self.center / self.unit, self.step / self.unit))
        return RoundedLogistic(raw, self.floored_log_scale().to(raw.dtype), first, step, self.levels)

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log P(x_j|z) of each cell; probabilities do not depend on units."""
        return self(raw).log_prob(observed.cells)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean of the rounded distribution in the data's units, float64."""
        return self(raw.double()).mean_level * self.step

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw from the logistic distribution and round."""
        loc = raw.double() * self.unit + self.center
        scale = self.floored_log_scale().detach().double().exp() * self.unit
        u = torch.rand(loc.shape, generator=generator, dtype=loc.dtype, device=loc.device)
        return ((loc + scale * u.logit()) / self.step).round().clamp(0, self.levels - 1) * self.step


class RoundedLogistic(Distribution):
    """Logistic distribution, rounded to the nearest of equally spaced levels.

    Parameters
    ----------
    loc : Tensor of shape (..., n_features)
    log_scale : Tensor of shape (1,) or (n_features,)
    first : Tensor of shape (n_features,)
        The first level.
    step : Tensor of shape ()
        Distance between neighbouring levels.
    n_levels : int
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, loc: Tensor, log_scale: Tensor, first: Tensor, step: Tensor, n_levels: int):
        self.loc, self.log_scale, self.first, self.step, self.n_levels = loc, log_scale, first, step, n_levels
        super().__init__(loc.shape, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        r"""Return the log-probability of the level at `value`.

        Let :math:`l < u` be the scaled ends of the level's bin. The probability
        :math:`\sigma(u) - \sigma(l)` equals :math:`\sigma(u) \sigma(-l) (1 - e^{l - u})`, which is
        free of cancellation. If one end is infinite, its factor and the last factor are 1.
        """
        rate, half = (-self.log_scale).exp(), self.step / 2
        below, above = self.first + half, self.first + (self.n_levels - 1.5) * self.step
        has_lower, has_upper = value > below, value < above
        residual = value - self.loc
        upper = torch.where(has_upper, logsigmoid((half + residual) * rate), 0.0)
        lower = torch.where(has_lower, logsigmoid((half - residual) * rate), 0.0)
        width = torch.where(has_lower & has_upper, (-torch.expm1(-self.step * rate)).log(), 0.0)
        return upper + lower + width

    @property
    def mean(self) -> Tensor:
        """Mean of the rounded distribution."""
        return self.first + self.step * self.mean_level

    @torch.no_grad()
    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draw from the logistic distribution and round."""
        shape = (*sample_shape, *self.loc.shape)
        u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device)
        level = (self.loc + self.log_scale.exp() * u.logit() - self.first) / self.step
        return self.first + self.step * level.round().clamp(0, self.n_levels - 1)

    @property
    def mean_level(self) -> Tensor:
        """Mean index of the level, counted from 0: the sum over bin edges of the probability above the edge."""
        position = (self.loc - self.first) / self.step
        rate = (self.step * (-self.log_scale).exp()).expand(position.shape[-1:])
        return sum_of_sigmoids(position, rate, self.n_levels - 1)


def sum_of_sigmoids(x: Tensor, rate: Tensor, n: int) -> Tensor:
    r"""Return :math:`\sum_{k=0}^{n-1} \sigma(r (x - k - 1/2))`, in a time that hardly depends on n.

    Parameters
    ----------
    x : Tensor of shape (..., n_features)
    rate : Tensor of shape (n_features,)
    n : int
    """
    total = torch.zeros_like(x)
    is_smooth = rate <= MAX_SMOOTH_RATE
    if is_smooth.any():
        total[..., is_smooth] = _smooth_sum(x[..., is_smooth], rate[is_smooth], n)
    if not is_smooth.all():
        total[..., ~is_smooth] = _sharp_sum(x[..., ~is_smooth], rate[~is_smooth], n)
    return total


def _smooth_sum(x: Tensor, rate: Tensor, n: int) -> Tensor:
    """Return the sum as an integral with the first three corrections of the Euler-Maclaurin formula."""

    def antiderivative(u: Tensor) -> Tensor:
        """Return the antiderivative of the terms, with the corrections."""
        slope = u.sigmoid() * (-u).sigmoid()
        third = slope * (1 - 6 * slope)
        fifth = slope * (1 - 30 * slope + 120 * slope.square())
        corrections = -rate / 24 * slope + 7 * rate**3 / 5760 * third - 31 * rate**5 / 967680 * fifth
        return corrections - logsigmoid(-u) / rate

    return antiderivative(rate * x) - antiderivative(rate * (x - n))


def _sharp_sum(x: Tensor, rate: Tensor, n: int) -> Tensor:
    """Return the sum over the terms near `x`; those below are 1, those above are 0."""
    reach = math.ceil(SATURATION / float(rate.detach().min()))
    n_near = min(n, 2 * reach)
    n_below = (x.detach().floor() - reach).clamp(0, n - n_near)
    return n_below + _SumOfSigmoids.apply(x - n_below, rate, n_near)


class _SumOfSigmoids(torch.autograd.Function):
    r"""Sum of :math:`\sigma(r (x - k - 1/2))` over k = 0, ..., n - 1, with one term in memory at a time."""

    @staticmethod
    def forward(ctx, x: Tensor, rate: Tensor, n: int) -> Tensor:
        """Return the sum."""
        ctx.save_for_backward(x, rate)
        ctx.n = n
        total = torch.zeros_like(x)
        for term in _sigmoids(x, rate, n):
            total += term
        return total

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient with respect to `x`; the gradient of `rate` is not needed."""
        x, rate = ctx.saved_tensors
        slope = torch.zeros_like(x)
        with torch.no_grad():
            for term in _sigmoids(x, rate, ctx.n):
                slope += term * (1 - term)
        return gradients[0] * slope * rate, None, None


def _sigmoids(x: Tensor, rate: Tensor, n: int) -> Iterator[Tensor]:
    """Yield the terms of the sum; each overwrites the one before."""
    argument, term = (x - 0.5) * rate, torch.empty_like(x)
    for k in range(n):
        yield torch.sub(argument, k * rate, out=term).sigmoid_()
