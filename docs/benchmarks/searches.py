"""What a grid search costs, and whether the way it runs changes its results.

GridSearchCV over the number of components of a transformer before LogisticRegression, on digits. It runs in one
process, in two processes that have to start (loky, cold), in two that wait (loky, warm), and in two threads. The peers
make about as many steps as VAETransformer does at most, without its choice of the number; they need the extra "bench".
"""

from __future__ import annotations

import os
import resource
import zlib
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time

import common
import numpy as np
import pandas as pd
import torch
from joblib import parallel_config
from joblib.externals.loky import get_reusable_executor
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from textbook_vae import Size
from vae_peers import TRAINERS, float_tensor, middle_layer

from sklearn_vae import VAETransformer

N_SPLITS = 3
COMPONENTS = [2, 4, 8, 16]
HIDDEN_LAYER_SIZES, BATCH_SIZE, N_EPOCHS = (256, 128), 64, 100
QUICK_TRANSFORMERS = ["VAETransformer", "skorch"]
# Backend and number of jobs, in the order in which they run: warm processes are those of the cold search.
WAYS = {"1 job": ("sequential", 1), "loky, cold": ("loky", 2), "loky, warm": ("loky", 2), "threads": ("threading", 2)}


ENCODERS: dict[str, Callable] = {
    "skorch": lambda net, X: net.module_.embed(float_tensor(X)).numpy(),
    "MLPRegressor": middle_layer,
}


class Peer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A transformer as a user of another package would write it, with torch's global seed."""

    def __init__(self, trainer="skorch", n_components=8, n_epochs=N_EPOCHS):
        self.trainer = trainer
        self.n_components = n_components
        self.n_epochs = n_epochs

    def fit(self, X, y=None):
        """Train for a fixed number of epochs."""
        torch.manual_seed(0)
        size = Size(HIDDEN_LAYER_SIZES, self.n_components, BATCH_SIZE)
        self.model_ = TRAINERS[self.trainer](X.astype(np.float32), size, self.n_epochs, 1)
        return self

    def transform(self, X):
        """Return codes."""
        return ENCODERS[self.trainer](self.model_, X.astype(np.float32))


def transformers(n_epochs: int | None, params: dict) -> dict[str, BaseEstimator]:
    """Return the transformers, of as many epochs at most."""
    ours = {"random_state": 0} | ({} if n_epochs is None else {"max_iter": n_epochs}) | params
    peers = {name: Peer(name, n_epochs=n_epochs or N_EPOCHS) for name in ENCODERS}
    return {"VAETransformer": VAETransformer(**ours), "PCA": PCA(random_state=0), **peers}


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children, ended or alive (these on Linux only)."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = process_time() + ended.ru_utime + ended.ru_stime
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, parent, *fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(parent) == os.getpid():
            # utime and stime are fields 14 and 15 of the kernel's, counted from 1.
            seconds += (int(fields[9]) + int(fields[10])) / os.sysconf("SC_CLK_TCK")
    return seconds


def search(transformer: BaseEstimator, components: list[int], backend: str, n_jobs: int, data) -> dict:
    """Run one search; the checksum is of all test scores."""
    steps = [("transformer", transformer), ("scaler", StandardScaler()), ("classifier", LogisticRegression())]
    grid = {"transformer__n_components": components}
    # The last fit on all rows is left out: it has one process, whatever the number of jobs.
    model = GridSearchCV(Pipeline(steps), grid, cv=N_SPLITS, n_jobs=n_jobs, refit=False)
    cpu, wall = cpu_seconds(), perf_counter()
    with parallel_config(backend, inner_max_num_threads=1 if backend == "loky" else None):
        results = model.fit(*data).cv_results_
    wall, cpu = perf_counter() - wall, cpu_seconds() - cpu
    scores = np.array([results[f"split{i}_test_score"] for i in range(N_SPLITS)])
    best = int(results["mean_test_score"].argmax())
    row = {"cpu_s": cpu, "wall_s": wall, "checksum": f"x{zlib.crc32(scores.tobytes()):08x}"}
    return row | {"best": components[best], "accuracy": results["mean_test_score"][best]}


def run(args) -> pd.DataFrame:
    """Run all searches, in turns."""
    results = common.Results(args.output, args.resume)
    X, y = common.DATA_SETS["digits"]()
    data = (X[:300], y[:300]) if args.quick else (X, y)
    components = COMPONENTS[:2] if args.quick else COMPONENTS
    for turn in range(args.turns):
        for name, transformer in transformers(args.epochs, args.params).items():
            if name not in args.transformers:
                continue
            for way in args.ways:
                cell = {"transformer": name, "way": way, "turn": turn}
                if not results.lacks(cell):
                    continue
                if way == "loky, cold":
                    get_reusable_executor().shutdown(wait=True)
                elif way == "loky, warm":
                    # Also in a run that resumes; waiting processes have imported what a search needs.
                    search(transformer, components[:1], *WAYS[way], data)
                results.add(cell | search(transformer, components, *WAYS[way], data))
    get_reusable_executor().shutdown(wait=True)
    return results.frame()


def report(frame: pd.DataFrame) -> None:
    """Print medians over the turns, over one job's, and VAETransformer's over the others'."""
    keys = ["transformer", "way"]
    groups = frame.groupby(keys, sort=False)
    table = groups[["cpu_s", "wall_s"]].median()
    table["least wall_s"], table["most wall_s"] = groups.wall_s.min(), groups.wall_s.max()
    one = table.xs("1 job", level="way")
    for column in ("cpu_s", "wall_s"):
        table[f"{column} / 1 job"] = table[column] / one[column].reindex(table.index.get_level_values(0)).to_numpy()
    ours = table.wall_s.xs("VAETransformer").reindex(table.index.get_level_values("way")).to_numpy()
    table["VAETransformer's wall_s / its"] = ours / table.wall_s
    table["accuracy"] = groups.accuracy.median()
    common.show(f"GridSearchCV of {len(COMPONENTS)} numbers of components, {N_SPLITS} folds", table)
    counts = frame.groupby("transformer", sort=False).checksum.nunique()
    differing = frame[frame.transformer.isin(counts[counts > 1].index)]
    common.show("Test scores that depend on how the search ran", differing[[*keys, "turn", "checksum", "accuracy"]])


def main() -> None:
    """Run searches, and print them."""
    parser = common.make_parser(__doc__)
    names = list(transformers(None, {}))
    parser.add_argument("--transformers", nargs="+", default=names, choices=names)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--epochs", type=int, help=f"at most; default: VAETransformer's own, {N_EPOCHS} for peers")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.turns, args.epochs = 1, 2
        args.transformers = QUICK_TRANSFORMERS if args.transformers == names else args.transformers
    common.one_thread()
    report(run(args))


if __name__ == "__main__":
    main()
