"""Gaussian likelihood with optimal, learned or fixed scale."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from numbers import Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor, nn

from sklearn_vae._data.devices import FLOAT32
from sklearn_vae._data.masks import as_numbers
from sklearn_vae._data.ppca import Moments
from sklearn_vae.likelihoods.base import Likelihood
from sklearn_vae.likelihoods.gaussian_module import GaussianModule
from sklearn_vae.likelihoods.linear_start import MIN_VARIANCE
from sklearn_vae.likelihoods.module import SUMS_DECAY, LikelihoodModule
from sklearn_vae.likelihoods.values import Observed

# Smallest fixed scale, relative to the root of the columns' mean variance.
MIN_FIXED_SCALE = 1e-9
# Weight of the initial variance in the running sums of the optimal scale, in cells.
START_WEIGHT = 1e-12


class Gaussian(Likelihood):
    r"""Normal distribution per column, :math:`p(x|z) = N(x; f(z), \sigma^2)`.

    The networks see columns that are centred and divided by one global unit. All results are
    in the data's units.

    Parameters
    ----------
    scale : {"optimal", "learned"} or float, default="optimal"
        The standard deviation :math:`\sigma`. "optimal": the maximum-likelihood value given
        the reconstructions, which is the root mean squared error (sigma-VAE, [1]_). It needs
        no weight to tune and avoids posterior collapse on data of any scale. "learned": a
        parameter trained by gradient. A float: a fixed value in the data's units, at least
        1e-9 of the root of the columns' mean variance.
    per_column : bool or "auto", default="auto"
        True: one scale per column instead of one for all; not for a fixed scale. Training then
        starts at factor analysis, and the unit of the input noise is each column's scale. False: one
        scale. "auto": one scale in training, so that columns with little noise do not take up
        all latent variables. After training with an optimal scale, `VAETransformer` estimates
        one scale per column from the errors of held-out rows, for densities and samples.
        With early stopping and at most 128 columns, `VAEImputer` trains with True, too, and keeps
        the model that predicts hidden cells of held-out rows better.

    See Also
    --------
    DiscretizedLogistic : Probabilities for equally spaced values.
    sklearn.decomposition.PCA : The linear model, whose `noise_variance_` is the square of the
        optimal scale.

    References
    ----------
    .. [1] O. Rybkin, K. Daniilidis and S. Levine (2021). Simple and effective VAE
       training with calibrated decoders. ICML.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.likelihoods import Gaussian
    >>> X = load_iris().data
    >>> vae = VAETransformer(2, likelihood=Gaussian(scale=0.3), max_iter=10, random_state=0).fit(X)
    >>> round(float(vae.noise_variance_), 4)
    0.09
    """

    _parameter_constraints: ClassVar[dict] = {
        "scale": [StrOptions({"optimal", "learned"}), Interval(Real, 0, None, closed="neither")],
        "per_column": ["boolean", StrOptions({"auto"})],
    }

    def __init__(self, scale="optimal", per_column="auto"):
        self.scale = scale
        self.per_column = per_column

    @property
    def isotropic(self) -> bool:
        """True if all columns have one common scale in training."""
        return isinstance(self.per_column, str) or not self.per_column

    @property
    def has_free_scale(self) -> bool:
        """True unless the scale is fixed."""
        return isinstance(self.scale, str)

    def resolved_as(self, fitted: Likelihood) -> Likelihood:
        """Return the specification with "auto" replaced by the fitted choice of scales."""
        assert isinstance(fitted, Gaussian)
        return Gaussian(self.scale, fitted.per_column) if isinstance(self.per_column, str) else self

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns or their `n_coordinates`."""
        n_scales = 1 if self.isotropic else n_features
        if self.scale == "optimal":
            return OptimalGaussian(n_features, n_coordinates, n_scales, isinstance(self.per_column, str))
        if self.scale == "learned":
            return LearnedGaussian(n_features, n_coordinates, n_scales)
        if not self.isotropic:
            raise ValueError(
                f"Gaussian: expected per_column=False with a fixed scale, got per_column=True, scale={self.scale!r}; "
                "use scale='optimal' or 'learned', or divide the columns by their scales first."
            )
        return FixedGaussian(n_features, n_coordinates, self.scale)


class ClosedFormGaussian(GaussianModule):
    """Base class of the modules whose scale is not trained by gradient."""

    def log_prob_and_gradient(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> tuple[float, Tensor]:
        """Return the weighted sum of log p(x|z) over rows in training mode, and its gradient, for one scale.

        Scalars are Python floats, because the overhead of tensor calls dominates on small batches.
        """
        if observed.mask is not None:
            return self._log_prob_of_cells_and_gradient(observed, observed.mask, raw, weight)
        residual, dropped = self._residual(observed.cells, raw)
        weighted = residual if weight is None else residual * weight[:, None]
        square = torch.linalg.vecdot(weighted, residual).sum().item()
        if self.n_dropped:
            square += (dropped * dropped if weight is None else dropped * dropped * weight[:, None]).sum().item()
        n_cells = len(self.center) * (len(raw) if weight is None else weight.sum().item())
        log_prob, precision = self._fit(square, n_cells)
        return log_prob, weighted.mul_(precision)

    def _log_prob_of_cells_and_gradient(
        self, observed: Observed, mask: Tensor, raw: Tensor, weight: Tensor | None
    ) -> tuple[float, Tensor]:
        """Return what `log_prob_and_gradient` does for rows with missing cells, whose cells are columns."""
        counted = as_numbers(mask, raw.dtype)
        residual = (observed.cells - self._columns(raw)).mul_(counted)
        weighted = residual if weight is None else residual * weight[:, None]
        square = torch.linalg.vecdot(weighted, residual).sum().item()
        n_cells = (counted.sum(-1) if weight is None else weight * counted.sum(-1)).sum().item()
        log_prob, precision = self._fit(square, n_cells)
        gradient = weighted if self.axes is None else weighted @ self._axes_as(weighted.dtype)
        return log_prob, gradient.mul_(precision)

    def _fit(self, square: float, n_cells: float) -> tuple[float, float]:
        """Fit the scale to weighted sums of squared residuals and of cells; return log-probability and precision."""
        log_scale = self.fit_scale_to(square, n_cells)
        precision = math.exp(-2 * log_scale)
        log_cell = log_scale + 0.5 * math.log(2 * math.pi) + math.log(self.unit)
        return -n_cells * log_cell - 0.5 * precision * square, precision

    @abstractmethod
    def fit_scale_to(self, square: float, n_cells: float) -> float:
        """Add weighted sums of squared residuals and of cells to the scale's statistics; return the log-scale."""


class OptimalGaussian(ClosedFormGaussian):
    """Gaussian whose scale is the root mean squared error of recent batches (Rybkin et al. 2021), in closed form.

    `sums` holds the weighted sums of squared residuals and of cells, per scale. A single batch hardly
    changes the scale, so each batch contributes to the gradient by its total weight. With the optimal
    scale of each batch, all batches would contribute equally.
    """

    observes_in_numpy = True
    sums_cells = True

    sums: Tensor

    def __init__(self, n_features: int, n_coordinates: int | None, n_scales: int, measures_columns: bool = False):
        super().__init__(n_features, n_coordinates, n_scales, measures_columns)
        self.register_buffer("sums", torch.ones(2, n_scales, **FLOAT32))

    @property
    def log_scale(self) -> Tensor:  # type: ignore[override]
        """Half the logarithm of the mean squared residual, which is at least `MIN_VARIANCE`."""
        square, n_cells = self.sums
        return 0.5 * (square / n_cells).clamp_min(MIN_VARIANCE).log()

    @property
    def has_gradient(self) -> bool:  # type: ignore[override]
        """True if there is one scale."""
        return self.n_scales == 1

    @property
    def measures_columns(self) -> bool:  # type: ignore[override]
        """True if there is one scale in training and one scale per column afterwards."""
        return self.column_log_scale is not None

    def optima(self) -> Iterator[Tensor]:
        """Yield `sums`."""
        yield self.sums

    def set_variance(self, variance: float | np.ndarray) -> None:
        """Start the sums at this variance, with a weight too small to matter."""
        self.sums[0], self.sums[1] = START_WEIGHT * torch.as_tensor(variance), START_WEIGHT

    def fit_scale(self, square: Tensor, n_cells: int | Tensor, weight: Tensor | None) -> None:
        """Add the rows to the sums, after averaging over draws."""
        square = square.flatten(0, -3).mean(0) if square.ndim > 2 else square
        if isinstance(n_cells, Tensor):
            added = n_cells.sum(0) if weight is None else weight @ n_cells
            # The sums of a column without an observed cell stay as they are, because their quotient is its variance.
            self.sums.mul_(torch.where(added > 0, SUMS_DECAY, 1.0))
            self.sums[1] += added
        else:
            self.sums.mul_(SUMS_DECAY)
            self.sums[1] += n_cells * (len(square) if weight is None else weight.sum())
        self.sums[0] += square.sum(0) if weight is None else weight @ square

    def fit_scale_to(self, square: float, n_cells: float) -> float:
        """Add one batch to the sums; return the log-scale."""
        ((old_square,), (old_cells,)) = self.sums.tolist()
        square, n_cells = SUMS_DECAY * old_square + square, SUMS_DECAY * old_cells + n_cells
        self.sums.copy_(torch.tensor([[square], [n_cells]], **FLOAT32))
        return 0.5 * math.log(max(square / n_cells, MIN_VARIANCE))


class LearnedGaussian(GaussianModule):
    """Gaussian whose scale is a parameter trained by gradient."""

    observes_in_numpy = True
    sums_cells = True

    def __init__(self, n_features: int, n_coordinates: int | None, n_scales: int):
        super().__init__(n_features, n_coordinates, n_scales)
        self.log_scale = nn.Parameter(torch.zeros(n_scales, **FLOAT32))

    @torch.no_grad()
    def set_variance(self, variance: float | np.ndarray) -> None:
        """Set the initial scale; the variance is at least `MIN_VARIANCE`."""
        self.log_scale.copy_(0.5 * torch.as_tensor(variance).clamp_min(MIN_VARIANCE).log())

    def floored_log_scale(self) -> Tensor:
        """Return the log-scale for a variance of at least `MIN_VARIANCE`; the gradient ignores this floor."""
        return self.log_scale + (self.log_scale.clamp_min(0.5 * math.log(MIN_VARIANCE)) - self.log_scale).detach()

    def fit_scale(self, square: Tensor, n_cells: int | Tensor, weight: Tensor | None) -> None:
        """Do nothing, because the optimiser trains the scale."""


class FixedGaussian(ClosedFormGaussian):
    """Gaussian whose scale is fixed, in the data's units."""

    has_gradient = True
    observes_in_numpy = True
    sums_cells = True

    def __init__(self, n_features: int, n_coordinates: int | None, scale: float):
        super().__init__(n_features, n_coordinates)
        self.scale = scale
        self.register_buffer("log_scale", torch.tensor([math.log(scale)], **FLOAT32))

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the data's units and divide the scale by `unit`; raise ValueError if the result is too small."""
        super().set_units(moments, axes)
        self.log_scale.fill_(math.log(self.scale) - math.log(moments.unit))
        if self.log_scale < math.log(MIN_FIXED_SCALE):
            raise ValueError(
                f"Gaussian: expected scale to be at least {MIN_FIXED_SCALE:g} times the root of the columns' mean "
                f"variance, {moments.unit:.3g}, got {self.scale:g}; use a larger scale, or scale='optimal'."
            )

    def set_variance(self, variance: float | np.ndarray) -> None:
        """Do nothing, because the scale is fixed."""

    def fit_scale(self, square: Tensor, n_cells: int | Tensor, weight: Tensor | None) -> None:
        """Do nothing, because the scale is fixed."""

    def fit_scale_to(self, square: float, n_cells: float) -> float:
        """Return the fixed log-scale."""
        return self.log_scale.item()
