"""CPU seconds of one training epoch, compared with a hand-written torch loop for the same layers.

All runs use one thread. The two loops alternate, and ratios are medians over the turns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from time import process_time

import common
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from sklearn_vae import VAETransformer
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import TransformerRules

# The default network on principal coordinates with linear maps, networks on all columns without linear maps, and a
# convolutional network.
NETWORKS = {"default": {}, "networks alone": {"init": "random"}, "conv": {"network": "conv"}}
LEARNING_RATE = 1e-3


def take_turns(functions: dict[str, Callable[[], object]], repeats: int) -> pd.DataFrame:
    """Return CPU seconds of each function, one row per turn, after a warm-up turn."""
    turns = []
    for _ in range(repeats + 1):
        seconds = {}
        for name, function in functions.items():
            start = process_time()
            function()
            seconds[name] = process_time() - start
        turns.append(seconds)
    return pd.DataFrame(turns[1:])


class ByHand:
    """A hand-written torch VAE with the layers of `model`."""

    def __init__(self, model: VAE):
        model = copy.deepcopy(model)
        self.encoder, self.encoder_head = model.encoder, model.encoder_head
        self.decoder, self.linear = model.decoder, model.linear
        self.center, self.unit = model.likelihood.center.float(), model.likelihood.unit.float()
        self.axes = model.likelihood.axes
        layers = [self.encoder, self.encoder_head, self.decoder] + ([] if self.linear is None else [self.linear])
        self.parameters = [p for layer in layers for p in layer.parameters()]
        self.average = [p.detach().clone() for p in self.parameters]
        self.optimizer = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, fused=True)

    def inputs(self, x: Tensor) -> Tensor:
        """Standardise; return the principal coordinates and the norm of the residual."""
        y = (x - self.center) / self.unit
        if self.axes is None:
            return y
        coordinates = y @ self.axes
        rest = y.square().sum(1, keepdim=True) - coordinates.square().sum(1, keepdim=True)
        return torch.cat([coordinates, rest.clamp_min(0).sqrt()], 1)

    def encode(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the posterior means and log-scales."""
        if self.linear is None:
            return self.encoder_head(self.encoder(y)).chunk(2, 1)
        loc, log_scale = self.encoder_head(self.encoder(y / self.linear.spread)).chunk(2, 1)
        return loc + self.linear.encoder(y), log_scale + self.linear.log_scale

    def loss(self, x: Tensor) -> Tensor:
        """Return the negative ELBO with the optimal noise scale, up to a constant."""
        y = self.inputs(x)
        loc, log_scale = self.encode(y)
        scale = log_scale.exp()
        z = loc + scale * torch.randn_like(loc)
        decoded = self.decoder(z)
        if self.linear is not None:
            decoded = decoded + self.linear.decoder(z)
        square = (y[:, : decoded.shape[1]] - decoded).square().sum()
        if self.axes is not None:
            square = square + y[:, -1].square().sum()
        kl = 0.5 * (loc.square() + scale.square() - 1).sum(1) - log_scale.sum(1)
        return 0.5 * x.shape[1] * (square / x.numel()).log() + kl.mean()

    def run_epoch(self, x: Tensor, batch_size: int, decay: float) -> float:
        """Pass over the rows once in random order. Average the weights unless `decay` is 0."""
        total = 0.0
        for index in torch.randperm(len(x)).split(batch_size):
            loss = self.loss(x.index_select(0, index))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            if decay:
                with torch.no_grad():
                    torch._foreach_lerp_(self.average, self.parameters, 1 - decay)
            total += loss.item()
        return total


def epochs(X: np.ndarray, args) -> pd.DataFrame:
    """Time an epoch of the Trainer and of the hand-written loop."""
    rows = []
    for network in args.networks:
        options = NETWORKS[network]
        for averaging in (0.998, 0.0):
            params = {"n_components": args.components, "random_state": 0, "learning_rate_init": LEARNING_RATE}
            params |= {"input_noise": 0.0, "averaging": averaging, **options, **args.params}
            vae = VAETransformer(**params)
            data = vae._rows(X, None)
            procedure = vae._procedure(data, TransformerRules(len(data)), Progress(vae))
            model = procedure.start(data)
            by_hand, trainer = (
                ByHand(model),
                procedure.trainer(model, data.device, procedure.n_steps(data, args.repeats)),
            )
            batch_size = procedure.recipe.batch_size
            functions = {
                "package": lambda trainer=trainer, data=data: trainer.run_epoch(data),
                "by hand": lambda by_hand=by_hand, data=data, batch_size=batch_size, averaging=averaging: (
                    by_hand.run_epoch(torch.from_numpy(X), batch_size, averaging)
                ),
            }
            seconds = take_turns(functions, args.repeats)
            ratios = seconds["package"] / seconds["by hand"]
            row = {"network": network, "averaging": averaging, "batch_size": batch_size}
            row |= seconds.median().add_suffix(" CPU s").to_dict()
            rows.append(row | {"ratio": ratios.median(), "lowest": ratios.min(), "highest": ratios.max()})
    return pd.DataFrame(rows)


def main() -> None:
    """Time the epochs and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--data", choices=["random", "mnist"], default="random")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--components", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    args = common.parse(parser)
    if args.quick:
        args.rows, args.repeats = 1000, 2
    common.one_thread()
    if args.data == "mnist":
        X = common.split("mnist", 0, args.rows).X_train
    else:
        X = np.random.default_rng(0).standard_normal((args.rows, 784), dtype=np.float32)
    results = epochs(X, args)
    common.show(f"An epoch on {X.shape[0]} x {X.shape[1]}", results)
    common.save(results, args.output)


if __name__ == "__main__":
    main()
