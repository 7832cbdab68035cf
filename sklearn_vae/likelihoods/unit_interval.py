"""Base classes of likelihoods for columns between 0 and a largest value."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from sklearn_vae._data.rows import Rows
from sklearn_vae.likelihoods.base import Likelihood
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.values import Observed

# Minimum distance of the initial means from 0 and 1, so that logits and Newton steps are finite.
MARGIN = 0.02
# Largest value of an unsigned byte.
MAX_BYTE = 255


class UnitInterval(Likelihood):
    """Base class of likelihoods for columns in [0, `max_value`]."""

    _parameter_constraints: ClassVar[dict] = {
        "max_value": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    max_value: Any
    # Whether `max_value` was "auto" and bytes were fitted.
    _from_bytes = False

    @property
    def max_byte(self) -> int:
        """Value of `max_value` that "auto" chooses for the bytes of images."""
        return MAX_BYTE

    def for_data(self, rows: Rows) -> Likelihood:
        """Return the specification with `max_value` as a number."""
        if self.max_value != "auto":
            return self
        is_image = rows.dtype == torch.uint8 and rows.largest() > 1
        resolved = clone(self).set_params(max_value=self.max_byte if is_image else 1.0)
        if is_image:
            resolved._from_bytes = True
        return resolved

    def resolved_as(self, fitted: Likelihood) -> Likelihood:
        """Return the specification with the `max_value` of `fitted` for "auto"."""
        if self.max_value != "auto":
            return self
        return clone(self).set_params(max_value=fitted.get_params(deep=False)["max_value"])

    def check_data(self, X: np.ndarray) -> None:
        """Raise ValueError unless all values lie in [0, `max_value`] and are not bytes divided by the largest one."""
        low, high = np.fmin.reduce(X, axis=None), np.fmax.reduce(X, axis=None)
        if low < 0 or high > self.max_value:
            raise ValueError(
                f"likelihood {type(self).__name__}: expected values in [0, {self.max_value:g}], got values from "
                f"{low:.6g} to {high:.6g}; give the largest as max_value, scale the columns (MinMaxScaler), or use "
                "likelihood='gaussian'."
            )
        if self._from_bytes and high <= 1 and np.issubdtype(X.dtype, np.floating) and (X % 1 > 0).any():
            raise ValueError(
                f"likelihood {type(self).__name__}: expected numbers from 0 to {self.max_value}, got fractions of at "
                f"most 1; multiply the rows by {self.max_value}, or fit the model to rows on the same scale."
            )


class UnitIntervalModule(LikelihoodModule):
    r"""One-parameter exponential family per column, :math:`p(y|a) = h(y) \exp(a y - A(a))`.

    The natural parameter :math:`a` is the raw output, and :math:`y` lies in [0, 1].
    """

    def __init__(self, n_features: int, max_value: float):
        super().__init__(n_features, n_features)
        self.max_value = max_value

    @property
    def cell_unit(self) -> float:
        """Value in the data's units of a cell that is 1."""
        return self.max_value

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Return the columns divided by `max_value`, in the module's precision."""
        y = x.to(self.dtype) / self.max_value
        return Observed(y, y)

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log p(x_j|z) of each cell."""
        return raw * observed.cells - self.log_normalizer(raw)

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log p(x|z) per row. A vector product saves one pass over the cells."""
        return torch.linalg.vecdot(raw, observed.cells) - self.log_normalizer(raw).sum(-1)

    @abstractmethod
    def log_normalizer(self, raw: Tensor) -> Tensor:
        """Return A(raw) in nats, for a density in the data's units."""
