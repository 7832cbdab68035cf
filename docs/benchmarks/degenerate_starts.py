"""Rows whose columns have about equal variances: share of the variance lost, and log-likelihood, on test rows.

Probabilistic PCA has no use for its components there. The defaults are compared with free bits, with a KL warm-up and
with PCA, at an equal number of components.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import common
import numpy as np
import pandas as pd
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_wine,
    make_blobs,
    make_circles,
    make_moons,
    make_s_curve,
    make_swiss_roll,
)
from sklearn.decomposition import PCA

from sklearn_vae import VAETransformer

N_WARMUP_STEPS = 600
Rows = Callable[[int, np.random.RandomState], np.ndarray]


def sphere(n: int, rng: np.random.RandomState) -> np.ndarray:
    """Return points near the unit sphere."""
    x = rng.normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True) + 0.05 * rng.normal(size=(n, 3))


def torus(n: int, rng: np.random.RandomState) -> np.ndarray:
    """Return points near a torus with radii 1 and 1."""
    a, b = rng.uniform(0, 2 * np.pi, (2, n))
    x = np.column_stack([(1 + np.cos(a)) * np.cos(b), (1 + np.cos(a)) * np.sin(b), np.sin(a)])
    return x + 0.05 * rng.normal(size=(n, 3))


def checkerboard(n: int, rng: np.random.RandomState) -> np.ndarray:
    """Return points on the black squares of a board of 4 x 4."""
    x = rng.uniform(0, 4, (8 * n, 2))
    return x[np.floor(x).sum(1) % 2 == 0][:n]


def whitened(load: Callable, n_components: int) -> Rows:
    """Return a function that draws rows of a whitened set."""

    def rows(n: int, rng: np.random.RandomState) -> np.ndarray:
        X = PCA(n_components, whiten=True, random_state=0).fit_transform(load().data)
        return X[rng.permutation(len(X))[:n]]

    return rows


# Rows and number of components of each set.
SETS: dict[str, tuple[Rows, int]] = {
    "swiss roll": (lambda n, rng: make_swiss_roll(n, noise=0.1, random_state=rng)[0], 2),
    "circles": (lambda n, rng: make_circles(n, noise=0.05, factor=0.5, random_state=rng)[0], 1),
    "moons": (lambda n, rng: make_moons(n, noise=0.05, random_state=rng)[0], 1),
    "S-curve": (lambda n, rng: make_s_curve(n, noise=0.05, random_state=rng)[0], 2),
    "sphere": (sphere, 2),
    "torus": (torus, 2),
    "blobs": (lambda n, rng: make_blobs(n, 5, centers=5, random_state=rng)[0], 2),
    "checkerboard": (checkerboard, 1),
    "whitened digits": (whitened(load_digits, 20), 8),
    "whitened wine": (whitened(load_wine, 10), 2),
    "whitened breast_cancer": (whitened(load_breast_cancer, 15), 4),
    "noise": (lambda n, rng: rng.normal(size=(n, 10)), 2),
    "simplex": (lambda n, rng: rng.dirichlet(np.ones(6), n), 2),
    "one-hot": (lambda n, rng: np.eye(8)[rng.randint(8, size=n)], 2),
}


def main() -> None:
    """Run all sets, seeds and models, and print the tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS, metavar="SET")
    parser.add_argument("--rows", type=int, default=1500, help="number of rows; a fifth of them are test rows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = common.parse(parser)
    if args.quick:
        args.sets, args.rows, args.seeds, args.params = ["circles"], 200, [0], {"max_iter": 2, **args.params}
    common.one_thread()
    warnings.filterwarnings("ignore")
    variants = {
        "default": {},
        "free bits": {"objective": "free_bits"},
        "warm-up": {"beta": lambda step: min(1.0, step / N_WARMUP_STEPS)},
    }
    rows = []
    for name in args.sets:
        draw, n_components = SETS[name]
        for seed in args.seeds:
            X = draw(args.rows, np.random.RandomState(seed))
            train, test = np.split(X, [round(0.8 * len(X))])
            models = {
                key: VAETransformer(n_components, random_state=seed, **params, **args.params)
                for key, params in variants.items()
            }
            for label, model in {"PCA": PCA(n_components), **models}.items():
                clock = common.Clock()
                with clock.running():
                    model.fit(train)
                residual = test - model.inverse_transform(model.transform(test))
                row = {
                    "set": name,
                    "seed": seed,
                    "model": label,
                    "lost": np.square(residual).sum() / np.square(test - train.mean(0)).sum(),
                    "score": model.score(test),
                    "fit_cpu_s": clock.seconds,
                }
                print(*row.values(), flush=True)
                rows.append(row)
    frame = pd.DataFrame(rows)
    for column in ("lost", "score", "fit_cpu_s"):
        table = frame.pivot_table(column, ["set", "seed"], "model", sort=False)
        common.show({"lost": "Share of the variance lost", "score": "Nats per row"}.get(column, "CPU s"), table)
    common.show("Means over seeds", frame.pivot_table(["lost", "score"], "set", "model", sort=False))
    scores = frame.pivot_table("score", ["set", "seed"], "model", sort=False)
    best = scores[list(variants)].max(axis=1)
    behind = scores["default"] < best - 0.02 * best.abs()
    common.show("Scores of the default more than 2% below the best of the variants", scores[behind])
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
