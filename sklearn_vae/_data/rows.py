"""Training rows: the interface that the rest of the package uses, and dense rows in memory."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from sklearn_vae._data.masks import observed_cells

# Largest number of rows evaluated at a time: enough for the optimum of a noise scale, few enough for the cache.
EVALUATION_BATCH = 1024
# Largest number of array elements in a chunk of rows: 4 MiB of float32.
CHUNK_SIZE = 2**20

RowBatch = dict[str, Tensor]


class Rows(Dataset, ABC):
    """Rows that a model is fitted to. Only implementations of this interface know how rows are stored.

    A batch is a dictionary with "x" (n_rows, n_features), in the data's own precision and on the device. It also
    has "mask" (n_rows, n_features), False where a cell is missing, if cells may be missing, "weight" (n_rows,) if the
    rows have weights, "target" (n_rows, n_classes) if they have classes, and "point" (n_rows, n_components) if the
    objective keeps neighbours. Missing cells are NaN.

    Attributes
    ----------
    n_features : int
    dtype : torch.dtype
    device : torch.device
    has_gaps : bool
        Whether cells may be missing.
    labelled : Rows or None
        Labelled rows. Some of them, drawn at random, are added to each training batch.
    """

    n_features: int
    dtype: torch.dtype
    device: torch.device
    has_gaps: bool = False
    labelled: Rows | None = None

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def __getitem__(self, index: Tensor) -> RowBatch:
        """Return the rows at `index`, (n_selected,), as a batch."""

    @abstractmethod
    def select(self, index: Tensor) -> Rows:
        """Return the rows at `index`, (n_selected,), as rows."""

    @property
    @abstractmethod
    def total_weight(self) -> float:
        """Sum of the weights; the number of rows if they have none."""

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all rows and their weights in float64, in blocks of about `size` elements, for sums over rows."""
        for batch in self.batches(max(1, size // self.n_features)):
            x = batch["x"].double()
            yield x, batch["weight"].double() if "weight" in batch else x.new_ones(len(x))

    @property
    def precision(self) -> torch.dtype:
        """The dtype of products: the data's own, float32 for bytes."""
        return self.dtype if self.dtype.is_floating_point else torch.float32

    def column_sums(self, size: int) -> tuple[Tensor, float, float]:
        """Return the weighted sums of complete columns, float64, the total weight and the sum of squared weights.

        As in the other sums over rows, about `size` elements are in memory at a time.
        """
        sums = torch.zeros(self.n_features, dtype=torch.float64, device=self.device)
        total, total_square = 0.0, 0.0
        for x, w in self.blocks(size):
            sums += w @ x
            total, total_square = total + float(w.sum()), total_square + float(w.square().sum())
        return sums, total, total_square

    def squared_deviations(self, center: Tensor, size: int) -> Tensor:
        """Return the weighted sums of squares of complete columns around `center`, (n_features,)."""
        square = torch.zeros_like(center)
        for x, w in self.blocks(size):
            # Rows of weight 0 may be so large that their squares overflow.
            square += (w[:, None].sqrt() * (x - center)).square().sum(0)
        return square

    def centred_blocks(self, center: Tensor, scale: float, size: int) -> Iterator[Tensor]:
        """Yield blocks of centred rows times `scale` and the roots of their weights; missing cells are 0."""
        for x, w in self.blocks(size):
            y = (x - center) * (w[:, None].sqrt() * scale)
            yield y.nan_to_num(0.0) if self.has_gaps else y

    def covariance_product(self, basis: Tensor, center: Tensor, scale: float, size: int) -> tuple[Tensor, float]:
        """Return Y^T Y B and the trace of Y^T Y for the rows Y of `centred_blocks` and a basis B.

        Parameters
        ----------
        basis : Tensor of shape (n_features, n_vectors)
        center : Tensor of shape (n_features,)
        scale : float
        size : int
        """
        product, trace = torch.zeros_like(basis), 0.0
        for y in self.centred_blocks(center, scale, size):
            trace += float(y.square().sum())
            y = y.to(self.precision)
            product += y.T @ (y @ basis.to(self.precision))
        return product, trace

    def n_batches(self, batch_size: int) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(len(self) / batch_size)

    def batches(self, batch_size: int, generator: torch.Generator | None = None) -> Iterator[RowBatch]:
        """Yield batches whose sizes differ by at most one row, in random order if a generator is given."""
        n = len(self)
        order = (
            torch.arange(n, device=self.device)
            if generator is None
            else torch.randperm(n, generator=generator, device=self.device)
        )
        for index in order.tensor_split(self.n_batches(batch_size)):
            yield self[index]

    def chunks(self) -> Iterator[RowBatch]:
        """Yield batches in order, of a size for evaluation."""
        return self.batches(max(1, min(EVALUATION_BATCH, CHUNK_SIZE // self.n_features)))

    def sample(self, n_rows: int, generator: torch.Generator) -> RowBatch:
        """Draw `n_rows` distinct rows at random, or all rows if there are fewer."""
        return self[torch.randperm(len(self), generator=generator, device=self.device)[:n_rows]]

    def sample_labelled(self, n_rows: int, generator: torch.Generator) -> RowBatch:
        """Draw rows at random, as the entries of a batch for additional labelled rows."""
        batch = self.sample(n_rows, generator)
        target = batch["target"] * batch["weight"][:, None] if "weight" in batch else batch["target"]
        added = {"labelled_x": batch["x"], "labelled_target": target}
        return added | {"labelled_mask": batch["mask"]} if "mask" in batch else added

    def columns(self, indices: Sequence[int] | Tensor) -> Rows:
        """Return rows of some columns."""
        return MappedRows(self, itemgetter((..., indices)), len(indices))

    def evenly_spaced(self, n_rows: int) -> Rows:
        """Return `n_rows` evenly spaced rows, or all rows if there are fewer."""
        last, n = len(self) - 1, min(len(self), n_rows)
        return self.select(torch.linspace(0, last, n, dtype=torch.float64, device=self.device).long())

    def largest(self) -> float:
        """Return the largest value."""
        return max(float(batch["x"].max()) for batch in self.chunks())

    def tensor(self, array: np.ndarray) -> Tensor:
        """Return an array as a tensor on the rows' device."""
        return torch.from_numpy(array).to(self.device)

    def with_target(self, target: np.ndarray, labelled: Rows | None = None) -> Rows:
        """Return the rows with float32 targets (n_rows, n_classes), and optionally additional labelled rows.

        Targets are class probabilities times their weight, or 0 for rows whose class is unknown.
        """
        return RowsWithEntry(self, "target", self.tensor(target), labelled)

    def with_points(self, points: Tensor) -> Rows:
        """Return the rows with points in latent space, (n_rows, n_components)."""
        return RowsWithEntry(self, "point", points)

    def with_classes(self, codes: np.ndarray, weight: np.ndarray, n_classes: int) -> Rows:
        """Return the rows with known classes as targets: indices, negative if unknown, and class weights, (n_rows,)."""
        known = np.where(codes < 0, 0, weight).astype(np.float32)
        return RowsWithEntry(self, "target", ClassTarget(self.tensor(codes.clip(0)), self.tensor(known), n_classes))


class StoredRows(Rows):
    """Rows in memory, of which all or some take part. Subclasses store the values.

    Parameters
    ----------
    n_stored : int
        Number of rows in memory.
    weight : Tensor of shape (n_stored,) or None
        Weights of the rows; None if all are 1.
    index : Tensor of shape (n_selected,) or None
        Indices of the rows that take part; None for all.
    has_gaps : bool
        Whether there are NaN, which stand for missing cells.
    """

    def __init__(self, n_stored: int, weight: Tensor | None, index: Tensor | None, has_gaps: bool):
        self.has_gaps = has_gaps
        self._n_stored, self._weight, self._index = n_stored, weight, index

    @abstractmethod
    def _values_at(self, position: Tensor) -> Tensor:
        """Return the values (n_selected, n_features) of rows by their positions in memory."""

    def _position(self, index: Tensor) -> Tensor:
        """Return the positions in memory of the rows at `index`."""
        return index if self._index is None else self._index[index]

    def __len__(self) -> int:
        return self._n_stored if self._index is None else len(self._index)

    def __getitem__(self, index: Tensor) -> RowBatch:
        position = self._position(index)
        batch = {"x": self._values_at(position)}
        if self.has_gaps:
            batch["mask"] = observed_cells(batch["x"])
        return batch if self._weight is None else batch | {"weight": self._weight.index_select(0, position)}

    def select(self, index: Tensor) -> Self:
        """Return the rows at `index`, which share the memory."""
        selected = copy.copy(self)
        selected._index = self._position(index)
        return selected

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        if self._weight is None:
            return float(len(self))
        weight = self._weight if self._index is None else self._weight[self._index]
        return float(weight.sum(dtype=torch.float64))


class DenseRows(StoredRows):
    """Rows of a dense tensor in memory. Only the rows of a batch are copied.

    Parameters
    ----------
    x : Tensor of shape (n_rows, n_features)
        Values in the data's own precision, on the device.
    weight, index, has_gaps
        As in `StoredRows`.
    """

    def __init__(self, x: Tensor, weight: Tensor | None = None, index: Tensor | None = None, has_gaps: bool = False):
        super().__init__(len(x), weight, index, has_gaps)
        self.n_features, self.dtype, self.device = x.shape[1], x.dtype, x.device
        self._x = x

    def _values_at(self, position: Tensor) -> Tensor:
        return self._x.index_select(0, position)

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield slices of the tensor. Unselected rows get weight 0, because copying the others would cost more."""
        if self._index is not None and 2 * len(self._index) < len(self._x):
            yield from super().blocks(size)
            return
        weight = self._weight
        if self._index is not None:
            weight = torch.zeros(len(self._x), dtype=torch.float64, device=self.device)
            selected = weight.new_ones(len(self._index)) if self._weight is None else self._weight[self._index].double()
            weight.index_add_(0, self._index, selected)
        chunk = max(1, size // self.n_features)
        for start in range(0, len(self._x), chunk):
            x = self._x[start : start + chunk].double()
            yield x, x.new_ones(len(x)) if weight is None else weight[start : start + chunk].double()


class MappedRows(Rows):
    """Rows whose values are functions of others, computed batch by batch.

    Parameters
    ----------
    rows : Rows
    function : callable
        Maps values (n_rows, n_features) to values of the same precision. Missing cells stay NaN.
    n_features : int or None
        Number of columns of these values; None for those of `rows`.
    """

    def __init__(self, rows: Rows, function: Callable[[Tensor], Tensor], n_features: int | None = None):
        self.n_features = rows.n_features if n_features is None else n_features
        self.dtype, self.device = rows.dtype, rows.device
        self.has_gaps = rows.has_gaps
        self._rows, self._function = rows, function

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Tensor) -> RowBatch:
        batch = self._rows[index]
        batch = batch | {"x": self._function(batch["x"])}
        return batch | {"mask": observed_cells(batch["x"])} if "mask" in batch else batch

    def select(self, index: Tensor) -> MappedRows:
        """Return the rows at `index`."""
        return MappedRows(self._rows.select(index), self._function, self.n_features)

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return self._rows.total_weight

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield blocks of the mapped rows."""
        for x, w in self._rows.blocks(size):
            yield self._function(x), w


class RowsWithEntry(Rows):
    """Rows whose batches have one more entry.

    Parameters
    ----------
    rows : Rows
    name : str
        Name of the entry.
    values : Tensor of shape (n_values, n_columns), or ClassTarget
        Values of the entry.
    labelled : Rows or None
        Labelled rows; None for those of `rows`.
    position : Tensor of shape (n_rows,) or None
        Index of each row's values; None if they are in the order of the rows.
    """

    def __init__(
        self,
        rows: Rows,
        name: str,
        values: Tensor | ClassTarget,
        labelled: Rows | None = None,
        position: Tensor | None = None,
    ):
        self.n_features, self.dtype, self.device = rows.n_features, rows.dtype, rows.device
        self.has_gaps, self.labelled = rows.has_gaps, rows.labelled if labelled is None else labelled
        self._rows, self._name, self._values, self._position = rows, name, values, position

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Tensor) -> RowBatch:
        return self._rows[index] | {self._name: self._values.index_select(0, self._positions(index))}

    def _positions(self, index: Tensor) -> Tensor:
        """Return the positions of the values of the rows at `index`."""
        return index if self._position is None else self._position[index]

    def select(self, index: Tensor) -> RowsWithEntry:
        """Return the rows at `index`."""
        rows = self._rows.select(index)
        return RowsWithEntry(rows, self._name, self._values, self.labelled, self._positions(index))

    @property
    def total_weight(self) -> float:
        """Sum of the weights."""
        return self._rows.total_weight

    def blocks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield blocks of the rows."""
        return self._rows.blocks(size)

    def column_sums(self, size: int) -> tuple[Tensor, float, float]:
        """Return the sums of the rows."""
        return self._rows.column_sums(size)

    def squared_deviations(self, center: Tensor, size: int) -> Tensor:
        """Return the sums of squares of the rows."""
        return self._rows.squared_deviations(center, size)

    def covariance_product(self, basis: Tensor, center: Tensor, scale: float, size: int) -> tuple[Tensor, float]:
        """Return the product for the rows."""
        return self._rows.covariance_product(basis, center, scale, size)


@dataclass(frozen=True)
class ClassTarget:
    """Known classes as targets, one-hot encoded one batch at a time to save memory.

    Attributes
    ----------
    codes : Tensor of shape (n_rows,)
        Class indices.
    weight : Tensor of shape (n_rows,)
        Weight of each row's class; 0 if the class is unknown.
    n_classes : int
    """

    codes: Tensor
    weight: Tensor
    n_classes: int

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Return the targets of the rows at `index`, (n_selected, n_classes)."""
        codes, weight = self.codes[index, None], self.weight[index, None]
        return weight.new_zeros(len(index), self.n_classes).scatter_(1, codes, weight)
