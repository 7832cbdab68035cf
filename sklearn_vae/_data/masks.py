"""Masks of observed cells as numbers.

On the CPU, torch's arithmetic is vectorised for numbers and not for booleans, where it takes five to ten times as long.
"""

from __future__ import annotations

import torch
from torch import Tensor


def observed_cells(x: Tensor) -> Tensor:
    """Return the mask of the cells that are not NaN."""
    return torch.eq(x, x, out=torch.empty_like(x, dtype=torch.int8)).view(torch.bool)


def as_numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return 1 where a mask is True and 0 where it is False."""
    return mask.view(torch.int8).to(dtype)


def any_in_row(mask: Tensor) -> Tensor:
    """Return whether a row of a mask (n_rows, n_columns) has a True, (n_rows, 1)."""
    return mask.view(torch.int8).amax(-1, keepdim=True) > 0
