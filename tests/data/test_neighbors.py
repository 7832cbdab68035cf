"""Nearest neighbours among rows."""

import numpy as np
import pytest
import torch

from sklearn_vae._data.neighbors import GRAPH_COMPONENTS, principal_components
from sklearn_vae._data.rows import DenseRows


@pytest.mark.parametrize("n_features", [3, 200])
def test_principal_components_keep_distances_that_matter(n_features):
    X = np.random.default_rng(0).normal(size=(50, 4)) @ np.random.default_rng(1).normal(size=(4, n_features))
    Z = principal_components(DenseRows(torch.from_numpy(X)))
    assert Z.shape[1] <= min(n_features, GRAPH_COMPONENTS)
    distances = [np.linalg.norm(rows[:, None] - rows, axis=-1) for rows in (X, Z)]
    np.testing.assert_allclose(*distances, rtol=1e-5, atol=1e-5)
