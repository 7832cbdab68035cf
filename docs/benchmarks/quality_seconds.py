"""CPU seconds that VAETransformer needs to reach the final quality of other VAEs: test ELBO and latents' accuracy.

Rows are centred and divided by one number, the square root of the columns' mean variance; wine, breast_cancer, iris and
diabetes are first standardised. If a peer scales its rows itself, its reconstructions are scaled back. The ELBO uses
each model's own posterior and 4 draws. Its noise variance is common to all columns and optimal for reconstructions of
the training rows, so that models trained with unit variance have no disadvantage. Accuracy is the mean of
LogisticRegression and kNN(5) on posterior means.

Peers train for their own number of epochs. The strongest peer instead stops at the epoch with the best test ELBO. The
default VAETransformer trains epoch by epoch until it reaches the final quality of every peer. A quality counts as
reached if it holds for three epochs. Only training is timed, including the initial probabilistic PCA. "fit" is a
complete default fit, with early stopping.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import common
import numpy as np
import pandas as pd
import torch
from fitted_vaes import Fitted, of_net, of_ours, of_pyod, of_pythae, of_textbook
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from textbook_vae import Size, TextbookVAE, optimal_scale_loss, tutorial, tutorial_epochs
from torch import Tensor
from vae_peers import Train, fit_pyod, fit_pythae, pyod, pythae, skorch

from sklearn_vae import VAETransformer
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import TransformerRules

SETS = ["wine", "iris", "breast_cancer", "diabetes", "digits", "patches", "tanh_wide", "mnist"]
COMPONENTS = [2, 8, 32]
TARGET = 5  # target ratio of a peer's CPU seconds to ours
N_DRAWS = 4  # posterior draws per row for the ELBO
IN_A_ROW = 3  # number of consecutive epochs for which a quality must hold
BATCH_SIZE = 128
PATIENCE = 1000  # number of steps without a better test ELBO after which the strongest peer stops
Quality = dict[str, float]


class Cell(NamedTuple):
    """Scaled rows, layer sizes and a seed."""

    data: common.Split
    size: Size
    seed: int


@torch.no_grad()
def squared_error_and_kl(fitted: Fitted, x: Tensor) -> tuple[float, float]:
    """Return the mean squared error and KL per row, with the same noise at each call."""
    mu, log_variance = fitted.posterior(x)
    kl = 0.5 * (mu.square() + log_variance.exp() - log_variance - 1).sum(1).double().mean()
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    for _ in range(N_DRAWS):
        z = mu + (0.5 * log_variance).exp() * torch.randn(mu.shape, generator=generator)
        total += float((fitted.decode(z) - x).square().sum(1).double().mean())
    return total / N_DRAWS, float(kl)


def test_elbo(fitted: Fitted, data: common.Split) -> float:
    """Return the mean test ELBO, with the noise variance that is optimal for training reconstructions."""
    n_features = data.X_train.shape[1]
    variance = squared_error_and_kl(fitted, torch.from_numpy(data.X_train))[0] / n_features
    error, kl = squared_error_and_kl(fitted, torch.from_numpy(data.X_test))
    return -0.5 * (n_features * math.log(2 * math.pi * variance) + error / variance) - kl


@torch.no_grad()
def accuracy(fitted: Fitted, data: common.Split) -> float:
    """Return the mean test accuracy of two classifiers on posterior means."""
    Z_train, Z_test = (fitted.posterior(torch.from_numpy(X))[0].numpy() for X in data[:2])
    models = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)), KNeighborsClassifier(5)
    return float(np.mean([model.fit(Z_train, data.y_train).score(Z_test, data.y_test) for model in models]))


def quality(fitted: Fitted, data: common.Split) -> Quality:
    """Return the test ELBO and accuracy of a fitted model."""
    return {"elbo": test_elbo(fitted, data), "accuracy": accuracy(fitted, data)}


def pythae_defaults(X: np.ndarray, size: Size, n_epochs: int | None) -> Fitted:
    """Train pythae's VAE with its own networks, on columns scaled to the range of their output, (0, 1)."""
    scaler = MinMaxScaler().fit(X)
    low, scale = (torch.from_numpy(a.astype(np.float32)) for a in (scaler.min_, scaler.scale_))
    options = {} if n_epochs is None else {"num_epochs": n_epochs}
    fitted = of_pythae(fit_pythae(scaler.transform(X).astype(np.float32), size.n_components, **options))
    return Fitted(lambda x: fitted.posterior(x * scale + low), lambda z: (fitted.decode(z) - low) / scale)


def pyod_defaults(X: np.ndarray, size: Size, n_epochs: int | None) -> Fitted:
    """Train PyOD's VAE with its own networks."""
    return of_pyod(fit_pyod(X, size.n_components, **({} if n_epochs is None else {"epoch_num": n_epochs})))


def same_layers(train: Train, of: Callable[[Any], Fitted], X: np.ndarray, size: Size, n_epochs: int | None) -> Fitted:
    """Train for 50 epochs, as in tutorials, or for `n_epochs` if that is fewer."""
    return of(train(X, size, min(50, n_epochs or 50), 1))


# By default, PyOD clamps the KL term to 0, so it does not maximise an ELBO.
PEERS: dict[str, Callable[[np.ndarray, Size, int | None], Fitted]] = {
    "pythae, defaults": pythae_defaults,
    "pythae, same layers": partial(same_layers, pythae, of_pythae),
    "PyOD (no KL), defaults": pyod_defaults,
    "PyOD (no KL), same layers": partial(same_layers, pyod, of_pyod),
    "tutorial": partial(same_layers, tutorial, of_textbook),
    "tutorial in skorch": partial(same_layers, skorch, of_net),
    "tutorial, optimal scale": partial(same_layers, partial(tutorial, loss_of=optimal_scale_loss), of_textbook),
}
STRONGEST = "tutorial, optimal scale, best epoch"


def best_epoch(cell: Cell, n_steps: int) -> tuple[float, Quality]:
    """Train with the optimal scale; return the CPU seconds up to the best epoch by test ELBO, and its quality."""
    data, clock, best_seconds, best, best_step = cell.data, common.Clock(), 0.0, -math.inf, 0
    with clock.running():
        model = TextbookVAE(data.X_train.shape[1], cell.size)
        epochs = tutorial_epochs(model, data.X_train, cell.size.batch_size, optimal_scale_loss)
    kept, steps = model, math.ceil(len(data.X_train) / cell.size.batch_size)
    for step in range(steps, n_steps + steps, steps):
        with clock.running():
            next(epochs)
        elbo = test_elbo(of_textbook(model), data)
        if elbo > best:
            best_seconds, best, best_step, kept = clock.seconds, elbo, step, copy.deepcopy(model)
        elif step >= best_step + PATIENCE:
            break
    return best_seconds, quality(of_textbook(kept), data)


def run_peers(cell: Cell, args) -> dict[str, tuple[float, Quality]]:
    """Return the CPU seconds and quality of each peer."""
    results = {}
    for name, train in PEERS.items():
        torch.manual_seed(cell.seed)
        clock = common.Clock()
        with clock.running():
            fitted = train(cell.data.X_train, cell.size, args.peer_epochs)
        results[name] = clock.seconds, quality(fitted, cell.data)
    torch.manual_seed(cell.seed)
    return results | {STRONGEST: best_epoch(cell, args.max_steps)}


def train(vae: VAETransformer, data: common.Split) -> Iterator[tuple[float, Quality]]:
    """Train epoch by epoch; yield CPU seconds and quality, first those of the initial model."""
    clock = common.Clock()
    rows = vae._rows(data.X_train, None)
    with clock.running():
        procedure = vae._procedure(rows, TransformerRules(len(rows)), Progress(vae))
        n_steps = procedure.n_steps(rows, procedure.stopping.max_epochs)
        trainer = procedure.trainer(procedure.start(rows), rows.device, n_steps)
    yield clock.seconds, quality(of_ours(trainer.average), data)
    for _ in range(procedure.stopping.max_epochs):
        with clock.running():
            trainer.run_epoch(rows)
        yield clock.seconds, quality(of_ours(trainer.average), data)


def reached(curve: list[tuple[float, Quality]], measure: str, target: float) -> tuple[float, float]:
    """Return the seconds and epoch at which a curve first holds the target; infinity if it never does."""
    holds = [quality[measure] >= target for _, quality in curve]
    starts = (i for i in range(len(holds) - IN_A_ROW + 1) if all(holds[i : i + IN_A_ROW]))
    epoch = next(starts, None)
    return (math.inf, math.inf) if epoch is None else (curve[epoch][0], epoch)


def run_cell(cell: Cell, args) -> list[dict]:
    """Train all peers, then VAETransformer until it matches all of them, then run a complete fit."""
    peers = run_peers(cell, args)
    vae = VAETransformer(cell.size.n_components, random_state=cell.seed).set_params(**args.params)
    most = {measure: max(peer[measure] for _, peer in peers.values()) for measure in ("elbo", "accuracy")}
    curve = []
    for point in train(vae, cell.data):
        curve.append(point)
        if all(reached(curve, measure, target)[0] < math.inf for measure, target in most.items()):
            break
    clock = common.Clock()
    with clock.running():
        vae.fit(cell.data.X_train)
    fit = quality(of_ours(vae.module_), cell.data)
    rows = []
    for name, (peer_s, peer) in peers.items():
        for measure, target in peer.items():
            our_s, epochs = reached(curve, measure, target)
            row = {"peer": name, "measure": measure, "peer_s": peer_s, "peer_quality": target}
            row |= {"our_s": our_s, "our_epochs": epochs, "our_start_s": curve[0][0], "our_start": curve[0][1][measure]}
            row |= {"our_best": max(point[measure] for _, point in curve)}
            row |= {"our_fit_s": clock.seconds, "our_fit": fit[measure], "our_fit_epochs": vae.best_iter_}
            rows.append(row | {"ratio": peer_s / our_s, "fit_ratio": peer_s / clock.seconds})
    return rows


def make_cell(name: str, n_components: int, seed: int, args) -> Cell | None:
    """Return a scaled split, or None if there are too few columns."""
    data = common.split(name, seed, args.mnist_rows, 5_000)
    if n_components >= data.X_train.shape[1]:
        return None
    center, unit = data.X_train.mean(0), math.sqrt(data.X_train.var(0).mean())
    X_train, X_test = (((X - center) / unit).astype(np.float32) for X in data[:2])
    batch_size = min(BATCH_SIZE, len(X_train))  # PyOD drops incomplete batches
    size = Size(TransformerRules(len(X_train)).hidden_layer_sizes, n_components, batch_size)
    return Cell(common.Split(X_train, X_test, data.y_train, data.y_test), size, seed)


def run(args) -> pd.DataFrame:
    """Run all cells that are missing from the results."""
    results = common.Results(args.output, args.resume)
    rows = np.random.RandomState(0).normal(size=(200, 10)).astype(np.float32)
    for train in PEERS.values():
        train(rows, Size((8,), 2, 32), 1)  # untimed: triggers first-use imports
    for name in args.sets:
        for n_components in args.components:
            for seed in range(args.splits):
                key = {"set": name, "n_components": n_components, "split": seed}
                is_new = results.lacks(key | {"peer": STRONGEST, "measure": "accuracy"})  # a cell's last row
                cell = make_cell(name, n_components, seed, args) if is_new else None
                for row in [] if cell is None else run_cell(cell, args):
                    if results.lacks(key | {"peer": row["peer"], "measure": row["measure"]}):
                        results.add(key | row)
    return results.frame()


def report(frame: pd.DataFrame) -> None:
    """Print medians and all cells below the target ratio."""
    frame["is_fast"] = frame.ratio >= TARGET
    frame["at_start"] = frame.our_epochs == 0
    frame["fit_gain"] = frame.our_fit - frame.peer_quality
    columns = ["peer_s", "our_s", "ratio", "our_fit_s", "fit_ratio", "fit_gain"]
    for keys in (["measure", "peer"], ["measure", "n_components"], ["measure", "set"]):
        cells = frame.groupby(keys, sort=False)
        table = cells[columns].median().assign(worst=cells.ratio.min(), share_fast=cells.is_fast.mean())
        common.show(f"Medians per {' and '.join(keys)}; share_fast: of cells with a ratio of {TARGET} or more", table)
    at_start = frame.groupby("measure").at_start.mean().to_frame()
    common.show("Share of cells in which the start has the quality", at_start)
    whole = frame.groupby(["peer", "set"], sort=False).fit_ratio.agg(["min", "max"]).unstack()
    common.show("A peer's seconds over those of a whole default fit, least and most over n_components", whole)
    cells = frame.groupby(["measure", "set", "n_components", "peer"], sort=False)
    losing = cells[["ratio", *columns[:2], "peer_quality", "our_start", "our_best", "our_fit", "fit_ratio"]].median()
    # The ratio is 0 if VAETransformer never reaches the quality.
    common.show(f"Losing cells, with a median ratio below {TARGET}", losing[losing.ratio < TARGET])
    worse = losing[(losing.our_fit < losing.peer_quality)]
    common.show("Cells where a whole default fit ends below the peer's quality", worse)


def main() -> None:
    """Run the cells and print the tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=["mnist", *common.DATA_SETS], metavar="SET")
    parser.add_argument("--components", nargs="+", type=int, default=COMPONENTS)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--mnist-rows", type=int, default=10_000)
    parser.add_argument(
        "--peer-epochs", type=int, help="number of epochs of each peer; default: its own, and 50 for tutorials"
    )
    parser.add_argument("--max-steps", type=int, default=10_000, help="maximum number of steps of the strongest peer")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.sets = ["wine", "iris"] if args.sets == SETS else args.sets
        args.components, args.splits, args.mnist_rows, args.peer_epochs, args.max_steps = [2, 8], 1, 1000, 2, 20
        args.params = {"max_iter": 3, **args.params}
    common.one_thread()
    report(run(args))


if __name__ == "__main__":
    main()
