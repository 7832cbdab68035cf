"""Inference cost: rows per second for many rows, and microseconds for one row, compared with other models.

All models take turns in one thread. Each is called through its public method, which the table names: some methods
embed rows, others reconstruct or score them. The layers are those of `epoch_seconds.py`. Peers need the extra "bench".
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from time import perf_counter, process_time

import common
import numpy as np
import pandas as pd
import torch
from epoch_seconds import CASES, Case
from sklearn.decomposition import PCA, KernelPCA
from vae_peers import TRAINERS, TRANSFORMS

from sklearn_vae import VAETransformer
from sklearn_vae._data.devices import isolated
from sklearn_vae._model.inference import CHUNK_SIZE, MeansOfFewRows

Call = Callable[[np.ndarray], object]
OURS = "VAETransformer, defaults"
N_FIT_ROWS = 1500  # number of training rows; only KernelPCA's inference cost depends on it


def in_dtype(module: torch.nn.Module, dtype: np.dtype) -> torch.nn.Module:
    """Return the module in the precision of the rows; for float64, a copy."""
    return copy.deepcopy(module).double() if dtype == np.float64 else module


def bare_module(vae: VAETransformer, dtype: np.dtype) -> Call:
    """Return a function for the module's posterior means, without validation but with the chunks of `transform`."""
    widest = max(vae._fitted_model.inference.width, vae.n_features_in_)
    model, chunk = in_dtype(vae._fitted_model.model, dtype), max(1, CHUNK_SIZE // widest)

    @torch.inference_mode()
    def embed(X: np.ndarray) -> torch.Tensor:
        return torch.cat([model.embed(x) for x in torch.from_numpy(X).split(chunk)])

    return embed


def fit_all(X: np.ndarray, case: Case) -> dict[str, Callable[[np.dtype], Call]]:
    """Fit all models for one epoch; return functions from a dtype to the function to time, by name."""
    few, n_components = X[:N_FIT_ROWS], case.size.n_components
    functions: dict[str, Callable[[np.dtype], Call]] = {}
    for name, train in TRAINERS.items():
        call, function = TRANSFORMS[name]
        model = train(few, case.size, 1, 1)
        functions[f"{name}: {call}"] = lambda dtype, model=model, function=function: partial(function, model)
        if name == OURS:
            functions["its bare module"] = partial(bare_module, model)
    # These models compute in the precision of their training rows, so they are fitted for each dtype.
    functions["PCA: transform"] = lambda dtype: PCA(n_components).fit(few.astype(dtype)).transform
    kernel_pca = partial(KernelPCA, n_components, kernel="rbf")
    functions[f"KernelPCA of {len(few)} rows: transform"] = lambda dtype: kernel_pca().fit(few.astype(dtype)).transform
    return functions


def time_rows(function: Call, X: np.ndarray) -> dict[str, float]:
    """Time one call with many rows."""
    cpu, wall = process_time(), perf_counter()
    function(X)
    cpu, wall = process_time() - cpu, perf_counter() - wall
    return {"cpu_s": cpu, "wall_s": wall, "rows_per_s": len(X) / wall}


def microseconds(function: Callable[[], object], n_calls: int) -> np.ndarray:
    """Return the wall time of each call in microseconds, after some untimed calls."""
    times = []
    for _ in range(n_calls + n_calls // 10 + 1):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return 1e6 * np.array(times[-n_calls:])


def time_row(function: Call, X: np.ndarray, n_calls: int) -> dict[str, float]:
    """Time calls with one row."""
    times = microseconds(lambda: function(X[:1]), n_calls)
    return {"p50_us": float(np.median(times)), "p90_us": float(np.quantile(times, 0.9))}


def pieces(vae: VAETransformer, row: np.ndarray) -> dict[str, Callable[[], object]]:
    """Return the parts of `transform` of one row, and the torch module, which `transform` bypasses for few rows."""
    model, tensor = in_dtype(vae._fitted_model.model, row.dtype), torch.from_numpy(row)
    in_numpy = MeansOfFewRows(model)

    def threads() -> None:
        with isolated(None):
            pass

    return {
        "whole": lambda: vae.transform(row),
        "validate": lambda: vae._check_new_rows(row),
        "threads": threads,
        "means": lambda: vae._fitted_model.inference.means(row),
        "observe": lambda: in_numpy.observe(row),
        "torch's module": torch.inference_mode()(lambda: model.embed(tensor)),
    }


def run(args) -> pd.DataFrame:
    """Time all calls, in turns."""
    results = common.Results(args.output, args.resume)
    for name in args.sets:
        case, rows = CASES[name], CASES[name].rows()[: 2000 if args.quick else None]
        all_functions = fit_all(rows, case)
        vae = TRAINERS[OURS](rows[:N_FIT_ROWS], case.size, 1, 1)
        for dtype in args.dtypes:
            X = rows.astype(dtype)
            functions = {key: function(X.dtype) for key, function in all_functions.items()}
            for turn in range(args.turns + 1):
                for part in args.parts:
                    timed = pieces(vae, X[:1]) if part == "pieces" else functions
                    for key, function in timed.items():
                        cell = {"set": name, "n_features": X.shape[1], "dtype": dtype, "part": part}
                        cell |= {"call": key, "turn": turn - 1}
                        if turn == 0 and part == "rows":
                            function(X)  # This untimed call triggers first-use imports.
                        elif turn > 0 and results.lacks(cell):
                            results.add(cell | measure(part, function, X, args.calls))
    return results.frame()


def measure(part: str, function: Callable, X: np.ndarray, n_calls: int) -> dict[str, float]:
    """Time one function; return a row with the columns of all parts, NaN where they do not apply."""
    empty = dict.fromkeys(("cpu_s", "wall_s", "rows_per_s", "p50_us", "p90_us"), float("nan"))
    if part == "rows":
        return empty | time_rows(function, X)
    if part == "row":
        return empty | time_row(function, X, n_calls)
    return empty | {"p50_us": float(np.median(microseconds(function, n_calls)))}


def ratios(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return each time divided by that of the default VAETransformer in the same turn."""
    turn = ["set", "dtype", "part", "turn"]
    ours = frame[frame.call.str.startswith(OURS)].set_index(turn)[column]
    return frame[column] / ours.reindex(pd.MultiIndex.from_frame(frame[turn])).to_numpy()


def report(frame: pd.DataFrame) -> None:
    """Print medians over the turns."""
    keys = ["set", "n_features", "dtype", "call"]
    for part, column in (("rows", "wall_s"), ("row", "p50_us")):
        some = frame[frame.part == part].assign(ratio=ratios(frame, column))
        groups = some.groupby(keys, sort=False)
        table = groups[["cpu_s", "rows_per_s"] if part == "rows" else ["p50_us", "p90_us"]].median()
        for of_turns in ("median", "min", "max"):
            table[f"its time / ours, {of_turns}"] = getattr(groups.ratio, of_turns)()
        title = "Many rows" if part == "rows" else "One row, microseconds"
        common.show(f"{title}; ratios below 1 are faster than VAETransformer with its defaults", table)
    times = frame[frame.part == "pieces"].pivot_table("p50_us", keys[:3], "call", "median", sort=False)
    if len(times):
        times["layers"] = times["means"] - times["observe"]
        times["rest"] = times["whole"] - times[["validate", "threads", "means"]].sum(axis=1)
        common.show("One row of VAETransformer with its defaults: its pieces, microseconds", times, 1)


def main() -> None:
    """Time the parts and print a table for each."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--parts", nargs="+", default=["rows", "row", "pieces"], choices=["rows", "row", "pieces"])
    parser.add_argument("--sets", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--dtypes", nargs="+", default=["float32", "float64"], choices=["float32", "float64"])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--calls", type=int, default=400, help="number of calls with one row, per turn")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.turns, args.calls = 2, 20
    common.one_thread()
    report(run(args))


if __name__ == "__main__":
    main()
