"""The graph of neighbours, and labels spread over it."""

import numpy as np
import pytest
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.datasets import make_blobs, make_moons

from sklearn_vae._data import neighbors
from sklearn_vae._data.neighbors import nearest
from sklearn_vae._semi_supervised import graph as graph_module
from sklearn_vae._semi_supervised.graph import cut_classes, neighbour_graph, spread_labels


@pytest.fixture(scope="module")
def moons():
    X, y = make_moons(200, noise=0.06, random_state=0)
    return X, y


def dense_graph(X, k):
    """exp(-d^2 / (s_i s_j)) between each row and its k nearest others, either way, by brute force."""
    distances = cdist(X, X)
    np.fill_diagonal(distances, np.inf)
    scale = np.sort(distances, axis=1)[:, k - 1]
    nearest = distances <= scale[:, None]
    return np.where(nearest | nearest.T, np.exp(-np.square(distances) / np.outer(scale, scale)), 0)


def dense_spread(W, codes, prior, alpha):
    """Normalise (I - alpha S)^-1 Y by row, then by class to the prior, then by row."""
    degree = W.sum(1)
    S = W / np.sqrt(np.outer(degree, degree))
    Y = np.eye(len(prior))[codes] * (codes >= 0)[:, None]
    P = np.linalg.solve(np.eye(len(W)) - alpha * S, Y)
    P /= P.sum(1, keepdims=True)
    P *= prior / P.mean(0)
    return P / P.sum(1, keepdims=True)


def hidden(y, per_class, seed=0):
    """Labels of all but some rows of each class replaced by -1."""
    rng, codes = np.random.default_rng(seed), np.full(len(y), -1)
    for k in np.unique(y):
        index = rng.permutation(np.flatnonzero(y == k))[:per_class]
        codes[index] = k
    return codes


# Graph


@pytest.mark.parametrize("k", [1, 5, 20])
def test_neighbour_graph_equals_brute_force(moons, k):
    graph = neighbour_graph(moons[0], k, 0)
    np.testing.assert_allclose(graph.toarray(), dense_graph(moons[0], k), atol=1e-12)


@pytest.mark.parametrize("exponent", [-100, 100])
def test_neighbour_graph_does_not_depend_on_the_unit(exponent):
    """There are many float32 columns, whose squares would overflow or underflow."""
    X = np.random.default_rng(0).normal(size=(30, 20)).astype(np.float32)
    graph = neighbour_graph(np.ldexp(X, exponent), 5, 0)
    np.testing.assert_array_equal(graph.toarray(), neighbour_graph(X, 5, 0).toarray())


@pytest.mark.parametrize("approximate", [False, True])
def test_neighbour_graph_is_symmetric_and_has_no_loops(monkeypatch, moons, approximate):
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 0 if approximate else 10_000)
    graph = neighbour_graph(moons[0], 7, 0)
    assert abs(graph - graph.T).max() == 0
    assert not graph.diagonal().any()
    assert graph.data.min() >= 0 and graph.data.max() <= 1
    assert ((graph > 0).sum(1) >= 7).all()


def test_neighbour_graph_does_not_depend_on_the_order_of_rows(moons):
    order = np.random.default_rng(0).permutation(200)
    graph, permuted = (neighbour_graph(X, 7, 0).toarray() for X in (moons[0], moons[0][order]))
    np.testing.assert_allclose(permuted, graph[np.ix_(order, order)], atol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_neighbour_graph_does_not_depend_on_the_units(moons, scale):
    graph, scaled = (neighbour_graph(a * moons[0], 7, 0).toarray() for a in (1, scale))
    np.testing.assert_allclose(scaled, graph, atol=1e-9)


@pytest.mark.parametrize("n_rows", [2, 3, 8])
def test_neighbour_graph_of_fewer_rows_than_neighbours_has_all_edges(moons, n_rows):
    graph = neighbour_graph(moons[0][:n_rows], 10, 0).toarray()
    np.testing.assert_array_equal(graph > 0, ~np.eye(n_rows, dtype=bool))


@pytest.mark.parametrize("approximate", [False, True])
def test_neighbour_graph_of_repeated_rows_is_finite(monkeypatch, moons, approximate):
    """Rows with more copies than neighbours are at distance 0 from all of them, and weigh 1."""
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 0 if approximate else 10_000)
    X = np.concatenate([moons[0], np.repeat(moons[0][:2], 30, axis=0)])
    graph = neighbour_graph(X, 7, 0)
    assert np.isfinite(graph.data).all()
    assert graph.toarray()[-30:, -30:].max() == pytest.approx(1)


def test_clusters_find_all_neighbours_that_brute_force_finds_in_few_rows(monkeypatch, moons):
    """Where all clusters are probed the search is exact."""
    exact = neighbour_graph(moons[0], 7, 0).toarray()
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 0)
    np.testing.assert_allclose(neighbour_graph(moons[0], 7, 0).toarray(), exact, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clusters_find_nearly_all_neighbours(monkeypatch, dtype):
    X = make_blobs(3000, 10, centers=8, cluster_std=4, random_state=0)[0].astype(dtype)
    exact = neighbour_graph(X, 10, 0) > 0
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 2999)
    found = neighbour_graph(X, 10, 0) > 0
    assert found.multiply(exact).sum() > 0.95 * exact.sum()
    assert (found != exact).sum() > 0


def test_clusters_do_not_run_out_of_candidates(monkeypatch):
    """Sixteen clusters of one row each have fewer rows than there are neighbours to find."""
    rng = np.random.default_rng(0)
    X = np.concatenate([np.zeros((800, 3)), 1e3 * rng.normal(size=(40, 3))])
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 0)
    distances, index = neighbors.nearest_neighbors(X, 25, 0, n_probes=4)
    assert np.isfinite(distances).all() and (index != np.arange(len(X))[:, None]).all()


# Labels


@pytest.mark.parametrize("alpha", [0.5, 0.9])
@pytest.mark.parametrize("prior", [(0.5, 0.5), (0.2, 0.8)])
def test_spread_labels_equals_the_closed_form(moons, alpha, prior):
    X, y = moons
    graph, codes = neighbour_graph(X, 10, 0), hidden(y, 10)
    P = spread_labels(graph, codes, np.array(prior), alpha)
    expected = dense_spread(graph.toarray(), codes, np.array(prior), alpha)
    assert np.abs(P - expected).mean() < 0.01
    np.testing.assert_allclose(P, expected, atol=0.1)


def test_spread_labels_are_probabilities_of_the_prior(moons):
    X, y = moons
    P = spread_labels(neighbour_graph(X, 10, 0), hidden(y, 5), np.array([0.5, 0.5]), 0.9)
    assert P.shape == (200, 2) and (P >= 0).all()
    np.testing.assert_allclose(P.sum(1), 1)
    np.testing.assert_allclose(P.mean(0), 0.5, atol=0.05)


def test_spread_labels_are_right_in_two_clusters_from_one_label_each():
    X, y = make_blobs(60, centers=[[0, 0], [20, 0]], random_state=0)
    P = spread_labels(neighbour_graph(X, 10, 0), hidden(y, 1), np.array([0.5, 0.5]), 0.9)
    np.testing.assert_array_equal(P.argmax(1), y)
    assert P.max(1).min() > 0.9


def test_spread_labels_follow_the_shape_of_moons(moons):
    X, y = moons
    P = spread_labels(neighbour_graph(X, 8, 0), hidden(y, 3), np.array([0.5, 0.5]), 0.9)
    assert (P.argmax(1) == y).mean() > 0.95


def test_spread_labels_do_not_depend_on_the_order_of_rows(moons):
    X, y = moons
    codes, order, prior = hidden(y, 5), np.random.default_rng(0).permutation(200), np.array([0.3, 0.7])
    P = spread_labels(neighbour_graph(X, 10, 0), codes, prior, 0.9)
    permuted = spread_labels(neighbour_graph(X[order], 10, 0), codes[order], prior, 0.9)
    np.testing.assert_allclose(permuted, P[order], atol=1e-9)


def test_spread_labels_do_not_depend_on_the_names_of_classes(moons):
    X, y = moons
    graph, codes = neighbour_graph(X, 10, 0), hidden(y, 5)
    P = spread_labels(graph, codes, np.array([0.3, 0.7]), 0.9)
    swapped = spread_labels(graph, np.where(codes >= 0, 1 - codes, -1), np.array([0.7, 0.3]), 0.9)
    np.testing.assert_allclose(swapped[:, ::-1], P, atol=1e-9)


def test_spread_labels_say_the_prior_of_rows_out_of_reach():
    """A component of the graph without a label carries no information."""
    block = sparse.csr_array(np.ones((4, 4)) - np.eye(4))
    graph = sparse.csr_array(sparse.block_diag([block, block, block]))
    codes = np.array([0, -1, -1, -1, 1, -1, -1, -1, -1, -1, -1, -1])
    P = spread_labels(graph, codes, np.array([0.3, 0.7]), 0.9)
    np.testing.assert_allclose(P[:4], [[1, 0]] * 4, atol=1e-9)
    np.testing.assert_allclose(P[4:8], [[0, 1]] * 4, atol=1e-9)
    np.testing.assert_allclose(P[8:], [[0.3, 0.7]] * 4)


def test_spread_labels_scale_classes_to_the_prior():
    """Class mass normalisation: class shares follow the prior, whatever the numbers of labels."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = (X[:, 0] > 0).astype(int)
    graph, codes = neighbour_graph(X, 8, 0), np.where(y == 0, hidden(y, 1), hidden(y, 9))
    assert (codes == 0).sum() == 1 and (codes == 1).sum() == 9
    shares = [spread_labels(graph, codes, np.array([p, 1 - p]), 0.9).mean(0)[0] for p in (0.1, 0.5, 0.9)]
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05


def cut(graph, classes):
    """Total weight of the edges between classes."""
    edges = graph.tocoo()
    return edges.data[classes[edges.row] != classes[edges.col]].sum()


def partition(graph, codes, prior=(0.5, 0.5), alpha=0.9):
    prior = np.array(prior)
    return cut_classes(graph, spread_labels(graph, codes, prior, alpha), codes, prior)


def test_cut_classes_cut_fewer_edges_than_spread_labels():
    """Clusters that touch: label spreading from few labels ends somewhere, the partition at the gap."""
    X, y = make_blobs(600, 10, centers=5, cluster_std=5.0, random_state=1)
    graph, codes, prior = neighbour_graph(X, 10, 0), hidden(y, 1), np.full(5, 0.2)
    spread = spread_labels(graph, codes, prior, 0.99).argmax(1)
    P = partition(graph, codes, prior, 0.99).argmax(1)
    assert cut(graph, P) < 0.9 * cut(graph, spread)
    assert (y == P).mean() > (spread == y).mean() + 0.03


def test_cut_classes_end_when_hardly_a_row_changes(monkeypatch):
    """Labelled rows whose neighbours are of another class are no change."""
    X, y = make_blobs(600, 5, centers=3, cluster_std=6.0, random_state=0)
    graph, codes, n_cuts = neighbour_graph(X, 10, 0), hidden(y, 60), []
    scale = graph_module.scale_classes
    monkeypatch.setattr(graph_module, "scale_classes", lambda P, prior: n_cuts.append(1) or scale(P, prior))
    partition(graph, codes, np.full(3, 1 / 3))
    assert len(n_cuts) - 1 < graph_module.MAX_CUTS


def test_cut_classes_are_probabilities_with_shares_that_follow_the_prior():
    """In a single cluster, the prior says where to cut."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    graph, codes, shares = neighbour_graph(X, 8, 0), hidden((X[:, 0] > 0).astype(int), 5), []
    for prior in (0.2, 0.5, 0.8):
        P = partition(graph, codes, (prior, 1 - prior))
        np.testing.assert_allclose(P.sum(1), 1)
        assert (P >= 0).all()
        shares.append(P[:, 0].mean())
    assert shares[0] + 0.05 < shares[1] < shares[2] - 0.05


def test_cut_classes_do_not_depend_on_the_order_of_rows_or_the_names_of_classes(moons):
    X, y = moons
    codes, order = hidden(y, 5), np.random.default_rng(0).permutation(200)
    P = partition(neighbour_graph(X, 10, 0), codes, (0.4, 0.6))
    permuted = partition(neighbour_graph(X[order], 10, 0), codes[order], (0.4, 0.6))
    np.testing.assert_allclose(permuted, P[order], atol=1e-9)
    swapped = partition(neighbour_graph(X, 10, 0), np.where(codes >= 0, 1 - codes, -1), (0.6, 0.4))
    np.testing.assert_allclose(swapped[:, ::-1], P, atol=1e-9)


def test_cut_classes_say_the_prior_of_rows_out_of_reach():
    block = sparse.csr_array(np.ones((4, 4)) - np.eye(4))
    graph = sparse.csr_array(sparse.block_diag([block, block, block]))
    P = partition(graph, np.array([0, -1, -1, -1, 1, -1, -1, -1, -1, -1, -1, -1]), (0.3, 0.7))
    assert (P[:4, 0] > 0.9).all() and (P[4:8, 1] > 0.9).all()
    np.testing.assert_allclose(P[8:], [[0.3, 0.7]] * 4)


def test_propagation_leaves_global_random_state_alone(monkeypatch, moons, global_random_state):
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 0)
    before = global_random_state()
    first, again = (neighbour_graph(moons[0], 7, 3) for _ in range(2))
    spread_labels(first, hidden(moons[1], 3), np.array([0.5, 0.5]), 0.9)
    assert abs(first - again).max() == 0
    assert global_random_state() == before


@pytest.mark.parametrize("approximate", [False, True])
def test_equal_rows_are_neighbours_of_each_other(approximate, monkeypatch):
    monkeypatch.setattr(neighbors, "MAX_EXACT_ROWS", 0 if approximate else 10_000)
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(4), [3, 50, 1, 200]))
    X = rng.normal(size=(4, 3))[group]
    graph = neighbour_graph(X, 5, 0).toarray()
    assert (graph == graph.T).all()
    for k in (1, 3):
        own = graph[group == k]
        assert (own[:, group != k] <= 1e-6).all() and (own.max(1) == 1).all() and (np.diag(graph) == 0).all()


def test_few_copies_of_equal_rows_are_searched(monkeypatch):
    sizes = []
    monkeypatch.setattr(neighbors, "nearest", lambda X, *args: sizes.append(len(X)) or nearest(X, *args))
    X = np.repeat(np.random.default_rng(0).normal(size=(7, 2)), 100, axis=0)
    neighbour_graph(X * [1, -0.0], 10, 0)
    assert sizes == [7 * 11]
