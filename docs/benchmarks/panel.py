"""Figures 1 and 2: latents for classifiers, and held-out log-likelihood, against PCA at equal n_components.

A cell is a data set, n_components and a split; each is fitted once.
"""

from __future__ import annotations

import sys

import common
import numpy as np
import pandas as pd
from joblib import Parallel, delayed, parallel_config
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_vae import VAETransformer

SETS = ["digits", "mnist", "wine", "breast_cancer", "iris"]
SETS += ["swiss_roll", "s_curve", "tanh", "blobs", "classification", "patches"]
COMPONENTS = [2, 4, 8, 16, 32]
CLASSIFIERS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
    "knn": KNeighborsClassifier(5),
    "svc": SVC(),
}
MAX_LOSS = 0.01  # of accuracy
MAX_NATS = 0.1


def accuracies(name: str, Z_train, Z_test, y_train, y_test) -> dict[str, float]:
    """Return the classifiers' test accuracies on latents, and their mean."""
    scores = {key: clone(model).fit(Z_train, y_train).score(Z_test, y_test) for key, model in CLASSIFIERS.items()}
    return {f"{name}_{key}": score for key, score in scores.items()} | {name: float(np.mean(list(scores.values())))}


def run_cell(name: str, n_components: int, seed: int, params: dict, downstream: bool) -> dict | None:
    """Fit PCA and the VAE to one split; None where PCA would keep everything."""
    data = common.split(name, seed)
    if n_components >= data.X_train.shape[1]:
        return None
    pca_clock, vae_clock = common.Clock(), common.Clock()
    pca = PCA(n_components, random_state=seed)
    vae = VAETransformer(**{"n_components": n_components, "whiten": False, "random_state": seed, **params})
    with pca_clock.running():
        pca.fit(data.X_train)
    with vae_clock.running():
        vae.fit(data.X_train)
    row = {"set": name, "n_components": n_components, "split": seed}
    row |= {"n_rows": len(data.X_train), "n_features": data.X_train.shape[1]}
    row |= {"pca_seconds": pca_clock.seconds, "vae_seconds": vae_clock.seconds}
    row |= {"n_iter": vae.n_iter_, "n_steps": vae.n_steps_}
    row |= {"pca_score": pca.score(data.X_test), "vae_score": vae.score(data.X_test)}
    if downstream:
        Z_train, Z_test = vae.transform(data.X_train), vae.transform(data.X_test)
        scale = getattr(vae, "latent_scale_", 1.0)
        labels = data.y_train, data.y_test
        row |= accuracies("pca", pca.transform(data.X_train), pca.transform(data.X_test), *labels)
        row |= accuracies("vae", Z_train, Z_test, *labels)
        # The same fit with whiten=True.
        row |= accuracies("white", Z_train / scale, Z_test / scale, *labels)
    return row


def run(args) -> pd.DataFrame:
    """Run all cells, and report each as it ends."""
    cells = [(name, k, seed) for name in args.sets for k in args.components for seed in range(args.splits)]
    rows = []
    with parallel_config("loky", inner_max_num_threads=1):
        tasks = (delayed(run_cell)(*cell, args.params, not args.no_downstream) for cell in cells)
        for row in Parallel(args.jobs, return_as="generator_unordered")(tasks):
            if row is not None:
                rows.append(row)
                gain = f"{row['vae'] - row['pca']:+.3f}" if "vae" in row else ""
                nats = row["vae_score"] - row["pca_score"]
                cell = f"{row['set']:<14} {row['n_components']:2d} split {row['split']}"
                print(f"{cell}  {row['vae_seconds']:6.1f} CPU s  {gain}  {nats:+9.3f} nats", file=sys.stderr)
    order = {name: i for i, name in enumerate(args.sets)}
    return pd.DataFrame(rows).sort_values(["set", "n_components", "split"], key=lambda s: s.replace(order))


def report_downstream(frame: pd.DataFrame) -> None:
    """Print figure 1."""
    frame = frame.assign(gain=frame.vae - frame.pca, white_gain=frame.white - frame.pca)
    for key in CLASSIFIERS:
        frame[f"gain_{key}"] = frame[f"vae_{key}"] - frame[f"pca_{key}"]
    cells = frame.groupby(["set", "n_components"], sort=False)
    columns = ["pca", "vae", "gain", *(f"gain_{key}" for key in CLASSIFIERS), "white", "white_gain"]
    table = cells[columns].mean()
    table.insert(3, "spread", cells["gain"].std())
    common.show("Figure 1: mean accuracy of three classifiers (spread: standard deviation of the gain)", table)

    few = table.index.get_level_values("n_components") <= 4
    means = {"n_components <= 4": table[few], "n_components >= 8": table[~few]}
    summary = {key: part[["gain", "white_gain"]].mean() for key, part in means.items() if len(part)}
    wins = {key: (part["gain"] > 0).mean() for key, part in means.items() if len(part)}
    common.show("Means over sets and n_components", pd.DataFrame(summary).T.assign(share_won=pd.Series(wins)), 4)
    sets = table.groupby("set", sort=False)
    by_set = pd.DataFrame({key: part.groupby("set", sort=False)["gain"].mean() for key, part in means.items()})
    by_set["all"] = sets["gain"].mean()
    common.show("Gain per set", by_set, 4)
    common.show(
        f"Sets more than {MAX_LOSS} below PCA at n_components >= 8 (to reach: none)",
        by_set[by_set["n_components >= 8"] < -MAX_LOSS],
        4,
    )
    common.show(f"Cells more than {MAX_LOSS} below PCA", table[table["gain"] < -MAX_LOSS])


def report_likelihood(frame: pd.DataFrame) -> None:
    """Print figure 2."""
    frame = frame.assign(gain=frame.vae_score - frame.pca_score)
    cells = frame.groupby(["set", "n_components"], sort=False)
    table = cells[["pca_score", "vae_score", "gain"]].mean()
    table["worst_gain"] = cells["gain"].min()
    table[["seconds", "n_iter", "n_steps"]] = cells[["vae_seconds", "n_iter", "n_steps"]].mean()
    common.show("Figure 2: held-out log-likelihood, nats per row", table)
    summary = {
        "cells": [len(table), len(frame)],
        f"share worse by > {MAX_NATS}": [(table["gain"] < -MAX_NATS).mean(), (frame["gain"] < -MAX_NATS).mean()],
        "mean gain": [table["gain"].mean(), frame["gain"].mean()],
        "median gain": [table["gain"].median(), frame["gain"].median()],
        "worst gain": [table["gain"].min(), frame["gain"].min()],
    }
    common.show("Summary", pd.DataFrame(summary, index=["means over splits", "every split"]), 4)
    losing = frame.loc[frame["gain"] < -MAX_NATS, ["set", "n_components", "split", "pca_score", "vae_score", "gain"]]
    common.show(f"Every split worse by more than {MAX_NATS} nat", losing.sort_values("gain"))


def main() -> None:
    """Run the cells and print both figures."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=["mnist", *common.DATA_SETS], metavar="SET")
    parser.add_argument("--components", nargs="+", type=int, default=COMPONENTS)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--no-downstream", action="store_true", help="figure 2 alone")
    args = common.parse(parser)
    if args.quick:
        args.sets = ["iris", "swiss_roll", "classification"] if args.sets == SETS else args.sets
        args.components, args.splits, args.params = [2, 8], 2, {"max_iter": 5, **args.params}
    common.one_thread()
    frame = run(args)
    if not args.no_downstream:
        report_downstream(frame)
    report_likelihood(frame)
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
