"""Continued training on rows of other units than those that the model started from."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import torch

from sklearn_vae._data.rows import CHUNK_SIZE, DenseRows, Rows
from sklearn_vae._data.stacklevel import stacklevel_of_user
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.evaluate import row_log_likelihoods
from sklearn_vae._training.fit import FitProcedure

# Minimum and maximum number of rows that a new start is compared on.
MIN_COMPARED, MAX_COMPARED = 8, 512
# Maximum number of rows of a chunk, and of principal axes, in the summary of the rows seen.
MAX_SUMMARISED, MAX_DIRECTIONS = 128, 64
# Ratio of the unit of all rows to that of the last chunk from which on the earlier rows are forgotten.
FORGOTTEN_RATIO = 10.0
# Minimum gain of a new start, in nats per row and in standard errors.
MIN_GAIN, MIN_STANDARD_ERRORS = 1.0, 2.0


class SeenRows(NamedTuple):
    """Summary of all rows seen so far: numbers and arrays, none of the rows.

    Attributes
    ----------
    weight : float
        Sum of the rows' weights.
    mean : ndarray of shape (n_features,)
    variance : float
        Mean variance of the columns.
    directions : ndarray of shape (n_directions, n_features)
        Scaled principal axes. The sum of their outer products is the covariance, or its best approximation of rank
        `MAX_DIRECTIONS`.
    n_calls : int
        Number of calls.
    start : int
        The call that the model started from.
    """

    weight: float
    mean: np.ndarray
    variance: float
    directions: np.ndarray
    n_calls: int
    start: int

    @property
    def is_due(self) -> bool:
        """Whether the model may be replaced now.

        The number of calls doubles from one new start to the next, so that chunks of two kinds in turn, which no
        start suits, are trained on.
        """
        return self.n_calls >= 2 * self.start

    @property
    def unit(self) -> float:
        """Root of the columns' mean variance."""
        return math.sqrt(self.variance)

    def representatives(self, device: torch.device) -> Rows:
        """Return artificial rows that have the mean and the covariance of the rows seen."""
        offsets = math.sqrt(len(self.directions)) * self.directions
        x = torch.from_numpy(self.mean + np.concatenate([offsets, -offsets])).to(device)
        return DenseRows(x, torch.full((len(x),), self.weight / len(x), device=device))


def seen_in(rows: Rows, seen: SeenRows | None = None) -> SeenRows:
    """Return the summary of these rows and of those seen before.

    The directions are updated as in incremental PCA (Ross, Lim, Lin & Yang 2008), with at most `MAX_SUMMARISED` of
    the new rows.

    Raises
    ------
    ValueError
        If the variance overflows.
    """
    blocks = list(rows.evenly_spaced(MAX_SUMMARISED).blocks(CHUNK_SIZE))
    x, w = (torch.cat(parts).cpu().numpy() for parts in zip(*blocks, strict=True))
    w /= w.sum()
    mean = w @ x
    if rows.has_gaps:
        # Missing cells are at the mean of the column's observed cells, or of those seen before.
        total = w @ np.isfinite(x)
        before = np.zeros(rows.n_features) if seen is None else seen.mean
        mean = np.divide(w @ np.nan_to_num(x), total, out=before.copy(), where=total > 0)
        x = np.where(np.isnan(x), mean, x)
    deviations = (x - mean) * np.sqrt(w)[:, None]
    n_directions = min(MAX_DIRECTIONS, rows.n_features)
    old = seen or SeenRows(0.0, mean, 0.0, np.zeros((0, rows.n_features)), 0, 1)
    total = old.weight + rows.total_weight
    share, shift = rows.total_weight / total, mean - old.mean
    stacked = np.vstack(
        [
            math.sqrt(1 - share) * old.directions,
            math.sqrt(share) * deviations,
            math.sqrt(share * (1 - share)) * shift[None],
        ]
    )
    with np.errstate(over="ignore"):
        new_variance = np.square(stacked[len(old.directions) :]).sum() / rows.n_features
    if not np.isfinite(new_variance):
        raise ValueError("expected columns with a finite variance in float64, got an overflow; scale the columns.")
    _, scales, axes = np.linalg.svd(np.linalg.qr(stacked, mode="r"), full_matrices=False)
    return SeenRows(
        total,
        old.mean + share * shift,
        float((1 - share) * old.variance + new_variance),
        scales[:n_directions, None] * axes[:n_directions],
        old.n_calls + 1,
        old.start,
    )


def new_start(
    procedure: FitProcedure, model: VAE, rows: Rows, seen: SeenRows, is_due: bool = True
) -> tuple[VAE, SeenRows] | None:
    """Return a new start, and the summary of the rows it is made from, if the model has become useless for the rows.

    A model keeps the units of the rows that it started from. If rows of other units follow, e.g. because sensors
    were idle at first, training by gradient cannot make up for that. A new start from the mean and covariance of all
    rows seen is considered if these differ from the model's units. It replaces the model if its log-likelihood of the
    new rows is clearly larger. Earlier rows are forgotten if they are so far away that no unit suits them and the new
    rows.

    Parameters
    ----------
    procedure : FitProcedure
    model : VAE
    rows : Rows
        The rows of this call.
    seen : SeenRows
        Summary of all rows, with those of this call.
    is_due : bool
        Whether the model may be replaced in this call.

    Returns
    -------
    start : tuple of VAE and SeenRows, or None
        None if the model is kept.

    Warns
    -----
    UserWarning
        If a new start replaces the model, or would do so if it were due.
    """
    if len(rows) < MIN_COMPARED or model.likelihood.suits(seen.mean, seen.unit):
        return None
    alone = seen_in(rows)
    if seen.unit > FORGOTTEN_RATIO * alone.unit > 0:
        seen = alone._replace(n_calls=seen.n_calls, start=seen.start)
    compared = rows.evenly_spaced(MAX_COMPARED)
    fresh = procedure.start(seen.representatives(rows.device))
    gain = row_log_likelihoods(fresh, compared) - row_log_likelihoods(model.to(rows.device), compared)
    standard_error = float(gain.std()) / math.sqrt(len(gain))
    if not float(gain.mean()) > max(MIN_GAIN, MIN_STANDARD_ERRORS * standard_error):
        return None
    outcome = (
        "replaces the model"
        if is_due
        else f"will replace the model in call {2 * seen.start} if it is still better then"
    )
    warnings.warn(
        "the rows differ in means or scales from those that the model started from: a new start gains "
        f"{float(gain.mean()):.3g} nats per row and {outcome}. Shuffle the rows, or pass more rows in the first "
        "call, to train one model from the start.",
        UserWarning,
        stacklevel=stacklevel_of_user(),
    )
    if not is_due:
        return None
    return fresh, seen._replace(start=seen.n_calls)
