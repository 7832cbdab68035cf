"""One column of a data frame as columns of a matrix, and back."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

from sklearn_vae._data.column_kinds import NUMBERS, kind_of, show
from sklearn_vae._data.frame_dtypes import Description, describe, integer_limits, replace_cells
from sklearn_vae._data.marginals import MIN_SEPARATION, is_discrete, separation

# Largest number of categories of a column; each is a column of the matrix.
MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class Column:
    """A column of a data frame and its place in the matrix.

    Attributes
    ----------
    name : Hashable
        Name in the frame.
    kind : {"float", "integer", "boolean", "category"}
    dtype : dict
        Description of the dtype, as `frame_dtypes.describe` returns it.
    start, stop : int
        First column in the matrix, and the one after the last.
    categories : list of str, int, float or bool
        Categories in the order of their columns in the matrix; empty for other kinds and for a column without any
        value, which has no column in the matrix.
    limits : tuple of int
        Smallest and largest integer; those of the dtype if all cells are missing, and (0, 0) for other kinds.
    by_quantiles : bool
        Whether numbers are best modelled by their quantiles: they are discrete, without clusters that are far apart.
    """

    name: Hashable
    kind: str
    dtype: Description
    start: int
    stop: int
    categories: list
    limits: tuple[int, int]
    by_quantiles: bool = False

    @classmethod
    def learn(cls, series: nw.Series, start: int, library: str) -> Column:
        """Learn a column whose first column in the matrix is `start`."""
        kind = kind_of(series)
        dtype = describe(series.to_native().dtype, library)
        categories = _categories(series, dtype) if kind == "category" else []
        stop = start + (len(categories) if kind == "category" else 1)
        limits = _limits(series) if kind == "integer" else (0, 0)
        return cls(series.name, kind, dtype, start, stop, categories, limits)

    def with_marginal(self, series: nw.Series) -> Column:
        """Return the column with `by_quantiles` for these values.

        Quantiles are next to each other, also those of numbers in clusters that are far apart. Noise would then move
        drawn numbers from one cluster to another.
        """
        if self.kind not in ("float", "integer"):
            return self
        values = series.to_numpy()[~missing_cells(series)].astype(float)
        values = values[np.isfinite(values)]
        has_quantiles = self.kind == "integer" or is_discrete(values)
        return replace(self, by_quantiles=has_quantiles and separation(values) < MIN_SEPARATION)

    @property
    def slice(self) -> slice:
        """Columns of the matrix."""
        return slice(self.start, self.stop)

    @property
    def choices(self) -> list:
        """Values of a column of categories or booleans; empty for numbers."""
        return [False, True] if self.kind == "boolean" else self.categories

    def probabilities(self, block: np.ndarray) -> np.ndarray:
        """Return the probabilities of the choices, (n_rows, n_choices), from columns of the matrix.

        The mean of a boolean column may lie outside of [0, 1] if its likelihood is not one of zeros and ones.
        """
        if self.kind == "category":
            return block
        share = block.clip(0, 1)
        return np.hstack([1 - share, share])

    def encode(self, series: nw.Series, out: np.ndarray) -> list:
        """Write a column of another frame to its place in a matrix of zeros.

        Parameters
        ----------
        series : narwhals.Series
        out : ndarray of shape (n_rows, stop - start)
            Zeros, which become numbers or a one-hot block. Missing cells and unknown categories become NaN.

        Returns
        -------
        unknown : list
            Unknown categories.
        """
        missing = series.is_null().to_numpy()
        out[missing] = np.nan
        if missing.all():
            return []
        self.check_kind(series)
        rows = np.flatnonzero(~missing)
        if self.kind == "category":
            return self._encode_categories(series.drop_nulls(), rows, out)
        numbers = series.drop_nulls().cast(nw.Float64).to_numpy()
        if self.kind == "boolean":
            self._check_boolean(numbers)
        out[rows, 0] = numbers
        return []

    def check_kind(self, series: nw.Series) -> None:
        """Raise ValueError if the dtype of a column of another frame cannot hold the values of this one."""
        kind, dtype = kind_of(series), series.to_native().dtype
        if self.kind == "category":
            fits = kind == "category" or not any(isinstance(category, str) for category in self.categories)
        else:
            fits = kind in NUMBERS
        if not fits or str(dtype) == "Null":
            expected = "categories" if self.kind == "category" else f"{self.kind}s"
            examples = show(series.drop_nulls().unique().to_list())
            raise ValueError(
                f"expected column {self.name!r} to hold {expected}, as in fit, got dtype {dtype}"
                f"{examples and f' with values {examples}'}; convert it."
            )

    def decode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the cells that columns of the matrix stand for.

        Parameters
        ----------
        block : ndarray of shape (n_rows, stop - start)

        Returns
        -------
        values : ndarray of shape (n_rows,)
            Numbers; most probable categories; booleans, True from 0.5 on; integers, rounded and within `limits`.
        gaps : ndarray of shape (n_rows,), bool
            Whether a cell is missing: all its numbers are NaN.
        """
        if self.kind == "category":
            return self._decode_categories(block)
        gaps = np.isnan(block[:, 0])
        return as_kind(np.where(gaps, 0, block[:, 0]), self.kind, self.limits), gaps

    def fill(self, series: nw.Series, block: np.ndarray) -> nw.Series | None:
        """Replace the missing cells of a column of another frame.

        Parameters
        ----------
        series : narwhals.Series
        block : ndarray of shape (n_rows, stop - start)
            Columns of the matrix, as `decode` reads them. Cells that are missing here too stay missing.

        Returns
        -------
        series : narwhals.Series or None
            Column of the same dtype, and with the same observed cells; None if no cell is replaced.
        """
        missing = missing_cells(series)
        rows = np.flatnonzero(missing)
        cells, gaps = self.decode(block[rows])
        rows, cells = rows[~gaps], cells[~gaps]
        if not len(rows):
            return None
        native, library = series.to_native(), series.implementation.value
        holds_objects = native.dtype == np.dtype(object)
        if not (holds_objects and missing.all()):
            self.check_kind(series)
        if not holds_objects:
            cells = self._cells_of_dtype(cells, kind_of(series), native.dtype, library)
        return nw.from_native(replace_cells(native, rows, cells, library), series_only=True)

    def _encode_categories(self, observed: nw.Series, rows: np.ndarray, out: np.ndarray) -> list:
        """Write the one-hot blocks of the rows that have a category, and return unknown categories."""
        found = observed.unique().to_list()
        position = {category: i for i, category in enumerate(self.categories)}
        codes = observed.replace_strict(found, [position.get(v, -1) for v in found], return_dtype=nw.Int64).to_numpy()
        known = codes >= 0
        out[rows[~known]] = np.nan
        out[rows[known], codes[known]] = 1
        return [category for category in found if category not in position]

    def _decode_categories(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the most probable categories (n_rows,), and whether each is missing because its block is NaN."""
        gaps = np.full(len(block), not self.categories)
        if not self.categories:
            return np.full(len(block), None), gaps
        # argmax takes the first NaN for the largest number; only rows with NaN need another look.
        codes = block.argmax(1)
        rows = np.flatnonzero(np.isnan(np.take_along_axis(block, codes[:, None], 1)[:, 0]))
        gaps[rows] = np.isnan(block[rows]).all(1)
        codes[rows] = np.nan_to_num(block[rows], nan=-np.inf, posinf=np.inf, neginf=-np.inf).argmax(1)
        values = np.empty(len(self.categories), dtype=object)
        values[:] = self.categories
        return values[codes], gaps

    def _cells_of_dtype(self, cells: np.ndarray, kind: str, dtype: Any, library: str) -> np.ndarray:
        """Return cells (n_cells,) as values of a dtype of another frame, and of its kind."""
        if kind in NUMBERS:
            return as_kind(cells.astype(float), kind, integer_limits(dtype))
        listed = describe(dtype, library).get("values")
        absent = [] if listed is None else sorted(set(cells) - set(listed), key=str)
        if absent:
            raise ValueError(
                f"expected column {self.name!r} of a dtype that lists the categories of fit, got one without "
                f"{show(absent)}; convert it to the dtype of the frame that was fitted."
            )
        return cells

    def _check_boolean(self, numbers: np.ndarray) -> None:
        """Raise ValueError if numbers in a column of booleans are not 0 or 1."""
        wrong = np.unique(numbers[(numbers != 0) & (numbers != 1) & ~np.isnan(numbers)])
        if len(wrong):
            raise ValueError(
                f"expected column {self.name!r} to hold booleans or the numbers 0 and 1, as in fit, got "
                f"{show(wrong.tolist())}; convert it."
            )


def missing_cells(series: nw.Series) -> np.ndarray:
    """Return a mask (n_rows,) of the cells that are None, NaN, NA or null."""
    missing = np.array(series.is_null().to_numpy())
    if series.dtype.is_float():
        missing[~missing] = np.isnan(series.drop_nulls().to_numpy())
    return missing


def as_kind(numbers: np.ndarray, kind: str, limits: tuple[int, int]) -> np.ndarray:
    """Return numbers (n_rows,) as booleans, as integers within limits, or as they are."""
    if kind == "boolean":
        return numbers >= 0.5
    if kind == "float":
        return numbers
    dtype = np.iinfo(np.uint64 if limits[0] >= 0 else np.int64)
    smallest, largest = max(limits[0], dtype.min), min(limits[1], dtype.max)
    low, high = float(smallest), float(largest)
    # The nearest float of a large integer can lie outside the limits.
    low = low if int(low) >= smallest else np.nextafter(low, np.inf)
    high = high if int(high) <= largest else np.nextafter(high, -np.inf)
    return np.rint(numbers).clip(low, high).astype(dtype.dtype)


def _categories(series: nw.Series, dtype: Description) -> list:
    """Return the categories of a column: those that its dtype lists, in this order, or else its values, sorted."""
    listed = dtype.get("values")
    n_categories = series.drop_nulls().n_unique() if listed is None else len(listed)
    if n_categories > MAX_CATEGORIES:
        remedy = "" if listed is None else "remove unused ones with .cat.remove_unused_categories(), "
        raise ValueError(
            f"expected at most {MAX_CATEGORIES} categories in a column, got {n_categories} in column {series.name!r}; "
            f"{remedy}drop the column if its values identify rows, group rare ones, as "
            "OneHotEncoder(max_categories=...) does, or convert them to numbers."
        )
    values = sorted(series.drop_nulls().unique().to_list()) if listed is None else listed
    categories = [value.item() if isinstance(value, np.generic) else value for value in values]
    other = [category for category in categories if not isinstance(category, str | bool | int | float)]
    if other:
        raise TypeError(
            f"expected categories that are strings, numbers or booleans, got {show(other)} in column {series.name!r}; "
            "convert them to strings, e.g. with .cat.rename_categories(str)."
        )
    return categories


def _limits(series: nw.Series) -> tuple[int, int]:
    """Return the smallest and largest integer of a column, or of its dtype if all cells are missing."""
    observed = series.drop_nulls()
    return (int(observed.min()), int(observed.max())) if len(observed) else integer_limits(series.to_native().dtype)
