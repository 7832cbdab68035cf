"""Imputers on tables with missing cells: errors of the missing cells, and accuracy of classifiers on the filled tables.

Cells of standardised columns are removed at random. Sets with more rows than `--rows` are reduced to a random subset.
With `--downstream`, imputers are fitted to half of the rows, and classifiers to these rows when filled; the accuracy is
that on the other half, with gaps too. The peers are scikit-learn's imputers, missForest (its iterative imputer with
random forests or extremely randomised trees), and miceforest if it is installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec

import common
import numpy as np
import pandas as pd
import real_sets
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEImputer

OURS = "VAEImputer"
# Sets of series are left out: their neighbouring columns are nearly equal.
SETS = [name for name in real_sets.SETS if real_sets.SETS[name].path.split("/")[0] != "aeon"]
N_TREES = 20
MAX_FOREST_COLUMNS = 40  # missForest takes minutes on wider tables


def miceforest(seed: int, X: np.ndarray) -> np.ndarray:
    """Return the table filled by miceforest, with the mean of five imputations."""
    from miceforest import ImputationKernel

    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(X.shape[1])])
    kernel = ImputationKernel(frame, num_datasets=5, random_state=seed)
    kernel.mice(5)
    return np.mean([kernel.complete_data(i).to_numpy() for i in range(5)], axis=0)


def imputers(seed: int, n_columns: int, params: dict) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return functions that fill a table."""
    forests = {
        "missForest": IterativeImputer(
            RandomForestRegressor(N_TREES, random_state=seed), max_iter=5, random_state=seed
        ),
        "extra trees": IterativeImputer(ExtraTreesRegressor(N_TREES, random_state=seed), max_iter=5, random_state=seed),
    }
    made = {
        OURS: VAEImputer(random_state=seed, **params),
        "mean": SimpleImputer(),
        "kNN": KNNImputer(),
        "ridge": IterativeImputer(max_iter=20, random_state=seed),
    } | (forests if n_columns <= MAX_FOREST_COLUMNS else {})
    functions = {name: imputer.fit_transform for name, imputer in made.items()}
    if find_spec("miceforest") and n_columns <= MAX_FOREST_COLUMNS:
        functions["miceforest"] = lambda X: miceforest(seed, X)
    return functions


def table(name: str, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return standardised rows of a set, and their classes."""
    X, y = real_sets.load(name)
    kept = np.random.RandomState(seed).permutation(len(X))[:n_rows]
    X, y = X[kept], y[kept]
    X = X[:, X.std(0) > 0]
    return StandardScaler().fit_transform(X), y


def remove(X: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a copy with this share of the cells missing at random; each column keeps a cell."""
    gaps = np.random.RandomState(seed).uniform(size=X.shape) < share
    gaps[0, gaps.all(0)] = False
    return np.where(gaps, np.nan, X)


def errors(cell: dict, n_rows: int, methods: list[str] | None, params: dict) -> list[dict]:
    """Fill one table by all imputers."""
    X, _ = table(cell["set"], n_rows, cell["seed"])
    gaps = remove(X, cell["share"], cell["seed"])
    rows = []
    for name, fill in imputers(cell["seed"], X.shape[1], params).items():
        if methods is not None and name not in methods:
            continue
        clock = common.Clock()
        with clock.running():
            filled = fill(gaps.copy())
        error = (filled - X)[np.isnan(gaps)]
        measures = {"mse": np.square(error).mean(), "rmse": np.sqrt(np.square(error).mean())}
        rows.append({**cell, "imputer": name, **measures, "mae": np.abs(error).mean(), "cpu_s": clock.seconds})
    return rows


def accuracies(cell: dict, n_rows: int, methods: list[str] | None, params: dict) -> list[dict]:
    """Fit classifiers to half of one table, filled by each imputer."""
    X, y = table(cell["set"], n_rows, cell["seed"])
    codes, counts = np.unique(y, return_counts=True)
    kept = np.isin(y, codes[counts > 3])
    X, y = remove(X[kept], cell["share"], cell["seed"]), y[kept]
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=cell["seed"])
    seed, rows = cell["seed"], []
    made = {
        OURS: VAEImputer(random_state=seed, **params),
        "mean": SimpleImputer(),
        "kNN": KNNImputer(),
        "ridge": IterativeImputer(max_iter=20, random_state=seed),
    }
    for name, imputer in made.items():
        if methods is not None and name not in methods:
            continue
        filled = imputer.fit_transform(X_train), imputer.transform(X_test)
        logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(filled[0], y_train)
        boosting = HistGradientBoostingClassifier(random_state=seed).fit(filled[0], y_train)
        scores = {"logistic": logistic.score(filled[1], y_test), "boosting": boosting.score(filled[1], y_test)}
        rows.append({**cell, "imputer": name, **scores})
    return rows


def report(frame: pd.DataFrame, measures: list[str]) -> None:
    """Print means of all sets, ranks, and the sets where another imputer is better."""
    cells = ["share", "set"]
    for measure in measures:
        means = frame.pivot_table(measure, cells, "imputer")
        common.show(f"{measure}, mean over seeds", means)
        complete = means.dropna(axis=1)
        is_error = measure not in ("logistic", "boosting")
        ranks = means.rank(axis=1, ascending=is_error)
        common.show(f"{measure}: mean rank", ranks.groupby("share").mean(), 2)
        common.show(f"{measure}: mean over sets, of imputers that run on all", complete.groupby("share").mean())
        others = means.drop(columns=OURS)
        lost = means[OURS] > others.min(axis=1) if is_error else means[OURS] < others.max(axis=1)
        print(f"\n{measure}: {OURS} is best in {(~lost).sum()} of {len(lost)} tables")


def main() -> None:
    """Run all sets, shares and seeds, and print the tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.2, 0.5], help="of missing cells")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--rows", type=int, default=1000, help="largest number of rows of a table")
    parser.add_argument("--methods", nargs="+", default=None, help="names of imputers; all by default")
    parser.add_argument("--downstream", action="store_true", help="accuracy of classifiers instead of errors")
    args = common.parse(parser)
    if args.quick:
        args.sets, args.shares, args.seeds, args.rows = ["wine"], [0.2], [0], 100
        args.methods, args.params = [OURS, "mean", "ridge"], {"max_iter": 2, **args.params}
    warnings.filterwarnings("ignore")
    common.one_thread()
    rows = []
    for name in args.sets:
        for share in args.shares:
            for seed in args.seeds:
                cell = {"set": name, "share": share, "seed": seed}
                rows += (accuracies if args.downstream else errors)(cell, args.rows, args.methods, args.params)
                print(pd.DataFrame(rows[-1:]).to_string(index=False, header=False), flush=True)
    frame = pd.DataFrame(rows)
    report(frame, ["logistic", "boosting"] if args.downstream else ["mse", "rmse", "mae"])
    if not args.downstream:
        common.show("CPU seconds, mean over tables", frame.groupby(["share", "imputer"])[["cpu_s"]].mean(), 2)
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
