"""Convolutional networks against the MLP on MNIST: test ELBO, accuracy of the latents, and cost against a lower bound.

Both networks train on all rows for the same number of epochs, in one thread. The lower bound on the cost is the time
for the fit's floating-point operations at this machine's peak speed: that of large matrix products for dense layers,
and that of convolutions for convolutional layers. The test ELBO uses the noise scale of the training rows.
LogisticRegression is trained on standardised latents, and nearest neighbours on latents with ``whiten=False``, as in
cost.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import process_time

import common
import numpy as np
import torch
from cost import logistic, timed_fit
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sklearn_vae import VAETransformer
from sklearn_vae._data.rows import EVALUATION_BATCH, DenseRows, Rows
from sklearn_vae._model.vae import VAE

NETWORKS = ["mlp", "conv"]
EPOCHS = 15  # number of epochs, equal to 3525 steps


@torch.no_grad()
def elbo(model: VAE, rows: Rows) -> float:
    """Return the mean ELBO in nats per row, with the model's own noise scale."""
    generator = torch.Generator().manual_seed(0)
    losses = [model(batch["x"], 1.0, generator).loss for batch in rows.batches(EVALUATION_BATCH)]
    return -float(torch.cat(losses).double().mean())


def rate(function: Callable[[], object], flop: float) -> float:
    """Return FLOP per CPU second, for the fastest of several calls."""
    seconds = []
    for _ in range(20):
        start = process_time()
        function()
        seconds.append(process_time() - start)
    return flop / min(seconds)


@cache
@torch.inference_mode()
def rates() -> dict[str, float]:
    """Return the machine's FLOP per CPU second in matrix products and in convolutions."""
    x = torch.randn(1024, 1024)
    images = torch.randn(64, 64, 14, 14).contiguous(memory_format=torch.channels_last)
    layer = nn.Conv2d(64, 64, 3, padding=1)
    n_conv = 2 * images.numel() * 64 * 9
    return {"gemm": rate(lambda: x @ x, 2 * 1024**3), "conv": rate(lambda: layer(images), n_conv)}


def flop_per_step(vae: VAETransformer, X: np.ndarray) -> dict[str, float]:
    """Count a training step's floating-point operations in matrix products and in convolutions."""
    model, x = vae.module_.train(), torch.from_numpy(X)
    with FlopCounterMode(display=False) as counter:
        model(x, 1.0, torch.Generator().manual_seed(0)).loss.mean().backward()
    model.eval()
    counts = {str(op): n for op, n in counter.get_flop_counts()["Global"].items()}
    n_conv = sum(n for op, n in counts.items() if "convolution" in op)
    return {"gemm": sum(counts.values()) - n_conv, "conv": n_conv}


def measure(network: str, n_components: int, seed: int, data: common.Split, args) -> dict:
    """Fit one model and evaluate it on the test rows."""
    params = {"n_components": n_components, "network": network, "random_state": seed, "max_iter": args.epochs}
    vae = VAETransformer(**{**params, "early_stopping": False, **args.params})
    row = {"network": network, "n_components": n_components, "seed": seed, "epochs": args.epochs}
    row |= timed_fit(vae, data.X_train)
    batch = data.X_train[: len(data.X_train) * args.epochs // vae.n_steps_]
    flop = {kind: n * vae.n_steps_ for kind, n in flop_per_step(vae, batch).items()}
    row["floor_s"] = sum(flop[kind] / rates()[kind] for kind in flop)
    row |= {f"{kind}_tflop": n / 1e12 for kind, n in flop.items()}
    row["elbo"] = elbo(vae.module_, DenseRows(torch.from_numpy(data.X_test)))
    Z_train, Z_test = vae.transform(data.X_train), vae.transform(data.X_test)
    row["logistic"] = logistic(Z_train, Z_test, data.y_train, data.y_test)
    for k in (1, 5):
        row[f"knn{k}"] = KNeighborsClassifier(k).fit(Z_train, data.y_train).score(Z_test, data.y_test)
    return row


def main() -> None:
    """Run every network with every number of components and print the table."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--networks", nargs="+", default=NETWORKS, choices=NETWORKS)
    parser.add_argument("--components", nargs="+", type=int, default=[2, 16, 64])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument(
        "--held-out", type=int, default=0, help="evaluate on this number of held-out training rows instead"
    )
    args = common.parse(parser)
    if args.quick:
        args.rows, args.epochs, args.components = 2000, 1, [2]
    common.one_thread()
    data = common.split("mnist", 0, args.rows, 10_000)
    if args.held_out:
        kept, held_out = np.split(np.random.RandomState(0).permutation(len(data.X_train)), [-args.held_out])
        X, y = data.X_train, data.y_train
        data = common.Split(X[kept], X[held_out], y[kept], y[held_out])
    results = common.Results(args.output, args.resume)
    for n_components in args.components:
        for seed in range(args.seeds):
            for network in args.networks:
                cell = {"network": network, "n_components": n_components, "seed": seed, "epochs": args.epochs}
                cell["params"] = args.params_text or "default"
                if results.lacks(cell):
                    results.add(cell | measure(network, n_components, seed, data, args))
    frame = results.frame()
    numbers = frame.drop(columns="seed").groupby(["n_components", "params", "epochs", "network"], sort=False)
    speeds = ", ".join(f"{kind} {speed / 1e9:.0f} GFLOP/s" for kind, speed in rates().items())
    common.show(f"MNIST, {len(data.X_train)} rows, test rows judged, means over seeds; {speeds}", numbers.mean(), 4)


if __name__ == "__main__":
    main()
