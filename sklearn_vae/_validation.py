"""Checks of rows and arguments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight

from sklearn_vae._data.column_kinds import show
from sklearn_vae._data.sparse_rows import Matrix
from sklearn_vae._data.table import is_frame
from sklearn_vae._data.table_column import Column
from sklearn_vae.likelihoods import Likelihood

# Minimum positive sample weight relative to the largest one; smaller weights count as 0.
MIN_RELATIVE_WEIGHT = float(np.finfo(np.float32).tiny)


def refuse_images(X) -> None:
    """Raise ValueError if X has more than two dimensions."""
    if getattr(X, "ndim", 2) > 2:
        raise ValueError(
            f"expected rows as an array of shape (n_samples, n_features), got shape {tuple(X.shape)}; flatten "
            "images with X.reshape(len(X), -1), or put an ImageFlattener before the estimator in a pipeline."
        )


def refuse_sparse(X, name: str) -> None:
    """Raise TypeError if X is a sparse matrix or a data frame with sparse columns; `name` is the estimator's."""
    if sparse.issparse(X):
        raise TypeError(
            f"{name}: expected an array or a data frame with NaN in missing cells, got a sparse {type(X).__name__}, "
            "whose absent cells are zeros; pass X.toarray() if they are zeros. If they are missing, write the stored "
            "cells into an array of NaN: full = np.full(X.shape, np.nan); X = X.tocoo(); full[X.row, X.col] = X.data."
        )
    if is_frame(X):
        columns = [column for column, dtype in zip(X.columns, X.dtypes, strict=True) if str(dtype).startswith("Sparse")]
        if columns:
            raise TypeError(
                f"{name}: expected dense columns with NaN in missing cells, got sparse ones, {show(columns)}; convert "
                "each with .sparse.to_dense()."
            )


def canonical(X: Matrix) -> Matrix:
    """Return an array as it is, and a CSR matrix with sorted cells and the sums of duplicates."""
    if not sparse.issparse(X) or X.has_canonical_format:
        return X
    X = X.copy()
    X.sum_duplicates()
    return X


def stored(X: Matrix) -> np.ndarray:
    """Return an array as it is, and the stored values of a sparse matrix."""
    return X.data if sparse.issparse(X) else X


def has_gaps(X: Matrix) -> bool:
    """Return whether X has NaN, which stand for missing cells."""
    values = stored(X)
    # The minimum is NaN if a value is; unlike `isnan`, it needs no array.
    return values.dtype.kind == "f" and values.size > 0 and bool(np.isnan(values.min()))


def check_support(likelihood: Likelihood, X: Matrix) -> None:
    """Raise ValueError if values lie outside the support of a likelihood."""
    if sparse.issparse(X):
        likelihood.check_sparse(X)
    else:
        likelihood.check_data(X)


def refuse_unusable(X: np.ndarray, columns: Sequence[Column]) -> None:
    """Raise ValueError if an encoded data frame has no column of the matrix, or infinity; name it."""
    if not X.shape[1]:
        names = [column.name for column in columns]
        raise ValueError(f"expected a data frame with an observed cell, got none in columns {names[:5]!r}.")
    for column in columns:
        infinite = np.flatnonzero(np.isinf(X[:, column.slice]).any(axis=1))
        if len(infinite):
            raise ValueError(
                f"expected finite numbers, got infinity in column {column.name!r}, row {infinite[0]}; replace it, or "
                "set the cell to NaN if its value is unknown."
            )


def refuse_overflow(X: Matrix) -> None:
    """Raise ValueError if sums of squares and differences of float32 values would overflow the results' type."""
    values = stored(X)
    if values.dtype == np.float32 and values.size:
        limit = np.finfo(np.float32).max / (4 * X.shape[1])
        largest = max(np.fmax.reduce(values, axis=None), -np.fmin.reduce(values, axis=None))
        if largest > limit:
            raise ValueError(
                f"expected float32 values of at most {limit:.3g} for {X.shape[1]} columns, because "
                f"results for larger values overflow, got {largest:.3g}; scale the columns, or convert them to float64."
            )


def is_unobserved(X: Matrix) -> np.ndarray:
    """Return whether each row has only missing cells."""
    if not has_gaps(X):
        return np.zeros(X.shape[0], dtype=bool)
    if sparse.issparse(X):
        n_missing = np.diff(np.r_[0, np.isnan(X.data).cumsum()][X.indptr])
        return n_missing == X.shape[1]
    return np.isnan(X).all(axis=1)


def check_sample_weight(
    sample_weight, X: Matrix, unit: float | None = None, min_rows: int = 2
) -> tuple[np.ndarray | None, float]:
    """Validate the sample weights of training rows and divide them by a unit.

    Rows without an observed cell get weight 0.

    Parameters
    ----------
    sample_weight : array-like of shape (n_samples,) or None
        None gives each row weight 1.
    X : ndarray or CSR matrix of shape (n_samples, n_features)
    unit : float or None
        Divisor of the weights; None for the mean of the positive weights.
    min_rows : int
        Minimum number of rows with a positive weight.

    Returns
    -------
    weight : ndarray of shape (n_samples,) or None
        Weights divided by `unit`; None if all quotients are 1.
    unit : float
        Divisor of the weights.
    """
    empty = is_unobserved(X)
    if sample_weight is None and unit in (None, 1.0) and not empty.any():
        return None, 1.0
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True, copy=empty.any())
    weight[empty] = 0
    largest = float(weight.max()) or 1.0
    # Training uses float32 weights: weights that would underflow are set to 0, which ignores their rows.
    weight = weight / largest
    weight[weight < MIN_RELATIVE_WEIGHT] = 0
    n_positive = np.count_nonzero(weight)
    if n_positive < min_rows:
        raise ValueError(
            f"expected at least {'two rows' if min_rows == 2 else 'one row'} with a positive sample_weight, "
            f"got {n_positive} of {X.shape[0]}; weights below {MIN_RELATIVE_WEIGHT:.0e} times the largest count as 0, "
            "and rows without an observed cell have weight 0."
        )
    relative_unit = weight.sum() / n_positive if unit is None else unit / largest
    weight = weight / relative_unit
    limits = np.finfo(np.float32)
    if not limits.tiny <= weight.max() < limits.max:
        raise ValueError(
            f"expected sample_weight of similar size as in the first call, where the mean was {unit:.3g}, got "
            f"weights of up to {largest:.3g}."
        )
    return (None if (weight == 1).all() else weight), largest * relative_unit


def check_n_samples(n_samples) -> int:
    """Return the number of samples as an int; raise ValueError if it is not a positive integer."""
    if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"expected n_samples to be an integer of at least 1, got {n_samples!r}.")
    return int(n_samples)


def check_noise(noise) -> bool:
    """Return whether samples have noise; raise ValueError if this is not a boolean."""
    if not isinstance(noise, bool | np.bool_):
        raise ValueError(f"expected noise to be True or False, got {noise!r}.")
    return bool(noise)


def new_seed(random_state) -> int:
    """Draw a seed; for None, from the operating system instead of numpy's global generator."""
    if random_state is None:
        return int.from_bytes(os.urandom(4), "little")
    return int(check_random_state(random_state).randint(2**32, dtype=np.uint32))


def unless_auto(value, rule):
    """Return `value`, or `rule` if `value` is "auto"."""
    if isinstance(value, Integral):
        # Small integer types of numpy overflow in arithmetic.
        return int(value)
    return rule if isinstance(value, str) and value == "auto" else value
