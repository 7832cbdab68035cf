"""VAEClassifier and scikit-learn's classifiers on small sets, with all, 10% and 5% of the labels, and with 10 labels.

With all labels, SelfTraining equals its base classifier, the SVC, and is left out.
"""

from __future__ import annotations

import common
import pandas as pd
import peers
from joblib import delayed

SETS = ["breast_cancer", "wine", "iris", "moons", "circles", "overlap", "classification", "classification_wide"]
SETS += ["digits"]
# Number of rows -> share of the labels that are kept, at least one of each class.
SHARES = {"full": lambda n: 1.0, "10%": lambda n: 0.1, "5%": lambda n: 0.05, "10 labels": lambda n: 10 / n}
LABELS_ONLY = "labels only"  # VAEClassifier without the unlabelled rows
MAX_LOSS = 0.01  # largest acceptable loss of accuracy against MLPClassifier
MAX_HARM = 0.005  # largest acceptable loss of accuracy caused by unlabelled rows


def classifiers(setting: str, with_peers: bool) -> list[str]:
    """Return the classifiers of a setting, without those that equal another one if all rows are labelled."""
    partial = setting != "full"
    names = [name for name in peers.PEERS if partial or name != "SelfTraining"]
    return [peers.OURS, *([LABELS_ONLY] if partial else []), *(names if with_peers else [])]


def run_cell(cell: dict, params: dict) -> list[dict]:
    """Fit one classifier to one split; return a list of its row."""
    common.one_thread()
    data = common.split(cell["set"], cell["seed"])
    share = SHARES[cell["setting"]](len(data.y_train))
    if share < 1:
        data = data._replace(y_train=common.hide_labels(data.y_train, lambda n: share * n, cell["seed"]))
    return [cell | peers.evaluate(cell["classifier"], data, cell["seed"], params)]


def run(args, results: common.Results) -> pd.DataFrame:
    """Run all fits that are missing from the results; return all rows, sorted."""
    cells = [
        {"set": name, "setting": setting, "seed": seed, "classifier": classifier}
        for name in args.sets
        for setting in args.settings
        for seed in args.seeds
        for classifier in classifiers(setting, args.peers)
    ]
    results.add_all([delayed(run_cell)(cell, args.params) for cell in cells if results.lacks(cell)], args.jobs)
    values = [*SETS, *common.DATA_SETS, *SHARES, peers.OURS, LABELS_ONLY, *peers.PEERS]
    order = {value: i for i, value in enumerate(dict.fromkeys(values))}
    keys = ["set", "setting", "seed", "classifier"]
    return results.frame().sort_values(keys, key=lambda s: s.map(lambda value: order.get(value, value)))


def by_classifier(frame: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return means over seeds, with (setting, set) as rows and classifiers as columns."""
    table = frame.groupby(["setting", "set", "classifier"], sort=False)[measure].mean().unstack()
    return table[[name for name in [peers.OURS, LABELS_ONLY, *peers.PEERS] if name in table]]


def report_accuracy(frame: pd.DataFrame) -> None:
    """Print mean accuracies, and ranks by accuracy."""
    table = by_classifier(frame, "accuracy")
    for setting, part in table.groupby(level="setting", sort=False):
        common.show(f"Mean accuracy, {setting} labels", part.droplevel("setting").dropna(axis=1, how="all"))
    ranks = table.drop(columns=LABELS_ONLY, errors="ignore").rank(axis=1, ascending=False)
    means = ranks.groupby(level="setting", sort=False).mean()
    common.show(
        "Mean over the sets of the rank by mean accuracy (1 is best; to reach: ours among the first two)", means
    )
    common.show("Place of the mean rank", means.rank(axis=1), 1)


def report_difference(table: pd.DataFrame, title: str, limit: float) -> None:
    """Print differences by setting and set, their means, and those below -limit."""
    common.show(title, table.unstack("setting"), 4)
    settings = table.groupby(level="setting", sort=False)
    common.show(
        "Mean, and the worst set", settings.agg(["mean", "min"]).assign(set=settings.idxmin().map(lambda i: i[1])), 4
    )
    common.show(f"Sets more than {limit} below (to reach: none)", table[table < -limit].to_frame(), 4)


def report_calibration(frame: pd.DataFrame) -> None:
    """Print the means of all measures and of CPU seconds."""
    measures = ["accuracy", "balanced", "nll", "brier", "ece", "cpu_s"]
    means = frame.groupby(["setting", "classifier"], sort=False)[measures].mean()
    common.show("Means over the sets and seeds", means)


def report(frame: pd.DataFrame) -> None:
    """Print all tables for which there are results."""
    report_accuracy(frame)
    accuracy = by_classifier(frame, "accuracy")
    if "MLP" in accuracy:
        difference = (accuracy[peers.OURS] - accuracy["MLP"]).rename("difference")
        report_difference(difference, "Accuracy less MLPClassifier's", MAX_LOSS)
    for measure in ("accuracy", "balanced"):
        table = by_classifier(frame, measure)
        if LABELS_ONLY in table:
            gain = (table[peers.OURS] - table[LABELS_ONLY]).dropna().rename("gain")
            report_difference(gain, f"Gain by unlabelled rows, {measure}", MAX_HARM)
    report_calibration(frame)


def main() -> None:
    """Run the cells and print the tables."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=list(common.DATA_SETS), metavar="SET")
    parser.add_argument("--settings", nargs="+", default=list(SHARES), choices=list(SHARES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], help="seeds of splits and label draws")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes, with one thread each")
    args = common.parse(parser)
    if args.quick:
        args.sets = ["iris", "moons"] if args.sets == SETS else args.sets
        args.settings = ["full", "5%"] if args.settings == list(SHARES) else args.settings
        args.seeds, args.params = args.seeds[:1], {"max_iter": 5, **args.params}
    common.one_thread()
    report(run(args, common.Results(args.output, args.resume)))


if __name__ == "__main__":
    main()
