"""Test error, calibration and cost by number of labels, on MNIST and digits.

VAEClassifier has its defaults for all numbers of labels. On MNIST, peers are run up to 1000 labels, on 64 principal
components of the labelled rows. LabelSpreading is left out there, because its graph would not fit in memory.
"""

from __future__ import annotations

import common
import pandas as pd
import peers
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

LABELS = {"mnist": ["100", "600", "1000", "all"], "digits": ["50", "100", "all"]}
PEERS = {
    "mnist": ["LogisticRegression", "SVC"],
    "digits": ["LogisticRegression", "SVC", "MLP", "LabelSpreading", "SelfTraining"],
}
MAX_PEER_LABELS = 1000  # maximum number of labels for peers on MNIST
N_COMPONENTS = 64  # number of principal components for peers on MNIST
# Published test errors in percent.
PUBLISHED = {
    ("mnist", "100"): "Kingma 2014 3.33, VAT 1.36",
    ("mnist", "600"): "Kingma 2014 2.59",
    ("mnist", "1000"): "Kingma 2014 2.40",
    ("mnist", "all"): "VIB 1.13",
}


def partly_labelled(name: str, labels: str, draw: int, args) -> common.Split:
    """Return a split whose training rows keep the same number of labels in each class."""
    data = common.split(name, draw, args.rows, args.test_rows)
    if labels == "all":
        return data
    n_classes = len(set(data.y_test.tolist()))
    return data._replace(y_train=common.hide_labels(data.y_train, lambda _: int(labels) / n_classes, draw))


def classifiers(name: str, labels: str, with_peers: bool) -> list[str]:
    """Return the classifiers to run: `VAEClassifier`, and the peers that can handle this number of labels."""
    is_large = name == "mnist" and (labels == "all" or int(labels) > MAX_PEER_LABELS)
    known = [peer for peer in PEERS[name] if labels != "all" or peer != "SelfTraining"]
    return [peers.OURS, *(known if with_peers and not is_large else [])]


def reduced(classifier: str, draw: int, n_labelled: int):
    """Return a pipeline of PCA and a peer, both fitted to the labelled rows."""
    components = PCA(min(N_COMPONENTS, n_labelled), random_state=draw)
    return make_pipeline(components, peers.new_model(classifier, draw, {}))


def run(args, results: common.Results) -> None:
    """Run all fits that are missing from the results."""
    for labels in args.labels:
        for draw in args.draws:
            cells = [
                {"data": args.data, "labels": labels, "draw": draw, "classifier": classifier}
                for classifier in classifiers(args.data, labels, args.peers)
            ]
            todo = [cell for cell in cells if results.lacks(cell)]
            data = partly_labelled(args.data, labels, draw, args) if todo else None
            for cell in todo:
                classifier = cell["classifier"]
                model = peers.new_model(classifier, draw, args.params)
                if args.data == "mnist" and classifier != peers.OURS:
                    model = reduced(classifier, draw, (data.y_train != -1).sum())
                results.add(cell | peers.evaluate(classifier, data, draw, args.params, model))
                if args.data == "mnist" and classifier == peers.OURS:
                    common.keep_model(model, args.models, labels, draw)


def report(frame: pd.DataFrame) -> None:
    """Print the table."""
    frame = frame.assign(error=100 * (1 - frame["accuracy"]), labels=frame["labels"].astype(str))
    frame = frame.sort_values("labels", key=lambda s: s.replace("all", "inf").astype(float), kind="stable")
    cells = frame.groupby(["data", "labels", "classifier"], sort=False)
    table = cells["error"].agg(["mean", "std", "max", "count"])
    table.columns = ["error %", "std", "worst", "draws"]
    table = table.join(cells[["nll", "brier", "ece", "cpu_s"]].mean())
    table["slowest_s"] = cells["cpu_s"].max()
    table["published error %"] = [
        PUBLISHED.get((data, labels), "") if classifier == peers.OURS else ""
        for data, labels, classifier in table.index
    ]
    common.show("Test rows, by number of labels; means over label draws", table, 4)


def main() -> None:
    """Run the fits and print the table."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser)
    parser.add_argument("--data", default="mnist", choices=list(LABELS))
    parser.add_argument("--labels", nargs="+", help="numbers of labels, spread equally over the classes, or all")
    parser.add_argument(
        "--draws", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="seeds of label draws and estimators"
    )
    common.add_models_option(parser)
    parser.add_argument("--rows", type=int, default=60_000, help="number of training rows of MNIST")
    parser.add_argument("--test-rows", type=int, default=10_000, help="number of test rows of MNIST")
    args = common.parse(parser)
    args.labels = args.labels or LABELS[args.data]
    if args.quick:
        args.labels, args.draws, args.rows, args.test_rows = [args.labels[0], args.labels[-1]], [0, 1], 1000, 500
        args.params = {"max_iter": 2, **args.params}
    common.one_thread()
    results = common.Results(args.output, args.resume)
    run(args, results)
    report(results.frame())


if __name__ == "__main__":
    main()
