"""Continued training on rows of other units than those that the model started from."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np

from sklearn_vae._data.ppca import fit_moments
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.evaluate import log_likelihoods
from sklearn_vae._training.fit import FitProcedure

# Minimum and maximum number of rows that a new start is compared on.
MIN_COMPARED, MAX_COMPARED = 8, 512
# Minimum gain of a new start, in nats per row and in standard errors.
MIN_GAIN, MIN_STANDARD_ERRORS = 1.0, 2.0


class Seen(NamedTuple):
    """Moments of all rows seen so far, in this number of calls, and the call that the model started from."""

    weight: float
    mean: np.ndarray  # (n_features,)
    variance: np.ndarray  # (n_features,)
    n_calls: int
    start: int

    @property
    def is_due(self) -> bool:
        """Whether the model may be replaced now.

        The number of calls doubles from one new start to the next, so that chunks of two kinds in turn, which no
        start suits, are trained on.
        """
        return self.n_calls >= 2 * self.start


def seen_in(rows: Rows, seen: Seen | None = None) -> Seen:
    """Return the moments of the rows and of those seen before (Chan, Golub and LeVeque 1983)."""
    moments = fit_moments(rows)
    weight, mean, variance = rows.total_weight, moments.center.cpu().numpy(), moments.variance.cpu().numpy()
    if seen is None:
        return Seen(weight, mean, variance, 1, 1)
    total = seen.weight + weight
    share, shift = weight / total, mean - seen.mean
    variance = (1 - share) * seen.variance + share * variance + share * (1 - share) * np.square(shift)
    return Seen(total, seen.mean + share * shift, variance, seen.n_calls + 1, seen.start)


def new_start(procedure: FitProcedure, model: VAE, rows: Rows, seen: Seen) -> VAE | None:
    """Return a new start from the rows if the model has become useless for them, otherwise None.

    A model keeps the units of the rows that it started from. If rows of other units follow, e.g. because sensors
    were idle at first, training by gradient cannot make up for that. A new start is considered if the moments of all
    rows differ from the model's units. It replaces the model if its log-likelihood of the rows is clearly larger.

    Warns
    -----
    UserWarning
        If there is a new start.
    """
    if len(rows) < MIN_COMPARED or model.likelihood.suits(seen.mean, math.sqrt(seen.variance.mean())):
        return None
    compared = rows.evenly_spaced(MAX_COMPARED)
    fresh = procedure.start(rows)
    gain = log_likelihoods(fresh, compared) - log_likelihoods(model.to(rows.device), compared)
    standard_error = float(gain.std()) / math.sqrt(len(gain))
    if not float(gain.mean()) > max(MIN_GAIN, MIN_STANDARD_ERRORS * standard_error):
        return None
    warnings.warn(
        f"the rows have other means or scales than those that the model started from: a new start gains "
        f"{float(gain.mean()):.3g} nats per row, and replaces the model; scale the columns before the first call if "
        "their units are known.",
        UserWarning,
        stacklevel=4,
    )
    return fresh
