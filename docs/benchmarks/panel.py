"""Comparison on many sets: classifiers on latents, and held-out log-likelihood, for methods at equal n_components.

A row of the results is a set, n_components, a split and a method. The default is all real sets of `real_sets.py`;
`--sets` also accepts those of `common.py`. Splits run one after another, and small sets first, so that an interrupted
run has complete splits. `--no-run` only reports the rows of --output for `--methods`.
"""

from __future__ import annotations

import warnings
from itertools import product

import common
import numpy as np
import pandas as pd
import real_sets
from joblib import delayed
from methods import HAVE_SCORE, MAX_ROWS, METHODS, load
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

COMPONENTS = [2, 4, 8, 16, 32]
CLASSIFIERS: dict[str, BaseEstimator] = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    "knn": KNeighborsClassifier(5),
    "svc": SVC(),
}
MAX_LOSS = 0.01  # loss of mean accuracy above which a cell is listed
MAX_NATS = 0.1  # loss of log-likelihood, in nats per row, above which a split is listed
OURS, WHITENED = "VAETransformer", "VAETransformer, whiten"
QUICK_SETS = ["wine", "glass"]
MAX_LABELLED = 10_000  # maximum number of training rows of the classifiers; a random subset of more rows
CELL = ["set", "n_components", "split"]
RANGES = {"2-4": [2, 4], "8-32": [8, 16, 32]}


def accuracies(Z_train, Z_test, y_train, y_test, seed: int) -> dict[str, float]:
    """Return the classifiers' test accuracies on latents, and their mean."""
    if len(Z_train) > MAX_LABELLED:
        chosen = np.random.RandomState(seed).choice(len(Z_train), MAX_LABELLED, replace=False)
        Z_train, y_train = Z_train[chosen], y_train[chosen]
    scores = {key: clone(model).fit(Z_train, y_train).score(Z_test, y_test) for key, model in CLASSIFIERS.items()}
    return scores | {"accuracy": float(np.mean(list(scores.values())))}


def run_method(method: str, n_components: int, seed: int, data: common.Split, params: dict) -> dict:
    """Fit and evaluate a method. All figures are NaN if a peer fails."""
    row = dict.fromkeys([*CLASSIFIERS, "accuracy", "score", "fit_cpu_s"], np.nan)
    clock = common.Clock()
    try:
        model = METHODS[method](n_components, seed, **(params if method in (OURS, WHITENED) else {}))
        with clock.running():
            model.fit(data.X_train)
        row["fit_cpu_s"] = clock.seconds
        latents = model.transform(data.X_train), model.transform(data.X_test)
        row |= accuracies(*latents, data.y_train, data.y_test, seed)
        if method in HAVE_SCORE:
            row["score"] = model.score(data.X_test)
    except Exception as error:
        # A failing peer gets NaN; a failure of this package is an error.
        if method in (OURS, WHITENED):
            raise
        print(f"{method} failed: {error}")
    return row


def split(name: str, seed: int) -> common.Split:
    """Return a split of a set from `real_sets` or `common`."""
    return (real_sets if name in real_sets.NAMES else common).split(name, seed)


def run_cell(cell: dict, methods: list[str], params: dict) -> list[dict]:
    """Run the methods on a split; return a row for each method that can handle its number of rows."""
    warnings.filterwarnings("ignore")  # such as convergence warnings of peers
    common.one_thread()
    for method in methods:
        load(method)
    n_components, seed = cell["n_components"], cell["split"]
    data = split(cell["set"], seed)
    n_train, n_features = data.X_train.shape
    return [
        {**cell, "method": method, "n_rows": n_train, "n_features": n_features}
        | run_method(method, n_components, seed, data, params)
        for method in methods
        if n_train <= MAX_ROWS.get(method, n_train)
    ]


def run(args) -> pd.DataFrame:
    """Run all cells that are missing from the results."""
    results = common.Results(args.output, args.resume)
    shapes = {name: split(name, 0).X_train.shape for name in args.sets}
    tasks = []
    for seed, name, k in product(range(args.splits), sorted(args.sets, key=shapes.__getitem__), args.components):
        cell = dict(zip(CELL, (name, k, seed), strict=True))
        methods = [method for method in args.methods if results.lacks({**cell, "method": method})]
        if methods and k < min(shapes[name]):
            tasks.append(delayed(run_cell)(cell, methods, args.params))
    results.add_all(tasks, args.jobs)
    return results.frame()


def by_set(gain: pd.Series) -> pd.DataFrame:
    """Return means over splits, (set, n_components), and their means over ranges of n_components."""
    table = gain.groupby(["set", "n_components"], sort=False).mean().unstack()
    for name, components in RANGES.items():
        table[name] = table[[k for k in components if k in table]].mean(axis=1)
    return table


def report_gain(accuracy: pd.DataFrame) -> None:
    """Print the differences in accuracy between `VAETransformer` and PCA."""
    gain = accuracy[OURS] - accuracy["PCA"]
    table = by_set(gain)
    common.show("Accuracy less PCA's, means over splits", table)
    rows = {}
    for key in RANGES:
        untuned = table.loc[table.index.isin(set(real_sets.NAMES) - set(real_sets.TUNED)), key]
        for name, part in {"all sets": table[key], "sets the recipe was not tuned on": untuned}.items():
            ends = [part.min(), part.idxmin(), (part > 0).sum(), part.count()] if part.count() else [np.nan] * 4
            rows[key, name] = [*common.mean_interval(part), *ends]
    columns = ["gain", "low", "high", "worst", "worst set", "sets won", "sets"]
    common.show("Means over sets, with a 95% interval from resampling sets", pd.DataFrame(rows, columns).T)
    cells = pd.DataFrame({"gain": gain.groupby(level=CELL[:2]).mean(), "spread": gain.groupby(level=CELL[:2]).std()})
    common.show(f"Cells more than {MAX_LOSS} below PCA", cells[cells.gain < -MAX_LOSS].sort_values("gain"))


def report_ranks(accuracy: pd.DataFrame) -> None:
    """Print mean ranks over the cells that all methods completed, and pairwise differences in accuracy."""
    # The whitened latents differ only in scale. Ranked too, they would worsen the ranks of other methods.
    ranked = accuracy.drop(columns=WHITENED, errors="ignore")
    shared = ranked.dropna(axis=1, how="all").dropna().groupby(level=CELL[:2]).mean()
    table = shared.rank(axis=1, ascending=False).mean().to_frame("rank")
    table["accuracy"] = shared.mean()
    table["first"] = (shared.eq(shared.max(axis=1), axis=0)).mean()
    n_sets = shared.index.get_level_values("set").nunique()
    title = f"Ranks by mean accuracy over splits, in the {len(shared)} cells of {n_sets} sets that all have"
    common.show(title, table.sort_values("rank"))
    rows = {}
    for method in accuracy.columns.drop(OURS):
        gains = by_set((accuracy[OURS] - accuracy[method]).dropna())
        parts = [gains[key].dropna() for key in RANGES]
        rows[method] = [v for part in parts for v in (*common.mean_interval(part), (part < 0).mean(), len(part))]
    columns = pd.MultiIndex.from_product([RANGES, ["gain", "low", "high", "sets lost", "sets"]])
    common.show(f"{OURS}'s accuracy less each one's, means over sets", pd.DataFrame(rows, columns).T)


def report_classifiers(frame: pd.DataFrame) -> None:
    """Print, for each classifier, the differences in accuracy between `VAETransformer` and each method."""
    rows = {}
    for name in CLASSIFIERS:
        accuracy = frame.pivot(index=CELL, columns="method", values=name)
        for method in accuracy.columns.drop(OURS):
            rows[name, method] = by_set((accuracy[OURS] - accuracy[method]).dropna())[[*RANGES]].mean()
    common.show(f"{OURS}'s accuracy less each one's, per classifier, means over sets", pd.DataFrame(rows).T)


def report_score(score: pd.DataFrame) -> None:
    """Print comparisons of held-out log-likelihood. Two values of -inf are a draw and enter no mean."""
    rows, losing = {}, []
    for other in score.columns.intersection(["PCA", "FactorAnalysis"]):
        ours, theirs = (score[[OURS, other]].dropna()[name] for name in (OURS, other))
        with np.errstate(invalid="ignore"):
            gain = ours - theirs
        finite = gain[np.isfinite(gain)]
        cells = finite.groupby(level=CELL[:2]).mean()
        close = ours >= theirs - MAX_NATS
        rows[other] = [len(gain), (ours >= theirs).mean(), close.mean(), finite.mean(), finite.median(), finite.min()]
        rows[other] += [len(cells), (cells >= 0).mean(), (cells >= -MAX_NATS).mean()]
        losing.append(pd.DataFrame({"against": other, "gain": gain, "ours": ours, "theirs": theirs})[~close])
        common.show(f"Held-out log-likelihood less that of {other}, nats per row, means over splits", by_set(finite))
    columns = ["splits", "no worse", f"by {MAX_NATS} at most", "mean", "median", "worst"]
    columns += ["cells", "cells no worse", f"cells by {MAX_NATS} at most"]
    common.show("Held-out log-likelihood, shares and differences in nats", pd.DataFrame(rows, columns).T)
    common.show(f"Every split worse by more than {MAX_NATS} nat", pd.concat(losing).sort_values("gain"))


def report(frame: pd.DataFrame) -> None:
    """Print all tables."""
    frame = frame.assign(score=frame["score"].astype(float))
    methods = [method for method in METHODS if method in set(frame.method)]
    accuracy = frame.pivot(index=CELL, columns="method", values="accuracy")[methods]
    score = frame.pivot(index=CELL, columns="method", values="score")[methods]
    seconds = frame.pivot(index=CELL, columns="method", values="fit_cpu_s")[methods]
    seconds = seconds.drop(columns=WHITENED, errors="ignore").dropna()
    common.show("CPU seconds of fits that all made", seconds.agg(["count", "mean", "median", "max"]).T)
    common.show("Fits that failed", frame.loc[frame.accuracy.isna(), [*CELL, "method"]])
    if OURS in methods and "PCA" in methods:
        report_gain(accuracy)
        report_score(score)
    if OURS in methods:
        report_ranks(accuracy)
        report_classifiers(frame)


def main() -> None:
    """Run the cells and print the tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument(
        "--sets", nargs="+", default=real_sets.NAMES, metavar="SET", choices=[*real_sets.NAMES, *common.DATA_SETS]
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS, metavar="METHOD")
    parser.add_argument("--components", nargs="+", type=int, default=COMPONENTS)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="number of processes, with one thread each")
    parser.add_argument("--no-run", action="store_true", help="only report the rows of --output for --methods")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.sets = QUICK_SETS if args.sets == real_sets.NAMES else args.sets
        args.components, args.splits, args.params = [2, 8], 1, {"max_iter": 5, **args.params}
    frame = pd.read_csv(args.output, comment="#") if args.no_run else run(args)
    report(frame[frame.method.isin(args.methods)])


if __name__ == "__main__":
    main()
