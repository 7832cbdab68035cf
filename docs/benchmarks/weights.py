"""Integer weights against repeated rows: difference of the mean log-likelihood of test rows.

With every "auto", rows that are repeated count as more rows: weight decay and input noise become smaller. With fixed
values the two fits minimise the same expected loss, and the difference is that between two orders of the batches.
The last column is the difference between two seeds of the repeated rows.
"""

from __future__ import annotations

import math
import warnings

import common
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine, make_moons
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer

SETS = {
    "moons": lambda: make_moons(400, noise=0.1, random_state=0)[0],
    "wine": lambda: load_wine().data,
    "diabetes": lambda: load_diabetes().data,
    "breast_cancer": lambda: load_breast_cancer().data,
}
# Equal numbers of steps for weighted and for repeated rows.
N_STEPS, BATCH_SIZE = 400, 64
RECIPES = {"auto": {}, "fixed": {"alpha": 0.01, "input_noise": 0.1}}


def main() -> None:
    """Run all sets, recipes and seeds, and print means and standard errors."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, metavar="SET")
    parser.add_argument("--seeds", type=int, default=10)
    args = common.parse(parser)
    if args.quick:
        args.sets, args.seeds, args.params = ["wine"], 2, {"max_iter": 2, **args.params}
    common.one_thread()
    warnings.filterwarnings("ignore")
    rows = []
    for name in args.sets:
        for recipe, params in RECIPES.items():
            for seed in range(args.seeds):
                rng = np.random.RandomState(seed)
                X = StandardScaler().fit_transform(rng.permutation(SETS[name]()))
                train, test = np.split(X, [2 * len(X) // 3])
                weight = rng.randint(1, 4, len(train))

                def score(X, sample_weight=None, seed=seed, params=params, test=test):
                    max_iter = round(N_STEPS / math.ceil(len(X) / BATCH_SIZE))
                    settings = {"max_iter": max_iter, "early_stopping": False, "batch_size": BATCH_SIZE, **params}
                    vae = VAETransformer(2, random_state=seed, **{**settings, **args.params})
                    return vae.fit(X, sample_weight=sample_weight).score(test)

                repeated = np.repeat(train, weight, axis=0)
                base = score(repeated)
                weights, other_seed = score(train, weight) - base, score(repeated, seed=seed + 1000) - base
                rows.append(
                    {"set": name, "recipe": recipe, "seed": seed, "weights": weights, "another seed": other_seed}
                )
                print(*rows[-1].values(), flush=True)
    frame = pd.DataFrame(rows)
    table = frame.groupby(["set", "recipe"], sort=False)[["weights", "another seed"]].agg(["mean", "sem"])
    common.show("Nats per row, relative to repeated rows", table)
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
