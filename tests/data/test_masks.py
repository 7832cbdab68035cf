"""Masks of observed cells, and the same masks as numbers."""

import pytest
import torch

from sklearn_vae._data.masks import any_in_row, as_numbers, observed_cells

X = torch.tensor([[1.0, torch.nan, torch.inf], [torch.nan, torch.nan, torch.nan]])


def test_cells_that_are_not_nan_are_observed():
    assert torch.equal(observed_cells(X), ~X.isnan())
    assert observed_cells(X.T).tolist() == (~X.isnan()).T.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_masks_are_ones_and_zeros_also_of_some_columns(dtype):
    mask = observed_cells(X)
    assert torch.equal(as_numbers(mask, dtype), mask.to(dtype))
    assert torch.equal(as_numbers(mask[:, ::2], dtype), mask[:, ::2].to(dtype))


def test_a_row_without_observed_cells_has_none():
    assert any_in_row(observed_cells(X)).tolist() == [[True], [False]]
