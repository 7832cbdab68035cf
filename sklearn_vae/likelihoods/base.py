"""What every likelihood p(x|z) is: a specification that builds a torch module."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.distributions import Distribution

from sklearn_vae._capabilities import DeclaresCapabilities
from sklearn_vae._data.devices import FLOAT32, seeded_global_generator
from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae._data.rows import Rows

# Of noise, in units of the data's mean variance: below it float32 residuals are rounding noise.
MIN_VARIANCE = 1e-6
# Share of the sums over earlier batches that is kept when a batch is added: a mean over about ten batches.
MEMORY = 0.9


class Likelihood(BaseEstimator, ABC):
    """Specification of a likelihood p(x|z), given to an estimator as ``likelihood=``.

    Its constructor's parameters are searchable as ``likelihood__<name>``. The estimator
    clones the specification and calls `build`.
    """

    @property
    def isotropic(self) -> bool:
        """True if all columns have one common scale.

        A rotation of the columns then changes nothing, and networks may work in principal
        coordinates.
        """
        return False

    @abstractmethod
    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module.

        Parameters
        ----------
        n_features : int
            Number of columns.
        n_coordinates : int or None
            Number of principal coordinates to work in, for an isotropic likelihood only;
            None for the columns themselves.
        """

    def for_data(self, rows: Rows) -> Likelihood:
        """Return the specification with every "auto" that depends on training rows resolved.

        Parameters
        ----------
        rows : Rows
            Training rows in the data's units.

        Returns
        -------
        likelihood : Likelihood
            Itself, or a copy.
        """
        return self

    def check_data(self, X: np.ndarray) -> None:
        """Raise an error for values that p(x|z) cannot have.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
            Rows in the data's units.

        Raises
        ------
        ValueError
            If there are such values.
        """


class Observed(NamedTuple):
    """What is observed of rows.

    Attributes
    ----------
    cells : Tensor of shape (n_rows, n_cells)
        The values that p(x|z) scores; any finite number where nothing was observed.
    inputs : Tensor of shape (n_rows, n_inputs)
        What the encoder sees; often the same tensor.
    mask : Tensor of shape (n_rows, n_cells) or None
        True where a cell was observed. None if all were.
    """

    cells: Tensor
    inputs: Tensor
    mask: Tensor | None = None


class LinearStart(NamedTuple):
    """Linear encoder and decoder in a likelihood's own space, as arrays."""

    encoder_weight: np.ndarray  # (n_components, n_inputs)
    encoder_bias: np.ndarray  # (n_components,)
    posterior_variance: np.ndarray  # (n_components,)
    decoder_weight: np.ndarray  # (n_outputs, n_components)
    decoder_bias: np.ndarray  # (n_outputs,)
    spread: float  # root mean variance of the inputs along the components


class LikelihoodModule(DeclaresCapabilities, nn.Module, ABC):
    """Distribution p(x|z) as a torch module, and the one place that knows the data's units.

    `observe` maps rows to cells and to what the encoder sees; the decoder answers with raw outputs,
    from which `forward` makes the distribution of the cells. All else follows from these and from
    `link`. Methods that follow may be overridden, for speed or because a likelihood has no such parts.

    The first three attributes are capabilities. A subclass does not inherit them, because it may
    override the methods that they rest on: it declares them again, as class attributes or properties.

    Parameters
    ----------
    n_inputs : int
        Width of what the encoder sees.
    n_outputs : int
        Width of the decoder's raw output.

    Attributes
    ----------
    has_gradient : bool
        True if there is `log_prob_and_gradient`, and no parameter is trained.
    observes_in_numpy : bool
        True if there is `numpy_observer`.
    measures_columns : bool
        True if there is a buffer `column_log_scale` (n_features,), in nats: after training with one scale it is set
        from the errors of held-out rows, and outside of training it scales each column's noise.
    """

    capabilities: ClassVar[tuple[str, ...]] = ("has_gradient", "observes_in_numpy", "measures_columns")
    has_gradient: bool = False
    observes_in_numpy: bool = False
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
        """The precision that the module computes in."""
        return self.input_unit.dtype

    @property
    def cell_unit(self) -> float:
        """What cells are divided by: the data's units in a unit of the cells."""
        return 1.0

    @property
    def variance(self) -> Tensor | None:
        """Noise variance in the data's units, (1,) or (n_features,); None where there is no such thing."""
        return None

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Take over what describes the data.

        Parameters
        ----------
        moments : Moments
            Center, unit and second moments of the columns.
        axes : ndarray of shape (n_features, n_coordinates) or None
            Principal axes, where the networks work in their coordinates.
        """
        self.input_unit.fill_(moments.unit / self.cell_unit)

    def optima(self) -> Iterator[Tensor]:
        """Yield the sufficient statistics of the parameters that have a closed-form optimum.

        A parameter is a function of a weighted mean over rows. Its statistics are the weighted sum
        and the sum of the weights, and nothing else is stored. In training mode `log_prob`
        multiplies them by `MEMORY`, adds those of its rows, and then uses the parameter that follows.
        Statistics of several batches, models or processes may be added, or averaged.

        Yields
        ------
        sums : Tensor of shape (2, n_parameters)
            A buffer: weighted sums, and sums of the weights.
        """
        yield from ()

    def update_optima(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> None:
        """Add rows to the statistics that `optima` yields; there are none by default.

        Parameters
        ----------
        observed : Observed
            The rows; cells that were not observed do not count.
        raw : Tensor of shape (..., n_rows, n_outputs)
            The decoder's output, perhaps for several draws.
        weight : Tensor of shape (n_rows,) or None
            Weights of the rows.
        """

    def link(self, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the raw outputs that give columns these means, and the link's slopes.

        `linear_start` is derived from it.

        Parameters
        ----------
        mean : ndarray of shape (n_features,)
            In the cells' units, perhaps at the end of their range, where a link is infinite.

        Returns
        -------
        raw : ndarray of shape (n_features,)
            At these means, or at finite ones next to them.
        slope : ndarray of shape (n_features,)
            Derivatives of the raw outputs by the means, above 0. For a natural parameter the slope is the
            reciprocal of the variance.
        """
        raise NotImplementedError(f"{type(self).__name__}: expected link, or linear_start, to be defined.")

    def linear_start(self, ppca: PPCA) -> LinearStart:
        r"""Translate probabilistic PCA into linear maps between inputs, latents and raw outputs.

        By default inputs are cells, with one raw output each. One Newton step of
        exponential-family PCA is taken from independent columns:
        with the natural parameter b at the mean, and the variance there, the step for
        b + V z from V = 0 is the least-squares fit of the working response
        (y - mean) / variance on z, that is W / variance; the posterior's variance is
        Laplace's at the mean row. Where the data vary more than the family does, the
        step goes beyond where the link is nearly linear: it is shortened by the ratio.

        Parameters
        ----------
        ppca : PPCA
            The solution for the training rows.

        Returns
        -------
        start : LinearStart
            The maps.
        """
        moments, unit = ppca.moments, ppca.moments.unit / self.cell_unit
        center = moments.center.cpu().numpy() / self.cell_unit
        raw, slope = self.link(center)
        # Components beyond the data's rank would be rounding noise, divided by rounding noise.
        maps = ppca.maps(max(ppca.noise_variance, MIN_VARIANCE))
        shortened = np.maximum(1 / slope, moments.variance.cpu().numpy() / self.cell_unit**2)
        encoder, decoder = maps.encoder / unit, maps.decoder * unit / shortened[:, None]
        return LinearStart(
            encoder_weight=encoder,
            encoder_bias=-encoder @ center,
            posterior_variance=1 / (1 + (1 / slope) @ np.square(decoder)),
            decoder_weight=decoder,
            decoder_bias=raw,
            spread=maps.spread * unit,
        )

    @abstractmethod
    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Map rows to their cells, and to the encoder's inputs.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            In the data's units and precision, or in bytes.
        generator : torch.Generator or None
            With one, as in training, what is observed may be drawn at random.

        Returns
        -------
        observed : Observed
            In the module's precision, `dtype`.
        """

    def forward(self, raw: Tensor) -> Distribution:
        """Return the distribution of the cells.

        Parameters
        ----------
        raw : Tensor of shape (..., n_outputs)
            The decoder's output.

        Returns
        -------
        distribution : torch.distributions.Distribution
            Of shape (..., n_cells), in the cells' units.
        """
        raise NotImplementedError(
            f"{type(self).__name__}: expected forward, or log_prob_cells, mean and sample, to be defined."
        )

    def restore(self, cells: Tensor) -> Tensor:
        """Map cells to columns.

        Parameters
        ----------
        cells : Tensor of shape (..., n_cells)
            In the cells' units.

        Returns
        -------
        x : Tensor of shape (..., n_features)
            In the data's units.
        """
        return cells * self.cell_unit

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log p(x_j|z) of each cell, whether or not it was observed.

        By default p is a density, and divided by the cells' unit. Override it for probabilities of
        cells in other units than the data's.

        Parameters
        ----------
        observed : Observed
            The rows.
        raw : Tensor of shape (..., n_rows, n_outputs)
            The decoder's output, perhaps for several draws.

        Returns
        -------
        log_prob : Tensor of shape (..., n_rows, n_cells)
            In nats, and the data's units.
        """
        return self(raw).log_prob(observed.cells) - math.log(self.cell_unit)

    def log_prob(self, observed: Observed, raw: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return log p(x|z) per row, summed over the cells that were observed.

        Parameters
        ----------
        observed : Observed
            The rows.
        raw : Tensor of shape (..., n_rows, n_outputs)
            The decoder's output, perhaps for several draws.
        weight : Tensor of shape (n_rows,) or None
            In training mode, the rows are first added to the statistics of parameters with
            a closed form, see `optima`.

        Returns
        -------
        log_prob : Tensor of shape (..., n_rows)
            In nats, and the data's units.
        """
        if self.training:
            self.update_optima(observed, raw, weight)
        log_prob = self.log_prob_cells(observed, raw)
        return (log_prob if observed.mask is None else log_prob.where(observed.mask, 0.0)).sum(-1)

    def log_prob_and_gradient(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> tuple[float, Tensor]:
        """Return the sum of `log_prob` in training mode and its gradient, without autograd.

        Parameters
        ----------
        observed : Observed
            All cells observed, as `observe` returns them.
        raw : Tensor of shape (n_rows, n_outputs)
            The decoder's output.
        weight : Tensor of shape (n_rows,) or None
            Weights of the rows in the sum; parameters with a closed form are set to their weighted optimum.

        Returns
        -------
        log_prob : float
            In nats, summed over rows.
        gradient : Tensor of shape (n_rows, n_outputs)
            Of the sum, by `raw`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not declare has_gradient.")

    def numpy_observer(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return `observe` for arrays on the CPU, outside of training.

        Returns
        -------
        observe : callable
            Rows (n_rows, n_features) -> what the encoder sees of them (n_rows, n_inputs), in the module's precision.
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
            In the data's units, float64.
        """
        return self.restore(self(raw.double()).mean)

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
            In the data's units, float64.
        """
        # Distributions draw from torch's global generator.
        with seeded_global_generator(generator):
            return self.restore(self(raw.double()).sample())
