"""Training rows of a sparse matrix. Only a batch or a block of rows is dense at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sklearn_vae._data.devices import to_tensor
from sklearn_vae._data.rows import DenseRows, Rows, StoredRows

# An array, or a sparse matrix or array in CSR format; scipy has no type hints.
Matrix: TypeAlias = Any
# Cells are sorted, without duplicates, and not checked again.
CANONICAL: dict[str, Any] = {"is_coalesced": True, "check_invariants": False}


def as_rows(
    X: Matrix,
    device: torch.device | str = "cpu",
    weight: Tensor | None = None,
    index: Tensor | None = None,
    has_gaps: bool = False,
) -> Rows:
    """Return the rows of a validated array or CSR matrix, on the device."""
    if sparse.issparse(X):
        return SparseRows(X, device, weight, index, has_gaps)
    return DenseRows(to_tensor(X).to(device), weight, index, has_gaps)


def to_dense(X: Matrix) -> np.ndarray:
    """Return an array as it is, and a sparse matrix as an array."""
    return X.toarray() if sparse.issparse(X) else X


class SparseRows(StoredRows):
    """Rows of a sparse matrix in memory. The rows of a batch are made dense on the device.

    Parameters
    ----------
    X : sparse matrix or array in CSR format, of shape (n_rows, n_features)
        Values in the data's own precision, without duplicates.
    device : torch.device or str
    weight, index, has_gaps
        As in `StoredRows`.
    """

    def __init__(
        self,
        X: sparse.csr_array,
        device: torch.device | str = "cpu",
        weight: Tensor | None = None,
        index: Tensor | None = None,
        has_gaps: bool = False,
    ):
        super().__init__(int(X.shape[0]), weight, index, has_gaps)
        self._starts, self._columns, self._values = (to_tensor(a).to(device) for a in (X.indptr, X.indices, X.data))
        self.n_features, self.dtype, self.device = int(X.shape[1]), self._values.dtype, self._values.device

    def _values_at(self, position: Tensor) -> Tensor:
        x = torch.zeros(len(position), self.n_features, dtype=self.dtype, device=self.device)
        row, column, value = self._stored(position)
        x[row, column] = value
        return x

    def column_sums(self, size: int) -> tuple[Tensor, float, float]:
        """Return the sums from the stored values."""
        sums = torch.zeros(self.n_features, dtype=torch.float64, device=self.device)
        total, total_square = 0.0, 0.0
        for x, w in self._sparse_blocks(size):
            sums += _weighted_sum(x, w)
            total, total_square = total + float(w.sum()), total_square + float(w.square().sum())
        return sums, total, total_square

    def squared_deviations(self, center: Tensor, size: int) -> Tensor:
        """Return the sums of squares from the deviations of the stored values and the weight of the other zeros.

        The difference between the sum of squares and that of the means would cancel.
        """
        square, stored, total = torch.zeros_like(center), torch.zeros_like(center), 0.0
        n_stored = torch.zeros(self.n_features, dtype=torch.int64, device=self.device)
        for x, w in self._sparse_blocks(size):
            column = x.indices()[1]
            deviations = x.values() - center[column]
            square += _weighted_sum(_with_values(x, deviations.square()), w)
            stored += _weighted_sum(_with_values(x, torch.ones_like(deviations)), w)
            n_stored += column.bincount(minlength=self.n_features)
            total += float(w.sum())
        # The weight of no cells is exactly 0, because the square of a center far from 0 would enlarge its rounding.
        zeros = (total - stored).where(n_stored < len(self), 0.0)
        return square + zeros * center.square()

    def covariance_product(self, basis: Tensor, center: Tensor, scale: float, size: int) -> tuple[Tensor, float]:
        """Return the product from sparse products in float64. The center is subtracted from their results."""
        if self.has_gaps:
            return super().covariance_product(basis, center, scale, size)
        product, shift = torch.zeros_like(basis), center @ basis
        for x, w in self._sparse_blocks(size, basis.shape[1]):
            projected = (x @ basis - shift) * (w[:, None] * scale**2)
            product += x.t() @ projected - torch.outer(center, projected.sum(0))
        return product, scale**2 * float(self.squared_deviations(center, size).sum())

    def _stored(self, position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the stored cells of rows of the matrix: their indices in `position`, columns and values."""
        start = self._starts[position].long()
        n_stored = self._starts[position + 1].long() - start
        row = torch.arange(len(position), device=self.device).repeat_interleave(n_stored)
        first = n_stored.cumsum(0) - n_stored
        cell = torch.arange(len(row), device=self.device) + (start - first)[row]
        return row, self._columns[cell].long(), self._values[cell]

    def _sparse_blocks(self, size: int, n_vectors: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all rows as sparse float64 matrices, and their weights.

        A block has about `size` stored values, and at most as many elements in its product with `n_vectors` vectors.
        """
        per_row = max(n_vectors, len(self._values) // max(1, self._n_stored), 1)
        for index in torch.arange(len(self), device=self.device).split(max(1, size // per_row)):
            position = self._position(index)
            row, column, value = self._stored(position)
            x = torch.sparse_coo_tensor(
                torch.stack([row, column]), value.double(), (len(index), self.n_features), **CANONICAL
            )
            weight = x.values().new_ones(len(index))
            yield x, weight if self._weight is None else self._weight[position].double()


def _weighted_sum(x: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted sum of the rows of a sparse matrix."""
    return (x.t() @ weight[:, None])[:, 0]


def _with_values(x: Tensor, values: Tensor) -> Tensor:
    """Return a sparse matrix with other values in the stored cells."""
    return torch.sparse_coo_tensor(x.indices(), values, x.shape, **CANONICAL)
