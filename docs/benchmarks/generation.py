"""Conditional samples of MNIST: agreement with the requested class, and accuracy of a classifier trained on them.

The judge is an MLPClassifier trained on real rows. Another MLPClassifier is trained on generated rows only. Both are
tested on real test rows.
"""

from __future__ import annotations

import warnings

import common
import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from sklearn_vae import VAEClassifier

N_EPOCHS = 15  # number of training epochs of the judge


def train_judge(X: np.ndarray, y: np.ndarray, seed: int) -> MLPClassifier:
    """Train a classifier that is independent of this package."""
    model = MLPClassifier((256, 128), max_iter=N_EPOCHS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X, y)


def run_seed(seed: int, labels: str, args) -> dict:
    """Fit VAEClassifier with one draw of labels, generate rows, and return the measures of both judges."""
    data = common.split("mnist", seed, args.rows, args.test_rows)
    y = data.y_train
    if labels != "all":
        y = common.hide_labels(y, lambda _: int(labels) / 10, seed)
    drawing = common.Clock()
    vae = common.kept_model(args.models, labels, seed)
    if vae is None:
        vae = VAEClassifier(**{"random_state": seed, **args.params}).fit(data.X_train, y)
    wanted = np.arange(args.generated) % 10
    with drawing.running():
        X = vae.sample(y=wanted, random_state=seed)[0].astype(np.float32)
    real, generated = train_judge(data.X_train, data.y_train, seed), train_judge(X, wanted, seed)
    agrees = real.predict(X) == wanted
    by_class = [agrees[wanted == label].mean() for label in range(10)]
    return {
        "labels": labels,
        "seed": seed,
        "agreement": float(agrees.mean()),
        "worst_class": int(np.argmin(by_class)),
        "its_agreement": float(min(by_class)),
        "accuracy_real": real.score(data.X_test, data.y_test),
        "accuracy_generated": generated.score(data.X_test, data.y_test),
        "accuracy_vae": vae.score(data.X_test, data.y_test),
        "sample_s": drawing.seconds,
    }


def report(frame: pd.DataFrame) -> None:
    """Print the results of every fit, their means and standard deviations."""
    common.show(
        "Generated rows: the judge's agreement; test accuracy of what learnt from real and generated rows", frame
    )
    measures = [
        "agreement",
        "its_agreement",
        "accuracy_real",
        "accuracy_generated",
        "accuracy_vae",
        "sample_s",
    ]
    cells = frame.groupby("labels", sort=False)[measures]
    common.show("Means over seeds (to reach: agreement .97, accuracy_generated .93)", cells.mean(), 4)
    common.show("Standard deviations", cells.std(), 4)


def main() -> None:
    """Run the fits and print the tables."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--labels", nargs="+", default=["all"], help="numbers of labels, or all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    common.add_models_option(parser)
    parser.add_argument("--rows", type=int, default=60_000, help="number of training rows")
    parser.add_argument("--test-rows", type=int, default=10_000)
    parser.add_argument("--generated", type=int, default=60_000, help="number of generated rows")
    args = common.parse(parser)
    if args.quick:
        args.rows, args.test_rows, args.generated, args.seeds = 1000, 500, 1000, args.seeds[:1]
        args.params = {"max_iter": 2, **args.params}
    common.one_thread()
    results = common.Results(args.output, args.resume)
    for labels in args.labels:
        for seed in args.seeds:
            if results.lacks({"labels": labels, "seed": seed}):
                results.add(run_seed(seed, labels, args))
    report(results.frame())


if __name__ == "__main__":
    main()
