"""Nearest neighbours of rows: CPU seconds and recall of the search in clusters, exact search and pynndescent.

Rows have at most 50 principal coordinates, as for maps. Recall is the share of 15 neighbours that are no farther than
the exact ones. `first_cpu_s` is the time of a first search, of 500 rows, with imports and compilation. All run on one
thread.
"""

from __future__ import annotations

import warnings

import common
import numpy as np
import pandas as pd
import torch
from panel import split
from sklearn.neighbors import NearestNeighbors

from sklearn_vae._data.neighbors import nearest_in_clusters, principal_components
from sklearn_vae._data.sparse_rows import as_rows
from sklearn_vae._training.neighbor_points import N_COORDINATES, N_PROBES

N_NEIGHBORS = 15


def exact(X: np.ndarray) -> np.ndarray:
    """Search all rows."""
    return NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(X).kneighbors(return_distance=False)


def in_clusters(n_probes: int):
    """Return a search in the rows of the nearest `n_probes` clusters."""
    return lambda X: nearest_in_clusters(X, N_NEIGHBORS, 0, n_probes)[1]


def descent(**params):
    """Return a search by nearest-neighbour descent."""

    def search(X: np.ndarray) -> np.ndarray:
        from pynndescent import NNDescent

        index = NNDescent(X, n_neighbors=N_NEIGHBORS + 1, random_state=0, n_jobs=1, **params).neighbor_graph[0]
        # The row itself is among its neighbours, but not always the first of several equal rows.
        is_self = index == np.arange(len(X))[:, None]
        is_self[~is_self.any(1), -1] = True
        return index[~is_self].reshape(len(X), N_NEIGHBORS)

    return search


METHODS = {
    "exact": exact,
    "clusters, 16": in_clusters(16),
    f"clusters, {N_PROBES}": in_clusters(N_PROBES),
    "pynndescent": descent(),
    "pynndescent, 30 candidates": descent(max_candidates=30, n_iters=20),
}


def main() -> None:
    """Run the searches and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=["letter", "mnist_60k"], metavar="SET")
    args = common.parse(parser)
    common.one_thread()
    warnings.filterwarnings("ignore")
    sets = ["digits"] if args.quick else args.sets
    rows = []
    for name in sets:
        X = principal_components(as_rows(split(name, 0).X_train, torch.device("cpu")), N_COORDINATES)
        farthest = None
        for method, search in METHODS.items():
            if args.quick and method.startswith("pynndescent"):
                continue
            first, clock = common.Clock(), common.Clock()
            with first.running():
                search(X[:500])
            with clock.running():
                found = search(X)
            distances = np.linalg.norm(X[found] - X[:, None], axis=-1)
            farthest = distances.max(1) if farthest is None else farthest
            recall = np.mean(distances <= 1.0001 * farthest[:, None])
            row = {"set": name, "n_rows": len(X), "method": method, "first_cpu_s": first.seconds}
            rows.append(row | {"cpu_s": clock.seconds, "recall": recall})
    common.show("CPU seconds and recall", pd.DataFrame(rows).set_index(["set", "method"]))


if __name__ == "__main__":
    main()
