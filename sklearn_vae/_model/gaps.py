"""What the encoder sees of rows with missing cells."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_vae._data.devices import FLOAT64
from sklearn_vae._data.masks import any_in_row, as_numbers
from sklearn_vae._data.ppca_missing import ConditionalMeans
from sklearn_vae.likelihoods import LinearStart


class Gaps(nn.Module):
    r"""Conditional means of missing cells and the width of posteriors, from the linear start.

    The start models the columns, as the encoder sees them, by :math:`u = c + V z + \epsilon` with noise of variance
    :math:`\psi_j`. The encoder sees missing cells at their conditional means given the observed cells o. A linear
    encoder that is exact for complete rows is then exact for rows with gaps, since its output is
    :math:`P^{-1} V_o^T \Psi_o^{-1} (u_o - c_o)`, with the precision :math:`P = I + V_o^T \Psi_o^{-1} V_o`.

    Parameters
    ----------
    n_features, n_components : int
    """

    center: Tensor
    mean: Tensor
    weight: Tensor
    variance: Tensor

    def __init__(self, n_features: int, n_components: int):
        super().__init__()
        # Means of the columns in the data's units, which stand in missing cells before rows are observed.
        self.register_buffer("center", torch.zeros(n_features, **FLOAT64))
        # The model of the columns as the encoder sees them. It has no components without a linear start.
        self.register_buffer("mean", torch.zeros(n_features, **FLOAT64))
        self.register_buffer("weight", torch.zeros(n_features, n_components, **FLOAT64))
        self.register_buffer("variance", torch.ones(n_features, **FLOAT64))

        self._linear_models: dict[tuple[torch.dtype, torch.device], _LinearModel] = {}

    def start_at(self, start: LinearStart) -> None:
        """Set the linear model of the columns."""
        self.mean.copy_(torch.from_numpy(start.input_mean))
        self.weight.copy_(torch.from_numpy(start.input_weight))
        self.variance.copy_(torch.from_numpy(start.input_variance))
        self._linear_models = {}

    def fill(self, inputs: Tensor, mask: Tensor) -> Tensor:
        """Return inputs (n_rows, n_features) with the conditional means of the cells where `mask` is False."""
        return self._linear_model(inputs.dtype if self.training else self.mean.dtype).means(inputs, mask)

    def widen(self, loc: Tensor, log_scale: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-scales of posteriors given the cells where `mask` is True.

        The precisions are reduced as those of the linear model are. A row without observed cells gets the standard
        normal distribution.
        """
        model = self._linear_model(loc.dtype)
        offset = model.log_precision - 0.5 * torch.log1p(as_numbers(mask, loc.dtype) @ model.squares)
        any_observed = any_in_row(mask)
        return loc * any_observed, (log_scale + offset) * any_observed

    def _linear_model(self, dtype: torch.dtype) -> _LinearModel:
        """Return the linear model in a precision. In training it is computed once, as it takes as long as a batch."""
        key = dtype, self.mean.device
        if self.training and key in self._linear_models:
            return self._linear_models[key]
        model = _LinearModel.of(*(t.to(dtype) for t in (self.mean, self.weight, self.variance)))
        if self.training:
            self._linear_models[key] = model
        return model


class _LinearModel(NamedTuple):
    """The function for conditional means, squared weights over noise variances, and log-precisions of complete rows."""

    means: ConditionalMeans
    squares: Tensor  # (n_features, n_components)
    log_precision: Tensor  # (n_components,), half the logarithm

    @classmethod
    def of(cls, mean: Tensor, weight: Tensor, variance: Tensor) -> _LinearModel:
        """Compute the model of columns with these means, weights and noise variances."""
        squares = weight.square() / variance[:, None]
        return cls(ConditionalMeans(mean, weight, variance), squares, 0.5 * torch.log1p(squares.sum(0)))
