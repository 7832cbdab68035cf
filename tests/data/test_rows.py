"""Training rows in every container."""

import math

import numpy as np
import pytest
import torch

from sklearn_vae import VAETransformer
from sklearn_vae._data.ppca import fit_moments
from sklearn_vae._data.rows import DenseRows


@pytest.mark.parametrize("batch_size", [1, 7, 64, 150, 1000])
@pytest.mark.parametrize("shuffled", [False, True])
def test_batches_cover_each_row_once(batch_size, shuffled):
    rows = DenseRows(torch.arange(150.0)[:, None])
    batches = list(rows.batches(batch_size, torch.Generator().manual_seed(0) if shuffled else None))
    sizes = [len(batch["x"]) for batch in batches]
    order = torch.cat([batch["x"][:, 0] for batch in batches])
    assert len(batches) == rows.n_batches(batch_size) == math.ceil(150 / batch_size)
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert torch.equal(order.sort().values, torch.arange(150.0))
    assert torch.equal(order, torch.arange(150.0)) != (shuffled and batch_size > 0)


def test_batches_follow_their_generator():
    rows = DenseRows(torch.arange(150.0)[:, None])
    orders = [
        torch.cat([batch["x"] for batch in rows.batches(40, torch.Generator().manual_seed(seed))]) for seed in (0, 0, 1)
    ]
    assert torch.equal(orders[0], orders[1]) and not torch.equal(orders[0], orders[2])


def test_batches_keep_rows_and_weights_together():
    x = torch.arange(20.0)[:, None]
    rows = DenseRows(x, weight=2 * x[:, 0], index=torch.tensor([3, 5, 8, 13]))
    for batch in rows.batches(3, torch.Generator().manual_seed(0)):
        assert torch.equal(batch["weight"], 2 * batch["x"][:, 0])


def test_select_of_a_selection_counts_from_the_selection():
    x = torch.arange(20.0)[:, None]
    selected = DenseRows(x).select(torch.arange(10, 20)).select(torch.tensor([0, 9]))
    assert len(selected) == 2
    assert selected[torch.arange(2)]["x"][:, 0].tolist() == [10.0, 19.0]
    assert selected._x.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("size", [1, 6, 1000])
@pytest.mark.parametrize("selected", [None, [1, 4], [0, 1, 3, 4]], ids=["all", "few", "many"])
@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_make_sums_over_the_rows_that_take_part(selected, weighted, size):
    x, weight = torch.arange(15.0).view(5, 3), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]) if weighted else None
    index = torch.arange(5) if selected is None else torch.tensor(selected)
    rows = DenseRows(x, weight, None if selected is None else index)
    found = sum(w @ block for block, w in rows.blocks(size))
    expected = (torch.ones(5) if weight is None else weight)[index] @ x[index]
    assert found.dtype == torch.float64 and found.tolist() == expected.tolist()
    assert rows.total_weight == sum(float(w.sum()) for _, w in rows.blocks(size))


@pytest.mark.parametrize("known", [True, False])
def test_targets_follow_their_rows(known):
    codes = np.array([2, 0, -1, 1])
    rows = DenseRows(torch.arange(4.0)[:, None])
    expected = torch.tensor([[0.0, 0, 3], [1, 0, 0], [0, 0, 0], [0, 2, 0]])
    weight = np.array([3.0, 1, 7, 2])
    rows = rows.with_classes(codes, weight, 3) if known else rows.with_target(expected.numpy())
    order = torch.tensor([3, 2, 0])
    assert torch.equal(rows[torch.arange(4)]["target"], expected)
    selected = rows.select(order).select(torch.tensor([2, 0]))
    batch = selected[torch.arange(2)]
    assert batch["x"][:, 0].tolist() == [0, 3] and torch.equal(batch["target"], expected[[0, 3]])


def test_repeated_rows_count_several_times():
    rows = DenseRows(torch.arange(6.0)[:, None], weight=torch.arange(6.0) + 1).select(torch.tensor([0, 4, 4, 4, 5]))
    assert sum(float(w @ x[:, 0]) for x, w in rows.blocks(2)) == 0 * 1 + 3 * 4 * 5 + 5 * 6
    assert sum(float(w.sum()) for _, w in rows.blocks(2)) == rows.total_weight == 1 + 3 * 5 + 6


@pytest.mark.parametrize(("dtype", "value"), [(np.float32, 1e30), (np.float64, 1e308)])
def test_rows_of_weight_zero_may_be_huge(dtype, value):
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(dtype)
    weight = np.arange(40) % 4 > 0
    huge = np.where(weight[:, None], X, dtype(value))
    vae = VAETransformer(2, hidden_layer_sizes=(4,), max_iter=2, random_state=0)
    expected = vae.fit(X[weight]).transform(X[weight])
    np.testing.assert_allclose(vae.fit(huge, sample_weight=weight).transform(X[weight]), expected, rtol=1e-4, atol=1e-5)


def test_rows_with_classes_have_the_same_blocks():
    rows = DenseRows(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))
    classes = rows.with_classes(np.arange(50) % 2, np.ones(50), 2)
    for found, expected in zip(classes.blocks(60), rows.blocks(60), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_variance_that_overflows_is_refused():
    with pytest.raises(ValueError, match="expected columns with a finite variance in float64, got an overflow"):
        fit_moments(DenseRows(torch.tensor([[1e200], [-1e200]], dtype=torch.float64)))
