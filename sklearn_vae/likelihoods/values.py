"""What the modules of likelihoods return beside tensors."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Observed(NamedTuple):
    """Observed values of a batch of rows.

    Attributes
    ----------
    cells : Tensor of shape (n_rows, n_cells)
        Values that p(x|z) scores. An unobserved cell holds any finite number.
    inputs : Tensor of shape (n_rows, n_inputs)
        Input of the encoder, often the same tensor as `cells`.
    mask : Tensor of shape (n_rows, n_cells) or None
        True where a cell was observed. None: all cells were observed. With a mask, each column is one cell.
    """

    cells: Tensor
    inputs: Tensor
    mask: Tensor | None = None


class MeasuredColumns(NamedTuple):
    """Columns whose noise scales are set from the errors of held-out rows.

    Attributes
    ----------
    log_scale : Tensor of shape (n_columns,)
        Buffer that is set: the logarithms of the scales relative to their common scale.
    columns : slice or Tensor of shape (n_columns,)
        Indices of the columns.
    units : Tensor of shape (n_columns,) or None
        Units in which the columns have a common scale in training; None for the data's units.
    """

    log_scale: Tensor
    columns: slice | Tensor
    units: Tensor | None
