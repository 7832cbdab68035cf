"""Normal scores: quantiles of columns as those of a standard normal distribution, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn
from torch.special import ndtr

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
# Stands for infinity in the tables of bins, because saved arrays must be finite.
BEYOND = 1e300
# Smallest distance of neighbouring values, as a share of a column's range.
MIN_RESOLUTION = 1e-9


class NormalScores(nn.Module):
    r"""Monotone piecewise linear maps from columns to normal scores, :math:`T(x) = \Phi^{-1}(F(x))`.

    F is the distribution function of the training rows at the ends of bins. A bin has at least :math:`\sqrt{n} / 2`
    rows, so that F is smooth; a value with as many rows is a bin of its own. Values of a column are multiples of its
    resolution, and bins end halfway between two of these. Beyond the outermost ends, T goes on with its mean slope at
    first, and then as a logarithm, so that outliers among new rows have finite likelihoods of a moderate size.

    Values are located as positions: the integer part is the bin, the fraction is the place in the bin.

    Parameters
    ----------
    n_features : int

    Attributes
    ----------
    ends : Tensor of shape (n_features, MAX_BINS + 1)
        Ends of the bins in the data's units, increasing; `BEYOND` after a column's last bin.
    scores : Tensor of shape (n_features, MAX_BINS + 1)
        Normal scores at the ends; `BEYOND` after the last bin.
    last : Tensor of shape (n_features,), int64
        Index of the last bin of each column.
    resolution : Tensor of shape (n_features,)
        Distance of neighbouring values: 1 for integers, otherwise the smallest between two training rows.
    """

    ends: Tensor
    scores: Tensor
    last: Tensor
    resolution: Tensor

    def __init__(self, n_features: int):
        super().__init__()
        self.register_buffer("ends", torch.full((n_features, MAX_BINS + 1), BEYOND, **FLOAT64))
        self.register_buffer("scores", torch.full((n_features, MAX_BINS + 1), BEYOND, **FLOAT64))
        self.register_buffer("last", torch.zeros(n_features, dtype=torch.int64, device="cpu"))
        self.register_buffer("resolution", torch.ones(n_features, **FLOAT64))

    def learn(self, rows: Rows) -> None:
        """Learn the maps of complete or incomplete rows, weighted if they have weights."""
        batch = rows.evenly_spaced(MAX_ROWS)[torch.arange(min(len(rows), MAX_ROWS), device=rows.device)]
        x = batch["x"].cpu()
        weight = batch["weight"].double().cpu().numpy() if "weight" in batch else np.ones(len(x))
        for j in range(rows.n_features):
            column = x[:, j].double().numpy()
            known = ~np.isnan(column) & (weight > 0)
            ends, scores, resolution = _learn(column[known], weight[known])
            n_surplus = MAX_BINS + 1 - len(ends)
            self.ends[j] = torch.from_numpy(np.pad(ends, (0, n_surplus), constant_values=BEYOND))
            self.scores[j] = torch.from_numpy(np.pad(scores, (0, n_surplus), constant_values=BEYOND))
            self.last[j], self.resolution[j] = len(ends) - 2, resolution

    def locate(self, x: Tensor) -> Tensor:
        """Return positions of values (n_rows, n_features), float64; NaN for missing ones."""
        x = x.double()
        index = self._clamp(torch.searchsorted(self.ends, x.T.contiguous(), right=True).T - 1)
        bins = self._bins(index)
        fraction = (x - bins.first) / bins.width
        # Beyond the outermost ends, scores grow as log(1 + distance), where the mean slope gives the distance.
        last = self._bins(self.last)
        rise, width = last.score + last.rise - self.scores[:, 0], last.first + last.width - self.ends[:, 0]
        slope = (rise / width) * bins.width
        fraction = torch.where(fraction < 0, -torch.log1p(-fraction * slope) / bins.rise, fraction)
        return index + torch.where(fraction > 1, 1 + torch.log1p((fraction - 1) * slope) / bins.rise, fraction)

    def interval(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return the middle and the width of the scores' intervals that are rounded to values.

        Parameters
        ----------
        position : Tensor of shape (..., n_features)
            Positions of the values.

        Returns
        -------
        middle, width : Tensor of shape (..., n_features)
            In the precision of the positions.
        """
        index = self._clamp(position.nan_to_num(0.0).long())
        bins = self._bins(index)
        rise, half = bins.rise.to(position), (0.5 * self.resolution / bins.width).to(position)
        fraction = position - index
        beyond = (fraction - 1).maximum(-fraction).clamp_min(0)
        fraction = torch.where(beyond == 0, fraction.maximum(half).minimum(1 - half), fraction)
        # Beyond the outermost ends, the slope of the logarithm falls.
        return bins.score.to(position) + fraction * rise, 2 * half * rise * (-beyond * rise).exp()

    def values(self, score: Tensor) -> Tensor:
        """Return the values at normal scores (..., n_features), float64, within the range of the training rows."""
        score = score.double()
        columns = score.reshape(-1, len(self.last)).T.contiguous()
        index = torch.searchsorted(self.scores, columns, right=True).T.reshape(score.shape) - 1
        bins = self._bins(self._clamp(index))
        n_values = (bins.width / self.resolution).round()
        number = ((score - bins.score) / bins.rise * n_values).floor().clamp_min(0).minimum(n_values - 1)
        return bins.first + (number + 0.5) * self.resolution

    def mean(self, loc: Tensor, scale: Tensor) -> Tensor:
        """Return the means of values whose scores are normally distributed.

        Values are taken to be linear in the scores within a bin. Scores beyond the outermost ends count as at them.

        Parameters
        ----------
        loc : Tensor of shape (..., n_features)
            Means of the scores.
        scale : Tensor of shape (n_features,)
            Standard deviations of the scores.

        Returns
        -------
        mean : Tensor of shape (..., n_features)
        """
        first, last = self.ends[:, :-1] + self.resolution[:, None] / 2, self.ends[:, 1:] - self.resolution[:, None] / 2
        slope, jump = (last - first) / self.scores.diff(dim=1), first[:, 1:] - last[:, :-1]
        excess = excess_over(self.scores[:, 0], loc, scale)
        mean = first[:, 0].expand_as(loc)
        for i in range(int(self.last.max()) + 1):
            before, excess = excess, excess_over(self.scores[:, i + 1], loc, scale)
            mean = mean + (slope[:, i] * (before - excess)).where(i <= self.last, 0.0)
            above = ndtr((loc - self.scores[:, i + 1]) / scale)
            mean = mean + (jump[:, i] * above).where(i < self.last, 0.0)
        return mean

    def _clamp(self, index: Tensor) -> Tensor:
        """Return indices of bins that exist."""
        return index.clamp_min(0).minimum(self.last)

    def _bins(self, index: Tensor) -> _Bins:
        """Return the bins at indices (..., n_features)."""
        index = index + torch.arange(len(self.last), device=index.device) * self.ends.shape[1]
        first, score = self.ends.take(index), self.scores.take(index)
        return _Bins(first, self.ends.take(index + 1) - first, score, self.scores.take(index + 1) - score)


class _Bins(NamedTuple):
    """Bins of values: their first ends and widths, the scores at the first ends, and the differences to the last."""

    first: Tensor
    width: Tensor
    score: Tensor
    rise: Tensor


def excess_over(threshold: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Return E[max(u - threshold, 0)] of normal variables u."""
    distance = (loc - threshold) / scale
    density = (-0.5 * distance.square()).exp() / math.sqrt(2 * math.pi)
    return scale * (density + distance * ndtr(distance))


def _learn(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the ends of the bins of a column's observed values, the scores there, and the resolution."""
    if not len(values):
        return np.array([-0.5, 0.5]), ndtri([0.25, 0.75]), 1.0
    distinct, inverse = np.unique(values, return_inverse=True)
    n = weight.sum() ** 2 / np.square(weight).sum()
    mass = np.bincount(inverse, weight / weight.sum())
    resolution = _resolution(distinct)
    ends, after_spike = [distinct[0] - resolution / 2], False
    masses: list[float] = []
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
    return np.array(ends), ndtri(below), resolution


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
