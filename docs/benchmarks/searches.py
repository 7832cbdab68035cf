"""Cost of a grid search, and whether its results depend on the parallel backend.

GridSearchCV selects the number of components of a transformer before LogisticRegression, on digits. It runs in one
process, in two new processes (loky, cold), in two running processes (loky, warm), and in two threads. Peers train for
about the maximum number of steps of VAETransformer, without choosing the number. They need the extra "bench".
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
HIDDEN_LAYER_SIZES, BATCH_SIZE, N_EPOCHS = (256, 128), 64, 100  # of the peers
QUICK_TRANSFORMERS = ["VAETransformer", "skorch"]
# Backends and numbers of jobs, in the order of the runs. The warm search reuses the processes of the cold one.
WAYS = {"1 job": ("sequential", 1), "loky, cold": ("loky", 2), "loky, warm": ("loky", 2), "threads": ("threading", 2)}


ENCODERS: dict[str, Callable] = {
    "skorch": lambda net, X: net.module_.embed(float_tensor(X)).numpy(),
    "MLPRegressor": middle_layer,
}


class Peer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Transformer around a peer, as its user would write it, seeded through torch's global generator."""

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
        """Return the latents of rows."""
        return ENCODERS[self.trainer](self.model_, X.astype(np.float32))


def transformers(n_epochs: int | None, params: dict) -> dict[str, BaseEstimator]:
    """Return the transformers, limited to `n_epochs` epochs if given."""
    ours = {"random_state": 0} | ({} if n_epochs is None else {"max_iter": n_epochs}) | params
    peers = {name: Peer(name, n_epochs=n_epochs or N_EPOCHS) for name in ENCODERS}
    return {"VAETransformer": VAETransformer(**ours), "PCA": PCA(random_state=0), **peers}


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and its children. Running children are included on Linux only."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = process_time() + ended.ru_utime + ended.ru_stime
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, parent, *fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(parent) == os.getpid():
            # utime and stime are fields 14 and 15 of the file, counted from 1.
            seconds += (int(fields[9]) + int(fields[10])) / os.sysconf("SC_CLK_TCK")
    return seconds


def search(transformer: BaseEstimator, components: list[int], backend: str, n_jobs: int, data) -> dict:
    """Run one search; return times, the best result, and a checksum of all test scores."""
    steps = [("transformer", transformer), ("scaler", StandardScaler()), ("classifier", LogisticRegression())]
    grid = {"transformer__n_components": components}
    # The final fit on all rows is left out, because it uses one process for any number of jobs.
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
                    # This search starts the processes and their imports, also in a resumed run.
                    search(transformer, components[:1], *WAYS[way], data)
                results.add(cell | search(transformer, components, *WAYS[way], data))
    get_reusable_executor().shutdown(wait=True)
    return results.frame()


def report(frame: pd.DataFrame) -> None:
    """Print medians over turns, their ratios to one job, and ratios of VAETransformer to the others."""
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
    """Run the searches and print the tables."""
    parser = common.make_parser(__doc__)
    names = list(transformers(None, {}))
    parser.add_argument("--transformers", nargs="+", default=names, choices=names)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument(
        "--epochs", type=int, help=f"maximum number; default: VAETransformer's own, {N_EPOCHS} for peers"
    )
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.turns, args.epochs = 1, 2
        args.transformers = QUICK_TRANSFORMERS if args.transformers == names else args.transformers
    common.one_thread()
    report(run(args))


if __name__ == "__main__":
    main()
