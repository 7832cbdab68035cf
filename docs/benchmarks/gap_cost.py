"""CPU milliseconds of a training epoch on complete rows and on rows with missing cells.

Each time is the smallest of several runs, which alternate between the two kinds of rows.
"""

from __future__ import annotations

from time import process_time

import common
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits

from sklearn_vae import VAETransformer

SHARE = 0.2  # of missing cells
N_EPOCHS = 10


def wide() -> np.ndarray:
    """Return 2000 rows of 784 columns that depend linearly on 20 variables; networks see 128 principal coordinates."""
    rng = np.random.RandomState(0)
    return rng.normal(size=(2000, 20)) @ rng.normal(size=(20, 784)) + 0.3 * rng.normal(size=(2000, 784))


SETS = {
    "breast_cancer": lambda: load_breast_cancer().data / load_breast_cancer().data.std(0),
    "digits": lambda: load_digits().data,
    "wide": wide,
}


def seconds(X: np.ndarray, n_epochs: int, n_components: int, params: dict) -> float:
    """Return the CPU seconds of a fit of this number of epochs."""
    vae = VAETransformer(n_components, max_iter=n_epochs, early_stopping=False, random_state=0, **params)
    start = process_time()
    vae.fit(X)
    return process_time() - start


def main() -> None:
    """Time all sets and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--components", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--repeats", type=int, default=5)
    args = common.parse(parser)
    if args.quick:
        args.components, args.repeats = [2], 1
    common.one_thread()
    rows = []
    for name, load in SETS.items():
        X = load().astype(np.float32)
        gaps = np.where(np.random.RandomState(0).uniform(size=X.shape) < SHARE, np.float32(np.nan), X)
        for n_components in args.components:
            times: dict[str, list[float]] = {"complete": [], "gaps": []}
            for _ in range(args.repeats):
                for kind, table in (("complete", X), ("gaps", gaps)):
                    long = seconds(table, N_EPOCHS + 1, n_components, args.params)
                    times[kind].append((long - seconds(table, 1, n_components, args.params)) / N_EPOCHS)
            complete, with_gaps = (1e3 * min(times[kind]) for kind in ("complete", "gaps"))
            rows.append(
                {
                    "set": name,
                    "n_components": n_components,
                    "complete_ms": complete,
                    "gaps_ms": with_gaps,
                    "ratio": with_gaps / complete,
                }
            )
    frame = pd.DataFrame(rows)
    common.show("Milliseconds of an epoch", frame.set_index(["set", "n_components"]), 2)
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
