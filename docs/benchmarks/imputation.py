"""Imputers on tables with missing cells: errors of the missing cells, and accuracy of classifiers on the filled tables.

The sets are those of the panel. Cells of standardised columns are removed at random. Sets with more rows than `--rows`
or more columns than `--columns` are reduced to random ones, the same for all imputers. With `--downstream`, imputers
are fitted to half of the rows, and classifiers to these rows when filled; the accuracy is that on the other half, with
gaps too. There the imputer "none" passes the gaps on to the classifier that takes them.
"""

from __future__ import annotations

import warnings
from functools import cache
from itertools import product

import common
import numpy as np
import pandas as pd
import real_sets
from imputers import IMPUTERS, OURS
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

# Few rows of mnist_60k would be those of mnist_10k.
SETS = [name for name in real_sets.NAMES if name != "mnist_60k"]
MIN_CLASS = 4  # minimum number of rows of a class in the reduced sets; rows of other classes are left out
CELL = ["set", "share", "seed"]
NONE = "none"


@cache
def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all rows of a set, and their classes."""
    if name in real_sets.SETS:
        return real_sets.load(name)
    data = real_sets.split(name, 0)
    return data.X_train.astype(float), data.y_train


def table(name: str, args, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random rows and columns of a set, standardised, and the classes."""
    X, y = load(name)
    rng = np.random.RandomState(seed)
    kept = rng.permutation(len(X))[: args.rows]
    X, y = X[kept], y[kept]
    X = X[:, X.std(0) > 0]
    X = X[:, np.sort(rng.permutation(X.shape[1])[: args.columns])]
    return StandardScaler().fit_transform(X), y


def remove(X: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a copy with this share of the cells missing at random; each column keeps a cell."""
    gaps = np.random.RandomState(seed).uniform(size=X.shape) < share
    gaps[0, gaps.all(0)] = False
    return np.where(gaps, np.nan, X)


def errors(cell: dict, args) -> dict:
    """Fill a table, and compare missing cells with their true values."""
    X, _ = table(cell["set"], args, cell["seed"])
    gaps = remove(X, cell["share"], cell["seed"])
    imputer, clock = IMPUTERS[cell["imputer"]](cell["seed"], args.params), common.Clock()
    with clock.running():
        filled = imputer.fit_transform(gaps.copy())
    error = (filled - X)[np.isnan(gaps)]
    measures = {"mse": np.square(error).mean(), "rmse": np.sqrt(np.square(error).mean()), "mae": np.abs(error).mean()}
    return {**cell, "rows": len(X), "columns": X.shape[1], **measures, "cpu_s": clock.seconds}


def accuracies(cell: dict, args) -> dict:
    """Fit classifiers to half of a table, filled by an imputer that was fitted to this half."""
    seed, name = cell["seed"], cell["imputer"]
    X, y = table(cell["set"], args, seed)
    codes, counts = np.unique(y, return_counts=True)
    kept = np.isin(y, codes[counts >= MIN_CLASS])
    X, y = remove(X[kept], cell["share"], seed), y[kept]
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
    observed = np.isfinite(X_train).any(0)
    X_train, X_test = X_train[:, observed], X_test[:, observed]
    if name != NONE:
        imputer = IMPUTERS[name](seed, args.params)
        X_train, X_test = imputer.fit_transform(X_train), imputer.transform(X_test)
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "boosting": HistGradientBoostingClassifier(random_state=seed),
    }
    scores = dict.fromkeys(models, np.nan)
    for key in ["boosting"] if name == NONE else models:
        scores[key] = models[key].fit(X_train, y_train).score(X_test, y_test)
    return {**cell, "rows": len(X), "columns": X.shape[1], **scores}


def ranks(means: pd.DataFrame, ascending: bool) -> pd.DataFrame:
    """Return mean ranks of each share, over the tables that all imputers filled."""
    return means.dropna().rank(axis=1, ascending=ascending).groupby("share").mean()


def report(frame: pd.DataFrame, measures: list[str]) -> None:
    """Print means of all sets, ranks, and comparisons of VAEImputer with each of the others."""
    for measure in measures:
        is_error = measure not in ("logistic", "boosting")
        means = frame.pivot_table(measure, ["share", "set"], "imputer")
        common.show(f"{measure}, mean over seeds", means)
        common.show(f"{measure}: mean rank", ranks(means.drop(columns=NONE, errors="ignore"), is_error), 2)
        common.show(f"{measure}: mean over sets, of tables that all filled", means.dropna().groupby("share").mean())
        if OURS not in means:
            continue
        others = means.drop(columns=OURS)
        better = others.gt(means[OURS], axis=0) if is_error else others.lt(means[OURS], axis=0)
        common.show(f"{measure}: share of sets where {OURS} is better", better.groupby("share").mean(), 2)
        gain = others.sub(means[OURS], axis=0) * (1 if is_error else -1)
        common.show(f"{measure}: mean gain of {OURS}", gain.groupby("share").mean(), 4)
        common.show(f"{measure}: its standard error over sets", gain.groupby("share").sem(), 4)


def parse():
    """Return the options."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS, metavar="SET")
    parser.add_argument("--shares", nargs="+", type=float, default=[0.2, 0.5], help="of missing cells")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=500, help="largest number of rows of a table")
    parser.add_argument("--columns", type=int, default=20, help="largest number of columns of a table")
    parser.add_argument("--methods", nargs="+", default=None, choices=[*IMPUTERS, NONE], help="all by default")
    parser.add_argument("--downstream", action="store_true", help="accuracy of classifiers instead of errors")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.sets, args.shares, args.seeds, args.rows = ["wine"], [0.2], [0], 100
        args.methods, args.params = [OURS, "mean", "ridge"], {"max_iter": 2, **args.params}
    args.methods = args.methods or [*IMPUTERS, *([NONE] if args.downstream else [])]
    return args


def main() -> None:
    """Run all sets, shares and seeds, and print the tables."""
    args = parse()
    warnings.filterwarnings("ignore")
    common.one_thread()
    results = common.Results(args.output, args.resume)
    for cell in product(args.seeds, args.shares, args.sets, args.methods):
        values = dict(zip(["seed", "share", "set", "imputer"], cell, strict=True))
        values = {key: values[key] for key in [*CELL, "imputer"]}
        if results.lacks(values):
            results.add((accuracies if args.downstream else errors)(values, args))
    frame = results.frame()
    report(frame, ["logistic", "boosting"] if args.downstream else ["rmse", "mse", "mae"])
    if not args.downstream:
        common.show("CPU seconds, mean over tables", frame.groupby(["share", "imputer"])[["cpu_s"]].mean(), 2)


if __name__ == "__main__":
    main()
