"""Data frames of pandas or polars as a matrix of numbers, and back: dtypes, categories and missing cells."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.utils.validation import _check_feature_names, _check_n_features, _get_feature_names

from sklearn_vae._data.column_kinds import has_number_dtype, show
from sklearn_vae._data.frame_dtypes import holds_gaps, integer_limits, module_of, new_series, rebuild
from sklearn_vae._data.stacklevel import stacklevel_of_user
from sklearn_vae._data.table_column import Column

# What `Table.encode` does with categories that were not learned; the first is the default.
HANDLE_UNKNOWN = ("warn", "error")


def is_table(X: Any) -> bool:
    """Return whether X is a pandas or polars frame with a column whose dtype is not one of floats or integers.

    Frames of numbers only need no `Table`, also with nullable and Arrow dtypes: scikit-learn's validation converts
    them.
    """
    if not is_frame(X):
        return False
    if len(set(X.columns)) < len(X.columns):
        return True
    return not all(has_number_dtype(series) for series in nw.from_native(X).iter_columns())


@dataclass(frozen=True)
class Table:
    """Columns of a data frame, and their places in a matrix.

    A column of numbers or booleans is one column of the matrix. A column of categories is a one-hot block, with a
    column for each category. A missing cell is NaN in all its columns.

    The state consists of strings, numbers and lists: no frame is kept.

    Attributes
    ----------
    library : {"pandas", "polars"}
        Library of the frames that `decode` returns.
    columns : tuple of Column
        Columns, in order: `name`, `kind`, `slice` in the matrix, `categories`, and more.

    Examples
    --------
    >>> import pandas as pd
    >>> X = pd.DataFrame({"size": [1.5, None], "color": ["red", "blue"]})
    >>> table = Table.learn(X)
    >>> table.encode(X)
    array([[1.5, 0. , 1. ],
           [nan, 1. , 0. ]])
    >>> table.fill(X, np.array([[1.0, 0.3, 0.7], [2.0, 0.9, 0.1]]))
       size color
    0   1.5   red
    1   2.0  blue
    """

    library: str
    columns: tuple[Column, ...]

    @classmethod
    def learn(cls, X: Any) -> Table:
        """Learn the columns of a frame.

        Parameters
        ----------
        X : pandas.DataFrame or polars.DataFrame
            Columns of floats, integers, booleans, strings or categories, with missing cells or without. The kind of
            an object column is inferred from its values.

        Returns
        -------
        table : Table

        Raises
        ------
        TypeError
            If a column has another dtype, or values of several types, or if only some names are strings.
        ValueError
            If two columns have the same name, or a column has more than `MAX_CATEGORIES` categories.
        """
        _check_names(X)
        library, frame = _library(X), nw.from_native(X)
        columns: list[Column] = []
        for series in frame.iter_columns():
            start = columns[-1].stop if columns else 0
            columns.append(Column.learn(series, start, library))
        # Copies of rows, as in bootstrap samples, do not make numbers rounded.
        distinct = frame.unique().iter_columns()
        return cls(
            library, tuple(column.with_marginal(series) for column, series in zip(columns, distinct, strict=True))
        )

    @property
    def n_columns(self) -> int:
        """Number of columns of the matrix."""
        return self.columns[-1].stop if self.columns else 0

    def of_numbers(self) -> Table:
        """Return the table of a frame whose matrix has one column for each of its columns.

        Integers are limited by their dtypes only, and not by the values that were seen. Columns of objects without a
        value hold floats.
        """
        columns = []
        for i, column in enumerate(self.columns):
            column = replace(column, start=i, stop=i + 1)
            if column.kind == "integer":
                column = replace(column, limits=integer_limits(column.dtype.get("type", column.dtype["name"])))
            columns.append(replace(column, kind="float", categories=[]) if column.kind == "category" else column)
        return replace(self, columns=tuple(columns))

    @property
    def n_features_in_(self) -> int:
        """Number of columns of the frame."""
        return len(self.columns)

    @property
    def feature_names_in_(self) -> np.ndarray | None:
        """Names of the columns if they are strings, else None, as scikit-learn's estimators remember them."""
        names = [column.name for column in self.columns]
        return np.array(names, dtype=object) if names and isinstance(names[0], str) else None

    def encode(self, X: Any, handle_unknown: str = "warn") -> np.ndarray:
        """Return a frame as a matrix.

        Parameters
        ----------
        X : pandas.DataFrame or polars.DataFrame
            Frame with the columns that were learned, in the same order. A dtype may differ if it holds values of the
            same kind, e.g. floats in a column of integers that has gaps now.
        handle_unknown : {"warn", "error"}
            Whether categories that were not learned become missing cells, with a warning, or raise ValueError.

        Returns
        -------
        values : ndarray of shape (n_rows, n_columns), float64
            Numbers as they are, except that integers beyond 2**53 are rounded; booleans as 0 and 1; categories as
            one-hot blocks; NaN for missing cells.

        Raises
        ------
        ValueError
            If names or kinds of columns differ from those that were learned, or for unknown categories.
        """
        if handle_unknown not in HANDLE_UNKNOWN:
            raise ValueError(f"expected handle_unknown to be one of {HANDLE_UNKNOWN}, got {handle_unknown!r}.")
        self._check_columns(X)
        values = np.zeros((len(X), self.n_columns))
        unknown = {}
        for column, series in zip(self.columns, nw.from_native(X).iter_columns(), strict=True):
            unknown[column.name] = column.encode(series, values[:, column.slice])
        self._report({name: categories for name, categories in unknown.items() if categories}, handle_unknown)
        return values

    def decode(self, values: np.ndarray) -> Any:
        """Return a matrix as a frame with the library, names, dtypes and categories that were learned.

        Parameters
        ----------
        values : ndarray of shape (n_rows, n_columns)
            In the block of a category column, the largest value decides. Integers are rounded and clipped to the
            smallest and largest that were learned. Booleans are True from 0.5 on. NaN in all columns of a cell is a
            missing cell.

        Returns
        -------
        X : pandas.DataFrame or polars.DataFrame
            Frame with the index 0, 1, ... if it is one of pandas.

        Raises
        ------
        ValueError
            If the matrix has another width, or if a cell is missing in a column of numpy integers or booleans, which
            cannot express it. Missing cells of object columns become None.
        """
        values = self._check_values(values)
        series = {column.name: self._decode(column, values) for column in self.columns}
        if self.library == "polars":
            return module_of("polars").DataFrame(series)
        pd = module_of("pandas")
        return pd.DataFrame(series, index=pd.RangeIndex(len(values)))

    def fill(self, X: Any, values: np.ndarray) -> Any:
        """Return a copy of a frame in which missing cells are replaced.

        Parameters
        ----------
        X : pandas.DataFrame or polars.DataFrame
            Frame with the columns that were learned. Its observed cells, dtypes and index stay the same.
        values : ndarray of shape (n_rows, n_columns)
            Matrix that replaces missing cells as `decode` reads it. Cells that are missing here too stay missing.

        Returns
        -------
        X : pandas.DataFrame or polars.DataFrame

        Raises
        ------
        ValueError
            If names, shapes or kinds differ, or if a column's dtype in X does not list a category that it needs.
        """
        self._check_columns(X)
        values = self._check_values(values)
        if len(values) != len(X):
            raise ValueError(f"expected values with a row for each of the {len(X)} rows of X, got {len(values)}.")
        frame = nw.from_native(X).clone()
        pairs = zip(self.columns, frame.iter_columns(), strict=True)
        filled = [column.fill(series, values[:, column.slice]) for column, series in pairs]
        return frame.with_columns(*(series for series in filled if series is not None)).to_native()

    def probabilities(self, X: Any, values: np.ndarray) -> dict[Hashable, Any]:
        """Return the probabilities of each column's categories.

        Parameters
        ----------
        X : pandas.DataFrame or polars.DataFrame
            Frame that `values` belong to.
        values : ndarray of shape (n_rows, n_columns)
            Matrix with the probabilities of categories, and of True, without missing cells.

        Returns
        -------
        probabilities : dict
            For the name of each column of categories or booleans, a frame of the library and with the index of X. Its
            columns are the categories, or False and True.
        """
        pairs = [(c, c.probabilities(values[:, c.slice])) for c in self.columns if c.choices]
        if _library(X) == "pandas":
            pd = module_of("pandas")
            return {c.name: pd.DataFrame(p, index=X.index, columns=c.choices) for c, p in pairs}
        pl = module_of("polars")
        return {c.name: pl.DataFrame(p, schema=[str(choice) for choice in c.choices], orient="row") for c, p in pairs}

    def _decode(self, column: Column, values: np.ndarray) -> Any:
        """Return the column of a frame, with its learned dtype."""
        cells, gaps = column.decode(values[:, column.slice])
        dtype = rebuild(column.dtype, self.library)
        if gaps.any() and not holds_gaps(dtype):
            raise ValueError(
                f"expected values without missing cells for column {column.name!r}, because its dtype {dtype} cannot "
                f"hold them, got {gaps.sum()}; fit on a nullable dtype, e.g. with X.convert_dtypes(), to keep them."
            )
        return new_series(cells, gaps, dtype, self.library)

    def _check_columns(self, X: Any) -> None:
        """Raise ValueError if a frame does not have the columns that were learned, as scikit-learn does."""
        _check_names(X)
        _check_feature_names(self, X, reset=False)
        _check_n_features(self, X, reset=False)

    def _check_values(self, values: np.ndarray) -> np.ndarray:
        """Return the matrix as an array; raise ValueError if it has another width."""
        values = np.asarray(values)
        if values.ndim != 2 or values.shape[1] != self.n_columns:
            raise ValueError(f"expected values of shape (n_rows, {self.n_columns}), as encoded, got {values.shape}.")
        return values

    def _report(self, unknown: dict[Any, list], handle_unknown: str) -> None:
        """Warn of unknown categories, or raise ValueError."""
        if not unknown:
            return
        got = "; ".join(f"{show(categories)} in column {name!r}" for name, categories in unknown.items())
        message = f"expected the categories that fit saw, got {got}"
        if handle_unknown == "error":
            raise ValueError(f"{message}; replace them, or fit on rows that have them.")
        warnings.warn(f"{message}; these cells count as not observed.", UserWarning, stacklevel=stacklevel_of_user())


def is_frame(X: Any) -> bool:
    """Return whether X is a frame of pandas or polars, in memory."""
    return nw.dependencies.is_pandas_dataframe(X) or nw.dependencies.is_polars_dataframe(X)


def _library(X: Any) -> str:
    """Return the name of a frame's library."""
    return "pandas" if nw.dependencies.is_pandas_dataframe(X) else "polars"


def _check_names(X: Any) -> None:
    """Raise TypeError if X is not a frame or if only some names are strings, and ValueError for duplicate names."""
    if not is_frame(X):
        raise TypeError(f"expected a pandas or polars data frame, got {type(X).__name__}; convert it to one.")
    duplicates = [name for name, count in Counter(X.columns).items() if count > 1]
    if duplicates:
        raise ValueError(f"expected columns with different names, got {show(duplicates)} more than once; rename them.")
    _get_feature_names(X)
