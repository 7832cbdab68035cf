"""Growth of time and memory with the numbers of rows and columns, compared with PCA.

VAETransformer has its defaults, and `transform` gets the same rows as `fit`. Each measurement runs in a new process
with one thread. Memory peaks are those above imports and data. They are read from the Linux kernel, so the script runs
on Linux only.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from time import perf_counter, process_time

import common
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from sklearn_vae import VAETransformer

MIB = 2**20
N_COMPONENTS = 8
N_LATENTS, N_UNITS, NOISE = 10, 50, 0.2  # latents, hidden units and noise standard deviation of the synthetic rows
N_BLOCK_ROWS = 1000  # number of rows generated at a time
# Number of training rows before transform: few, so that the peak is that of transform, but enough for the default
# network of large sets.
N_FIT_ROWS = 6000
ESTIMATORS, TASKS = ["VAETransformer", "PCA"], ["fit", "transform"]
AXES: dict[str, list[tuple[int, int]]] = {
    "rows": [(n, 50) for n in (1_000, 10_000, 100_000, 1_000_000)],
    "columns of 2000": [(2_000, d) for d in (10, 100, 1_000, 10_000)],
    "columns of 20000": [(20_000, d) for d in (100, 1_000, 10_000)],
}


def curved_rows(n_rows: int, n_features: int, X: np.ndarray | None = None) -> np.ndarray:
    """Return noisy float32 rows on a curved manifold, generated in blocks without large temporary arrays.

    They are written to the array `X`, if one is given.
    """
    rng = np.random.default_rng(0)
    inner = rng.standard_normal((N_LATENTS, N_UNITS), dtype=np.float32)
    outer = rng.standard_normal((N_UNITS, n_features), dtype=np.float32) / np.float32(np.sqrt(N_UNITS))
    X = np.empty((n_rows, n_features), dtype=np.float32) if X is None else X
    for block in np.split(X, range(N_BLOCK_ROWS, n_rows, N_BLOCK_ROWS)):
        rng.standard_normal(dtype=np.float32, out=block)
        block *= NOISE
        block += np.tanh(rng.standard_normal((len(block), N_LATENTS), dtype=np.float32) @ inner) @ outer
    return X


def measure(estimator: str, task: str, n_rows: int, n_features: int, params: dict) -> dict[str, float]:
    """Fit or transform in this process; return seconds, MiB, and the number of epochs of a fit."""
    common.one_thread()
    model = VAETransformer(**params) if estimator == "VAETransformer" else PCA()
    model.set_params(n_components=N_COMPONENTS, random_state=0)
    if task == "transform":
        short = {"max_iter": 1} if estimator == "VAETransformer" else {}
        model.set_params(**short).fit(curved_rows(min(n_rows, N_FIT_ROWS), n_features))
    X = curved_rows(n_rows, n_features)
    # Reset the kernel's memory peak of this process.
    Path("/proc/self/clear_refs").write_text("5")
    before, cpu, wall = common.resident("VmRSS"), process_time(), perf_counter()
    getattr(model, task)(X)
    cpu, wall = process_time() - cpu, perf_counter() - wall
    row = {"cpu_s": cpu, "wall_s": wall, "data_MiB": X.nbytes / MIB}
    row["above_MiB"] = (common.resident("VmHWM") - before) / MIB
    return row | {"n_epochs": getattr(model, "n_iter_", 0) if task == "fit" else 0}


def run(args) -> pd.DataFrame:
    """Run all measurements, in turns."""
    results = common.Results(args.output, args.resume)
    shapes = [(axis, n, d) for axis in args.axes for n, d in AXES[axis] if n * d <= args.max_size]
    for turn, shape, estimator, task in product(range(args.turns), shapes, ESTIMATORS, TASKS):
        axis, n_rows, n_features = shape
        cell = {"axis": axis, "n_rows": n_rows, "n_features": n_features}
        cell |= {"estimator": estimator, "task": task, "turn": turn}
        if results.lacks(cell):
            figures = common.in_fresh_process(measure, estimator, task, n_rows, n_features, args.params)
            results.add(cell | figures)
    return results.frame()


def report(frame: pd.DataFrame) -> None:
    """Print medians over turns, times relative to PCA, and growth exponents along each axis."""
    keys = ["n_rows", "n_features", "estimator", "task"]
    frame["microseconds per row"] = 1e6 * frame.cpu_s / frame.n_rows
    columns = ["cpu_s", "wall_s", "microseconds per row", "data_MiB", "above_MiB", "n_epochs"]
    for axis, part in frame.groupby("axis", sort=False):
        table = part.groupby(keys, sort=False)[columns].median()
        pca = table.cpu_s.xs("PCA", level="estimator").reindex(table.index.droplevel("estimator")).to_numpy()
        table["time / PCA's"] = table.cpu_s / pca
        table["above, share of data"] = table.above_MiB / table.data_MiB
        common.show(f"Number of {axis}", table)
        number = part.n_rows if axis == "rows" else part.n_features
        medians = part.assign(number=number).groupby(["estimator", "task", "number"], sort=False).cpu_s.median()
        steps = np.log(medians).groupby(["estimator", "task"]).diff()
        exponents = steps / np.log(medians.index.to_frame().number).groupby(["estimator", "task"]).diff()
        common.show(f"Number of {axis}: exponent of the time since the number before; linear is 1", exponents.unstack())


def main() -> None:
    """Run the measurements and print the tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--axes", nargs="+", default=list(AXES), choices=list(AXES), metavar="AXIS")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--max-size", type=float, default=np.inf, help="maximum number of rows times columns")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.axes, args.max_size, args.params = ["rows"], 500_000, {"max_iter": 2, **args.params}
    report(run(args))


if __name__ == "__main__":
    main()
