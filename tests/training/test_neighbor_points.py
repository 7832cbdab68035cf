"""Points that keep the neighbours of rows."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, make_blobs
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training import neighbor_points as module
from sklearn_vae._training.neighbor_points import EXAGGERATION, NEW_RATE, _update, nearest_rows, neighbor_points


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def neighbors_of(X, k):
    return torch.from_numpy(NearestNeighbors(n_neighbors=k).fit(X).kneighbors(return_distance=False))


def points_of(X, k=15, weight=None, seed=0, start=None):
    start = PCA(2, random_state=0).fit_transform(X) if start is None else start
    start = torch.from_numpy(start / start.std()).float()
    weight = torch.ones(len(X)) if weight is None else weight
    return neighbor_points(start, neighbors_of(X, k), weight, generator(seed), 300, NEW_RATE, EXAGGERATION)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_update_is_a_step_down_the_gradient_of_the_loss(d):
    """The loss of all rows, with negatives that do not move."""
    points = torch.randn(30, d, generator=generator(), dtype=torch.float64)
    neighbors, negatives = torch.randint(30, (30, 4), generator=generator(1)), points[:7].clone()
    variable = points.clone().requires_grad_()
    attraction = (variable[:, None] - variable[neighbors]).square().sum(-1).log1p().mean(1).sum()
    repulsion = (1 / (1 + torch.cdist(variable, negatives).square())).sum(1).log().sum()
    (gradient,) = torch.autograd.grad(2.0 * attraction + repulsion, variable)
    moved = points.clone()
    _update(moved, torch.arange(30), neighbors, negatives, 1e-3, 2e-3)
    torch.testing.assert_close(moved, points - 1e-3 * gradient)


def test_points_keep_the_neighbours_of_digits():
    X = load_digits().data[:600]
    before = trustworthiness(X, PCA(2).fit_transform(X), n_neighbors=15)
    after = trustworthiness(X, points_of(X).numpy(), n_neighbors=15)
    assert after > 0.97 > 0.9 > before


def test_points_of_clusters_are_apart():
    X, y = make_blobs(300, 10, centers=3, cluster_std=0.5, random_state=0)
    points = points_of(X).numpy()
    centers = np.array([points[y == k].mean(0) for k in range(3)])
    distances = np.linalg.norm(points[:, None] - centers, axis=-1)
    np.testing.assert_array_equal(distances.argmin(1), y)


def test_points_depend_on_the_generator_alone(global_random_state):
    X, before = load_digits().data[:100], global_random_state()
    first, again, other = points_of(X), points_of(X), points_of(X, seed=1)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert global_random_state() == before


@pytest.mark.parametrize("n_rows", [2, 3, 10, 65])
def test_few_rows_have_finite_points(n_rows):
    X = np.random.default_rng(0).normal(size=(n_rows, 4))
    assert points_of(X, min(15, n_rows - 1)).isfinite().all()


def test_equal_rows_have_finite_points():
    """All points start at the same place."""
    points = points_of(np.random.default_rng(0).normal(size=(50, 4)), start=np.vstack([np.zeros((49, 2)), [1e-9, 0.0]]))
    assert points.isfinite().all()


def test_points_of_weight_0_repel_no_others(monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "_update", lambda points, index, neighbors, negatives, *steps: drawn.append(negatives))
    X, weight = np.random.default_rng(0).normal(size=(60, 2)), torch.zeros(60)
    weight[:4] = torch.tensor([1.0, 1.0, 2.0, 4.0])
    points = points_of(X, 5, weight, start=X)
    is_drawn = (torch.cat(drawn)[:, None] == points).all(-1).double().mean(0)
    torch.testing.assert_close(is_drawn, (weight / weight.sum()).double(), atol=0.01, rtol=0)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_nearest_rows_have_the_metric(metric):
    X = np.random.default_rng(0).normal(size=(80, 6)) * np.random.default_rng(1).uniform(0.1, 9, size=(80, 1))
    expected = NearestNeighbors(n_neighbors=5, metric=metric).fit(X).kneighbors(return_distance=False)
    found, _ = nearest_rows(DenseRows(torch.from_numpy(X)), 5, metric, 0)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.sort(expected, axis=1))


def test_nearest_rows_of_a_row_of_zeros_by_cosine():
    X = np.vstack([np.zeros(3), np.random.default_rng(0).normal(size=(9, 3))])
    found, _ = nearest_rows(DenseRows(torch.from_numpy(X)), 3, "cosine", 0)
    assert found.shape == (10, 3) and bool((found >= 0).all())


@pytest.mark.parametrize("unit", [1.0, 1e-25, 1e20])
def test_distance_of_neighbours_is_relative_to_the_spread_of_the_rows(unit):
    """Pairs of rows at distance 1, around random signs."""
    X = np.random.default_rng(0).choice([-100.0, 100.0], size=(500, 50))
    X = (np.vstack([X, X + np.eye(50)[0]]) * unit).astype(np.float32)
    _, distance = nearest_rows(DenseRows(torch.from_numpy(X)), 1, "euclidean", 0)
    assert distance == pytest.approx(1 / (100 * np.sqrt(50)), rel=0.01)


def test_distance_of_equal_rows_is_0():
    assert nearest_rows(DenseRows(torch.ones(9, 3)), 3, "euclidean", 0)[1] == 0
