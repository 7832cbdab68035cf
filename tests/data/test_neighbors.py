"""Nearest neighbours among rows."""

import numpy as np
import pytest
import torch

from sklearn_vae._data import neighbors
from sklearn_vae._data.neighbors import GRAPH_COMPONENTS, nearest_neighbors, principal_components
from sklearn_vae._data.rows import DenseRows


@pytest.mark.parametrize("n_features", [3, 200])
def test_principal_components_keep_distances_that_matter(n_features):
    X = np.random.default_rng(0).normal(size=(50, 4)) @ np.random.default_rng(1).normal(size=(4, n_features))
    Z = principal_components(DenseRows(torch.from_numpy(X)))
    assert Z.shape[1] <= min(n_features, GRAPH_COMPONENTS)
    distances = [np.linalg.norm(rows[:, None] - rows, axis=-1) for rows in (X, Z)]
    np.testing.assert_allclose(*distances, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("n_probes", "is_exact"), [(2, False), (20, True)])
def test_search_is_exact_where_clusters_would_not_be_faster(monkeypatch, n_probes, is_exact):
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 100)
    X = np.random.default_rng(0).normal(size=(900, 5)).astype(np.float32)
    distances, _ = nearest_neighbors(X, 5, 0, n_probes)
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 900)
    exact, _ = nearest_neighbors(X, 5, 0, n_probes)
    assert np.allclose(distances, exact, rtol=1e-4) == is_exact
    assert (distances >= exact * (1 - 1e-4)).all()
