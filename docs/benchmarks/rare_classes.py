"""Classifiers on tables in which one class is rare: average precision, log loss and balanced accuracy on test rows.

Tables are `make_classification` with 20 standardised columns, of which 8 carry information, and digits with 50 of the
eights. Variants have three classes, columns of other scales, or 30% of the labels. `VAEClassifier` is compared with a
network of the same size and with logistic regression, which are fitted to the labelled rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import common
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEClassifier

N_TEST = 4000
# Minimum number of training rows of the rare class.
MIN_RARE = 5
# Share of the rare class in the variants, and share of labelled rows in one of them.
VARIANT_SHARE, FEW = 0.05, 0.3


def tables(shares: list[float], sizes: list[int], seed: int) -> Iterator[tuple[str, common.Split]]:
    """Yield the name and the rows of each table; the last class is the rare one."""
    for share in shares:
        for n_rows in sizes:
            if share * n_rows < MIN_RARE:
                continue
            X, y = make_classification(
                n_rows + N_TEST, 20, n_informative=8, weights=[1 - share], flip_y=0, random_state=seed
            )
            data = standardised(X, y, n_rows, seed)
            yield f"{share:g} of {n_rows}", data
            if share != VARIANT_SHARE:
                continue
            few = common.hide_labels(data.y_train, lambda n: FEW * n, seed)
            yield f"{share:g} of {n_rows}, few labels", data._replace(y_train=few)
            scale = 10 ** np.random.RandomState(seed).uniform(-1, 1, X.shape[1])
            yield (
                f"{share:g} of {n_rows}, scales",
                data._replace(X_train=data.X_train * scale, X_test=data.X_test * scale),
            )
            X, y = make_classification(
                n_rows + N_TEST,
                20,
                n_informative=8,
                n_classes=3,
                weights=[0.6, 0.4 - share],
                flip_y=0,
                random_state=seed,
            )
            yield f"{share:g} of {n_rows}, three classes", standardised(X, y, n_rows, seed)
    X, y = load_digits(return_X_y=True)
    eights = np.random.RandomState(seed).permutation(np.flatnonzero(y == 8))[:50]
    kept = np.union1d(np.flatnonzero(y != 8), eights)
    yield "digits, 8 or not", standardised(X[kept], (y[kept] == 8).astype(int), 0.6, seed)


def standardised(X: np.ndarray, y: np.ndarray, train_size: float, seed: int) -> common.Split:
    """Split the rows by class, and standardise the columns by the training rows."""
    train, test, y_train, y_test = train_test_split(X, y, train_size=train_size, stratify=y, random_state=seed)
    scaler = StandardScaler().fit(train)
    return common.Split(scaler.transform(train), scaler.transform(test), y_train, y_test)


def main() -> None:
    """Run all tables, seeds and models, and print the tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.1, 0.05, 0.03, 0.01], help="of the rare class")
    parser.add_argument("--sizes", nargs="+", type=int, default=[500, 4000], help="numbers of training rows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = common.parse(parser)
    if args.quick:
        args.shares, args.sizes, args.seeds, args.params = [0.1], [100], [0], {"max_iter": 2, **args.params}
    common.one_thread()
    warnings.filterwarnings("ignore")
    rows = []
    for seed in args.seeds:
        models = {
            "VAEClassifier": VAEClassifier(random_state=seed, **args.params),
            "MLPClassifier": MLPClassifier((256, 128), random_state=seed),
            "LogisticRegression": LogisticRegression(max_iter=2000),
        }
        for name, data in tables(args.shares, args.sizes, seed):
            for label, model in models.items():
                clock = common.Clock()
                known = (data.y_train >= 0) | (label == "VAEClassifier")
                with clock.running():
                    model.fit(data.X_train[known], data.y_train[known])
                p = model.predict_proba(data.X_test).clip(1e-7, 1 - 1e-7)
                rare = data.y_test == data.y_test.max()
                rows.append(
                    {
                        "table": name,
                        "seed": seed,
                        "model": label,
                        "average_precision": average_precision_score(rare, p[:, -1]),
                        "log_loss": log_loss(data.y_test, p / p.sum(axis=1, keepdims=True)),
                        "balanced_accuracy": balanced_accuracy_score(data.y_test, p.argmax(axis=1)),
                        "fit_cpu_s": clock.seconds,
                    }
                )
                print(*rows[-1].values(), flush=True)
    frame = pd.DataFrame(rows)
    common.show("Means over seeds", frame.drop(columns="seed").groupby(["table", "model"], sort=False).mean(), 4)
    common.show("Means over tables", frame.drop(columns=["seed", "table"]).groupby("model", sort=False).mean(), 4)
    cells = frame.pivot_table("average_precision", ["table", "seed"], "model")
    behind = cells["VAEClassifier"] < cells.drop(columns="VAEClassifier").max(axis=1) - 0.03
    common.show("Average precision more than .03 below the better of the others", cells[behind], 4)
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
