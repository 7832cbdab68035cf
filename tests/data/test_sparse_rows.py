"""Rows of sparse matrices: the same batches, sums and principal axes as the rows of arrays."""

import numpy as np
import pytest
import torch
from scipy import sparse

from sklearn_vae._data.ppca import fit_moments, fit_ppca
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._data.sparse_rows import SparseRows, as_rows


def matrix(n_rows=40, n_features=7, dtype=np.float64, seed=0, shift=0.0):
    """A sparse matrix with an empty row and an empty column."""
    X = sparse.random(n_rows, n_features, density=0.3, random_state=seed, format="csr")
    X.data += shift
    X = X.toarray()
    X[3], X[:, 2] = 0, 0
    return sparse.csr_array((100 * X).astype(dtype))


def pair(X, weighted=False, index=None, has_gaps=False):
    """The rows of a sparse matrix, and those of the same array."""
    weight = torch.linspace(0.5, 2, X.shape[0]) if weighted else None
    index = None if index is None else torch.tensor(index)
    sparse_rows = SparseRows(X, weight=weight, index=index, has_gaps=has_gaps)
    return sparse_rows, DenseRows(torch.from_numpy(X.toarray()), weight, index, has_gaps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("index", [None, [7, 3, 3, 20, 1]], ids=["all", "some"])
def test_batches_equal_those_of_an_array(dtype, weighted, index):
    rows, dense = pair(matrix(dtype=dtype), weighted, index)
    assert len(rows) == len(dense) and rows.dtype == dense.dtype and rows.total_weight == dense.total_weight
    for part, expected in zip(rows.batches(3), dense.batches(3), strict=True):
        assert part.keys() == expected.keys() and all(torch.equal(part[name], expected[name]) for name in part)
    chosen = torch.tensor([4, 0, 2])
    twice, expected = (r.select(chosen).select(torch.tensor([2, 1])) for r in (rows, dense))
    everything = torch.arange(2)
    assert torch.equal(twice[everything]["x"], expected[everything]["x"])
    assert twice.total_weight == expected.total_weight and rows.largest() == dense.largest()


def test_missing_cells_have_a_mask():
    X = matrix()
    X.data[::5] = np.nan
    rows, dense = pair(X, has_gaps=True)
    everything = torch.arange(len(rows))
    assert torch.equal(rows[everything]["mask"], dense[everything]["mask"])
    torch.testing.assert_close(fit_moments(rows).variance, fit_moments(dense).variance)


@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix])
def test_matrices_of_every_kind_are_read(container, index_type):
    X = container(matrix())
    X.indices, X.indptr = X.indices.astype(index_type), X.indptr.astype(index_type)
    for array in (X.data, X.indices, X.indptr):
        array.flags.writeable = False
    assert np.array_equal(as_rows(X)[torch.arange(40)]["x"].numpy(), X.toarray())


def test_a_matrix_without_stored_cells():
    rows = SparseRows(sparse.csr_array((5, 3)))
    assert torch.equal(rows[torch.arange(5)]["x"], torch.zeros(5, 3, dtype=torch.float64))
    moments = fit_moments(rows)
    assert moments.unit == 1 and not moments.center.any() and not moments.variance.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("index", [None, [7, 3, 3, 20, 1]], ids=["all", "some"])
@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_sums_equal_those_of_an_array(dtype, weighted, index, size):
    rows, dense = pair(matrix(dtype=dtype), weighted, index)
    (sums, *totals), (expected, *expected_totals) = (r.column_sums(size) for r in (rows, dense))
    torch.testing.assert_close(sums, expected)
    np.testing.assert_allclose(totals, expected_totals)
    center = expected / expected_totals[0]
    torch.testing.assert_close(rows.squared_deviations(center, size), dense.squared_deviations(center, size))
    basis = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    product, trace = rows.covariance_product(basis, center, 0.5, size)
    expected, expected_trace = DenseRows(dense._x.double(), dense._weight, dense._index).covariance_product(
        basis, center, 0.5, size
    )
    torch.testing.assert_close(product, expected)
    assert trace == pytest.approx(expected_trace)


@pytest.mark.parametrize("weighted", [False, True])
def test_variances_do_not_cancel_far_from_zero(weighted):
    rows, dense = pair(sparse.csr_array(1e8 + np.random.default_rng(0).normal(size=(500, 3))), weighted)
    np.testing.assert_allclose(fit_moments(rows).variance, fit_moments(dense).variance, rtol=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(200, 30), (60, 90), (600, 700)], ids=["covariance", "gram", "products"])
def test_principal_axes_equal_those_of_an_array(shape, weighted):
    rng = np.random.default_rng(0)
    # The first four axes stand out.
    X = rng.normal(size=(shape[0], 4)) * [8, 6, 4, 3] @ rng.normal(size=(4, shape[1])) + rng.normal(size=shape)
    rows, dense = pair(sparse.csr_array(X * (rng.random(shape) < 0.8)), weighted)
    found, expected = (fit_ppca(r, fit_moments(r), 4, 6) for r in (rows, dense))
    np.testing.assert_allclose(found.axes[:, :4], expected.axes[:, :4], atol=1e-6)
    np.testing.assert_allclose(found.variances, expected.variances, rtol=1e-6)
    assert found.noise_variance == pytest.approx(expected.noise_variance)


def test_principal_axes_are_found_without_dense_rows(monkeypatch):
    rows = SparseRows(matrix(600, 700))
    monkeypatch.setattr(SparseRows, "__getitem__", lambda *args: pytest.fail("rows were made dense"))
    assert fit_ppca(rows, fit_moments(rows), 3).axes.shape == (700, 3)


def test_targets_keep_the_sums_of_sparse_rows(monkeypatch):
    rows = SparseRows(matrix(600, 700))
    labelled = rows.with_classes(np.arange(600) % 2, np.ones(600), 2)
    assert torch.equal(labelled[torch.arange(3)]["x"], rows[torch.arange(3)]["x"])
    monkeypatch.setattr(SparseRows, "__getitem__", lambda *args: pytest.fail("rows were made dense"))
    expected, found = (fit_ppca(r, fit_moments(r), 3) for r in (rows, labelled))
    np.testing.assert_array_equal(found.axes, expected.axes)
