"""Seconds per epoch, compared with hand-written loops and other packages: same layers, batch sizes and threads.

The time per epoch is the difference between the times of a long and a short fit, divided by the difference of their
numbers of epochs. It excludes initialisation, validation of the input and the work after the last epoch. All trainers
take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, process_time
from typing import NamedTuple

import common
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from textbook_vae import Size
from threadpoolctl import threadpool_limits
from vae_peers import OURS, TRAINERS, Train


def random_rows(n_rows: int, n_features: int) -> np.ndarray:
    """Return noisy rows that vary normally along ten random directions."""
    rng = np.random.RandomState(0)
    X = rng.normal(size=(n_rows, 10)) @ rng.normal(size=(10, n_features)) + rng.normal(size=(n_rows, n_features))
    return X.astype(np.float32)


class Case(NamedTuple):
    """Rows, layers, and the numbers of epochs of the short and the long fit."""

    rows: Callable[[], np.ndarray]
    size: Size
    epochs: tuple[int, int]


CASES = {
    "small": Case(lambda: load_digits().data.astype(np.float32), Size((64, 32), 8, 128), (5, 25)),
    "medium": Case(lambda: random_rows(10_000, 100), Size((256, 128), 8, 128), (1, 4)),
    "large": Case(lambda: random_rows(60_000, 784), Size((512, 256), 16, 128), (1, 2)),
}


def seconds_per_epoch(train: Train, X: np.ndarray, case: Case, n_threads: int) -> tuple[float, float]:
    """Return CPU and wall seconds per epoch."""
    times = []
    for n_epochs in case.epochs:
        cpu, wall = process_time(), perf_counter()
        train(X, case.size, n_epochs, n_threads)
        times.append((process_time() - cpu, perf_counter() - wall))
    cpu, wall = (np.diff(times, axis=0) / np.diff(case.epochs))[0]
    return float(cpu), float(wall)


def run(args) -> pd.DataFrame:
    """Time all trainers in turns, after an untimed fit of each that triggers first-use imports."""
    results = common.Results(args.output, args.resume)
    for name in args.sets:
        X = CASES[name].rows()
        X = X[: 2 * CASES[name].size.batch_size] if args.quick else X
        for n_threads in args.threads:
            threadpool_limits(n_threads)
            torch.set_num_threads(n_threads)
            for trainer in TRAINERS:
                TRAINERS[trainer](X[:512], CASES[name].size, 1, n_threads)
            for turn in range(args.turns):
                for trainer, train in TRAINERS.items():
                    cell = {"set": name, "n_threads": n_threads, "turn": turn, "trainer": trainer}
                    if results.lacks(cell):
                        cpu, wall = seconds_per_epoch(train, X, CASES[name], n_threads)
                        results.add(cell | {"cpu_s": cpu, "wall_s": wall})
    return results.frame()


def report(frame: pd.DataFrame) -> None:
    """Print medians over turns, and time ratios of each of `OURS` to each trainer.

    Ratios use CPU time for one thread and wall time for several threads.
    """
    turn = ["set", "n_threads", "turn"]
    frame["seconds"] = frame.cpu_s.where(frame.n_threads == 1, frame.wall_s)
    groups = frame.groupby(["set", "n_threads", "trainer"], sort=False)
    table = groups[["cpu_s", "wall_s"]].median()
    for name, column in OURS.items():
        ours = frame[frame.trainer == name].set_index(turn).seconds
        frame["ratio"] = ours.reindex(pd.MultiIndex.from_frame(frame[turn])).to_numpy() / frame.seconds
        for of_turns in ("median", "min", "max"):
            table[f"{column} / it, {of_turns}"] = getattr(groups.ratio, of_turns)()
    common.show("Seconds per epoch", table)


def main() -> None:
    """Time the epochs and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--turns", type=int, default=3)
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.turns, args.threads = 1, [1]
    report(run(args))


if __name__ == "__main__":
    main()
