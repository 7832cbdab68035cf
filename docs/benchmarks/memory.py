"""Peak memory above imports and data, how it grows when the number of rows doubles, and what bytes save.

Every measurement is a fresh process; the peak is the kernel's, so this runs on Linux only.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import common
import numpy as np
import pandas as pd

from sklearn_vae import VAETransformer

N_FEATURES = 784
MIB = 2**20
DTYPES = ["uint8", "float32", "float64"]


def resident(field: str) -> int:
    """Return this process's resident memory in bytes: VmRSS now, VmHWM at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"expected a line {field} in /proc/self/status, got none")


def random_rows(n_rows: int, dtype: str) -> np.ndarray:
    """Return normal rows, or bytes, made without temporaries."""
    if dtype == "uint8":
        return np.random.default_rng(0).integers(0, 256, (n_rows, N_FEATURES), dtype=dtype)
    return np.random.default_rng(0).standard_normal((n_rows, N_FEATURES), dtype=dtype)


def measure(task: str, n_rows: int, dtype: str, params: dict) -> float:
    """Run one task in this process, and return the peak above imports and data in bytes."""
    common.one_thread()
    vae = VAETransformer(**{"max_iter": 2, "random_state": 0, **params})
    if task == "transform":
        # Few rows, so that the peak is not the fit's.
        vae.fit(random_rows(200, dtype))
    before = resident("VmRSS")
    X = random_rows(n_rows, dtype)
    vae.fit(X) if task == "fit" else vae.transform(X)
    return resident("VmHWM") - before - X.nbytes


def measure_in_fresh_process(task: str, n_rows: int, dtype: str, params: str) -> float:
    """Start this script again for one measurement."""
    command = [sys.executable, __file__, "--child", task, str(n_rows), dtype, "--params", params]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(output)


def main() -> None:
    """Run every task at n and 2n rows and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--rows", nargs="+", type=int, default=[20_000, 30_000], help="n; each is doubled as well")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tasks", nargs="+", default=["fit", "transform"], choices=["fit", "transform"])
    parser.add_argument("--dtypes", nargs="+", default=DTYPES, choices=DTYPES)
    parser.add_argument("--child", nargs=3, metavar=("TASK", "ROWS", "DTYPE"), help="measure in this process")
    args = common.parse(parser)
    if args.child:
        task, n_rows, dtype = args.child
        print(measure(task, int(n_rows), dtype, args.params))
        return
    if args.quick:
        args.rows, args.repeats = [6000], 1
    rows = []
    for task, dtype in itertools.product(args.tasks, args.dtypes):
        for n_rows in args.rows:
            for repeat in range(args.repeats):
                small, large = (
                    measure_in_fresh_process(task, n, dtype, args.params_text) for n in (n_rows, 2 * n_rows)
                )
                data = n_rows * N_FEATURES * np.dtype(dtype).itemsize
                row = {"task": task, "dtype": dtype, "n_rows": n_rows, "repeat": repeat, "data_MiB": data / MIB}
                row |= {"above_n_MiB": small / MIB, "above_2n_MiB": large / MIB}
                rows.append(row | {"growth": (large - small) / data})
    frame = pd.DataFrame(rows)
    table = frame.groupby(["task", "dtype", "n_rows"], sort=False).median().drop(columns="repeat")
    common.show("Peak above imports and data; growth as a share of the data's growth", table)
    common.show("Grows by more than 0.1 of the data", table[table["growth"] > 0.1])
    total = (table["data_MiB"] + table["above_n_MiB"]).unstack("dtype")
    if {"uint8", "float32"} <= set(total):
        common.show("Peak above imports, with the data: bytes as a share of float32", total["uint8"] / total["float32"])
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
