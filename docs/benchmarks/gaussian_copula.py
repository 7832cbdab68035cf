"""A Gaussian copula of a table: its own distribution for each column, and correlated normal scores.

A frequent value of a column of numbers, or a category, has a probability. Other numbers have a density, a histogram
with as many rows in each bin. Categories are in order of their frequency, as in SDV's GaussianCopulaSynthesizer. A cell
with a probability corresponds to an interval of uniform scores, and log p(x) averages the copula's density over the
intervals of a row. Gaps are marginalised.
"""

from __future__ import annotations

import mixed_sets
import numpy as np
import pandas as pd
from scipy.special import logsumexp
from scipy.stats import norm

MIN_SHARE, MIN_COUNT = 0.01, 5  # share and number of rows from which a number has a probability of its own
MAX_BINS = 100
N_DRAWS = 128  # scores that a row's likelihood is averaged over
SMALLEST = 1e-6  # smallest distance of a uniform score from 0 and 1, and smallest eigenvalue of the correlations


class Margin:
    """Distribution of a column as pieces in order: each has a mass, and a width that is 0 for a value with one.

    Parameters
    ----------
    left, right, mass : ndarray of shape (n_pieces,)
        Ends of the pieces, and their probabilities up to a common factor.
    """

    def __init__(self, left: np.ndarray, right: np.ndarray, mass: np.ndarray) -> None:
        self.left, self.right, self.mass = left, right, mass / mass.sum()
        self.below = np.cumsum(self.mass) - self.mass

    @classmethod
    def of_codes(cls, codes: np.ndarray, n_categories: int) -> Margin:
        """Return the smoothed shares of categories."""
        values = np.arange(n_categories, dtype=float)
        return cls(values, values, np.bincount(codes, minlength=n_categories) + 0.5)

    @classmethod
    def of_numbers(cls, x: np.ndarray, rng: np.random.RandomState) -> Margin:
        """Return the probabilities of frequent values, and a histogram of the others with tails of half a row."""
        values, counts = np.unique(x, return_counts=True)
        frequent = counts >= max(MIN_COUNT, MIN_SHARE * len(x))
        step = np.diff(values).min() if len(values) > 1 else 1.0
        rest = x[np.isin(x, values[~frequent])]
        rest = rest + step * rng.uniform(-0.5, 0.5, len(rest))
        low, high = values[0] - step / 2, values[-1] + step / 2
        n_bins = int(np.clip(np.sqrt(len(rest)), 1, MAX_BINS))
        inner = np.quantile(rest, np.linspace(0, 1, n_bins + 1)[1:-1]) if n_bins > 1 else []
        edges = np.unique(np.r_[2 * low - high, low, inner, high, 2 * high - low])
        mass = np.r_[0.5, np.full(len(edges) - 3, max(len(rest), 0.5) / (len(edges) - 3)), 0.5]
        cuts = np.union1d(edges, values[frequent])
        width, place = np.diff(cuts), np.searchsorted(edges, cuts[:-1], side="right") - 1
        mass = mass[place] * width / np.diff(edges)[place]
        left = np.r_[cuts[:-1], values[frequent]]
        right, mass = np.r_[cuts[1:], values[frequent]], np.r_[mass, counts[frequent]]
        order = np.lexsort((right, left))
        return cls(left[order], right[order], mass[order])

    def interval(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the ends of the interval of uniform scores of each value, and log p; NaN where x is NaN."""
        widths = self.right - self.left
        inside = np.clip(x, self.left[0], self.right[-1])
        piece = np.searchsorted(self.left, inside, side="right") - 1
        # A frequent value is followed by the piece that begins there.
        piece = np.where((piece > 0) & (self.right[piece - 1] == inside) & (widths[piece - 1] == 0), piece - 1, piece)
        mass, width = self.mass[piece], widths[piece]
        share = np.divide(inside - self.left[piece], width, out=np.zeros(len(x)), where=width > 0)
        low = self.below[piece] + mass * share
        log_p = np.log(np.divide(mass, width, out=mass.copy(), where=width > 0))
        low, high = low + 0 * x, np.where(width > 0, low, low + mass) + 0 * x
        return low, high, log_p + 0 * x

    def quantile(self, u: np.ndarray) -> np.ndarray:
        """Return the values of uniform scores."""
        piece = np.searchsorted(self.below, u, side="right") - 1
        share = (u - self.below[piece]) / self.mass[piece]
        return self.left[piece] + share.clip(0, 1) * (self.right - self.left)[piece]


class GaussianCopula:
    """Gaussian copula of a data frame of numbers and categories with gaps."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.RandomState(seed)

    def fit(self, data: pd.DataFrame) -> GaussianCopula:
        """Fit the columns' distributions, and the correlations of the scores of pairs of observed cells."""
        self.words, self.dtypes = mixed_sets.categories(data), data.dtypes
        self.categories = {name: data[name].value_counts().index.tolist() for name in self.words}
        self.margins = {}
        for name, x in self.encode(data).items():
            x = x[~np.isnan(x)]
            if name in self.words:
                self.margins[name] = Margin.of_codes(x.astype(int), len(self.categories[name]))
            else:
                self.margins[name] = Margin.of_numbers(x, self.rng)
        scores = pd.DataFrame(self.scores(data)[0][0])
        values, vectors = np.linalg.eigh(scores.corr().fillna(0).to_numpy() * (1 - np.eye(len(data.columns))))
        correlations = (vectors * (values + 1).clip(SMALLEST)) @ vectors.T
        scale = np.sqrt(np.diag(correlations))
        self.correlations = correlations / scale / scale[:, None]
        return self

    def encode(self, data: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return numbers, and the places of categories; NaN in gaps and for categories that were not seen."""
        codes = {name: dict(zip(known, range(len(known)), strict=True)) for name, known in self.categories.items()}
        columns = {name: data[name].map(codes[name]) if name in codes else data[name] for name in data}
        return {name: column.to_numpy(dtype=float, na_value=np.nan) for name, column in columns.items()}

    def scores(self, data: pd.DataFrame, n_draws: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Return draws of normal scores, (n_draws, n_rows, n_columns), and log p of each cell, (n_rows, n_columns)."""
        parts = [self.margins[name].interval(x) for name, x in self.encode(data).items()]
        low, high, log_p = (np.column_stack(part) for part in zip(*parts, strict=True))
        u = low + (high - low) * self.rng.uniform(size=(n_draws, *low.shape))
        return norm.ppf(u.clip(SMALLEST, 1 - SMALLEST)), log_p

    def log_density(self, z: np.ndarray) -> np.ndarray:
        """Return the log of the mean of the copula's density over draws of scores; NaN marks a gap."""
        gaps = np.isnan(z[0])
        patterns, which = np.unique(gaps, axis=0, return_inverse=True)
        result = np.zeros(z.shape[1])
        for i, pattern in enumerate(patterns):
            rows = np.flatnonzero(which.ravel() == i)
            part = z[:, rows][..., ~pattern]
            R = self.correlations[np.ix_(~pattern, ~pattern)]
            quadratic = np.einsum("sri,ij,srj->sr", part, np.linalg.inv(R) - np.eye(len(R)), part, optimize=True)
            log_c = -0.5 * (quadratic + np.linalg.slogdet(R)[1])
            result[rows] = logsumexp(log_c, axis=0) - np.log(len(z))
        return result

    def log_prob(self, data: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return log p of each row, and of each cell given the rest of its row (n_rows, n_columns), NaN in gaps."""
        z, log_p = self.scores(data, N_DRAWS)
        copula = self.log_density(z)
        cells = log_p.copy()
        for j in range(z.shape[2]):
            rest = z.copy()
            rest[..., j] = np.nan
            cells[:, j] += copula - self.log_density(rest)
        return np.nansum(log_p, axis=1) + copula, cells

    def sample(self, n_samples: int) -> pd.DataFrame:
        """Draw rows without gaps."""
        z = self.rng.multivariate_normal(np.zeros(len(self.margins)), self.correlations, n_samples)
        drawn = {}
        for (name, margin), u in zip(self.margins.items(), norm.cdf(z).T, strict=True):
            x = margin.quantile(u)
            if name in self.words:
                x = np.array(self.categories[name], dtype=object)[x.round().astype(int)]
            elif pd.api.types.is_integer_dtype(self.dtypes[name]):
                x = x.round().astype(int)
            drawn[name] = x
        return pd.DataFrame(drawn)
