"""Peak memory above imports and data: its growth with the number of rows, the effect of byte data, and peers.

Each measurement runs in a new process. Peaks are read from the Linux kernel, so the script runs on Linux only. Peers
are compared with the same layers and batch sizes, for two epochs on float32 rows. Only `--parts peers` needs the extra
"bench".
"""

from __future__ import annotations

import itertools

import common
import numpy as np
import pandas as pd

from sklearn_vae import VAETransformer

N_FEATURES = 784
N_EPOCHS = 2
MIB = 2**20
DTYPES = ["uint8", "float32", "float64"]
PEERS = ["VAETransformer, defaults", "VAETransformer, same layers", "PCA", "MLPRegressor", "pythae", "PyOD"]
PEERS += ["tutorial", "skorch"]


def random_rows(n_rows: int, dtype: str) -> np.ndarray:
    """Return normal rows, or uniform bytes, generated without temporary arrays."""
    if dtype == "uint8":
        return np.random.default_rng(0).integers(0, 256, (n_rows, N_FEATURES), dtype=dtype)
    return np.random.default_rng(0).standard_normal((n_rows, N_FEATURES), dtype=dtype)


def measure(task: str, n_rows: int, dtype: str, params: dict) -> float:
    """Run one task in this process; return its memory peak above imports and data, in bytes."""
    common.one_thread()
    vae = VAETransformer(**{"max_iter": N_EPOCHS, "random_state": 0, **params})
    if task == "transform":
        # The fit uses few rows, so that the peak is that of transform.
        vae.fit(random_rows(200, dtype))
    before = common.resident("VmRSS")
    X = random_rows(n_rows, dtype)
    vae.fit(X) if task == "fit" else vae.transform(X)
    return common.resident("VmHWM") - before - X.nbytes


def measure_peer(name: str, task: str, n_rows: int) -> tuple[str, float]:
    """Measure the peak of one task for a peer; return the name of the method called, and the peak in bytes."""
    from epoch_seconds import CASES
    from sklearn.decomposition import PCA
    from vae_peers import TRAINERS, TRANSFORMS

    common.one_thread()
    size = CASES["large"].size

    def fit(X: np.ndarray, n_epochs: int):
        return PCA(size.n_components).fit(X) if name == "PCA" else TRAINERS[name](X, size, n_epochs, 1)

    call, transform = TRANSFORMS.get(name, ("transform", PCA.transform))
    # This fit on few rows triggers first-use imports, with a peak below the measured one.
    model = fit(random_rows(1000, "float32"), 1)
    before = common.resident("VmRSS")
    X = random_rows(n_rows, "float32")
    fit(X, N_EPOCHS) if task == "fit" else transform(model, X)
    return "fit" if task == "fit" else call, common.resident("VmHWM") - before - X.nbytes


def growth(args) -> pd.DataFrame:
    """Measure every task with n and 2n rows, and print the tables."""
    rows = []
    for task, dtype in itertools.product(args.tasks, args.dtypes):
        for n_rows, repeat in itertools.product(args.rows or [20_000, 30_000], range(args.repeats)):
            peaks = [common.in_fresh_process(measure, task, n, dtype, args.params) for n in (n_rows, 2 * n_rows)]
            data = n_rows * N_FEATURES * np.dtype(dtype).itemsize
            row = {"task": task, "dtype": dtype, "n_rows": n_rows, "repeat": repeat, "data_MiB": data / MIB}
            row |= {"above_n_MiB": peaks[0] / MIB, "above_2n_MiB": peaks[1] / MIB}
            rows.append(row | {"growth": (peaks[1] - peaks[0]) / data})
    frame = pd.DataFrame(rows)
    table = frame.groupby(["task", "dtype", "n_rows"], sort=False).median().drop(columns="repeat")
    common.show("Peak above imports and data; growth as a share of the data's growth", table)
    common.show("Grows by more than 0.1 of the data", table[table["growth"] > 0.1])
    total = (table["data_MiB"] + table["above_n_MiB"]).unstack("dtype")
    if {"uint8", "float32"} <= set(total):
        common.show("Peak above imports, with the data: bytes as a share of float32", total["uint8"] / total["float32"])
    return frame


def peers(args) -> pd.DataFrame:
    """Measure fit and transform of all peers, in turns, and print the table."""
    rows = []
    for n_rows, repeat in itertools.product(args.rows or [60_000], range(args.repeats)):
        for name, task in itertools.product(PEERS, args.tasks):
            call, peak = common.in_fresh_process(measure_peer, name, task, n_rows)
            data = n_rows * N_FEATURES * np.dtype("float32").itemsize
            row = {"trainer": name, "task": task, "call": call, "n_rows": n_rows, "repeat": repeat}
            rows.append(row | {"data_MiB": data / MIB, "above_MiB": peak / MIB, "share": peak / data})
    frame = pd.DataFrame(rows)
    table = frame.groupby(["n_rows", "task", "trainer", "call"], sort=False)[["above_MiB", "share"]].median()
    common.show("Peak above imports and data; share of the data", table.sort_values(["n_rows", "task", "above_MiB"]))
    return frame


def main() -> None:
    """Run the parts and print their tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--parts", nargs="+", default=["growth"], choices=["growth", "peers"])
    parser.add_argument(
        "--rows", nargs="+", type=int, help="numbers of rows (growth: also doubled); default: 20000 30000, peers: 60000"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", default=["fit", "transform"], choices=["fit", "transform"])
    parser.add_argument("--dtypes", nargs="+", default=DTYPES, choices=DTYPES)
    args = common.parse(parser)
    if args.quick:
        args.rows, args.repeats, args.tasks, args.dtypes = [6000], 1, ["fit"], ["float32"]
    parts = {"growth": growth, "peers": peers}
    common.save(pd.concat([parts[part](args) for part in args.parts]), args.output)


if __name__ == "__main__":
    main()
