"""Peak memory and seconds of sparse rows: fit and transform, above imports and data.

Rows are counts of words from 20 topics. Each measurement runs in a new process. Peaks are read from the Linux kernel,
so the script runs on Linux only. `--likelihoods poisson` trains on the counts, whose start needs the logarithms of all
cells, block by block.
"""

from __future__ import annotations

import itertools
from time import perf_counter

import common
import numpy as np
import pandas as pd
from scipy import sparse

from sklearn_vae import VAETransformer

MIB = 2**20
N_TOPICS = 20


def random_counts(n_rows: int, n_features: int, density: float) -> sparse.csr_array:
    """Return float32 counts of words, of which each row draws half from its topic's block of columns."""
    rng = np.random.default_rng(0)
    n_words = round(density * n_features)
    block = n_features // N_TOPICS
    columns = rng.integers(0, n_features, (n_rows, n_words), dtype=np.int32)
    half = n_words // 2
    columns[:, :half] = columns[:, :half] % block + block * (np.arange(n_rows, dtype=np.int32) % N_TOPICS)[:, None]
    starts = np.arange(0, n_rows * n_words + 1, n_words)
    ones = np.ones(n_rows * n_words, dtype=np.float32)
    X = sparse.csr_array((ones, columns.ravel(), starts.astype(np.int32)), shape=(n_rows, n_features))
    X.sum_duplicates()
    return X


def measure(task: str, shape: tuple[int, int], density: float, likelihood: str, params: dict) -> dict[str, float]:
    """Run one task in this process; return the data's size, the peak above imports and data, and the seconds."""
    common.one_thread()
    vae = VAETransformer(**{"likelihood": likelihood, "max_iter": 2, "random_state": 0, **params})
    if task != "fit":
        # The fit uses few rows, so that the peak is that of the other method.
        vae.fit(random_counts(200, shape[1], density))
    before = common.resident("VmRSS")
    X = random_counts(*shape, density)
    start = perf_counter()
    getattr(vae, task)(X)
    seconds = perf_counter() - start
    data = X.data.nbytes + X.indices.nbytes + X.indptr.nbytes
    above = common.resident("VmHWM") - before - data
    return {"data_MiB": data / MIB, "above_MiB": above / MIB, "seconds": seconds}


def main() -> None:
    """Measure every task and likelihood, and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=10_000)
    parser.add_argument("--density", type=float, default=0.01)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--likelihoods", nargs="+", default=["gaussian"])
    tasks = ["fit", "transform", "score_samples"]
    parser.add_argument("--tasks", nargs="+", default=tasks[:2], choices=tasks)
    args = common.parse(parser)
    if args.quick:
        args.rows, args.columns = 2000, 1000
    shape, rows = (args.rows, args.columns), []
    for likelihood, task, repeat in itertools.product(args.likelihoods, args.tasks, range(args.repeats)):
        row = {"likelihood": likelihood, "task": task, "n_rows": shape[0], "n_columns": shape[1], "repeat": repeat}
        result = common.in_fresh_process(measure, task, shape, args.density, likelihood, args.params)
        rows.append(row | {"dense_MiB": 4 * shape[0] * shape[1] / MIB} | result)
    frame = pd.DataFrame(rows)
    table = frame.groupby(["likelihood", "task"], sort=False).median().drop(columns="repeat")
    common.show("Peak above imports and data (sparse and dense: sizes of float32 rows)", table, 1)
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
