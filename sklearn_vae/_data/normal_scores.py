"""Normal scores: quantiles of columns as those of a standard normal distribution, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn

from sklearn_vae._data.devices import FLOAT64
from sklearn_vae._data.rows import Rows

# Largest number of bins of a column, as in scikit-learn's histogram gradient boosting.
MAX_BINS = 255
# Number of rows that quantiles are computed from at most; they are evenly spaced.
MAX_ROWS = 200_000
# A bin has at least this number of rows, as a multiple of the root of their number.
ROWS_PER_BIN = 0.5
# Number of rows that an interval without any is given.
MASS_OF_EMPTY_BIN = 0.5
# Smallest distance of neighbouring values, as a share of a column's range.
MIN_RESOLUTION = 1e-9


class NormalScores(nn.Module):
    r"""Monotone piecewise linear maps from columns to normal scores, :math:`T(x) = \Phi^{-1}(F(x))`.

    F is the distribution function of the training rows at the ends of bins. A bin has at least :math:`\sqrt{n} / 2`
    rows, so that F is smooth; a value with as many rows is a bin of its own. Values of a column are multiples of its
    resolution, and bins end halfway between two of these. Beyond the outermost ends, T goes on with its mean slope.

    Values are located as positions: the integer part is the bin, the fraction is the place in the bin.

    Parameters
    ----------
    n_features : int

    Attributes
    ----------
    ends : Tensor of shape (n_features, MAX_BINS + 1)
        Ends of the bins in the data's units, increasing; infinite beyond a column's last bin.
    scores : Tensor of shape (n_features, MAX_BINS + 1)
        Normal scores at the ends.
    last : Tensor of shape (n_features,), int64
        Index of the last bin of each column.
    resolution : Tensor of shape (n_features,)
        Distance of neighbouring values.
    """

    ends: Tensor
    scores: Tensor
    last: Tensor
    resolution: Tensor

    def __init__(self, n_features: int):
        super().__init__()
        ends = torch.full((n_features, MAX_BINS + 1), torch.inf, **FLOAT64)
        ends[:, :2] = torch.tensor([-0.5, 0.5])
        self.register_buffer("ends", ends)
        self.register_buffer("scores", torch.zeros_like(ends))
        self.register_buffer("last", torch.zeros(n_features, dtype=torch.int64, device="cpu"))
        self.register_buffer("resolution", torch.ones(n_features, **FLOAT64))

    def learn(self, rows: Rows) -> None:
        """Learn the maps of complete or incomplete rows, weighted if they have weights."""
        batch = rows.evenly_spaced(MAX_ROWS)[torch.arange(min(len(rows), MAX_ROWS), device=rows.device)]
        x = batch["x"].double().cpu().numpy()
        weight = batch["weight"].double().cpu().numpy() if "weight" in batch else np.ones(len(x))
        for j, column in enumerate(x.T):
            known = ~np.isnan(column) & (weight > 0)
            bins = _bins(column[known], weight[known])
            n = len(bins.scores)
            self.ends[j] = torch.inf
            self.ends[j, :n] = torch.from_numpy(bins.ends)
            self.scores[j] = float(bins.scores[-1])
            self.scores[j, :n] = torch.from_numpy(bins.scores)
            self.last[j], self.resolution[j] = n - 2, bins.resolution

    def locate(self, x: Tensor) -> Tensor:
        """Return positions of values (n_rows, n_features), float64; NaN for missing ones."""
        x = x.double()
        index = torch.searchsorted(self.ends, x.T.contiguous(), right=True).T - 1
        index = index.clamp_min(0).minimum(self.last)
        first, last = self._at(self.ends, index), self._at(self.ends, index + 1)
        # Width of a bin that has the mean slope: beyond the outermost ends, T goes on with it.
        outer = self._rise(index) / self._mean_slope()
        fraction = (x - first) / (last - first)
        fraction = fraction.where(x >= first, (x - first) / outer).where(x <= last, 1 + (x - last) / outer)
        return index + fraction

    def interval(self, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores' intervals that positions (..., n_features) stand for.

        Returns
        -------
        middle, width : Tensor of shape (..., n_features)
            Middle and width of the interval of scores whose values are rounded to the value at the position.
        log_resolution : Tensor of shape (n_features,)
            Logarithms of the resolutions, which turn probabilities of intervals into densities.
        """
        index = position.detach().nan_to_num(0.0).long().clamp_min(0).minimum(self.last)
        rise = self._rise(index).to(position)
        half = (0.5 * self.resolution / (self._at(self.ends, index + 1) - self._at(self.ends, index))).to(position)
        fraction = position - index
        inside = fraction.maximum(half).minimum(1 - half)
        fraction = inside.where((fraction >= 0) & (fraction <= 1), fraction)
        return self._at(self.scores, index).to(position) + fraction * rise, 2 * half * rise, self.resolution.log()

    def values(self, score: Tensor) -> Tensor:
        """Return the values at normal scores (..., n_features), float64, within the range of the training rows."""
        score = score.double()
        flat = score.reshape(-1, len(self.last)).T.contiguous()
        index = (torch.searchsorted(self.scores, flat, right=True).T - 1).reshape(score.shape)
        index = index.clamp_min(0).minimum(self.last)
        fraction = ((score - self._at(self.scores, index)) / self._rise(index)).clamp(0, 1)
        first, last = self._at(self.ends, index), self._at(self.ends, index + 1)
        smallest = self.ends[:, 0] + self.resolution / 2
        n_steps = ((last - first) / self.resolution).round()
        step = (fraction * n_steps).floor().minimum(n_steps - 1)
        return first + (step + 0.5) * self.resolution

    def _mean_slope(self) -> Tensor:
        """Return the mean slopes of T."""
        last = self.last + 1
        return (self._at(self.scores, last) - self.scores[:, 0]) / (self._at(self.ends, last) - self.ends[:, 0])

    def _rise(self, index: Tensor) -> Tensor:
        """Return the differences of the scores at the ends of bins."""
        return self._at(self.scores, index + 1) - self._at(self.scores, index)

    def _at(self, values: Tensor, index: Tensor) -> Tensor:
        """Return entries of values (n_features, ...) at indices (..., n_features)."""
        return values[torch.arange(len(values), device=values.device), index]


class _Bins(NamedTuple):
    """Ends of a column's bins, the scores there, and the column's resolution."""

    ends: np.ndarray
    scores: np.ndarray
    resolution: float


def _bins(values: np.ndarray, weight: np.ndarray) -> _Bins:
    """Return the bins of a column's observed values."""
    if not len(values):
        return _Bins(np.array([-0.5, 0.5]), ndtri([0.25, 0.75]), 1.0)
    distinct, inverse = np.unique(values, return_inverse=True)
    mass = np.bincount(inverse, weight)
    n = mass.sum() ** 2 / np.square(weight).sum()
    mass /= mass.sum()
    resolution = _resolution(distinct)
    ends, masses, after_spike = [distinct[0] - resolution / 2], [], False
    for first, last, is_spike in _groups(mass, max(ROWS_PER_BIN / math.sqrt(n), 2 / MAX_BINS)):
        if masses:
            low, high = distinct[first - 1] + resolution / 2, distinct[first] - resolution / 2
            if is_spike and after_spike and high - low > resolution / 2:
                ends += [low, high]
                masses.append(MASS_OF_EMPTY_BIN / n)
            else:
                middle = low + math.floor((high - low) / resolution / 2 + 0.25) * resolution
                ends.append(high if is_spike else low if after_spike else middle)
        masses.append(mass[first : last + 1].sum())
        after_spike = is_spike
    ends.append(distinct[-1] + resolution / 2)
    share = np.array(masses) / sum(masses) * (n / (n + 1))
    below = 0.5 / (n + 1) + np.concatenate([[0.0], share.cumsum()])
    return _Bins(np.array(ends), ndtri(below), resolution)


def _groups(mass: np.ndarray, least: float) -> Iterator[tuple[int, int, bool]]:
    """Yield the first and last index of the values of each bin, and whether it is a value with enough mass alone."""
    first, total = 0, 0.0
    for i, own in enumerate(mass):
        if own >= least:
            if i > first:
                yield first, i - 1, False
            yield i, i, True
            first, total = i + 1, 0.0
            continue
        total += own
        if total >= least:
            yield first, i, False
            first, total = i + 1, 0.0
    if first < len(mass):
        yield first, len(mass) - 1, False


def _resolution(distinct: np.ndarray) -> float:
    """Return the distance of neighbouring values: 1 for integers, otherwise the smallest between two values."""
    if (distinct == np.rint(distinct)).all():
        return 1.0
    spread = distinct[-1] - distinct[0]
    return max(float(np.diff(distinct).min()), MIN_RESOLUTION * spread) if spread else 1.0
