"""Maps of two and four components: objective="neighbors" beside the default objective, PCA, UMAP and t-SNE.

Each method is fitted to the training rows of a set of `real_sets.py` with over 1000 rows, or of `common.py`, and
transforms the test rows, except t-SNE, which has no transform. Its measures are those of a map of training rows.

- `nn1`, `nn5`: accuracy of 1 and 5 neighbours, by the components of new rows among those of training rows.
- `accuracy`: mean test accuracy of logistic regression, 5 neighbours and an SVC, as in `panel.py`.
- `trust`: trustworthiness (Venna and Kaski 2001) of new rows, with 15 neighbours.
- `bound`, `kl`, `score`: -ELBO with one draw, its KL and the estimate of log p(x) of new rows, in nats.
- `fit_cpu_s`, `new_cpu_s`: CPU seconds of the fit, and of 10,000 new rows; test rows are repeated if there are fewer.
- `confirmed`: share of 2000 drawn rows (means of p(x|z)) to which a random forest of training rows gives the class of
  their nearest training row.
"""

from __future__ import annotations

import warnings
from functools import cache
from itertools import product

import common
import methods
import numpy as np
import pandas as pd
import real_sets
import torch
from joblib import delayed
from panel import accuracies, split
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.manifold import TSNE, trustworthiness
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from sklearn_vae import VAETransformer
from sklearn_vae.objectives import ELBO, Batch

N_NEIGHBORS = 15
N_NEW = 10_000  # number of new rows whose transform is timed
N_DRAWN = 2000
MIN_ROWS = 1000
OURS, VAMP, DEFAULT = "neighbors", "neighbors, prior='vamp'", "VAETransformer"
CELL = ["set", "n_components", "seed"]
MEASURES = ["new_cpu_s", "trust", "nn1", "nn5", "accuracy", "bound", "kl", "score", "confirmed"]
METHODS = {
    OURS: lambda k, seed, params: VAETransformer(k, **{"objective": "neighbors", "random_state": seed, **params}),
    VAMP: lambda k, seed, params: METHODS[OURS](k, seed, {"prior": "vamp", **params}),
    DEFAULT: lambda k, seed, params: VAETransformer(k, **{"random_state": seed, **params}),
    "PCA": lambda k, seed, params: PCA(k, random_state=seed),
    "UMAP": lambda k, seed, params: methods.umap(k, seed),
    "t-SNE": lambda k, seed, params: TSNE(k, random_state=seed, n_jobs=1),
}
TRANSDUCTIVE = "t-SNE"  # no transform of new rows
MAX_ROWS = {TRANSDUCTIVE: 10_000}  # maximum number of training rows


@torch.no_grad()
def bound(vae: VAETransformer, X: np.ndarray) -> dict[str, float]:
    """Return the means of -ELBO and its KL over rows, in nats."""
    model, generator = vae.module_.eval(), torch.Generator().manual_seed(0)
    parts = [ELBO()(model, Batch(model.observe_rows(x)), 1.0, generator) for x in torch.from_numpy(X).split(1024)]
    loss, kl = (torch.cat(values) for values in zip(*((p.loss, p.kl) for p in parts), strict=True))
    return {"bound": float(loss.mean()), "kl": float(kl.mean())}


def confirmed(vae: VAETransformer, data: common.Split, seed: int) -> float:
    """Return the share of drawn rows to which a forest gives the class of their nearest training row."""
    forest = RandomForestClassifier(random_state=seed).fit(data.X_train, data.y_train)
    drawn = vae.sample(N_DRAWN, random_state=seed, noise=False)
    nearest = KNeighborsClassifier(1).fit(data.X_train, data.y_train)
    return float(np.mean(forest.predict(drawn) == nearest.predict(drawn)))


def of_new_rows(method, data: common.Split, Z_train: np.ndarray, seed: int) -> dict[str, float]:
    """Return the measures of new rows."""
    clock, new = common.Clock(), np.resize(data.X_test, (N_NEW, data.X_test.shape[1]))
    with clock.running():
        method.transform(new)
    Z_test = method.transform(data.X_test)
    row = {"new_cpu_s": clock.seconds, "trust": trustworthiness(data.X_test, Z_test, n_neighbors=N_NEIGHBORS)}
    for k in (1, 5):
        row[f"nn{k}"] = KNeighborsClassifier(k).fit(Z_train, data.y_train).score(Z_test, data.y_test)
    row["accuracy"] = accuracies(Z_train, Z_test, data.y_train, data.y_test, seed)["accuracy"]
    if isinstance(method, VAETransformer):
        row |= bound(method, data.X_test) | {"score": method.score(data.X_test)}
        row["confirmed"] = confirmed(method, data, seed)
    return row


def of_training_rows(method, data: common.Split, Z_train: np.ndarray, seed: int) -> dict[str, float]:
    """Return the measures of training rows, by neighbours among the others."""
    row = {"trust": trustworthiness(data.X_train, Z_train, n_neighbors=N_NEIGHBORS)}
    for k in (1, 5):
        row[f"nn{k}"] = float(cross_val_score(KNeighborsClassifier(k), Z_train, data.y_train, cv=10).mean())
    return row


@cache
def warm_up(name: str) -> None:
    """Fit a method to a few rows, so that first-use imports and compilation are not timed."""
    rows = np.random.RandomState(0).normal(size=(200, 10))
    METHODS[name](2, 0, {"max_iter": 1}).fit_transform(rows)


def run_cell(cell: dict, names: list[str], params: dict) -> list[dict]:
    """Run the methods on one split; return a row for each."""
    warnings.filterwarnings("ignore")
    common.one_thread()
    data, rows = split(cell["set"], cell["seed"]), []
    for name in names:
        if len(data.X_train) > MAX_ROWS.get(name, np.inf) or (name == TRANSDUCTIVE and cell["n_components"] > 2):
            continue
        warm_up(name)
        method, clock = METHODS[name](cell["n_components"], cell["seed"], params), common.Clock()
        with clock.running():
            Z_train = method.fit_transform(data.X_train)
        row = {**cell, "method": name, "n_rows": len(data.X_train), "fit_cpu_s": clock.seconds}
        row |= dict.fromkeys(MEASURES, np.nan)
        measured = of_new_rows if hasattr(method, "transform") else of_training_rows
        rows.append(row | measured(method, data, Z_train, cell["seed"]))
    return rows


def run(args) -> pd.DataFrame:
    """Run the missing cells."""
    results, tasks = common.Results(args.output, args.resume), []
    shapes = {name: split(name, 0).X_train.shape for name in args.sets}
    for seed, name, k in product(args.seeds, sorted(args.sets, key=shapes.__getitem__), args.components):
        cell = dict(zip(CELL, (name, k, seed), strict=True))
        lacking = [method for method in args.methods if results.lacks({**cell, "method": method})]
        if lacking and k < min(shapes[name]) and shapes[name][0] > args.min_rows:
            tasks.append(delayed(run_cell)(cell, lacking, args.params))
    results.add_all(tasks, args.jobs)
    return results.frame()


def report(frame: pd.DataFrame) -> None:
    """Print means over seeds, ranks over the sets that all methods completed, and gains over PCA."""
    means = frame.groupby(["n_components", "set", "method"], sort=False)[["fit_cpu_s", *MEASURES]].mean()
    common.show("Means over seeds", means)
    for measure in ("nn1", "nn5", "accuracy", "trust"):
        table = means[measure].unstack().drop(columns=TRANSDUCTIVE, errors="ignore").dropna()
        summary = table.rank(axis=1, ascending=False).mean().to_frame("rank")
        summary["mean"] = table.mean()
        for name in table.columns.drop("PCA", errors="ignore") if "PCA" in table else []:
            gain = (table[name] - table["PCA"]).groupby(level="set").mean()
            summary.loc[name, ["gain", "low", "high"]] = common.mean_interval(gain)
        title = f"{measure}: mean rank and mean over {len(table)} cells, gain over PCA"
        common.show(title, summary.sort_values("rank"))
    ratio = means["new_cpu_s"].unstack()
    if {OURS, "UMAP"} <= set(ratio):
        ratio = ratio["UMAP"] / ratio[OURS]
        common.show("CPU seconds of new rows: UMAP's over ours", ratio.describe().to_frame("ratio"))


def main() -> None:
    """Run the cells and print the tables."""
    parser = common.make_parser(__doc__)
    names = [*real_sets.NAMES, *common.DATA_SETS]
    parser.add_argument("--sets", nargs="+", default=[*real_sets.NAMES, "digits"], metavar="SET", choices=names)
    parser.add_argument("--methods", nargs="+", default=[m for m in METHODS if m != VAMP], choices=METHODS)
    parser.add_argument("--components", nargs="+", type=int, default=[2, 4])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--min-rows", type=int, default=MIN_ROWS, help="sets have more training rows than this")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes, with one thread each")
    parser.add_argument("--no-run", action="store_true", help="only report the rows of --output")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.sets, args.methods, args.components, args.seeds = ["digits"], [OURS, DEFAULT, "PCA"], [2], [0]
        args.params = {"max_iter": 5, **args.params}
    frame = pd.read_csv(args.output, comment="#") if args.no_run else run(args)
    report(frame[frame.method.isin(args.methods)])


if __name__ == "__main__":
    main()
