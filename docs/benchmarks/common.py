"""What the benchmark scripts share: data sets, splits, timing, options and results."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn import datasets
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import sklearn_vae
from sklearn_vae import VAETransformer, likelihoods, networks, objectives

MNIST_VARIABLE = "SKLEARN_VAE_MNIST"
N_ROWS = 2000  # of the synthetic sets


class Split(NamedTuple):
    """Training and test rows."""

    X_train: np.ndarray
    X_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


def in_columns(X: np.ndarray, n_columns: int, noise: float, rng: np.random.RandomState) -> np.ndarray:
    """Map rows linearly at random into `n_columns`, and add noise, a share of the columns' standard deviation."""
    X = X @ rng.normal(size=(X.shape[1], n_columns)) / np.sqrt(X.shape[1])
    return X + noise * X.std() * rng.normal(size=X.shape)


def curve(make: Callable, width_column: int) -> tuple[np.ndarray, np.ndarray]:
    """Embed a rolled-up sheet in 15 columns; classes are 4 bins along the curve times 2 across the sheet."""
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
    """Cut scikit-learn's two photographs into grey patches of 8 x 8, disjoint; the class is the photograph."""
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
    "swiss_roll": lambda: curve(datasets.make_swiss_roll, 1),
    "s_curve": lambda: curve(datasets.make_s_curve, 1),
    "tanh": tanh_manifold,
    "tanh_wide": lambda: tanh_manifold(8, 60),
    "blobs": lambda: datasets.make_blobs(N_ROWS, 20, centers=8, cluster_std=8.0, random_state=0),
    "classification": lambda: datasets.make_classification(
        1000, 20, n_informative=6, n_redundant=4, n_classes=4, random_state=0
    ),
    "patches": patches,
}
STANDARDISED = {"wine", "breast_cancer", "iris"}


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
    """Draw stratified rows of MNIST's training and test set, as float32 in [0, 1]."""
    X_train, X_test, y_train, y_test = load_mnist()

    def draw(X: np.ndarray, y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        if n < len(X):
            X, _, y, _ = train_test_split(X, y, train_size=n, stratify=y, random_state=seed)
        return X.astype(np.float32) / np.float32(255), y

    (X_train, y_train), (X_test, y_test) = draw(X_train, y_train, n_train), draw(X_test, y_test, n_test)
    return Split(X_train, X_test, y_train, y_test)


def split(name: str, seed: int, n_train: int = 10_000, n_test: int = 5_000) -> Split:
    """Return a stratified split of a set, 30% of the rows for the test; `n_train` and `n_test` are for MNIST."""
    if name == "mnist":
        return split_mnist(seed, n_train, n_test)
    X, y = DATA_SETS[name]()
    parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    if name in STANDARDISED:
        scaler = StandardScaler().fit(parts[0])
        parts[:2] = scaler.transform(parts[0]), scaler.transform(parts[1])
    return Split(*parts)


class Clock:
    """CPU seconds of this process that were spent inside `running`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count what happens inside."""
        start = process_time()
        yield
        self.seconds += process_time() - start


def one_thread() -> None:
    """Compute in one thread, and let torch and skorch load what they load at first use."""
    threadpool_limits(1)
    torch.set_num_threads(1)
    VAETransformer(2, max_iter=1).fit(np.random.RandomState(0).normal(size=(200, 10)))


def parameters(text: str) -> dict:
    """Parse "beta=0.5,network=MLP(activation='relu')" into keyword arguments."""
    names = {name: vars(family)[name] for family in (likelihoods, networks, objectives) for name in family.__all__}
    return eval(f"dict({text})", names)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options of every script."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--output", type=Path, help="CSV file for the results")
    parser.add_argument("--mnist", help=f"MNIST as .npz; default: ${MNIST_VARIABLE}, or else download from OpenML")
    parser.add_argument("--params", default="", help="of VAETransformer, as in 'beta=0.5,alpha=0'")
    parser.add_argument("--quick", action="store_true", help="tiny settings, to try the script; figures mean nothing")
    return parser


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parse the command line; `params` becomes a dict, and `params_text` is what was given."""
    args = parser.parse_args()
    args.params_text, args.params = args.params, parameters(args.params)
    if args.mnist:
        os.environ[MNIST_VARIABLE] = args.mnist
    pd.options.display.width = 200
    pd.options.display.max_rows = pd.options.display.max_columns = None
    return args


def machine() -> str:
    """Describe the machine and the versions in one line."""
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
    """Print a table; one without rows says so."""
    print(f"\n{title}")
    print(table.round(decimals).to_string() if len(table) else "  none")


def save(frame: pd.DataFrame, output: Path | None) -> None:
    """Print the machine; write the results, below a comment on machine and command."""
    print(f"\n{machine()}")
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        with output.open("w") as file:
            file.write(f"# {machine()}\n# {command}\n")
            frame.to_csv(file, index=False, float_format="%.6g")
        print(f"wrote {output}")
