"""Statistics of how unusual rows are: log p(x), and distances to training rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sklearn_vae._data.sparse_rows import Matrix, to_dense
from sklearn_vae._model.inference import Inference
from sklearn_vae._model.vae import VAE

T = TypeVar("T")
# Weights of -log p(x), of the distances by columns and of those by codes and residuals in the score.
WEIGHTS = np.array([0.2, 0.4, 0.4])
# Places of the statistics that depend on which rows a model has seen.
OF_MODEL = [0, 2]
# Factor of the codes, whose unit is the prior's standard deviation. The unit of residuals is their root mean square.
CODE_WEIGHT = 3.0
# Largest number of training rows that are searched for neighbours.
MAX_REFERENCES = 10_000
# Largest number of array elements in a block of rows.
MAX_ELEMENTS = 2**22
# Quantile of a statistic above which its distribution is taken to be exponential.
TAIL_QUANTILE = 0.9
# Largest -log p(x) in nats: log p(x) is -inf where it overflows float32.
MAX_SURPRISE = 1e200
# Floor of a distance, relative to the root of the rows' total variance: rows may be equal.
MIN_DISTANCE = 1e-9


class Views(NamedTuple):
    """Rows as they are compared.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_columns)
        Columns as the likelihood compares them. Missing cells have their means under p(x|z).
    codes : ndarray of shape (n_rows, n_components)
        Posterior means times `CODE_WEIGHT`.
    residuals : ndarray of shape (n_rows, n_columns)
        Values less their means under p(x|z). They are 0 where a cell is missing.
    """

    values: np.ndarray
    codes: np.ndarray
    residuals: np.ndarray


def compare(inference: Inference, X: Matrix) -> Views:
    """Return rows as they are compared, in float64."""
    joined = inference.map(_joined_views, X).astype(np.float64)
    d = inference.model.n_components
    n_columns = (joined.shape[1] - d) // 2
    return Views(*np.split(joined, [n_columns, n_columns + d], axis=1))


def _joined_views(model: VAE, x: Tensor) -> Tensor:
    observed, code = model.observe_rows(x), model.embed(x)
    mean = model.likelihood.mean_given(observed, model.decode(code)).to(code.dtype)
    values = x.to(code.dtype)
    values = values.where(~values.isnan(), mean)
    if model.likelihood.has_features:
        values, mean = (model.likelihood.observe(rows).inputs for rows in (values, mean))
    return torch.cat([values, CODE_WEIGHT * code, values - mean], 1)


class Neighbors(NamedTuple):
    """Nearest training rows.

    Attributes
    ----------
    log_distance : ndarray of shape (n_rows,)
        Mean logarithm of the distances.
    rows : ndarray of int of shape (n_rows, n_neighbors)
        Places among the training rows.
    """

    log_distance: np.ndarray
    rows: np.ndarray


class Space:
    """Nearest-neighbour search among training rows.

    Parameters
    ----------
    coordinates : ndarray of shape (n_rows, n_coordinates)
    n_neighbors, n_skipped : int
        Number of neighbours, and number of nearer rows that are skipped.
    """

    def __init__(self, coordinates: np.ndarray, n_neighbors: int, n_skipped: int):
        self.coordinates = coordinates
        self.n_neighbors = min(n_neighbors, len(coordinates) - 1)
        self.n_skipped = min(n_skipped, len(coordinates) - 1 - self.n_neighbors)
        self.min_distance = MIN_DISTANCE * (np.sqrt(coordinates.var(0).sum()) or 1.0)
        self.tree = NearestNeighbors().fit(coordinates)

    def search(self, rows: np.ndarray, is_member: np.ndarray) -> Neighbors:
        """Return the nearest rows. Members of the training rows are not among their own neighbours."""
        if self.n_skipped:
            distances, index = self._after_skipped(rows)
        else:
            distances, index = self.tree.kneighbors(rows, self.n_neighbors + 1)
        kept = is_member.astype(int)[:, None] + np.arange(self.n_neighbors)
        distances, index = (np.take_along_axis(array, kept, 1) for array in (distances, index))
        return Neighbors(np.log(distances.clip(self.min_distance)).mean(1), index)

    def _after_skipped(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the distances and places of `n_neighbors` + 1 rows after the skipped ones.

        A partition is many times faster than a search for all of them, which also sorts the skipped ones.
        """
        last = self.n_skipped + self.n_neighbors
        order = np.argpartition(euclidean_distances(rows, self.coordinates, squared=True), [self.n_skipped, last])
        index = order[:, self.n_skipped : last + 1]
        # Differences of coordinates are exact where squares cancel.
        distances = np.linalg.norm(rows[:, None] - self.coordinates[index], axis=2)
        order = distances.argsort(1)
        return np.take_along_axis(distances, order, 1), np.take_along_axis(index, order, 1)


class References:
    """Training rows that other rows are compared with.

    Parameters
    ----------
    inference : Inference
        Model of the comparison.
    X : array or CSR matrix of shape (n_rows, n_features)
    n_neighbors : int
        Number of neighbours by the columns. By codes and residuals there is one.
    n_outliers : int
        Number of outliers that may be among the rows. So many of the nearest rows do not count as neighbours, because
        outliers may be similar to each other.
    """

    def __init__(self, inference: Inference, X: Matrix, n_neighbors: int, n_outliers: int = 0):
        self.inference = inference
        self.parameters = X, n_neighbors, n_outliers
        views = compare(inference, X)
        self.center = views.values.mean(0)
        # Where the model explains everything, residuals are rounding errors.
        spread = np.sqrt(np.square(views.values - self.center).mean()) or 1.0
        self.column_square = np.square(views.residuals).mean(0) + (MIN_DISTANCE * spread) ** 2
        self.residual_unit = np.sqrt(self.column_square.mean())
        values, codes = self.coordinates(views)
        self.by_values, self.by_codes = Space(values, n_neighbors, n_outliers), Space(codes, 1, n_outliers)

    def coordinates(self, views: Views) -> tuple[np.ndarray, np.ndarray]:
        """Return what distances are computed between: centred columns; codes and residuals."""
        return views.values - self.center, np.hstack([views.codes, views.residuals / self.residual_unit])

    def statistics(self, X: Matrix, is_member: np.ndarray, n_draws: int) -> np.ndarray:
        """Return -log p(x) and mean log distances by columns and by codes and residuals, (n_rows, 3).

        They are larger for more unusual rows. `is_member`, (n_rows,), tells which rows are among the references.
        """

        def distances(block: Matrix, members: np.ndarray) -> np.ndarray:
            """Return the two distances of a block of rows."""
            pairs = zip((self.by_values, self.by_codes), self.coordinates(compare(self.inference, block)), strict=True)
            return np.stack([space.search(rows, members).log_distance for space, rows in pairs], axis=1)

        parts = self._by_blocks(distances, X, is_member)
        log_p = self.inference.log_likelihoods(X, n_draws).astype(np.float64)
        return np.column_stack([(-log_p).clip(max=MAX_SURPRISE), np.concatenate(list(parts))])

    def shares(self, X: Matrix, is_member: np.ndarray) -> np.ndarray:
        """Return the columns' shares in each of the `statistics`, (n_rows, 3, n_columns), which sum to 1."""

        def shares(block: Matrix, members: np.ndarray) -> np.ndarray:
            """Return the shares of a block of rows."""
            views = compare(self.inference, block)
            values, codes = self.coordinates(views)
            near = self.by_values.search(values, members).rows
            by_values = np.square(values[:, None] - self.by_values.coordinates[near]).mean(1)
            near = self.by_codes.search(codes, members).rows
            square, d = np.square(codes[:, None] - self.by_codes.coordinates[near]).mean(1), views.codes.shape[1]
            # A difference of codes is attributed to the columns whose means under p(x|z) differ.
            moved = np.square((values - views.residuals)[:, None] - self._means(near)).mean(1)
            by_codes = square[:, :d].sum(1, keepdims=True) * _normalised(moved) + square[:, d:]
            excess = np.maximum(np.square(views.residuals) / self.column_square - 1, 0)
            return np.stack([_normalised(part) for part in (excess, by_values, by_codes)], axis=1)

        return np.concatenate(list(self._by_blocks(shares, X, is_member)))

    def _means(self, index: np.ndarray) -> np.ndarray:
        """Return the centred means of the training rows at `index` under p(x|z)."""
        values = self.by_values.coordinates[index]
        return values - self.by_codes.coordinates[index][..., -values.shape[-1] :] * self.residual_unit

    def _by_blocks(self, function: Callable[[Matrix, np.ndarray], T], X: Matrix, is_member: np.ndarray) -> Iterator[T]:
        """Apply a function to blocks of rows, and to the same part of `is_member`."""
        n_references, n_coordinates = self.by_codes.coordinates.shape
        width = max((self.by_values.n_neighbors + 1) * n_coordinates, n_references if self.by_values.n_skipped else 0)
        n_rows = max(1, MAX_ELEMENTS // width)
        for start in range(0, X.shape[0], n_rows):
            block = slice(start, start + n_rows)
            yield function(to_dense(X[block]), is_member[block])


def _normalised(parts: np.ndarray) -> np.ndarray:
    """Divide rows by their sums; rows of zeros become equal shares."""
    total = parts.sum(-1, keepdims=True)
    return np.where(total > 0, parts / np.where(total > 0, total, 1), 1 / parts.shape[-1])


@dataclass(frozen=True)
class TailProbabilities:
    """Estimates of how many rows have a statistic at least as large.

    They are shares of the given rows, up to their `TAIL_QUANTILE`. Above it, they fall exponentially, at the rate
    between the median and this quantile, which outliers among the rows do not change.

    Parameters
    ----------
    ordered : ndarray of shape (n_rows, n_statistics)
        Sorted values of each statistic.
    """

    ordered: np.ndarray

    @classmethod
    def of(cls, statistics: np.ndarray) -> TailProbabilities:
        """Return the estimates for the statistics of held-out rows, (n_rows, n_statistics)."""
        return cls(np.sort(statistics, axis=0))

    def score_parts(self, statistics: np.ndarray) -> np.ndarray:
        """Return logarithms of tail probabilities times `WEIGHTS`, (n_rows, 3), whose sums are the scores."""
        return WEIGHTS * self.log(statistics)

    def log(self, statistics: np.ndarray) -> np.ndarray:
        """Return logarithms of tail probabilities, (n_rows, n_statistics)."""
        columns = zip(self.ordered.T, statistics.T, strict=True)
        return np.stack([_log_tail(ordered, values) for ordered, values in columns], axis=1)


def _log_tail(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    median, threshold = np.quantile(ordered, [0.5, TAIL_QUANTILE])
    # Where half of the rows are equal, any larger value is as unusual as rounding allows.
    rise = max(threshold - median, np.finfo(np.float64).eps * max(1.0, abs(threshold)))
    rate = np.log(0.5 / (1 - TAIL_QUANTILE)) / rise
    n_at_least = len(ordered) - np.searchsorted(ordered, values, side="left")
    share = (n_at_least + 0.5) / (len(ordered) + 1)
    at_threshold = np.log(1 - TAIL_QUANTILE)
    return np.where(values > threshold, at_threshold - rate * (values - threshold), np.log(share).clip(at_threshold, 0))
