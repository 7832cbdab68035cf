"""Test NLL on dynamically binarised MNIST: the ELBO, importance weighting, the VampPrior and linear maps.

The network is that of Burda, Grosse and Salakhutdinov (2016), 784-200-200-50, with SiLU. Test rows are binarised once.
The NLL is estimated by importance sampling. Training uses partial_fit for each epoch, and an interrupted run resumes
from its last checkpoint.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import process_time

import common
import joblib
import numpy as np

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Bernoulli
from sklearn_vae.networks import MLP
from sklearn_vae.objectives import IWAE
from sklearn_vae.priors import VampPrior

MODELS = {
    "VAE": {},
    "IWAE": {"objective": IWAE(5)},
    "VampPrior": {"prior": VampPrior(200)},
    "VAE + linear maps": {"init": "ppca"},
}
# Published test NLL in nats with 5000 importance samples, for one stochastic layer and the same layer widths.
PUBLISHED = {"VAE": "Burda 2016 86.76", "IWAE": "Burda 2016, 5 samples, 85.54"}
BATCH_SIZE = 200
BLOCK = 1000  # number of test rows scored at a time
SEED_OF_TEST_ROWS = 0


def warm_up(step: int, n_steps: int) -> float:
    """Return the weight of the KL term, which rises linearly to 1 over `n_steps` steps."""
    return min(1.0, (step + 1) / max(1, n_steps))


def learning_rate(epoch: int, args) -> float:
    """Return the learning rate: constant, then linearly decreasing to 0 over the last `args.decay` of the epochs."""
    left = (args.epochs - epoch) / (args.decay * args.epochs)
    return args.learning_rate * min(1.0, left)


def new_model(name: str, seed: int, n_steps_per_epoch: int, args) -> VAETransformer:
    """Return one of the models, unfitted."""
    network = MLP(args.activation, args.activation, principal_coordinates=None, initializer="glorot")
    params = {
        "hidden_layer_sizes": (200, 200),
        "likelihood": Bernoulli(dynamic_binarization=True),
        "network": network,
        "init": "random",
        "batch_size": BATCH_SIZE,
        "beta": partial(warm_up, n_steps=round(args.warm_up * args.epochs * n_steps_per_epoch)),
        "averaging": args.averaging,
        "input_noise": 0.0,
        "alpha": 0.0,
        "random_state": seed,
    }
    return VAETransformer(args.components, **{**params, **MODELS[name], **args.params})


def train(name: str, seed: int, X: np.ndarray, args) -> dict:
    """Train from the last checkpoint, if any; return the model, its number of epochs and its CPU seconds."""
    path = args.checkpoints and args.checkpoints / f"{name.replace(' ', '')}-{args.epochs}-{seed}.joblib"
    if path and path.exists():
        state = joblib.load(path)
    else:
        state = {"model": new_model(name, seed, -(-len(X) // BATCH_SIZE), args), "epochs": 0, "cpu_s": 0.0}
    while state["epochs"] < args.epochs:
        start = process_time()
        state["model"].set_params(learning_rate_init=learning_rate(state["epochs"], args)).partial_fit(X)
        state["epochs"] += 1
        state["cpu_s"] += process_time() - start
        if state["epochs"] % args.save_every == 0 or state["epochs"] == args.epochs:
            print(f"{name}: epoch {state['epochs']}, {state['cpu_s']:.0f} s, loss {state['model'].loss_curve_[-1]:.3f}")
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                joblib.dump(state, path)
    return state


def binarised(X: np.ndarray) -> np.ndarray:
    """Binarise each pixel to 0 or 255 at random, with its brightness as the probability of 255."""
    draws = np.random.default_rng(SEED_OF_TEST_ROWS).integers(0, 255, X.shape, dtype=np.uint8)
    return np.where(draws < X, 255, 0).astype(np.uint8)


def test(model: VAETransformer, X: np.ndarray, n_draws: int) -> np.ndarray:
    """Return log p(x) of the rows, computed in blocks."""
    model.set_params(n_draws=n_draws)
    return np.concatenate([model.score_samples(X[i : i + BLOCK]) for i in range(0, len(X), BLOCK)])


def main() -> None:
    """Train, test and print the table."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--models", nargs="+", default=["VAE"], choices=list(MODELS))
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--components", type=int, default=50)
    parser.add_argument("--activation", default="silu")
    parser.add_argument("--learning-rate", type=float, default=2.5e-3, help="maximum learning rate")
    parser.add_argument(
        "--decay", type=float, default=0.9, help="fraction of the epochs over which the learning rate falls to 0"
    )
    parser.add_argument(
        "--warm-up", type=float, default=0.1, help="fraction of the epochs over which the KL weight rises to 1"
    )
    parser.add_argument("--averaging", type=float, default=0.999)
    parser.add_argument("--draws", type=int, default=5000, help="number of importance samples")
    parser.add_argument("--rows", type=int, default=60_000, help="number of training rows")
    parser.add_argument("--test-rows", type=int, default=10_000)
    parser.add_argument("--checkpoints", type=Path, help="folder of checkpoints to write and to resume from")
    parser.add_argument("--save-every", type=int, default=10, help="number of epochs between checkpoints")
    args = common.parse(parser)
    if args.quick:
        args.models, args.epochs, args.draws, args.rows, args.test_rows = list(MODELS), 2, 20, 2000, 200
    common.one_thread()
    X_train, X_test, _, _ = common.load_mnist()
    X_test = binarised(X_test[: args.test_rows])
    results = common.Results(args.output, args.resume)
    for name in args.models:
        for seed in args.seeds:
            cell = {"model": name, "epochs": args.epochs, "seed": seed}
            if not results.lacks(cell):
                continue
            state = train(name, seed, X_train[: args.rows], args)
            start, log_p = process_time(), test(state["model"], X_test, args.draws)
            row = {
                "cpu_s": state["cpu_s"],
                "draws": args.draws,
                "nll": -log_p.mean(),
                "nll_1": -test(state["model"], X_test, 1).mean(),
            }
            row |= {"standard_error": log_p.std() / len(log_p) ** 0.5, "test_cpu_s": process_time() - start}
            results.add(cell | row | {"active": int((state["model"].kl_per_component_ > 0.01).sum())})
    frame = results.frame()
    frame["published"] = frame["model"].map(PUBLISHED).fillna("")
    common.show("Test NLL in nats, dynamically binarised MNIST", frame.drop(columns="draws"), 3)


if __name__ == "__main__":
    main()
