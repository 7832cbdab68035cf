"""Base class of the torch modules of likelihoods p(x|z)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from sklearn_vae._capabilities import DeclaresCapabilities
from sklearn_vae._data.devices import FLOAT32, seeded_global_generator
from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae._data.rows import Rows
from sklearn_vae.likelihoods.linear_start import MIN_VARIANCE, LinearStart
from sklearn_vae.likelihoods.values import MeasuredColumns, Observed

if TYPE_CHECKING:
    from sklearn_vae._model.gaps import Gaps

# Factor on the sums over earlier batches when a batch is added. The resulting mean covers about ten batches.
SUMS_DECAY = 0.9
# Differences of units, as a ratio, and of means, in units, up to which a model's units suit new rows.
MAX_UNIT_RATIO, MAX_SHIFT = 1.25, 0.5


class LikelihoodModule(DeclaresCapabilities, nn.Module, ABC):
    """Distribution p(x|z) as a torch module; only this module knows the data's units.

    `observe` maps rows to cells and to the encoder's inputs. `forward` turns the decoder's raw outputs
    into the distribution of the cells. All other methods have defaults that call these two and `link`.
    A subclass may override a default with a faster method, or where the default does not apply.

    The attributes below are capabilities. A subclass may override the methods that a capability
    depends on, so it does not inherit the capability. It can declare it again, as a class
    attribute or a property.

    Parameters
    ----------
    n_inputs : int
        Width of the encoder's input.
    n_outputs : int
        Width of the decoder's raw output.

    Attributes
    ----------
    has_gradient : bool
        True if the module implements `log_prob_and_gradient` and no parameter is trained by gradient.
    observes_in_numpy : bool
        True if the module implements `numpy_observer`.
    sums_cells : bool
        True if the module implements `log_prob_rows`.
    measures_columns : bool
        True if the module has a buffer `column_log_scale` of shape (n_features,), in nats. Training uses one
        scale. The buffer is then set from the errors of held-out rows. Outside of training it multiplies each
        column's noise scale by exp(`column_log_scale`).
    """

    capabilities: ClassVar[tuple[str, ...]] = ("has_gradient", "observes_in_numpy", "sums_cells", "measures_columns")
    has_gradient: bool = False
    observes_in_numpy: bool = False
    sums_cells: bool = False
    measures_columns: bool = False
    column_log_scale: Tensor | None

    input_unit: Tensor

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__()
        self.n_inputs, self.n_outputs = n_inputs, n_outputs
        # Root mean variance of the encoder's inputs.
        self.register_buffer("input_unit", torch.ones((), **FLOAT32))

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point precision of the module."""
        return self.input_unit.dtype

    @property
    def has_column_scales(self) -> bool:
        """Whether each column has a noise scale of its own in training, which starts at factor analysis."""
        return False

    @property
    def input_noise_unit(self) -> Tensor:
        """Unit of the noise that training adds to the encoder's inputs: a number, or one per input."""
        return self.input_unit

    @property
    def cell_unit(self) -> float:
        """Size of one cell unit in the data's units: a column is `cell_unit` times its cell, up to a shift."""
        return 1.0

    @property
    def units(self) -> Tensor | None:
        """Units in which the columns are comparable, (n_features,), float64. None: the data's units."""
        return None

    def measured_columns(self) -> list[MeasuredColumns]:
        """Return the columns whose noise scales are measured after training.

        Returns
        -------
        groups : list of MeasuredColumns
            Groups of columns, each with a common scale in training. By default all columns, if the module
            declares `measures_columns`.
        """
        if not self.measures_columns:
            return []
        assert self.column_log_scale is not None
        return [MeasuredColumns(self.column_log_scale, slice(None), None)]

    @property
    def variance(self) -> Tensor | None:
        """Noise variance in the data's units, (1,) or (n_features,). None: the likelihood has no noise scale."""
        return None

    def features(self, rows: Rows, moments: Moments) -> Rows:
        """Return what probabilistic PCA is fitted to, for `linear_start`: by default the rows themselves.

        A likelihood whose inputs are not linear in the rows returns rows of its inputs.

        Parameters
        ----------
        rows : Rows
            Training rows in the data's units.
        moments : Moments
            Center, unit and variances of the rows' columns.

        Returns
        -------
        features : Rows
            As many rows, with the same weights.
        """
        return rows

    @property
    def has_features(self) -> bool:
        """True if the class defines `features`."""
        return type(self).features is not LikelihoodModule.features

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the center and the units of the training rows.

        Parameters
        ----------
        moments : Moments
            Center, unit and variances of the columns.
        axes : ndarray of shape (n_features, n_coordinates) or None
            Principal axes, if the networks work in principal coordinates.
        """
        self.input_unit.fill_(moments.unit / self.cell_unit)

    def suits(self, mean: np.ndarray, unit: float) -> bool:
        """Return whether the module's units suit the columns; by default True, for likelihoods without such units.

        Parameters
        ----------
        mean : ndarray of shape (n_features,)
            Means of the columns.
        unit : float
            Root of the columns' mean variance.

        Returns
        -------
        suits : bool
            Whether center and unit are about these.
        """
        return True

    def optima(self) -> Iterator[Tensor]:
        """Yield the sufficient statistics of the parameters that have a closed-form optimum.

        Such a parameter is a function of a weighted mean over rows. Only its statistics are stored:
        the weighted sum and the sum of the weights. In training mode `log_prob` multiplies the stored
        statistics by `SUMS_DECAY`, adds the statistics of its rows, and uses the resulting parameter.
        Statistics of several batches, models or processes may be added or averaged.

        Yields
        ------
        sums : Tensor of shape (2, n_parameters)
            A buffer with the weighted sums and the sums of the weights.
        """
        yield from ()

    def update_optima(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> None:
        """Add rows to the statistics that `optima` yields. By default there are no statistics.

        Parameters
        ----------
        observed : Observed
            The rows. Unobserved cells do not count.
        raw : Tensor of shape (..., n_rows, n_outputs)
            The decoder's output, for one draw or several.
        weight : Tensor of shape (n_rows,) or None
            Weights of the rows.
        """

    def link(self, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the raw outputs at which the cells have these means, and the slopes of this link function.

        The default `linear_start` calls this method.

        Parameters
        ----------
        mean : ndarray of shape (n_features,)
            Means in the cells' units. A mean may lie at the end of its range, where the link is infinite.

        Returns
        -------
        raw : ndarray of shape (n_features,)
            Finite raw outputs. Where the link is infinite, they belong to the nearest usable mean.
        slope : ndarray of shape (n_features,)
            Derivatives of the raw outputs with respect to the means, above 0. If the raw output is the natural
            parameter, the slope is the reciprocal of the variance.
        """
        raise NotImplementedError(f"{type(self).__name__}: expected link, or linear_start, to be defined.")

    def linear_start(self, ppca: PPCA) -> LinearStart:
        r"""Translate probabilistic PCA into linear maps between inputs, latents and raw outputs.

        The default assumes that the inputs are the cells and that each cell has one raw output. It
        takes one Newton step of exponential-family PCA from a model of independent columns. Let b be
        the natural parameter at the mean. The step for b + V z from V = 0 is the least-squares fit of
        the working response (y - mean) / variance on z, that is V = W / variance. The posterior's
        variance is the Laplace approximation at the mean row. A column may vary more in the data than
        its distribution does at the mean. A full step would then leave the region where the link is
        nearly linear, so it is shortened by the ratio of the two variances.

        Parameters
        ----------
        ppca : PPCA
            Probabilistic PCA of the `features` of the training rows.

        Returns
        -------
        start : LinearStart
            The linear maps.
        """
        moments, unit = ppca.moments, ppca.moments.unit / self.cell_unit
        center = moments.center.cpu().numpy() / self.cell_unit
        raw, slope = self.link(center)
        # Without this floor, components beyond the data's rank would be ratios of rounding errors.
        noise_variance = max(ppca.noise_variance, MIN_VARIANCE)
        maps = ppca.maps(noise_variance)
        shortened = np.maximum(1 / slope, moments.variance.cpu().numpy() / self.cell_unit**2)
        encoder, decoder = maps.encoder / unit, maps.decoder * unit / shortened[:, None]
        return LinearStart(
            encoder_weight=encoder,
            encoder_bias=-encoder @ center,
            posterior_variance=1 / (1 + (1 / slope) @ np.square(decoder)),
            decoder_weight=decoder,
            decoder_bias=raw,
            spread=maps.spread * unit,
            input_mean=center,
            input_weight=maps.decoder * unit,
            input_variance=np.full(len(center), noise_variance * unit**2),
        )

    @abstractmethod
    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Map rows to cells and to the encoder's inputs.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Rows in the data's units and precision, or as bytes.
        generator : torch.Generator or None
            Source of randomness for likelihoods that draw cells at random in training. None outside
            of training: nothing is drawn.

        Returns
        -------
        observed : Observed
            Observed values in the module's precision, `dtype`.
        """

    def observe_incomplete(
        self,
        x: Tensor,
        mask: Tensor,
        gaps: Gaps,
        generator: torch.Generator | None = None,
    ) -> Observed:
        """Map rows with missing cells to cells and to the encoder's inputs.

        The default assumes that cells and inputs belong to one column each.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            Rows as in `observe`, with NaN in missing cells.
        mask : Tensor of shape (n_rows, n_features)
            True where a cell was observed.
        gaps : Gaps
            `gaps.center` holds the means of the columns, (n_features,), and `gaps.fill(inputs, mask)` replaces the
            encoder's inputs (n_rows, n_features) where the mask is False.
        generator : torch.Generator or None
            As in `observe`.

        Returns
        -------
        observed : Observed
            Observed values with this mask.
        """
        observed = self.observe(x.where(mask, gaps.center.to(x.dtype)), generator)
        return Observed(observed.cells, gaps.fill(observed.inputs, mask), mask)

    def forward(self, raw: Tensor) -> Distribution:
        """Return the distribution of the cells.

        Parameters
        ----------
        raw : Tensor of shape (..., n_outputs)
            The decoder's output.

        Returns
        -------
        distribution : torch.distributions.Distribution
            Distribution of shape (..., n_cells), in the cells' units.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: expected forward, or log_prob_cells, mean and sample, to be defined."
        )

    def restore(self, cells: Tensor) -> Tensor:
        """Map cells to columns.

        Parameters
        ----------
        cells : Tensor of shape (..., n_cells)
            Values in the cells' units.

        Returns
        -------
        x : Tensor of shape (..., n_features)
            Values in the data's units.
        """
        return cells * self.cell_unit

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log p(x_j|z) of each cell, observed or not.

        The default assumes a density and converts it to the data's units, by subtracting
        log(`cell_unit`). A likelihood with probabilities instead of densities overrides this method,
        unless `cell_unit` is 1.

        Parameters
        ----------
        observed : Observed
            The rows.
        raw : Tensor of shape (..., n_rows, n_outputs)
            The decoder's output, for one draw or several.

        Returns
        -------
        log_prob : Tensor of shape (..., n_rows, n_cells)
            Log-probabilities in nats; densities are in the data's units.
        """
        return self(raw).log_prob(observed.cells) - math.log(self.cell_unit)

    def log_prob(self, observed: Observed, raw: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return log p(x|z) per row, summed over the observed cells.

        In training mode, the rows are first added to the statistics of the parameters that have a
        closed-form optimum, see `optima`.

        Parameters
        ----------
        observed : Observed
            The rows.
        raw : Tensor of shape (..., n_rows, n_outputs)
            The decoder's output, for one draw or several.
        weight : Tensor of shape (n_rows,) or None
            Weights of the rows in these statistics. The returned log-probabilities are not weighted.

        Returns
        -------
        log_prob : Tensor of shape (..., n_rows)
            Log-probabilities in nats; densities are in the data's units.
        """
        if self.sums_cells and observed.mask is None:
            return self.log_prob_rows(observed, raw, weight)
        if self.training:
            self.update_optima(observed, raw, weight)
        log_prob = self.log_prob_cells(observed, raw)
        return (log_prob if observed.mask is None else log_prob.where(observed.mask, 0.0)).sum(-1)

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return what `log_prob` does, without the log-probabilities of the single cells.

        In training mode it also does what `update_optima` does, if `optima` yields statistics.

        Parameters
        ----------
        observed : Observed
            The rows, with all cells observed.
        raw : Tensor of shape (..., n_rows, n_outputs)
            The decoder's output, for one draw or several.
        weight : Tensor of shape (n_rows,) or None
            Weights of the rows in the statistics that `optima` yields.

        Returns
        -------
        log_prob : Tensor of shape (..., n_rows)
            Log-probabilities in nats; densities are in the data's units.
        """
        raise NotImplementedError(f"{type(self).__name__} does not declare sums_cells.")

    def log_prob_and_gradient(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> tuple[float, Tensor]:
        """Return the sum of `log_prob` in training mode and its gradient, without autograd.

        Parameters
        ----------
        observed : Observed
            The rows, with all cells observed.
        raw : Tensor of shape (n_rows, n_outputs)
            The decoder's output.
        weight : Tensor of shape (n_rows,) or None
            Weights of the rows in the sum, and in the statistics that `optima` yields.

        Returns
        -------
        log_prob : float
            Weighted sum over rows, in nats.
        gradient : Tensor of shape (n_rows, n_outputs)
            Gradient of this sum with respect to `raw`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not declare has_gradient.")

    def numpy_observer(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return a function that computes the encoder's inputs with numpy, on the CPU and outside of training.

        Returns
        -------
        observe : callable
            Maps rows (n_rows, n_features) to the encoder's inputs (n_rows, n_inputs), in the module's precision.
        """
        raise NotImplementedError(f"{type(self).__name__} does not declare observes_in_numpy.")

    def mean(self, raw: Tensor) -> Tensor:
        """Return E[x|z].

        Parameters
        ----------
        raw : Tensor of shape (..., n_outputs)
            The decoder's output.

        Returns
        -------
        mean : Tensor of shape (..., n_features)
            Mean in the data's units, float64.
        """
        return self.restore(self(raw.double()).mean)

    def mean_given(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return E[x|z] of observed rows, whose totals it uses if the likelihood takes these as given.

        By default no totals are given, and this is `mean`.

        Parameters
        ----------
        observed : Observed
            The rows.
        raw : Tensor of shape (n_rows, n_outputs)
            The decoder's output.

        Returns
        -------
        mean : Tensor of shape (n_rows, n_features)
            Mean in the data's units, float64.
        """
        return self.mean(raw)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x.

        Parameters
        ----------
        raw : Tensor of shape (..., n_outputs)
            The decoder's output.
        generator : torch.Generator
            The only source of randomness.

        Returns
        -------
        x : Tensor of shape (..., n_features)
            Draws in the data's units, float64.
        """
        # torch's distributions can only draw from the global generator.
        with seeded_global_generator(generator):
            return self.restore(self(raw.double()).sample())


def is_close(center: np.ndarray, unit: float, mean: np.ndarray, new_unit: float) -> bool:
    """Return whether means and a unit differ from `center` and `unit` by little."""
    shift = math.sqrt(np.square((mean - center) / unit).mean())
    return 1 / MAX_UNIT_RATIO < new_unit / unit < MAX_UNIT_RATIO and shift < MAX_SHIFT
