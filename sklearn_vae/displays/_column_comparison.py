"""The distributions of one column in a table and in its samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sklearn_vae.displays._column_pairs import ColumnPair

# Smallest and largest number of bins of a histogram.
MIN_BINS, MAX_BINS = 8, 30
# Ratio of the largest number to the median, both in size, above which numbers have a logarithmic scale.
LONG_TAIL = 20.0
# Percentile of the sizes of the data other than 0 that is the linear width of this scale.
LINEAR_PERCENTILE = 10
# Largest integer up to which floats hold all integers.
MAX_INTEGER = 2**53


@dataclass(frozen=True)
class ColumnComparison:
    """Distributions of a column in data and in samples; missing cells are left out.

    Parameters
    ----------
    name : str
        Name of the column.
    categories : list of str
        Categories; empty for numbers.
    edges : ndarray of shape (n_bins + 1,) or None
        Edges of the bins of numbers; None for categories. Bins of integers are centred at integers.
    linear_width : float or None
        Numbers x with a long tail have bins of equal width on the scale of
        sign(x) log(1 + abs(x) / `linear_width`). None: on that of x.
    data, samples : ndarray of shape (n_bins,) or (n_categories,)
        Share of the observed cells in each bin or category. The sum is 1, or 0 without any observed cell.
    distance : float
        Largest difference of the two cumulative distribution functions (Kolmogorov-Smirnov) for
        numbers, and total variation distance for categories: half the sum of the absolute
        differences. Both range from 0 to 1; NaN if all cells are missing.
    """

    name: str
    categories: list[str]
    edges: np.ndarray | None
    linear_width: float | None
    data: np.ndarray
    samples: np.ndarray
    distance: float


def compare(pair: ColumnPair) -> ColumnComparison:
    """Return the distributions of a column in data and in samples."""
    data, samples = (values[np.isfinite(values)] for values in (pair.data, pair.samples))
    if not pair.is_category:
        edges, width = bin_edges(data, samples)
        shares, drawn = (_shares(np.histogram(values, edges)[0]) for values in (data, samples))
        return ColumnComparison(pair.name, [], edges, width, shares, drawn, kolmogorov_smirnov(data, samples))
    n_categories = len(pair.categories)
    shares, drawn = (_shares(np.bincount(codes.astype(int), minlength=n_categories)) for codes in (data, samples))
    distance = float(0.5 * np.abs(shares - drawn).sum()) if len(data) and len(samples) else np.nan
    return ColumnComparison(pair.name, pair.categories, None, None, shares, drawn, distance)


def bin_edges(data: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, float | None]:
    """Return the edges of common bins of data and samples, and the `linear_width` of their scale.

    If the data are integers, bins are centred at integers, also if the samples have fractions.
    """
    both = np.concatenate([data, samples])
    if not len(both):
        return np.array([0.0, 1.0]), None
    low, high = float(both.min()), float(both.max())
    n_bins = int(np.clip(np.ceil(2 * len(both) ** (1 / 3)), MIN_BINS, MAX_BINS))
    is_integer = bool((data == np.rint(data)).all()) and max(-low, high) < MAX_INTEGER
    if is_integer and high - low < MAX_BINS:
        return _of_integers(low, high, MAX_BINS), None
    width = _linear_width(data, both, is_integer)
    if width is not None:
        first, last = (_to_log(end, width) for end in (low, high))
        edges = _from_log(np.linspace(first, last, n_bins + 1), width)
        # Rounding errors must not leave the extreme numbers out.
        edges[[0, -1]] = low, high
        if is_integer:
            edges = np.append(np.unique(np.rint(edges[:-1])) - 0.5, np.rint(high) + 0.5)
        return edges, width
    if is_integer:
        return _of_integers(low, high, n_bins), None
    # Numbers that are equal up to rounding are in the middle.
    rounding = 1e-9 * max(abs(low), abs(high))
    margin = 0.0 if high - low > rounding else max(0.5, rounding)
    return np.linspace(low - margin, high + margin, n_bins + 1), None


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest difference of two empirical distribution functions; NaN if one has no numbers."""
    if not len(a) or not len(b):
        return np.nan
    at = np.concatenate([a, b])
    shares = [np.searchsorted(np.sort(values), at, side="right") / len(values) for values in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def _linear_width(data: np.ndarray, both: np.ndarray, is_integer: bool) -> float | None:
    """Return the width around 0 in which a logarithmic scale is linear; None for a linear scale."""
    size = np.abs(both)
    if size.max() <= LONG_TAIL * np.median(size):
        return None
    own = np.abs(data)[data != 0]
    return 1.0 if is_integer or not len(own) else float(np.percentile(own, LINEAR_PERCENTILE))


def _to_log(x: float, width: float) -> float:
    return float(np.sign(x) * np.log1p(np.abs(x) / width))


def _from_log(y: np.ndarray, width: float) -> np.ndarray:
    return np.sign(y) * width * np.expm1(np.abs(y))


def _of_integers(low: float, high: float, n_bins: int) -> np.ndarray:
    """Return the edges of at most `n_bins` bins that hold as many integers each."""
    low, n_integers = np.rint(low), np.rint(high) - np.rint(low) + 1
    width = np.ceil(n_integers / n_bins)
    return low - 0.5 + width * np.arange(np.ceil(n_integers / width) + 1)


def _shares(counts: np.ndarray) -> np.ndarray:
    """Return counts divided by their sum; zeros if it is 0."""
    return counts / max(counts.sum(), 1)
