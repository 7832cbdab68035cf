"""Dtypes of pandas and polars columns as plain values, and columns of such dtypes from arrays.

narwhals reads columns of both libraries, but its dtypes do not tell numpy's, nullable and Arrow columns of pandas
apart. What this file returns consists of strings, numbers and lists, so that a saved estimator needs no data frame.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np

# A dtype as strings, numbers and lists.
Description = dict[str, Any]


def module_of(library: Literal["pandas", "polars", "pyarrow"]) -> ModuleType:
    """Return the module of "pandas", "polars" or "pyarrow", imported only where frames come from it."""
    return nw.Implementation.from_backend(library).to_native_namespace()


def describe(dtype: Any, library: str) -> Description:
    """Return the description of a column's dtype.

    Parameters
    ----------
    dtype : object
        Dtype of a pandas or polars column.
    library : {"pandas", "polars"}

    Returns
    -------
    description : dict
        What `rebuild` needs to make an equal dtype. "values" are the categories, in order, if the dtype lists them;
        polars' Categorical and Arrow's dictionaries do not.
    """
    return _describe_pandas(dtype) if library == "pandas" else _describe_polars(dtype)


def rebuild(description: Description, library: str) -> Any:
    """Return the dtype that a description stands for."""
    return _rebuild_pandas(description) if library == "pandas" else _rebuild_polars(description)


def new_series(values: np.ndarray, gaps: np.ndarray, dtype: Any, library: str) -> Any:
    """Return a column with the given dtype and missing cells.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        Numbers, booleans or categories that the dtype holds. Values of missing cells are ignored.
    gaps : ndarray of shape (n_rows,), bool
        Whether a cell is missing.
    dtype : object
        Dtype of the library.
    library : {"pandas", "polars"}

    Returns
    -------
    series : pandas.Series or polars.Series
    """
    return (_new_pandas if library == "pandas" else _new_polars)(values, gaps, dtype)


def replace_cells(series: Any, rows: np.ndarray, values: np.ndarray, library: str) -> Any:
    """Return a copy of a column with other values at some rows, and the same dtype.

    Parameters
    ----------
    series : pandas.Series or polars.Series
    rows : ndarray of shape (n_cells,), int
    values : ndarray of shape (n_cells,)
        Values that the dtype holds.
    library : {"pandas", "polars"}

    Returns
    -------
    series : pandas.Series or polars.Series
    """
    new = new_series(values, np.zeros(len(values), dtype=bool), series.dtype, library)
    if library == "pandas":
        series = series.copy()
        series.iloc[rows] = new.array
        return series
    if str(series.dtype).startswith("Categorical"):
        # Before polars 1.32, each Categorical column has codes of its own.
        return replace_cells(series.cast(str), rows, values, library).cast(series.dtype)
    return series.clone().scatter(rows, new)


def holds_gaps(dtype: Any) -> bool:
    """Return whether a column of this dtype can have missing cells; numpy's integers and booleans cannot."""
    return not (isinstance(dtype, np.dtype) and dtype.kind in "iub")


def integer_limits(dtype: Any) -> tuple[int, int]:
    """Return the smallest and largest integer of a dtype; those of int64 if it has none, as numpy's object."""
    name = str(dtype).removesuffix("[pyarrow]").lower()
    limits = np.iinfo(name if name.startswith(("int", "uint")) else "int64")
    return int(limits.min), int(limits.max)


def _describe_pandas(dtype: Any) -> Description:
    pd = module_of("pandas")
    if isinstance(dtype, pd.CategoricalDtype):
        values = {"values": dtype.categories.tolist(), "value_dtype": _describe_pandas(dtype.categories.dtype)}
        return {"name": "category", "ordered": bool(dtype.ordered), **values}
    if isinstance(dtype, pd.StringDtype):
        return {"name": "string", "storage": dtype.storage, "na": "NA" if dtype.na_value is pd.NA else "nan"}
    if isinstance(dtype, pd.ArrowDtype):
        return {"name": "arrow", "type": _describe_arrow(dtype.pyarrow_dtype)}
    return {"name": str(dtype)}


def _rebuild_pandas(description: Description) -> Any:
    pd = module_of("pandas")
    match description:
        case {"name": "category", "ordered": ordered, "values": values, "value_dtype": value_dtype}:
            return pd.CategoricalDtype(pd.Index(values, dtype=_rebuild_pandas(value_dtype)), ordered)
        case {"name": "string", "storage": storage, "na": na}:
            # Before pandas 2.3, the storage "pyarrow_numpy" stood for na_value=nan.
            return pd.StringDtype(storage, **({"na_value": np.nan} if na == "nan" and "_" not in storage else {}))
        case {"name": "arrow", "type": arrow_type}:
            return pd.ArrowDtype(_rebuild_arrow(arrow_type))
    return pd.api.types.pandas_dtype(description["name"])


def _describe_arrow(arrow_type: Any) -> str | list:
    pa = module_of("pyarrow")
    if pa.types.is_dictionary(arrow_type):
        return [str(arrow_type.index_type), str(arrow_type.value_type), bool(arrow_type.ordered)]
    return str(arrow_type)


def _rebuild_arrow(description: str | list) -> Any:
    pa = module_of("pyarrow")
    if isinstance(description, list):
        index, value, ordered = description
        return pa.dictionary(pa.type_for_alias(index), pa.type_for_alias(value), ordered)
    return pa.type_for_alias(description)


def _new_pandas(values: np.ndarray, gaps: np.ndarray, dtype: Any) -> Any:
    pd = module_of("pandas")
    if gaps.all():
        return pd.Series(np.full(len(values), None), dtype=dtype)
    series = pd.Series(values, dtype=dtype)
    if gaps.any():
        series.iloc[gaps] = None
    return series


def _describe_polars(dtype: Any) -> Description:
    name = dtype.base_type().__name__
    return {"name": name, "values": dtype.categories.to_list()} if name == "Enum" else {"name": name}


def _rebuild_polars(description: Description) -> Any:
    pl = module_of("polars")
    dtype = getattr(pl, description["name"])
    return dtype(description["values"]) if "values" in description else dtype()


def _new_polars(values: np.ndarray, gaps: np.ndarray, dtype: Any) -> Any:
    pl = module_of("polars")
    if gaps.all():
        return pl.Series([None] * len(values), dtype=dtype)
    series = pl.Series(values.tolist() if values.dtype == object else values)
    return (series.scatter(np.flatnonzero(gaps), None) if gaps.any() else series).cast(dtype)
