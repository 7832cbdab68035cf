"""Sets where two-component latents have a lower accuracy than PCA: which information the latents keep and gain.

All measures are on held-out rows: the explained variance of reconstructions; the R^2 of nearest-neighbour regression
from latents to the first principal components; the mean accuracy of three classifiers; and the accuracy of a random
forest, which nonlinear latents do not impair.
"""

from __future__ import annotations

import common
import numpy as np
import pandas as pd
from joblib import delayed
from panel import accuracies
from real_sets import NAMES, split
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer

SETS = ["glass", "compactiv", "pima", "wankara", "mortgage", "communities", "vowel", "yeast"]
N_COMPONENTS = 2
N_NEIGHBORS = 10


def judge(model: PCA | VAETransformer, data: common.Split, scores: tuple[np.ndarray, np.ndarray], seed: int) -> dict:
    """Evaluate a fitted model's latents; `scores` are the training and test rows' principal components."""
    Z_train, Z_test = model.transform(data.X_train), model.transform(data.X_test)
    accuracy = accuracies(Z_train, Z_test, data.y_train, data.y_test, seed)["accuracy"]
    forest = RandomForestClassifier(100, min_samples_leaf=5, random_state=0).fit(Z_train, data.y_train)
    neighbors = make_pipeline(StandardScaler(), KNeighborsRegressor(N_NEIGHBORS)).fit(Z_train, scores[0])
    kept = r2_score(scores[1], neighbors.predict(Z_test), multioutput="raw_values")
    error = np.square(model.inverse_transform(Z_test) - data.X_test).sum()
    row = {"accuracy": accuracy, "forest": forest.score(Z_test, data.y_test)}
    row["explained"] = 1 - error / np.square(data.X_test - data.X_train.mean(0)).sum()
    return row | {f"r2_pc{i}": value for i, value in enumerate(kept, start=1)}


def run_split(cell: dict, params: dict) -> list[dict]:
    """Fit and evaluate PCA and VAETransformer on one split."""
    common.one_thread()
    seed = cell["split"]
    data = split(cell["set"], seed)
    pca = PCA(N_COMPONENTS, random_state=seed).fit(data.X_train)
    vae = VAETransformer(**{"n_components": N_COMPONENTS, "random_state": seed, **params})
    scores = pca.transform(data.X_train), pca.transform(data.X_test)
    models = {"PCA": pca, "VAETransformer": vae.fit(data.X_train)}
    return [{**cell, "method": name} | judge(model, data, scores, seed) for name, model in models.items()]


def main() -> None:
    """Run the splits and print the means."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=NAMES, metavar="SET")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="number of processes, with one thread each")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.sets, args.splits, args.params = ["glass"], 1, {"max_iter": 5, **args.params}
    results = common.Results(args.output, args.resume)
    cells = [{"set": name, "split": seed} for name in args.sets for seed in range(args.splits)]
    tasks = [delayed(run_split)(cell, args.params) for cell in cells if results.lacks(cell)]
    results.add_all(tasks, args.jobs)
    frame: pd.DataFrame = results.frame().drop(columns="split")
    common.show("Means over splits", frame.groupby(["set", "method"], sort=False).mean())


if __name__ == "__main__":
    main()
