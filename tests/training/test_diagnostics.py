"""Diagnostics of a fitted model."""

import numpy as np
import torch

from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training.diagnostics import latent_statistics


def test_latent_statistics_do_not_depend_on_the_chunks(iris, fitted, monkeypatch):
    model = fitted._fitted_model.model
    rows = DenseRows(torch.from_numpy(iris.copy()), torch.linspace(0.5, 2, 150))
    total, values = latent_statistics(model, rows)
    monkeypatch.setattr("sklearn_vae._data.rows.CHUNK_SIZE", 40)
    total_in_chunks, in_chunks = latent_statistics(model, rows)
    assert np.isclose(total, total_in_chunks)
    np.testing.assert_allclose(in_chunks, values, rtol=1e-5)
