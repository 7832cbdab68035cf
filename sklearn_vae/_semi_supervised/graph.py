"""Label spreading on a nearest-neighbour graph."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sklearn.semi_supervised import LabelSpreading

from sklearn_vae._data.neighbors import nearest_neighbors

# Floor for the distance of a row's last neighbour, in the unit of `nearest_neighbors`.
MIN_SCALE = 1e-100
# Of the partition of the graph: number of diffusion steps between two partitions, maximum number of partitions, and
# share of changed rows at which they end.
N_DIFFUSIONS, MAX_CUTS, MIN_CHANGED = 16, 20, 1e-3


def neighbour_graph(X: np.ndarray, n_neighbors: int, seed: int) -> sparse.csr_array:
    r"""Return the symmetric graph of nearest neighbours, (n_rows, n_rows).

    The edge weights are :math:`\exp(-d_{ij}^2 / (s_i s_j))`, where :math:`s_i` is the distance of row i to its last
    neighbour (Zelnik-Manor and Perona 2004, eq. 3).
    """
    distances, index = nearest_neighbors(X, n_neighbors, seed)
    n, k = index.shape
    # Rows with at least k duplicates are at distance 0 from all of their neighbours.
    scale = distances[:, -1].clip(MIN_SCALE)
    weight = np.exp(-(distances / scale[:, None]) * (distances / scale[index]))
    graph = sparse.csr_array((weight.ravel(), index.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    return graph.maximum(graph.T)


def spread_labels(graph: sparse.csr_array, codes: np.ndarray, prior: np.ndarray, alpha: float) -> np.ndarray:
    """Return the class probabilities of all rows by label spreading, (n_rows, n_classes).

    After label spreading (Zhou et al. 2004), the classes are scaled to `prior` (class mass normalisation, Zhu et
    al. 2003). Rows that no label reaches get the probabilities of `prior`.

    Parameters
    ----------
    graph : sparse array of shape (n_rows, n_rows)
    codes : ndarray of shape (n_rows,)
        Class indices; -1 for unlabelled rows. Every class must occur.
    prior : ndarray of shape (n_classes,)
    alpha : float
        Fraction of a row's label distribution that comes from its neighbours.
    """
    n = len(codes)
    spreading = LabelSpreading(kernel=lambda X, Y: graph, alpha=alpha, max_iter=1000, tol=0.01 * (codes >= 0).sum())
    return scale_classes(spreading.fit(np.zeros((n, 1)), codes).label_distributions_, prior)


def cut_classes(graph: sparse.csr_array, P: np.ndarray, codes: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Return the class probabilities of all rows by a partition that cuts few edges, (n_rows, n_classes).

    Starting from the most probable classes, the scheme of Merriman, Bence and Osher diffuses the classes on the graph
    and takes the most probable ones again, until hardly any changes; classes are scaled to `prior`, as the volumes of
    Calder et al. (2020, algorithm 2) are. The probabilities are those of the diffused classes. Rows that no label
    reaches get the probabilities of `prior`.

    Parameters
    ----------
    graph : sparse array of shape (n_rows, n_rows)
    P : ndarray of shape (n_rows, n_classes)
        Probabilities to start from.
    codes : ndarray of shape (n_rows,)
        Class indices; -1 for unlabelled rows.
    prior : ndarray of shape (n_classes,)
    """
    n, n_classes = P.shape
    degree = graph.sum(axis=1).clip(np.finfo(np.float64).tiny)
    walk = sparse.diags_array(0.5 / degree) @ graph + 0.5 * sparse.eye_array(n)
    labelled, identity = np.flatnonzero(codes >= 0), np.eye(n_classes)
    classes = P.argmax(axis=1)
    classes[labelled] = codes[labelled]
    for _ in range(MAX_CUTS):
        P = identity[classes]
        for _ in range(N_DIFFUSIONS):
            P = walk @ P
        P = scale_classes(P, prior)
        previous, classes = classes, P.argmax(axis=1)
        classes[labelled] = codes[labelled]
        if np.mean(classes != previous) < MIN_CHANGED:
            break
    _, part = connected_components(graph, directed=False)
    P[~np.isin(part, part[labelled])] = prior
    return P


def scale_classes(P: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Scale the classes to `prior`, then the rows to 1, in place, because the array may be large.

    Rows of zeros get the probabilities of `prior`.
    """
    P *= prior / P.mean(0).clip(np.finfo(np.float64).tiny)
    total = P.sum(1, keepdims=True)
    P /= np.where(total > 0, total, 1)
    P[total[:, 0] <= 0] = prior
    return P
