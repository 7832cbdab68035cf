"""Rows whose values are functions of others."""

import numpy as np
import torch

from sklearn_vae._data.ppca import fit_moments
from sklearn_vae._data.rows import DenseRows, MappedRows


def test_mapped_rows_are_the_rows_of_the_mapped_values():
    X = torch.from_numpy(np.random.default_rng(0).poisson(2.0, size=(50, 4)).astype(float))
    weight = torch.linspace(0, 2, 50, dtype=torch.float64)
    mapped, dense = MappedRows(DenseRows(X, weight), torch.log1p), DenseRows(X.log1p(), weight)
    index = torch.tensor([3, 1, 40])
    for a, b in ((mapped, dense), (mapped.select(index), dense.select(index))):
        assert len(a) == len(b) and a.total_weight == b.total_weight
        moments = [fit_moments(rows) for rows in (a, b)]
        torch.testing.assert_close(moments[0].center, moments[1].center)
        torch.testing.assert_close(moments[0].variance, moments[1].variance)
    for name in ("x", "weight"):
        assert torch.equal(mapped[index][name], dense[index][name])
