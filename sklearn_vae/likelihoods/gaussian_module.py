"""Module of the Gaussian likelihood, for any kind of scale."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from sklearn_vae._data.devices import FLOAT32, FLOAT64
from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae.likelihoods.linear_start import MIN_VARIANCE, LinearStart
from sklearn_vae.likelihoods.module import LikelihoodModule, is_close
from sklearn_vae.likelihoods.values import Observed

if TYPE_CHECKING:
    from sklearn_vae._model.gaps import Gaps

# Smallest share of a row's squared norm that a difference of squares resolves to 1e-3, in float32.
MIN_DIFFERENCE = 1e-3


class GaussianModule(LikelihoodModule):
    """Base class of the modules with an optimal, learned or fixed scale.

    `log_scale`, of shape (1,) or (n_features,), is the logarithm of the scale divided by `unit`.
    Outside of training, each column's scale may be multiplied by exp(`column_log_scale`).
    With principal coordinates, the decoder reconstructs the first `n_coordinates`. With one scale, the
    density depends on the dropped coordinates only through their norm, which is the encoder's last input:
    the cells are the coordinates and this norm. With one scale per column, outside of training, the cells
    are the columns.
    """

    center: Tensor
    unit: Tensor
    axes: Tensor | None
    log_scale: Tensor

    def __init__(self, n_features: int, n_coordinates: int | None, n_scales: int = 1, measures_columns: bool = False):
        n_outputs = n_features if n_coordinates is None else n_coordinates
        n_dropped = n_features - n_outputs
        super().__init__(n_outputs + (n_dropped > 0), n_outputs)
        self.n_scales, self.n_dropped = n_scales, n_dropped
        self.register_buffer("center", torch.zeros(n_features, **FLOAT64))
        self.register_buffer("unit", torch.ones((), **FLOAT64))
        self.register_buffer(
            "axes", None if n_coordinates is None else torch.zeros(n_features, n_coordinates, **FLOAT64)
        )
        self._training_axes: Tensor | None = None
        self.register_buffer("column_log_scale", torch.zeros(n_features, **FLOAT32) if measures_columns else None)

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the data's center, unit and principal axes."""
        self.center.copy_(moments.center)
        self.unit.fill_(moments.unit)
        if self.axes is not None:
            self.axes.copy_(torch.from_numpy(axes))
            self._training_axes = None

    def linear_start(self, ppca: PPCA) -> LinearStart:
        """Return the maps of probabilistic PCA, or those of factor analysis if there is a scale per column."""
        if ppca.factors is not None:
            return self._factor_start(ppca, *ppca.factors)
        self.set_variance(ppca.noise_variance)
        variance = float((self.variance / self.unit.square()).mean())
        maps = ppca.maps(variance)
        decoder, encoder = maps.decoder, maps.encoder
        if self.axes is not None:
            axes = self.axes.cpu().numpy()
            # The initial encoder gives the dropped norm weight 0.
            decoder, encoder = axes.T @ decoder, np.pad(encoder @ axes, [(0, 0), (0, self.n_inputs - self.n_outputs)])
        n_components = len(encoder)
        return LinearStart(
            encoder,
            np.zeros(n_components),
            maps.posterior_variance,
            decoder,
            np.zeros(self.n_outputs),
            maps.spread,
            input_mean=np.zeros(len(maps.decoder)),
            input_weight=maps.decoder,
            input_variance=np.full(len(maps.decoder), max(variance, MIN_VARIANCE)),
        )

    def _factor_start(self, ppca: PPCA, weight: np.ndarray, variance: np.ndarray) -> LinearStart:
        """Return the maps of factor analysis, whose posterior has the precision I + W^T W / variance."""
        self.set_variance(variance)
        scaled = weight / variance[:, None]
        posterior_variance = 1 / (1 + (scaled * weight).sum(0))
        return LinearStart(
            posterior_variance[:, None] * scaled.T,
            np.zeros(len(posterior_variance)),
            posterior_variance,
            weight,
            np.zeros(len(weight)),
            ppca.maps(ppca.noise_variance).spread,
            input_mean=np.zeros(len(weight)),
            input_weight=weight,
            input_variance=variance,
        )

    @property
    def has_column_scales(self) -> bool:
        """Whether each column has its own scale in training."""
        return self.n_scales > 1

    @property
    def input_noise_unit(self) -> Tensor:
        """Unit of the encoder's input noise: that of the columns, or each column's scale if it has its own.

        Noise above a column's scale would hide what the column has in common with others.
        """
        return self.floored_log_scale().detach().exp() if self.has_column_scales else self.input_unit

    @property
    def cell_unit(self) -> float:
        """The data's unit."""
        return float(self.unit)

    def suits(self, mean: np.ndarray, unit: float) -> bool:
        """Return whether center and unit are about those of the columns."""
        return is_close(self.center.cpu().numpy(), float(self.unit), mean, unit)

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Centre and scale the columns. With principal coordinates, rotate them and append the dropped norm."""
        return self._rotate(self._standardise(x))

    def observe_incomplete(
        self,
        x: Tensor,
        mask: Tensor,
        gaps: Gaps,
        generator: torch.Generator | None = None,
    ) -> Observed:
        """Standardise the columns and fill missing cells, before the columns are rotated."""
        y = gaps.fill(self._standardise(x), mask)
        return Observed(y, self._rotate(y).inputs, mask)

    def _standardise(self, x: Tensor) -> Tensor:
        """Return the columns, centred and divided by the unit, in the module's precision."""
        x = x if x.is_floating_point() else x.to(self.dtype)
        # Divide in place, because batches of wide rows are the largest arrays of a fit.
        return (x - self.center.to(x.dtype)).div_(self.unit.to(x.dtype)).to(self.dtype)

    def _rotate(self, y: Tensor) -> Observed:
        """Return standardised columns, or their principal coordinates, as cells and inputs."""
        if self.axes is None:
            return Observed(y, y)
        axes = self._axes_as(y.dtype)
        inputs = y @ axes
        if self.n_dropped:
            inputs = torch.cat([inputs, self._dropped_norm(y, inputs, axes)], -1)
        return Observed(y if self._scores_columns else inputs, inputs)

    def _dropped_norm(self, y: Tensor, coordinates: Tensor, axes: Tensor) -> Tensor:
        """Return the norm of the part of standardised columns outside of the axes, (n_rows, 1).

        The root of a difference of squares takes half the time, but a small difference would be rounding error. It is
        used in training if it is not small.
        """
        if self.training:
            square = torch.linalg.vecdot(y, y)[..., None]
            dropped = square - torch.linalg.vecdot(coordinates, coordinates)[..., None]
            if bool((dropped > MIN_DIFFERENCE * square).all()):
                return dropped.sqrt_()
        return torch.linalg.vector_norm(y - coordinates @ axes.T, dim=-1, keepdim=True)

    @property
    def _scores_columns(self) -> bool:
        """Whether the cells are columns although the networks work in principal coordinates."""
        return self.axes is not None and self.column_log_scale is not None and not self.training

    def numpy_observer(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return a numpy function that computes the encoder's inputs."""
        dtype = self.log_scale.detach().numpy().dtype
        axes = None if self.axes is None else self.axes.numpy().astype(dtype, copy=False)
        return partial(_observe, self.center.numpy(), self.unit.numpy(), axes, dtype)

    def forward(self, raw: Tensor) -> Normal:
        """Return N(mean, scale^2) per cell, in standardised units."""
        log_scale = self.floored_log_scale()
        if self.column_log_scale is not None and not self.training:
            log_scale = log_scale + self.column_log_scale
        return Normal(self._columns(raw) if self._scores_columns else raw, log_scale.exp(), validate_args=False)

    def _columns(self, raw: Tensor) -> Tensor:
        """Return the means of the standardised columns."""
        return raw if self.axes is None else raw @ self._axes_as(raw.dtype).T

    def _axes_as(self, dtype: torch.dtype) -> Tensor:
        """Return the principal axes in a precision. In training they are converted once."""
        assert self.axes is not None
        if not self.training:
            return self.axes.to(dtype)
        kept = self._training_axes
        if kept is None or (kept.dtype, kept.device) != (dtype, self.axes.device):
            self._training_axes = kept = self.axes.to(dtype)
        return kept

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log p(x_j|z) of each cell. A norm stands for all dropped coordinates, N(0, scale^2) each."""
        if self._scores_columns:
            return self(raw).log_prob(observed.cells) - math.log(self.unit)
        if observed.mask is not None:
            return self(self._columns(raw)).log_prob(observed.cells) - math.log(self.unit)
        cells, norm = observed.cells[..., : self.n_outputs], observed.cells[..., self.n_outputs :]
        log_prob = self(raw).log_prob(cells) - math.log(self.unit)
        if self.n_dropped == 0:
            return log_prob
        each = self(torch.zeros_like(norm)).log_prob(norm / math.sqrt(self.n_dropped)) - math.log(self.unit)
        return torch.cat([log_prob, (self.n_dropped * each).expand(*log_prob.shape[:-1], 1)], -1)

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log p(x|z) per row.

        Squared residuals are summed per scale before they are divided by the variance. This takes a third of
        the passes over the cells that `torch.distributions.Normal` makes.
        """
        if self.column_log_scale is None or self.training:
            return self._log_prob(*self._residual(observed.cells, raw), weight)
        if self.axes is None:
            residual, dropped = self._residual(observed.cells, raw)
            residual = residual * (-self.column_log_scale).exp()
        else:
            residual, dropped = self._residual_of_columns(observed.cells, raw)
        return self._log_prob(residual, dropped, weight) - self.column_log_scale.sum()

    def update_optima(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> None:
        """Add the rows to the statistics of the scale, if it has a closed form."""
        if observed.mask is None:
            self.fit_scale(*self._squares(*self._residual(observed.cells, raw.detach())), weight)
            return
        square = (observed.cells - self._columns(raw.detach())).square().where(observed.mask, 0.0)
        n_cells = observed.mask.to(square.dtype)
        if self.n_scales == 1:
            square, n_cells = square.sum(-1, keepdim=True), n_cells.sum(-1, keepdim=True)
        self.fit_scale(square, n_cells, weight)

    def _residual(self, cells: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoder's residuals (..., n_rows, n_outputs) and the dropped norm (..., n_rows, 0 or 1)."""
        return cells[..., : self.n_outputs] - raw, cells[..., self.n_outputs :]

    def _residual_of_columns(self, y: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        r"""Return what has the squared norm of the weighted residuals of the columns, in the shapes of `_residual`.

        Let :math:`r` be the part of y outside of the axes A, W the columns' precisions, and e the residual of the
        coordinates. With the Cholesky factor :math:`L L^T = A^T W A` and :math:`h = L^{-1} A^T W r`, the squared norm
        :math:`\| W^{1/2} (r + A e) \|^2` is :math:`\| L^T e + h \|^2 + \| W^{1/2} r \|^2 - \| h \|^2`. Only the first
        term depends on the draws of z, and it has as many columns as there are coordinates.
        """
        assert self.axes is not None and self.column_log_scale is not None
        axes, scale = self.axes.to(y.dtype), (-self.column_log_scale).exp().to(y.dtype)
        coordinates = y @ axes
        weighted_axes, rest = axes * scale[:, None], (y - coordinates @ axes.T) * scale
        factor = torch.linalg.cholesky(weighted_axes.T @ weighted_axes)
        shift = torch.linalg.solve_triangular(factor.T, rest @ weighted_axes, upper=True, left=False)
        constant = torch.linalg.vecdot(rest, rest) - torch.linalg.vecdot(shift, shift)
        return (coordinates - raw) @ factor + shift, constant.clamp_min(0).sqrt()[..., None]

    def _squares(self, residual: Tensor, dropped: Tensor) -> tuple[Tensor, int]:
        """Return squared residuals per row, summed over the cells of each scale, and the number of these cells."""
        if self.n_scales > 1:
            return residual.square(), 1
        square = torch.linalg.vecdot(residual, residual)[..., None]
        return (torch.addcmul(square, dropped, dropped) if self.n_dropped else square), len(self.center)

    def _log_prob(self, residual: Tensor, dropped: Tensor, weight: Tensor | None) -> Tensor:
        square, n_columns = self._squares(residual, dropped)
        if self.training:
            self.fit_scale(square.detach(), n_columns, weight)
        log_scale = self.floored_log_scale()
        log_cell = log_scale + (0.5 * math.log(2 * math.pi) + math.log(self.unit))
        return torch.addcmul(-n_columns * log_cell, square, (-2 * log_scale).exp(), value=-0.5).sum(-1)

    @abstractmethod
    def fit_scale(self, square: Tensor, n_cells: int | Tensor, weight: Tensor | None) -> None:
        """Add the rows to the statistics of the scale, if it has a closed form.

        Parameters
        ----------
        square : Tensor of shape (..., n_rows, n_scales)
            Squared residuals per row, summed over the cells of each scale.
        n_cells : int or Tensor of shape (n_rows, n_scales)
            Number of these cells in a row: an int if it is the same in every row.
        weight : Tensor of shape (n_rows,) or None
            Weights of the rows.
        """

    @abstractmethod
    def set_variance(self, variance: float | np.ndarray) -> None:
        """Set the initial noise variance, common or per column, in standardised units, unless the scale is fixed."""

    @property
    def variance(self) -> Tensor:
        """Noise variance in the data's units, shape (1,) or (n_features,)."""
        log_scale = self.floored_log_scale().detach().double()
        if self.column_log_scale is not None:
            log_scale = log_scale + self.column_log_scale
        return (log_scale.exp() * self.unit).square()

    def floored_log_scale(self) -> Tensor:
        """Return the log-scale that the density uses, with its floor if it has one."""
        return self.log_scale

    def restore(self, cells: Tensor) -> Tensor:
        """Return the columns in the data's units, with dropped coordinates set to 0."""
        y = cells if self.axes is None else cells @ self.axes.to(cells.dtype).T
        return y * self.unit + self.center

    def mean(self, raw: Tensor) -> Tensor:
        """Return the decoded mean in the data's units, float64."""
        return self.restore(raw.double())

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw from N(mean, scale^2)."""
        mean = self.mean(raw)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
        return mean + self.variance.sqrt() * noise


def _observe(
    center: np.ndarray, unit: np.ndarray, axes: np.ndarray | None, dtype: np.dtype, X: np.ndarray
) -> np.ndarray:
    """Compute the inputs that `GaussianModule.observe` returns, with numpy."""
    y = np.subtract(X, center, dtype=dtype)
    y /= unit
    if axes is None:
        return y
    coordinates = y @ axes
    y -= coordinates @ axes.T
    return np.concatenate([coordinates, np.sqrt(np.square(y).sum(1, keepdims=True))], axis=1)
