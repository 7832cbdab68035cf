"""New rows below those that a user passed, in the same form: array, list, sparse matrix or data frame."""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from scipy import sparse

from sklearn_vae._data.table import Table, is_frame


def append(X: Any, values: np.ndarray, table: Table | None) -> Any:
    """Return the rows of X, and below them new rows.

    Parameters
    ----------
    X : array-like, sparse matrix or data frame of shape (n_rows, n_features)
    values : ndarray of shape (n_new, n_columns)
        New rows as a matrix. They are rounded where X has integers or booleans.
    table : Table or None
        How a data frame was encoded as a matrix; None if each of its columns is one of the matrix.

    Returns
    -------
    X : ndarray, list, sparse matrix or data frame of shape (n_rows + n_new, n_features)
        The form and the dtypes are those of X; the index of a pandas frame is 0, 1, ...
    """
    if is_frame(X):
        return _append_to_frame(X, values, table)
    if sparse.issparse(X):
        return sparse.vstack([X, type(X)(_cast(values, X.dtype))], format=X.format, dtype=X.dtype)
    if isinstance(X, list):
        return X + _cast(values, np.asarray(X).dtype).tolist()
    return np.vstack([X, _cast(values, np.asarray(X).dtype)])


def _append_to_frame(X: Any, values: np.ndarray, table: Table | None) -> Any:
    """Return a frame with new rows; pandas' sparse columns are dense in between."""
    is_pandas = nw.dependencies.is_pandas_dataframe(X)
    dtypes = dict(X.dtypes) if is_pandas else {}
    is_sparse = {name: dtype for name, dtype in dtypes.items() if str(dtype).startswith("Sparse")}
    dense = X.astype({name: dtype.subtype for name, dtype in is_sparse.items()}) if is_sparse else X
    new = (table or Table.learn(dense).of_numbers()).decode(values)
    both = nw.concat([nw.from_native(frame, eager_only=True) for frame in (dense, new)]).to_native()
    return both.reset_index(drop=True).astype(is_sparse) if is_pandas else both


def _cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return values in another dtype; integers and booleans are rounded."""
    return (np.rint(values) if dtype.kind in "iub" else values).astype(dtype)
