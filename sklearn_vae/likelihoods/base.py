"""What every likelihood p(x|z) is: a specification that builds a torch module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor, nn
from torch.distributions import Distribution

from sklearn_vae._capabilities import DeclaresCapabilities
from sklearn_vae._ppca import PPCA, Moments
from sklearn_vae._rows import Rows

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

    `observe` maps rows to what the encoder sees, (n_rows, `n_inputs`); the decoder
    answers with raw outputs (..., n_rows, `n_outputs`).

    The attributes below are capabilities. A subclass does not inherit them, because it may override what they
    rest on: it declares them again, as class attributes or properties.

    Attributes
    ----------
    has_gradient : bool
        True if there is `log_prob_and_gradient`, and no parameter is trained.
    observes_in_numpy : bool
        True if there is `numpy_observer`.
    measures_columns : bool
        True if there is a buffer `column_log_scale` (n_features,), in nats: after training with one scale it is set
        from the errors of held-out rows, ``observe(x) - raw``, and outside of training it scales each column's noise.
    """

    capabilities: ClassVar[tuple[str, ...]] = ("has_gradient", "observes_in_numpy", "measures_columns")
    has_gradient: bool = False
    observes_in_numpy: bool = False
    measures_columns: bool = False
    column_log_scale: Tensor | None
    n_inputs: int
    n_outputs: int

    @property
    def variance(self) -> Tensor | None:
        """Noise variance in the data's units, (1,) or (n_features,); None where there is no such thing."""
        return None

    @property
    def input_unit(self) -> Tensor | float:
        """Root mean variance of the encoder's inputs."""
        return 1.0

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Take over what describes the data.

        Parameters
        ----------
        moments : Moments
            Center, unit and second moments of the columns.
        axes : ndarray of shape (n_features, n_coordinates) or None
            Principal axes, where the networks work in their coordinates.
        """

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

    @abstractmethod
    def linear_start(self, ppca: PPCA) -> LinearStart:
        """Translate probabilistic PCA into linear maps between inputs, latents and raw outputs.

        Parameters
        ----------
        ppca : PPCA
            The solution for the training rows.

        Returns
        -------
        start : LinearStart
            The maps.
        """

    @abstractmethod
    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Map rows to the encoder's inputs.

        Parameters
        ----------
        x : Tensor of shape (n_rows, n_features)
            In the data's units and precision, or in bytes.
        generator : torch.Generator or None
            With one, as in training, what is observed may be drawn at random.

        Returns
        -------
        y : Tensor of shape (n_rows, n_inputs)
            In the module's precision.
        """

    @abstractmethod
    def log_prob(self, y: Tensor, raw: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return log p(x|z) per row, summed over columns.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_inputs)
            As `observe` returns it.
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

    def log_prob_and_gradient(self, y: Tensor, raw: Tensor, weight: Tensor | None) -> tuple[float, Tensor]:
        """Return the sum of `log_prob` in training mode and its gradient, without autograd.

        Parameters
        ----------
        y : Tensor of shape (n_rows, n_inputs)
            As `observe` returns it.
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

    @abstractmethod
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

    @abstractmethod
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

    @abstractmethod
    def forward(self, raw: Tensor) -> Distribution:
        """Return the distribution of the observed cells.

        Parameters
        ----------
        raw : Tensor of shape (..., n_outputs)
            The decoder's output.

        Returns
        -------
        distribution : torch.distributions.Distribution
            Of shape (..., n_outputs).
        """
