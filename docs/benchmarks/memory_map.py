"""Time and memory of `fit` and `transform` of rows in a file, which numpy maps into memory.

VAETransformer has its defaults and 8 components, and one thread. Each measurement runs in a new process. `memory_MiB`
is the peak of the process's own memory (RssAnon) above that before the call, from samples every 10 ms. It excludes the
pages of the file, which the kernel drops when memory is scarce. Linux only.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, process_time

import common
import numpy as np
from scaling import MIB, N_COMPONENTS, N_FIT_ROWS, TASKS, curved_rows

from sklearn_vae import VAETransformer

INTERVAL = 0.01  # seconds between two samples of the memory


class Peak:
    """The largest RssAnon of this process inside a with block, in bytes above that at its begin."""

    def __enter__(self) -> Peak:
        self.before = common.resident("RssAnon")
        self.bytes, self.stop = 0, Event()
        self.thread = Thread(target=self.sample)
        self.thread.start()
        return self

    def sample(self) -> None:
        """Sample until the block ends."""
        while not self.stop.wait(INTERVAL):
            self.bytes = max(self.bytes, common.resident("RssAnon") - self.before)

    def __exit__(self, *error) -> None:
        self.stop.set()
        self.thread.join()


def measure(path: Path, task: str, n_features: int, params: dict) -> dict[str, float]:
    """Fit or transform the rows of the file in this process; return seconds, MiB, and the number of epochs of a fit."""
    common.one_thread()
    X = np.memmap(path, dtype=np.float32, mode="r").reshape(-1, n_features)
    vae = VAETransformer(N_COMPONENTS, random_state=0, **params)
    if task == "transform":
        vae.set_params(max_iter=1).fit(np.array(X[:N_FIT_ROWS]))
    with Peak() as peak:
        cpu, wall = process_time(), perf_counter()
        getattr(vae, task)(X)
        cpu, wall = process_time() - cpu, perf_counter() - wall
    n_epochs = vae.n_iter_ if task == "fit" else 0
    return {"cpu_s": cpu, "wall_s": wall, "memory_MiB": peak.bytes / MIB, "n_epochs": n_epochs}


def main() -> None:
    """Write the files, run both tasks on each, and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--rows", nargs="+", type=int, default=[200_000, 2_000_000])
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--folder", type=Path, help="folder of the temporary files")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.rows, args.params = [20_000], {"max_iter": 1, **args.params}
    results = common.Results(args.output, args.resume)
    for n_rows in args.rows:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            path = Path(folder, "rows.dat")
            X = np.memmap(path, dtype=np.float32, mode="w+", shape=(n_rows, args.columns))
            curved_rows(*X.shape, X).flush()
            for task in TASKS:
                cell = {"task": task, "n_rows": n_rows, "n_columns": args.columns}
                if results.lacks(cell):
                    figures = common.in_fresh_process(measure, path, task, args.columns, args.params)
                    results.add({**cell, "data_MiB": X.nbytes / MIB, **figures})
    common.show("Seconds and MiB", results.frame().set_index(["task", "n_rows", "n_columns"]), 1)


if __name__ == "__main__":
    main()
