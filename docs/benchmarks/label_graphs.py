"""Nearest-neighbour graphs for label spreading: of principal components, of codes, and of a map.

For each graph: the share of edges between rows of one class, and the error of label spreading, of a partition of the
graph and of their mean, on rows without labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import common
import numpy as np
import pandas as pd
import real_sets
import torch
from panel import split

from sklearn_vae import VAETransformer
from sklearn_vae._data.neighbors import principal_components
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._semi_supervised.classifier_fit import SPREADINGS
from sklearn_vae._semi_supervised.graph import cut_classes, neighbour_graph, spread_labels
from sklearn_vae.networks import MLP

N_NEIGHBORS = 10
ALPHA = SPREADINGS[0][0]


def codes(n_components: int, **params) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function of the rows that returns the codes of a VAETransformer trained on all of them."""
    params = {"random_state": 0, "early_stopping": False, **params}
    return lambda X: VAETransformer(min(n_components, X.shape[1]), **params).fit_transform(X)


COORDINATES = {
    "components": lambda X: principal_components(DenseRows(torch.from_numpy(X))),
    # As those of VAEClassifier.
    "codes": codes(20, network=MLP(layer_norm=True), input_noise=0.5),
    "without noise": codes(20, network=MLP(layer_norm=True)),
    "without norm": codes(20, input_noise=0.5),
    "default": codes(8),
    "map": codes(8, objective="neighbors"),
}


def errors(graph, truth: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the errors on rows with y = -1."""
    classes, n_labels = np.unique(y[y >= 0], return_counts=True)
    prior = n_labels / n_labels.sum()
    spread = spread_labels(graph, y, prior, ALPHA)
    cut = cut_classes(graph, spread, y, prior)
    hidden = y < 0
    parts = {"spreading": spread, "partition": cut, "mean": spread + cut}
    return {name: float(np.mean(classes[P[hidden].argmax(1)] != truth[hidden])) for name, P in parts.items()}


def evaluate(name: str, graph, truth: np.ndarray, args) -> Iterator[dict]:
    """Yield a row for each number of labels and draw."""
    first = np.repeat(np.arange(len(truth)), np.diff(graph.indptr))
    same = float(np.mean(truth[first] == truth[graph.indices]))
    n_classes = truth.max() + 1
    for labels in args.labels:
        for draw in args.draws:
            y = common.hide_labels(truth, lambda _, n=labels / n_classes: n, draw)
            yield {"graph": name, "same_class": same, "labels": labels, "draw": draw} | errors(graph, truth, y)


def run(args, results: common.Results) -> None:
    """Build all graphs that are missing from the results, and spread labels."""
    for name in args.sets:
        data = common.split_mnist(0, args.rows, 1000) if name == "mnist" else split(name, 0)
        X, truth = data.X_train.astype(np.float32), np.unique(data.y_train, return_inverse=True)[1]
        for kind in args.graphs:
            if any(results.lacks({"set": name, "graph": kind, "labels": n}) for n in args.labels):
                clock = common.Clock()
                with clock.running():
                    graph = neighbour_graph(COORDINATES[kind](X), N_NEIGHBORS, 0)
                for row in evaluate(kind, graph, truth, args):
                    results.add({"set": name, **row, "cpu_s": clock.seconds})


def report(frame: pd.DataFrame) -> None:
    """Print means over the label draws."""
    values = ["same_class", "spreading", "partition", "mean", "cpu_s"]
    cells = frame.groupby(["set", "labels", "graph"], sort=False)
    table = cells[values].mean()
    table.insert(4, "worst", cells["mean"].max())
    common.show("Edges within a class, and errors on unlabelled rows; means over label draws", table, 4)


def main() -> None:
    """Build the graphs and print the table."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser)
    parser.add_argument("--sets", nargs="+", default=["mnist"], choices=["mnist", *real_sets.NAMES], metavar="SET")
    parser.add_argument("--graphs", nargs="+", default=list(COORDINATES), choices=list(COORDINATES))
    parser.add_argument("--labels", nargs="+", type=int, default=[10, 50, 100])
    parser.add_argument("--draws", nargs="+", type=int, default=list(range(10)), help="seeds of label draws")
    parser.add_argument("--rows", type=int, default=60_000, help="number of training rows of MNIST")
    args = common.parse(parser)
    if args.quick:
        args.labels, args.draws, args.rows, args.graphs = args.labels[:1], args.draws[:1], 1000, args.graphs[:2]
    common.one_thread()
    results = common.Results(args.output, args.resume)
    run(args, results)
    report(results.frame())


if __name__ == "__main__":
    main()
