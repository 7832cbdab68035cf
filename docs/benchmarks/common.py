"""Shared code of the benchmark scripts: data sets, splits, timing, options and results."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import sklearn
import torch
from joblib import Parallel, parallel_config
from sklearn import datasets
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import sklearn_vae
from sklearn_vae import VAETransformer, likelihoods, networks, objectives

MNIST_VARIABLE = "SKLEARN_VAE_MNIST"
N_ROWS = 2000  # number of rows of the synthetic sets
N_BINS = 15  # number of bins of the calibration error
N_RESAMPLES = 10_000  # number of bootstrap resamples over sets
MIN_PROBABILITY = 1e-12  # floor for probabilities in the negative log-likelihood of labels


class Split(NamedTuple):
    """Training and test rows."""

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


def diabetes() -> tuple[np.ndarray, np.ndarray]:
    """Return the diabetes set, with the terciles of disease progression as classes."""
    X, y = datasets.load_diabetes(return_X_y=True)
    return X, np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))


def in_columns(X: np.ndarray, n_columns: int, noise: float, rng: np.random.RandomState) -> np.ndarray:
    """Apply a random linear map to `n_columns` columns, and add noise relative to their standard deviation."""
    X = X @ rng.normal(size=(X.shape[1], n_columns)) / np.sqrt(X.shape[1])
    return X + noise * X.std() * rng.normal(size=X.shape)


def curve(make: Callable, width_column: int) -> tuple[np.ndarray, np.ndarray]:
    """Embed a curved sheet in 15 columns; classes are 4 bins along the curve times 2 across the sheet."""
    X, t = make(N_ROWS, random_state=0)
    along = np.digitize(t, np.quantile(t, [0.25, 0.5, 0.75]))
    across = X[:, width_column] > np.median(X[:, width_column])
    return in_columns(X, 15, 0.05, np.random.RandomState(0)), 2 * along + across


def tanh_manifold(n_latents: int = 3, n_columns: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Map normal latents through a random tanh network; classes are the octants of the first 3 latents."""
    rng = np.random.RandomState(0)
    z = rng.normal(size=(N_ROWS, n_latents))
    hidden = np.tanh(z @ rng.normal(size=(n_latents, 50)) + rng.normal(size=50))
    return in_columns(hidden, n_columns, 0.1, rng), (z[:, :3] > 0) @ [1, 2, 4]


def patches() -> tuple[np.ndarray, np.ndarray]:
    """Cut scikit-learn's two photographs into disjoint grey patches of 8 x 8 pixels; the class is the photograph."""
    rng = np.random.RandomState(0)
    X = []
    for image in datasets.load_sample_images().images:
        grey = image.mean(-1) / 255
        height, width = (size // 8 for size in grey.shape)
        blocks = grey[: 8 * height, : 8 * width].reshape(height, 8, width, 8).swapaxes(1, 2).reshape(-1, 64)
        X.append(blocks[rng.permutation(len(blocks))[: N_ROWS // 2]])
    return np.concatenate(X), np.repeat([0, 1], N_ROWS // 2)


DATA_SETS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "diabetes": diabetes,
    "swiss_roll": lambda: curve(datasets.make_swiss_roll, 1),
    "s_curve": lambda: curve(datasets.make_s_curve, 1),
    "tanh": tanh_manifold,
    "tanh_wide": lambda: tanh_manifold(8, 60),
    "blobs": lambda: datasets.make_blobs(N_ROWS, 20, centers=8, cluster_std=8.0, random_state=0),
    "classification": lambda: datasets.make_classification(
        1000, 20, n_informative=6, n_redundant=4, n_classes=4, random_state=0
    ),
    "patches": patches,
    "moons": lambda: datasets.make_moons(1000, noise=0.25, random_state=0),
    "circles": lambda: datasets.make_circles(1000, noise=0.12, factor=0.5, random_state=0),
    "overlap": lambda: datasets.make_blobs(1000, 10, centers=5, cluster_std=5.8, random_state=0),
    "classification_wide": lambda: datasets.make_classification(1000, 100, n_informative=20, random_state=0),
}
STANDARDISED = {"wine", "breast_cancer", "iris", "diabetes"}


@cache
def load_mnist() -> Split:
    """Load MNIST as unsigned bytes, (60000, 784) and (10000, 784), from a file or from OpenML."""
    path = os.environ.get(MNIST_VARIABLE)
    if path:
        with np.load(path) as file:
            X_train, X_test = (file[name].reshape(-1, 784) for name in ("X_train", "X_test"))
            return Split(X_train, X_test, file["y_train"], file["y_test"])
    X, y = datasets.fetch_openml("mnist_784", return_X_y=True, as_frame=False)
    X, y = X.astype(np.uint8), y.astype(np.uint8)
    return Split(X[:60000], X[60000:], y[:60000], y[60000:])


def split_mnist(seed: int, n_train: int, n_test: int) -> Split:
    """Draw stratified rows of MNIST's training and test sets, as float32 in [0, 1]."""
    X_train, X_test, y_train, y_test = load_mnist()

    def draw(X: np.ndarray, y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        if n < len(X):
            X, _, y, _ = train_test_split(X, y, train_size=n, stratify=y, random_state=seed)
        return X.astype(np.float32) / np.float32(255), y

    (X_train, y_train), (X_test, y_test) = draw(X_train, y_train, n_train), draw(X_test, y_test, n_test)
    return Split(X_train, X_test, y_train, y_test)


def split(name: str, seed: int, n_train: int = 10_000, n_test: int = 5_000) -> Split:
    """Return a stratified split with 30% test rows; `n_train` and `n_test` apply to MNIST only."""
    if name == "mnist":
        return split_mnist(seed, n_train, n_test)
    X, y = DATA_SETS[name]()
    parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    if name in STANDARDISED:
        scaler = StandardScaler().fit(parts[0])
        parts[:2] = scaler.transform(parts[0]), scaler.transform(parts[1])
    return Split(*parts)


def hide_labels(y: np.ndarray, share: Callable[[int], float], seed: int) -> np.ndarray:
    """Keep `share(n_rows_of_class)` random labels of each class, at least one; replace the others by -1."""
    rng, partial = np.random.RandomState(seed), np.full(len(y), -1)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        partial[rows[: max(1, round(share(len(rows))))]] = label
    return partial


def judge(p: np.ndarray, codes: np.ndarray) -> dict[str, float]:
    """Return measures of class probabilities (n_rows, n_classes); the Brier score is summed over classes."""
    guess = p.argmax(1)
    truth = np.eye(p.shape[1])[codes]
    return {
        "accuracy": float(np.mean(guess == codes)),
        "balanced": float(balanced_accuracy_score(codes, guess)),
        "nll": float(-np.log(p[np.arange(len(p)), codes].clip(MIN_PROBABILITY)).mean()),
        "brier": float(np.square(p - truth).sum(1).mean()),
        "ece": calibration_error(p.max(1), guess == codes),
    }


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the expected calibration error over `N_BINS` bins of equal width (Guo et al. 2017)."""
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    return float(np.abs(np.bincount(bins, confidence - correct)).sum() / len(confidence))


def mean_interval(values: pd.Series) -> list[float]:
    """Return the mean over sets and its 95% interval, from a bootstrap over sets."""
    values = values.dropna().to_numpy()
    if not len(values):
        return [np.nan] * 3
    draws = np.random.RandomState(0).choice(values, (N_RESAMPLES, len(values))).mean(1)
    return [values.mean(), *np.quantile(draws, [0.025, 0.975])]


class Clock:
    """CPU seconds of this process spent inside `running`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Add the CPU seconds of the with block."""
        start = process_time()
        yield
        self.seconds += process_time() - start


@cache
def one_thread() -> None:
    """Use one thread, and trigger the first-use imports of torch and skorch; once per process."""
    threadpool_limits(1)
    torch.set_num_threads(1)
    VAETransformer(2, max_iter=1).fit(np.random.RandomState(0).normal(size=(200, 10)))


def in_fresh_process(function: Callable, *args) -> Any:
    """Call a function of a script in a new process, so that its memory peak is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def resident(field: str) -> int:
    """Return this process's resident memory in bytes, now (VmRSS) or at its peak (VmHWM); Linux only."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"expected a line {field} in /proc/self/status, got none")


def parameters(text: str) -> dict:
    """Parse "beta=0.5,network=MLP(activation='relu')" into keyword arguments."""
    names = {name: vars(family)[name] for family in (likelihoods, networks, objectives) for name in family.__all__}
    return eval(f"dict({text})", names)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all scripts share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, help="CSV file to write the results to")
    parser.add_argument("--mnist", help=f"MNIST as .npz file; default: ${MNIST_VARIABLE}, else download from OpenML")
    parser.add_argument("--params", default="", help="parameters of the estimator, for example 'beta=0.5,alpha=0'")
    parser.add_argument(
        "--quick", action="store_true", help="tiny settings to test the script; figures are meaningless"
    )
    return parser


def add_results_options(parser: argparse.ArgumentParser, peers: bool = True) -> None:
    """Add the options of scripts that write each row as soon as it is computed."""
    parser.add_argument("--resume", action="store_true", help="keep the rows of --output and run only the missing ones")
    if peers:
        parser.add_argument(
            "--peers", action=argparse.BooleanOptionalAction, default=True, help="run other classifiers too"
        )


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; `params` becomes a dict, and `params_text` keeps the original text."""
    args = parser.parse_args()
    args.params_text, args.params = args.params, parameters(args.params)
    if args.mnist:
        os.environ[MNIST_VARIABLE] = args.mnist
    pd.options.display.width = 200
    pd.options.display.max_rows = pd.options.display.max_columns = None
    return args


def machine() -> str:
    """Return a one-line description of the machine and the package versions."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = [f"sklearn_vae {sklearn_vae.__version__}", f"torch {torch.__version__}"]
    versions += [
        f"scikit-learn {sklearn.__version__}",
        f"numpy {np.__version__}",
        f"Python {platform.python_version()}",
    ]
    load = f"load {os.getloadavg()[0]:.2f}, " if hasattr(os, "getloadavg") else ""
    return f"{cpu}, {os.cpu_count()} cores, {load}{', '.join(versions)}"


def show(title: str, table: pd.DataFrame, decimals: int = 3) -> None:
    """Print a table, or "none" if it has no rows."""
    print(f"\n{title}")
    print(table.round(decimals).to_string() if len(table) else "  none")


def add_models_option(parser: argparse.ArgumentParser) -> None:
    """Add the option to share fitted models between scripts."""
    parser.add_argument(
        "--models", type=Path, help="folder of fitted models, which few_labels.py writes and other scripts read"
    )


def keep_model(model, folder: Path | None, labels: str, seed: int) -> None:
    """Write a model fitted to MNIST to the folder, if one is given."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        joblib.dump(model, folder / f"{labels}-{seed}.joblib")


def kept_model(folder: Path | None, labels: str, seed: int):
    """Return the model that `keep_model` wrote, or None."""
    path = folder and folder / f"{labels}-{seed}.joblib"
    return joblib.load(path) if path and path.exists() else None


@cache
def commit() -> str:
    """Return the commit of the repository, and whether Python files differ from it."""
    git = partial(subprocess.run, cwd=Path(__file__).parent, check=True, capture_output=True, text=True)
    try:
        name = git(["git", "rev-parse", "--short", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no", ":(top)*.py"]).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown commit"
    return f"commit {name}" + (", with changes" if changed else "")


def provenance() -> str:
    """Return CSV comments with the machine, the commit and the command, without the folders of one machine."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return f"# {machine()}\n# {commit()}: {shlex.join([Path(sys.argv[0]).name, *words])}\n"


def save(frame: pd.DataFrame, output: Path | None) -> None:
    """Print the machine, and write the results below comments on machine, commit and command."""
    print(f"\n{machine()}")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w") as file:
            file.write(provenance())
            frame.to_csv(file, index=False, float_format="%.6g")
        print(f"wrote {output}")


class Results:
    """Rows of results, printed and written to a CSV file one by one, so that an interrupted run loses none.

    A resumed run starts with the rows of the file.
    """

    def __init__(self, output: Path | None, resume: bool) -> None:
        self.output = output
        self.rows: list[dict] = []
        if resume and output is not None and output.exists():
            self.rows = pd.read_csv(output, comment="#").to_dict("records")
            with output.open("a") as file:
                file.write(provenance())

    def lacks(self, cell: dict) -> bool:
        """Return whether no row has these values."""
        return not any(all(str(row[key]) == str(value) for key, value in cell.items()) for row in self.rows)

    def add(self, row: dict) -> None:
        """Append a row, print it, and write it to the file."""
        is_first = not self.rows
        self.rows.append(row)
        numbers = (f"{key} {value:.4g}" if isinstance(value, float) else f"{value}" for key, value in row.items())
        print("  ".join(numbers), file=sys.stderr)
        if self.output is not None:
            self.output.parent.mkdir(parents=True, exist_ok=True)
            with self.output.open("w" if is_first else "a") as file:
                file.write(provenance() if is_first else "")
                pd.DataFrame([row]).to_csv(file, header=is_first, index=False, float_format="%.6g")

    def add_all(self, tasks: Iterable, n_jobs: int) -> None:
        """Run `joblib.delayed` tasks in single-threaded processes, and append the rows that they return."""
        with parallel_config("loky", inner_max_num_threads=1):
            for rows in Parallel(n_jobs, return_as="generator_unordered")(tasks):
                for row in rows:
                    self.add(row)

    def drop(self, chosen: Callable[[dict], bool]) -> None:
        """Remove rows, also from the file, which keeps its comments."""
        self.rows = [row for row in self.rows if not chosen(row)]
        if self.output is not None and self.output.exists():
            comments = [line for line in self.output.read_text().splitlines(True) if line.startswith("#")]
            with self.output.open("w") as file:
                file.writelines(comments)
                if self.rows:
                    pd.DataFrame(self.rows).to_csv(file, index=False, float_format="%.6g")

    def frame(self) -> pd.DataFrame:
        """Print the machine; return all rows."""
        print(f"\n{machine()}")
        return pd.DataFrame(self.rows)
