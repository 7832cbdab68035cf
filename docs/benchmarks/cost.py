"""Cost of a default fit in one thread, and accuracy of classifiers on its latents, on digits and MNIST."""

from __future__ import annotations

import sys
from time import perf_counter

import common
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer


def timed_fit(model, X) -> dict[str, float]:
    """Fit the model; return CPU and wall seconds."""
    clock, start = common.Clock(), perf_counter()
    with clock.running():
        model.fit(X)
    return {"cpu_s": clock.seconds, "wall_s": perf_counter() - start}


def logistic(Z_train, Z_test, y_train, y_test) -> float:
    """Return the test accuracy of LogisticRegression on standardised latents."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    return model.fit(Z_train, y_train).score(Z_test, y_test)


def neighbors(Z_train, Z_test, y_train, y_test) -> float:
    """Return the test accuracy of 5-nearest-neighbour classification."""
    return KNeighborsClassifier(5).fit(Z_train, y_train).score(Z_test, y_test)


def measure(name: str, n_components: int, seeds: int, data: common.Split, params: dict) -> list[dict]:
    """Fit PCA once and the VAE once per seed; return a row for each."""
    labels = data.y_train, data.y_test
    row = {"set": name, "n_rows": len(data.X_train), "n_components": n_components}
    pca = PCA(n_components, random_state=0)
    seconds = timed_fit(pca, data.X_train)
    Z_train, Z_test = pca.transform(data.X_train), pca.transform(data.X_test)
    accuracy = {"logistic": logistic(Z_train, Z_test, *labels), "knn": neighbors(Z_train, Z_test, *labels)}
    rows = [row | {"model": "PCA", "seed": 0} | seconds | accuracy]
    for seed in range(seeds):
        vae = VAETransformer(**{"n_components": n_components, "random_state": seed, **params})
        seconds = timed_fit(vae, data.X_train) | {"n_iter": vae.n_iter_, "n_steps": vae.n_steps_}
        Z_train, Z_test = vae.transform(data.X_train), vae.transform(data.X_test)
        accuracy = {"logistic": logistic(Z_train, Z_test, *labels), "knn": neighbors(Z_train, Z_test, *labels)}
        # Division by the latent scale gives the latents of the same fit with whiten=True.
        scale = getattr(vae, "latent_scale_", 1.0)
        accuracy["knn_white"] = neighbors(Z_train / scale, Z_test / scale, *labels)
        rows.append(row | {"model": "VAE", "seed": seed} | seconds | accuracy)
        print(f"{name} {n_components} seed {seed}: {seconds['cpu_s']:.1f} CPU s, {accuracy}", file=sys.stderr)
    return rows


def main() -> None:
    """Run both sets and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=["digits", "mnist"], choices=["digits", "mnist"])
    parser.add_argument(
        "--components", nargs="+", type=int, default=[8, 32], help="numbers of components on MNIST; 8 on digits"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=60_000, help="number of training rows of MNIST")
    args = common.parse(parser)
    if args.quick:
        args.rows, args.seeds, args.params = 2000, 1, {"max_iter": 2, **args.params}
    common.one_thread()
    rows = []
    if "digits" in args.sets:
        # The fit is timed on all 1797 rows, so accuracies are on training rows.
        X, y = common.DATA_SETS["digits"]()
        rows += measure("digits", 8, args.seeds, common.Split(X, X, y, y), args.params)
    if "mnist" in args.sets:
        data = common.split("mnist", 0, args.rows, 10_000)
        for n_components in args.components:
            rows += measure("mnist", n_components, args.seeds, data, args.params)
    frame = pd.DataFrame(rows)
    common.show("Every fit (digits: accuracies on training rows)", frame.set_index(["set", "n_components"]), 4)
    numbers = frame.drop(columns="seed").groupby(["set", "n_components", "model"], sort=False)
    common.show("Means over seeds", numbers.mean(), 4)
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
