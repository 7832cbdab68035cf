"""Test error, calibration and cost by number of labels, on MNIST, digits and other sets.

VAEClassifier has its defaults for all numbers of labels. On MNIST, peers are run up to 1000 labels, on 64 principal
components of the labelled rows. LabelSpreading is left out there, because its graph would not fit in memory. Other sets
are those of `common.py` and `real_sets.py`.
"""

from __future__ import annotations

from itertools import product

import common
import pandas as pd
import peers
import real_sets
from joblib import delayed
from panel import split
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline

LABELS = {"mnist": ["10", "50", "100", "600", "1000", "all"], "digits": ["10", "50", "100", "all"]}
OTHER_LABELS = ["10", "50", "100"]
PEERS = {
    "mnist": ["LogisticRegression", "SVC"],
    "digits": ["LogisticRegression", "SVC", "MLP", "LabelSpreading", "SelfTraining"],
}
OTHER_PEERS = ["SVC"]
SETS = ["mnist", *common.DATA_SETS, *real_sets.NAMES]
MAX_ERROR = 0.05  # largest acceptable calibration error
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
    data = split(name, draw) if name in real_sets.NAMES else common.split(name, draw, args.rows, args.test_rows)
    if labels == "all":
        return data
    n_classes = len(set(data.y_test.tolist()))
    return data._replace(y_train=common.hide_labels(data.y_train, lambda _: int(labels) / n_classes, draw))


def classifiers(name: str, labels: str, with_peers: bool) -> list[str]:
    """Return the classifiers to run: `VAEClassifier`, and the peers that can handle this number of labels."""
    is_large = name == "mnist" and (labels == "all" or int(labels) > MAX_PEER_LABELS)
    known = [peer for peer in PEERS.get(name, OTHER_PEERS) if labels != "all" or peer != "SelfTraining"]
    return [peers.OURS, *(known if with_peers and not is_large else [])]


def reduced(classifier: str, draw: int, n_labelled: int):
    """Return a pipeline of PCA and a peer, both fitted to the labelled rows."""
    components = PCA(min(N_COMPONENTS, n_labelled), random_state=draw)
    return make_pipeline(components, peers.new_model(classifier, draw, {}))


def run_cell(cell: dict, names: list[str], args) -> list[dict]:
    """Fit the classifiers to one label draw; return a row for each."""
    common.one_thread()
    data, rows = partly_labelled(cell["data"], cell["labels"], cell["draw"], args), []
    for name in names:
        model, is_ours = peers.new_model(name, cell["draw"], args.params), name == peers.OURS
        if cell["data"] == "mnist" and not is_ours:
            model = reduced(name, cell["draw"], (data.y_train != -1).sum())
        rows.append(cell | {"classifier": name} | peers.evaluate(name, data, cell["draw"], args.params, model))
        if cell["data"] == "mnist" and is_ours:
            common.keep_model(model, args.models, cell["labels"], cell["draw"])
    return rows


def run(args) -> pd.DataFrame:
    """Run all fits that are missing from the results; return all rows."""
    results, tasks = common.Results(args.output, args.resume), []
    for name, draw in product(args.data, args.draws):
        for labels in args.labels or LABELS.get(name, OTHER_LABELS):
            cell = {"data": name, "labels": labels, "draw": draw}
            known = classifiers(name, labels, args.peers)
            lacking = [classifier for classifier in known if results.lacks({**cell, "classifier": classifier})]
            if lacking:
                tasks.append(delayed(run_cell)(cell, lacking, args))
    results.add_all(tasks, args.jobs)
    return results.frame()


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
    if "SVC" not in set(frame.classifier):
        return
    means = cells[["accuracy", "nll", "ece"]].mean().unstack()
    gain = means["nll", "SVC"] - means["nll", peers.OURS]
    ours = means["ece", peers.OURS]
    judged = pd.DataFrame({"ECE": ours, "SVC's": means["ece", "SVC"], "log loss below SVC's": gain}).dropna()
    wrong = judged[(judged["ECE"] > MAX_ERROR) | (judged["log loss below SVC's"] < 0)]
    common.show(
        f"Calibration error above {MAX_ERROR}, or log loss above the SVC's: {len(wrong)} of {len(judged)}", wrong
    )
    summary = judged.groupby(level="labels", sort=False).agg(["mean", "min", "max"])
    common.show("Calibration over the sets", summary)


def main() -> None:
    """Run the fits and print the table."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser)
    parser.add_argument("--data", default=["mnist"], nargs="+", metavar="SET", choices=SETS)
    parser.add_argument("--labels", nargs="+", help="numbers of labels, spread equally over the classes, or all")
    parser.add_argument(
        "--draws", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="seeds of label draws and estimators"
    )
    parser.add_argument("--jobs", type=int, default=1, help="number of processes, with one thread each")
    parser.add_argument("--no-run", action="store_true", help="only report the rows of --output")
    common.add_models_option(parser)
    parser.add_argument("--rows", type=int, default=60_000, help="number of training rows of MNIST")
    parser.add_argument("--test-rows", type=int, default=10_000, help="number of test rows of MNIST")
    args = common.parse(parser)
    if args.quick:
        args.labels = args.labels or LABELS.get(args.data[0], OTHER_LABELS)
        args.labels, args.draws, args.rows, args.test_rows = [args.labels[0], args.labels[-1]], [0, 1], 1000, 500
        args.params = {"max_iter": 2, **args.params}
    report(pd.read_csv(args.output, comment="#") if args.no_run else run(args))


if __name__ == "__main__":
    main()
