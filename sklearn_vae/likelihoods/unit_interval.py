"""What likelihoods of columns between 0 and a largest value share."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from torch import Tensor

from sklearn_vae._devices import FLOAT32
from sklearn_vae._ppca import PPCA, Moments
from sklearn_vae._rows import Rows
from sklearn_vae.likelihoods.base import MIN_VARIANCE, Likelihood, LikelihoodModule, LinearStart

# Means of the start stay this far from 0 and 1, so that logits and Newton steps are finite.
MARGIN = 0.02
MAX_BYTE = 255


class UnitInterval(Likelihood):
    """Base of the likelihoods of columns in [0, `max_value`]."""

    _parameter_constraints: ClassVar[dict] = {
        "max_value": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    max_value: Any

    @property
    def max_byte(self) -> int:
        """What "auto" takes for the largest value of bytes that are an image."""
        return MAX_BYTE

    def for_data(self, rows: Rows) -> Likelihood:
        """Return the specification with `max_value` as a number."""
        if self.max_value != "auto":
            return self
        is_image = rows.dtype == torch.uint8 and rows.largest() > 1
        return clone(self).set_params(max_value=self.max_byte if is_image else 1.0)

    def check_data(self, X: np.ndarray) -> None:
        """Raise ValueError unless all values lie in [0, `max_value`]."""
        low, high = X.min(), X.max()
        if low < 0 or high > self.max_value:
            raise ValueError(
                f"likelihood {type(self).__name__}: expected values in [0, {self.max_value:g}], got values from "
                f"{low:.6g} to {high:.6g}; give the largest as max_value, scale the columns (MinMaxScaler), or use "
                "likelihood='gaussian'."
            )


class UnitIntervalModule(LikelihoodModule):
    r"""One-parameter exponential family per column, :math:`p(y|a) = h(y) \exp(a y - A(a))`.

    With the raw output :math:`a`, and :math:`y` in [0, 1].
    """

    unit: Tensor

    def __init__(self, n_features: int, max_value: float):
        super().__init__()
        self.n_inputs = self.n_outputs = n_features
        self.max_value = max_value
        self.register_buffer("unit", torch.ones((), **FLOAT32))

    @property
    def input_unit(self) -> Tensor:
        """Root mean variance of the columns."""
        return self.unit

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Take over the unit of the data."""
        self.unit.fill_(moments.unit / self.max_value)

    def linear_start(self, ppca: PPCA) -> LinearStart:
        r"""One Newton step of exponential-family PCA from independent columns.

        With the natural parameter b at the mean, and the variance there, the step for
        b + V z from V = 0 is the least-squares fit of the working response
        (y - mean) / variance on z, that is W / variance; the posterior's variance is
        Laplace's at the mean row. Where the data vary more than the family does, the
        step goes beyond where the link is nearly linear: it is shortened by the ratio.
        """
        mean = (ppca.moments.center.cpu().numpy() / self.max_value).clip(MARGIN, 1 - MARGIN)
        unit = ppca.moments.unit / self.max_value
        natural, variance = self.natural(mean)
        # Components beyond the data's rank would be rounding noise, divided by rounding noise.
        maps = ppca.maps(max(ppca.noise_variance, MIN_VARIANCE))
        shortened = np.maximum(variance, ppca.moments.variance.cpu().numpy() / self.max_value**2)
        encoder, decoder = maps.encoder / unit, maps.decoder * unit / shortened[:, None]
        return LinearStart(
            encoder_weight=encoder,
            encoder_bias=-encoder @ ppca.moments.center.cpu().numpy() / self.max_value,
            posterior_variance=1 / (1 + variance @ np.square(decoder)),
            decoder_weight=decoder,
            decoder_bias=natural,
            spread=maps.spread * unit,
        )

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the columns in [0, 1], in the model's precision."""
        return x.to(self.unit.dtype) / self.max_value

    def log_prob(self, y: Tensor, raw: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return log p(x|z) per row."""
        return torch.linalg.vecdot(raw, y) - self.log_normalizer(raw).sum(-1)

    @abstractmethod
    def natural(self, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the natural parameters, and the variances, of columns with these means, (n_features,)."""

    @abstractmethod
    def log_normalizer(self, raw: Tensor) -> Tensor:
        """Return A(raw), in nats and the data's units."""
