"""Nearest neighbours among rows: the rows' coordinates, and the search."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sklearn_vae._data.ppca import Moments, fit_moments, fit_ppca
from sklearn_vae._data.ppca_missing import ConditionalMeans, fit_observed_cells
from sklearn_vae._data.rows import DenseRows, Rows

# Number of rows up to which the search is always exact. With more rows, neighbours are searched only in the nearest of
# about sqrt(n_rows) clusters, unless these are more than `MAX_SHARE` of all, which would take longer.
MAX_EXACT_ROWS = 10_000
MAX_SHARE = 0.4
# Minimum number of clusters that are searched, by default.
N_PROBES = 16
# Maximum number of distances in memory at a time.
MAX_DISTANCES = 2**24
# Maximum number of columns for the neighbour search. More columns are reduced to this number of principal components.
GRAPH_COMPONENTS = 32
# Number of components of the linear model that fills missing cells for the neighbour search.
GAP_COMPONENTS = 8


def principal_components(rows: Rows, n_components: int = GRAPH_COMPONENTS) -> np.ndarray:
    """Return the centred columns, or their `n_components` leading principal components if there are more columns.

    Integers become float32. Rows are converted in chunks, because unsigned bytes would wrap around and a converted
    copy of all rows would be large.
    """
    moments = fit_moments(rows)
    if rows.has_gaps:
        return _filled_components(rows, moments, n_components)
    center = moments.center.to(rows.dtype if rows.dtype.is_floating_point else torch.float32)
    parts = (batch["x"].to(center.dtype) - center for batch in rows.chunks())
    if rows.n_features > n_components:
        axes = fit_ppca(rows, moments, n_components).axes[:, :n_components]
        parts = (part @ torch.from_numpy(axes).to(center) for part in parts)
    return torch.cat(list(parts)).cpu().numpy()


def _filled_components(rows: Rows, moments: Moments, n_components: int) -> np.ndarray:
    """Return the principal components of rows whose missing cells have their conditional means."""
    n_filling = min(GAP_COMPONENTS, rows.n_features)
    ppca = fit_observed_cells(rows, fit_ppca(rows, moments, n_filling))
    weight = torch.from_numpy(ppca.maps(ppca.noise_variance).decoder).to(rows.device)
    center, unit = ppca.moments.center, ppca.moments.unit
    fill = ConditionalMeans(torch.zeros_like(center), weight, torch.full_like(center, ppca.noise_variance))
    parts = [fill((batch["x"] - center) / unit, batch["mask"]) * unit for batch in rows.chunks()]
    filled = DenseRows(torch.cat(parts).to(rows.dtype))
    return principal_components(filled, n_components)


def nearest_neighbors(
    X: np.ndarray, n_neighbors: int, seed: int, n_probes: int = N_PROBES
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances and indices of each row's nearest other rows, both (n_rows, k), in increasing distance.

    k is `n_neighbors`, or the number of other rows if that is smaller. The unit of the distances is a power of two
    for which the largest absolute value of `X` is between 0.5 and 1.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Without missing values.
    n_neighbors : int
    seed : int
        Seed of the clusters for the approximate search.
    n_probes : int
        Minimum number of clusters that the approximate search looks into.
    """
    return nearest_of_copies(in_unit_range(X), min(n_neighbors, len(X) - 1), seed, n_probes)


def in_unit_range(X: np.ndarray) -> np.ndarray:
    """Return `X` times a power of two, which is exact, so that squares neither overflow nor underflow in float32."""
    return np.ldexp(X, -np.frexp(np.abs(X).max())[1])


def nearest_of_copies(X: np.ndarray, k: int, seed: int, n_probes: int) -> tuple[np.ndarray, np.ndarray]:
    """Search as `nearest` does, in a time that does not grow with the square of the number of equal rows.

    Of equal rows, k + 1 take part in the search. The others have k of these at distance 0.
    """
    # Adding 0 turns -0 into 0.
    _, group, counts = np.unique(X + 0.0, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    first = np.r_[0, counts.cumsum()[:-1]]
    rank = np.empty(len(X), dtype=np.int64)
    rank[order] = np.arange(len(X)) - first[group[order]]
    kept, others = np.flatnonzero(rank <= k), np.flatnonzero(rank > k)
    is_exact = len(kept) <= MAX_EXACT_ROWS or n_probes > MAX_SHARE * math.sqrt(len(kept))
    search = nearest if is_exact else nearest_in_clusters
    distances, index = np.zeros((len(X), k)), np.empty((len(X), k), dtype=np.int64)
    distances[kept], neighbours = search(X[kept], k, seed, n_probes)
    index[kept] = kept[neighbours]
    index[others] = order[first[group[others], None] + np.arange(k)]
    return distances, index


def nearest(X: np.ndarray, k: int, seed: int, n_probes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances and indices of the k nearest other rows of each row, both (n_rows, k)."""
    return NearestNeighbors(n_neighbors=k).fit(X).kneighbors()


def nearest_in_clusters(X: np.ndarray, k: int, seed: int, n_probes: int) -> tuple[np.ndarray, np.ndarray]:
    """Approximate `nearest`: compare each row only with the rows of the nearest clusters (inverted lists)."""
    n_clusters = round(math.sqrt(len(X)))
    clusters = MiniBatchKMeans(n_clusters, n_init=1, batch_size=4096, random_state=seed).fit(X)
    order = np.argsort(clusters.labels_, kind="stable")
    members = np.split(order, np.searchsorted(clusters.labels_[order], np.arange(1, n_clusters)))
    probes = NearestNeighbors(n_neighbors=n_clusters).fit(clusters.cluster_centers_)
    probes = probes.kneighbors(clusters.cluster_centers_, return_distance=False)
    sizes = np.array([len(rows) for rows in members])
    x = torch.from_numpy(X)
    distances, index = np.zeros((len(X), k)), np.zeros((len(X), k), dtype=np.int64)
    for rows, probe in zip(members, probes, strict=True):
        n_searched = max(n_probes, 1 + int(np.searchsorted(sizes[probe].cumsum(), k, side="right")))
        candidates = np.concatenate([members[j] for j in probe[:n_searched]])
        for part in np.array_split(rows, 1 + len(rows) * len(candidates) // MAX_DISTANCES):
            distances[part], index[part] = _nearest_of(x, part, candidates, k)
    return distances, index


def _nearest_of(x: Tensor, rows: np.ndarray, candidates: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distances = torch.cdist(x[rows], x[candidates])
    distances[torch.from_numpy(rows[:, None] == candidates)] = math.inf
    values, position = distances.topk(k, largest=False)
    return values.numpy(), candidates[position.numpy()]
