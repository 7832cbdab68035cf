"""Rows drawn from models of mixed tables: classifiers trained on them, and whether they look like real rows.

Each method draws as many rows as there are training rows. A gradient boosting classifier of the class is trained on
drawn rows and tested on real ones (macro F1); training rows are the ceiling. Another classifier tells drawn from test
rows (AUC, best is 0.5), by all columns and by categories only. `shapes` and `pairs` are the scores of sdmetrics'
quality report, column shapes and column pair trends, with test rows as real rows (best is 1). Methods whose packages
are not installed are left out.

With `--resume`, the rows of the CSV are kept and only missing ones are computed; with `--again`, those of `--sets`,
`--methods` and `--seeds` are computed again, and the others are kept.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec

import common
import mixed_sets
import numpy as np
import pandas as pd
import synthesizers
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import cross_val_predict, train_test_split

MAX_ROWS = 5000  # rows of each kind that the AUC and the quality report are computed on


def split(name: str, seed: int, n_rows: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training and test rows, stratified, at most `n_rows` of each."""
    data = mixed_sets.load(name)
    y = data[mixed_sets.SETS[name].target]
    parts = train_test_split(data, test_size=mixed_sets.TEST_SHARE, random_state=seed, stratify=y)
    training, test = (part[:n_rows].reset_index(drop=True) for part in parts)
    return training, test


def as_categories(X: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return columns with the categories of another frame's, as the classifier takes them."""
    words = mixed_sets.categories(like[X.columns])
    known = {name: sorted(like[name].dropna().unique()) for name in words}
    return X.assign(**{name: pd.Categorical(X[name].astype(object), categories=known[name]) for name in words})


def macro_f1(drawn: pd.DataFrame, test: pd.DataFrame, target: str, seed: int) -> float:
    """Return the macro F1 on test rows of a classifier trained on drawn rows."""
    everything = pd.concat([drawn, test])
    X, X_test = (as_categories(part.drop(columns=target), everything) for part in (drawn, test))
    y, y_test = (part[target].to_numpy(dtype=str) for part in (drawn, test))
    model = boosting(seed) if len(np.unique(y)) > 1 else DummyClassifier()
    return f1_score(y_test, model.fit(X, y).predict(X_test), average="macro")


def boosting(seed: int) -> HistGradientBoostingClassifier:
    """Return the classifier, which takes gaps and categories."""
    return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)


def detection(drawn: pd.DataFrame, test: pd.DataFrame, seed: int) -> float:
    """Return the AUC with which a classifier tells drawn rows from test rows, cross-validated."""
    n = min(len(drawn), len(test), MAX_ROWS)
    both = pd.concat([part.sample(n, random_state=seed) for part in (drawn, test)])
    order = np.random.RandomState(seed).permutation(2 * n)
    X, is_drawn = as_categories(both, both).iloc[order], np.repeat([1, 0], n)[order]
    p = cross_val_predict(boosting(seed), X, is_drawn, cv=3, method="predict_proba")[:, 1]
    return roc_auc_score(is_drawn, p)


def quality(drawn: pd.DataFrame, test: pd.DataFrame, seed: int) -> dict[str, float]:
    """Return the scores of sdmetrics' quality report, NaN if it is not installed."""
    if not find_spec("sdmetrics"):
        return {"shapes": np.nan, "pairs": np.nan}
    words = mixed_sets.categories(test)
    kinds = {name: {"sdtype": "categorical" if name in words else "numerical"} for name in test}
    report = import_module("sdmetrics.reports.single_table").QualityReport()
    parts = [part.sample(min(len(part), MAX_ROWS), random_state=seed) for part in (test, drawn)]
    parts = [part.astype(dict.fromkeys(words, object)) for part in parts]
    report.generate(*parts, {"columns": kinds}, verbose=False)
    scores = report.get_properties().set_index("Property")["Score"]
    return {"shapes": scores["Column Shapes"], "pairs": scores["Column Pair Trends"]}


def run(name: str, method: str, seed: int, args) -> dict:
    """Fit a method to a set, draw rows, and return their measures."""
    training, test = split(name, seed, args.rows)
    target = mixed_sets.SETS[name].target
    fitting, drawing = common.Clock(), common.Clock()
    with fitting.running():
        draw = synthesizers.METHODS[method](training, target, seed, args.params)
    with drawing.running():
        drawn = draw()
    words = mixed_sets.categories(test)
    return {
        "set": name,
        "method": method,
        "seed": seed,
        "rows": len(training),
        "macro_f1": macro_f1(drawn, test, target, seed),
        "auc": detection(drawn, test, seed),
        "auc_categories": detection(drawn[words], test[words], seed),
        **quality(drawn, test, seed),
        "fit_s": fitting.seconds,
        "sample_s": drawing.seconds,
    }


def report(frame: pd.DataFrame) -> None:
    """Print the means over seeds, of each set and of each measure, and the means over sets."""
    cells = frame.groupby(["set", "method"], sort=False).mean(numeric_only=True).drop(columns="seed")
    common.show("Means over seeds", cells)
    for measure in ("macro_f1", "auc", "auc_categories", "shapes", "pairs", "fit_s"):
        common.show(measure, cells[measure].unstack(sort=False))
    shared = cells["macro_f1"].unstack().dropna().index
    title = f"Means over the {len(shared)} sets that all these methods ran on"
    common.show(title, cells[cells.index.isin(shared, level="set")].groupby("method", sort=False).mean())


def add_sets_options(parser) -> None:
    """Add the options of sets, seeds and rows."""
    parser.add_argument("--sets", nargs="+", default=list(mixed_sets.SETS), choices=list(mixed_sets.SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, help="maximum number of training and of test rows")
    parser.add_argument(
        "--again", action="store_true", help="keep the rows of --output, but compute those of the options again"
    )


def start(parser) -> tuple:
    """Parse the command line and return it, with the results so far; sets that are not installed are left out."""
    args = common.parse(parser)
    if args.quick:
        args.rows, args.params = args.rows or 300, {"max_iter": 2, "hidden_layer_sizes": (16,), **args.params}
    warnings.filterwarnings("ignore")
    common.one_thread()
    args.sets = [name for name in args.sets if mixed_sets.installed(name)]
    results = common.Results(args.output, args.resume or args.again)
    if args.again:
        asked = {"set": args.sets, "method": args.methods, "seed": args.seeds}
        results.drop(lambda row: all(row[key] in values for key, values in asked.items()))
    return args, results


def main() -> None:
    """Run the methods on all sets, and print the tables."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--methods", nargs="+", default=list(synthesizers.METHODS), choices=list(synthesizers.METHODS))
    add_sets_options(parser)
    args, results = start(parser)
    for seed in args.seeds:
        for name in args.sets:
            for method in filter(synthesizers.installed, args.methods):
                if results.lacks({"set": name, "method": method, "seed": seed}):
                    results.add(run(name, method, seed, args))
    report(results.frame())


if __name__ == "__main__":
    main()
