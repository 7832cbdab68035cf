"""The columns of a table and of its samples, cell by cell as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy.sparse import issparse

from sklearn_vae._data.column_kinds import show
from sklearn_vae._data.table import is_frame
from sklearn_vae._data.table_column import Column
from sklearn_vae.displays._drawing import as_numbers


@dataclass(frozen=True)
class ColumnPair:
    """A column of a table and the same column of its samples.

    Attributes
    ----------
    name : str
    data, samples : ndarray of shape (n_rows,)
        Numbers, or codes of categories; NaN for missing cells. The numbers of rows may differ.
    categories : list of str
        Categories of the codes 0, 1, ...; empty for numbers, and for a column without any value.
    """

    name: str
    data: np.ndarray
    samples: np.ndarray
    categories: list[str]

    @property
    def is_category(self) -> bool:
        """Whether the column has categories."""
        return bool(self.categories)


def pair_columns(X: Any, X_sampled: Any, columns: Sequence[Any] | None) -> list[ColumnPair]:
    """Return the columns of a table and of its samples.

    Parameters
    ----------
    X : data frame or array-like of shape (n_rows, n_columns)
    X_sampled : data frame or array-like of shape (n_samples, n_columns)
        A frame has columns of the same names, in any order; an array has as many.
    columns : sequence of str or int, or None
        Names or positions of the columns to return; None returns all.

    Returns
    -------
    pairs : list of ColumnPair

    Raises
    ------
    ValueError
        If the samples lack a column, a column has values of another kind, or there is no such column.
    """
    data = _columns(X)
    samples = _columns_like(X_sampled, data)
    names = list(data)
    chosen = names if columns is None else [_find(column, names) for column in columns]
    if not chosen:
        raise ValueError("expected at least one column to compare, got none; use columns=None for all columns.")
    return [_pair(name, data[name], samples[name]) for name in chosen]


def _columns(X: Any) -> dict[Any, Any]:
    """Return the columns of a table by name: series of a frame, or arrays named x0, x1, ..."""
    if is_frame(X):
        return {series.name: series for series in nw.from_native(X).iter_columns()}
    if issparse(X):
        raise ValueError("expected a data frame or a dense array, got a sparse matrix; convert it with X.toarray().")
    X = as_numbers(X)
    if X.ndim != 2:
        raise ValueError(
            f"expected a data frame or a two-dimensional array, got shape {X.shape}; draw images with SamplesDisplay."
        )
    return {f"x{i}": column for i, column in enumerate(X.T)}


def _columns_like(X_sampled: Any, data: dict[Any, Any]) -> dict[Any, Any]:
    """Return the columns of the samples by the names of the data's."""
    samples = _columns(X_sampled)
    if not is_frame(X_sampled) and len(samples) == len(data):
        return dict(zip(data, samples.values(), strict=True))
    absent = [name for name in data if name not in samples]
    if absent:
        raise ValueError(
            f"expected samples with the {len(data)} columns of the data, got {len(samples)} without {show(absent)}; "
            "pass both tables with the same columns."
        )
    return samples


def _find(column: Any, names: list[Any]) -> Any:
    """Return the name that a name or a position stands for."""
    if column in names:
        return column
    if isinstance(column, int | np.integer) and -len(names) <= column < len(names):
        return names[column]
    raise ValueError(f"expected columns to be names or positions of {show(names)}, got {column!r}.")


def _pair(name: Any, data: Any, samples: Any) -> ColumnPair:
    """Return a column of the data and the same column of the samples: arrays of numbers, or series of frames."""
    if isinstance(data, np.ndarray):
        return ColumnPair(str(name), data, as_numbers(samples), [])
    column = Column.learn(data, 0, data.implementation.value)
    if column.kind != "category":
        numbers, drawn = (_encode(column, series)[0][:, 0] for series in (data, samples))
        return ColumnPair(str(name), numbers, drawn, ["False", "True"] if column.kind == "boolean" else [])
    if isinstance(samples, np.ndarray):
        raise ValueError(f"expected samples of the categories of column {name!r}, got an array; pass a data frame.")
    # Categories that only the samples have come last.
    categories = [*column.categories, *sorted(_encode(column, samples)[1], key=str)]
    column = replace(column, categories=categories, stop=len(categories))
    codes, drawn = (_codes(_encode(column, series)[0]) for series in (data, samples))
    return ColumnPair(str(name), codes, drawn, list(map(str, categories)))


def _encode(column: Column, series: Any) -> tuple[np.ndarray, list]:
    """Return the cells of a column as `Column.encode` writes them, and unknown categories."""
    if isinstance(series, np.ndarray):
        return series[:, None], []
    block = np.zeros((len(series), column.stop - column.start))
    return block, column.encode(series, block)


def _codes(block: np.ndarray) -> np.ndarray:
    """Return the codes of one-hot rows; NaN for missing cells, and for all of them without any category."""
    if not block.shape[1]:
        return np.full(len(block), np.nan)
    return np.where(np.isnan(block[:, 0]), np.nan, block.argmax(axis=1))
