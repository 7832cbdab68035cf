"""Likelihood modules of columns that are standardised one by one, as parts of `Columns`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sklearn_vae._data.devices import FLOAT64
from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae.likelihoods.linear_start import LinearStart, maps_of_inputs
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.values import MeasuredColumns, Observed


class Standardised(LikelihoodModule):
    """Base class of modules that show standardised columns to the encoder.

    Parameters
    ----------
    part : LikelihoodModule
        Module with one cell and one input for each column.
    n_features : int
    """

    center: Tensor
    scale: Tensor

    def __init__(self, part: LikelihoodModule, n_features: int):
        super().__init__(part.n_inputs, part.n_outputs)
        self.part = part
        # Means and standard deviations of the training rows.
        self.register_buffer("center", torch.zeros(n_features, **FLOAT64))
        self.register_buffer("scale", torch.ones(n_features, **FLOAT64))

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store means and standard deviations; those of constant columns are 1, or their rounding error if larger."""
        self.center.copy_(moments.center)
        center, variance = self.center.abs(), moments.variance.to(self.center)
        is_constant = variance <= (8 * torch.finfo(torch.float64).eps * center).square()
        of_constant = (torch.finfo(torch.float32).eps * center).clamp_min(1.0)
        self.scale.copy_(torch.where(is_constant, of_constant, variance.sqrt()))

    @property
    def units(self) -> Tensor:
        """Standard deviations of the columns."""
        return self.scale

    def standardise(self, x: Tensor) -> Tensor:
        """Return standardised columns, in the precision of `x` or, for bytes, of the module."""
        x = x if x.is_floating_point() else x.to(self.dtype)
        return (x - self.center.to(x)) / self.scale.to(x)

    def optima(self) -> Iterator[Tensor]:
        """Yield the statistics of the part."""
        yield from self.part.optima()

    def update_optima(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> None:
        """Add rows to the statistics of the part."""
        self.part.update_optima(observed, raw, weight)


class StandardisedCells(Standardised):
    """A distribution with a location and a scale, of standardised columns; densities are in the data's units."""

    sums_cells = True

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store means and standard deviations; those of the part are 0 and 1."""
        super().set_units(moments, axes)
        ones = torch.ones_like(moments.center)
        self.part.set_units(replace(moments, center=torch.zeros_like(ones), unit=1.0, variance=ones), None)

    def linear_start(self, ppca: PPCA) -> LinearStart:
        """Return the start of the part, with the posterior variance given its columns only."""
        start = self.part.linear_start(ppca)
        information = (1 / start.input_variance) @ np.square(start.input_weight)
        center = ppca.moments.center.cpu().numpy()
        return start._replace(
            encoder_bias=-start.encoder_weight @ center,
            posterior_variance=1 / (1 + information),
            decoder_bias=start.decoder_bias + center,
            input_mean=start.input_mean + center,
        )

    @property
    def variance(self) -> Tensor | None:
        """Noise variance in the data's units, (n_features,)."""
        return None if self.part.variance is None else self.part.variance * self.scale.square()

    def measured_columns(self) -> list[MeasuredColumns]:
        """Return the columns of the part, in units of their standard deviations."""
        return [group._replace(units=self.scale[group.columns]) for group in self.part.measured_columns()]

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Return what the part observes of standardised columns."""
        return self.part.observe(self.standardise(x), generator)

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log p(x_j|z) of each cell."""
        return self.part.log_prob_cells(observed, raw) - self.scale.log().to(raw.dtype)

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log p(x|z) per row."""
        return self.part.log_prob(observed, raw, weight) - self.scale.log().sum().to(raw.dtype)

    def mean(self, raw: Tensor) -> Tensor:
        """Return E[x|z], float64."""
        return self.part.mean(raw) * self.scale + self.center

    def mean_given(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return E[x|z] of observed rows, float64."""
        return self.part.mean_given(observed, raw) * self.scale + self.center

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x, float64."""
        return self.part.sample(raw, generator) * self.scale + self.center


class StandardisedInputs(Standardised):
    """Any likelihood of columns as they are, of which only the encoder sees standardised columns."""

    sums_cells = True

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store means and standard deviations, here and in the part."""
        super().set_units(moments, axes)
        self.part.set_units(self._own(moments), None)

    def linear_start(self, ppca: PPCA) -> LinearStart:
        """Return the decoder of the part, for the same components of columns in the data's units."""
        center, scale = self.center.cpu(), self.scale.cpu()
        moments = self._own(replace(ppca.moments, center=center, variance=scale.square()))
        factor = scale.numpy() * (ppca.moments.unit / moments.unit)
        start = self.part.linear_start(replace(ppca, moments=moments, axes=ppca.axes * factor[:, None]))
        return start._replace(**maps_of_inputs(ppca))

    def _own(self, moments: Moments) -> Moments:
        """Return moments whose unit is that of these columns."""
        return replace(moments, unit=float(self.scale.square().mean().sqrt()))

    @property
    def variance(self) -> Tensor | None:
        """Noise variance of the part."""
        return self.part.variance

    def measured_columns(self) -> list[MeasuredColumns]:
        """Return the columns of the part."""
        return self.part.measured_columns()

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Return the cells of the part, and standardised columns as inputs."""
        return self.part.observe(x, generator)._replace(inputs=self.standardise(x).to(self.dtype))

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log p(x_j|z) of each cell."""
        return self.part.log_prob_cells(observed, raw)

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log p(x|z) per row."""
        return self.part.log_prob(observed, raw, weight)

    def mean(self, raw: Tensor) -> Tensor:
        """Return E[x|z], float64."""
        return self.part.mean(raw)

    def mean_given(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return E[x|z] of observed rows, float64."""
        return self.part.mean_given(observed, raw)

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw x, float64."""
        return self.part.sample(raw, generator)
