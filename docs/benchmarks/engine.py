"""Figure 5: the engine against hand-written torch: an epoch, transform of many rows, transform of one row.

CPU seconds in one thread; what is compared runs in turns, and ratios are medians over the turns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from time import perf_counter, process_time

import common
import numpy as np
import pandas as pd
import torch
from joblib import effective_n_jobs
from sklearn.decomposition import PCA
from torch import Tensor

from sklearn_vae import VAETransformer
from sklearn_vae._devices import limit_threads, to_tensor
from sklearn_vae._inference import CHUNK_SIZE
from sklearn_vae._progress import Progress
from sklearn_vae._recipe import Recipe
from sklearn_vae._vae import VAE

# The default network, on principal coordinates with linear maps; networks alone, on all columns; and convolutions.
NETWORKS = {"default": {}, "networks alone": {"init": "random"}, "conv": {"network": "conv"}}
LEARNING_RATE = 1e-3


def take_turns(functions: dict[str, Callable[[], object]], repeats: int) -> pd.DataFrame:
    """Return CPU seconds of each function, one row per turn, after one turn that is not counted."""
    turns = []
    for _ in range(repeats + 1):
        seconds = {}
        for name, function in functions.items():
            start = process_time()
            function()
            seconds[name] = process_time() - start
        turns.append(seconds)
    return pd.DataFrame(turns[1:])


def p50(function: Callable[[], object], calls: int) -> float:
    """Return the median wall time of a call in microseconds."""
    times = []
    for _ in range(calls):
        start = perf_counter()
        function()
        times.append(perf_counter() - start)
    return 1e6 * float(np.median(times))


class ByHand:
    """A VAE as one would write it in torch, made of another's layers."""

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
        """Standardise, and rotate to the principal coordinates and the norm of the rest."""
        y = (x - self.center) / self.unit
        if self.axes is None:
            return y
        coordinates = y @ self.axes
        rest = y.square().sum(1, keepdim=True) - coordinates.square().sum(1, keepdim=True)
        return torch.cat([coordinates, rest.clamp_min(0).sqrt()], 1)

    def encode(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and log-scales."""
        if self.linear is None:
            return self.encoder_head(self.encoder(y)).chunk(2, 1)
        loc, log_scale = self.encoder_head(self.encoder(y / self.linear.spread)).chunk(2, 1)
        return loc + self.linear.encoder(y), log_scale + self.linear.log_scale

    def loss(self, x: Tensor) -> Tensor:
        """Return minus the ELBO with the optimal sigma, up to a constant."""
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
        """Pass over the rows once in random order, with a moving average of the weights unless decay is 0."""
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

    @torch.inference_mode()
    def means(self, x: Tensor) -> Tensor:
        """Return posterior means."""
        return self.encode(self.inputs(x))[0]


def epochs(X: np.ndarray, args) -> pd.DataFrame:
    """Time an epoch of the Trainer and one by hand."""
    rows = []
    for network in args.networks:
        options = NETWORKS[network]
        for averaging in (0.998, 0.0):
            params = {"n_components": args.components, "random_state": 0, "learning_rate_init": LEARNING_RATE}
            params |= {"input_noise": 0.0, "averaging": averaging, **options, **args.params}
            vae = VAETransformer(**params)
            data = vae._rows(X, None)
            fitter = vae._fitter(data, Recipe(len(data)), Progress(vae))
            model = fitter.start(data)
            by_hand, trainer = ByHand(model), fitter.trainer(model, data.x.device)
            batch_size = fitter.settings.batch_size
            functions = {
                "package": lambda trainer=trainer, data=data: trainer.run_epoch(data),
                "by hand": lambda by_hand=by_hand, data=data, batch_size=batch_size, averaging=averaging: (
                    by_hand.run_epoch(data.x, batch_size, averaging)
                ),
            }
            seconds = take_turns(functions, args.repeats)
            ratios = seconds["package"] / seconds["by hand"]
            row = {"network": network, "averaging": averaging, "batch_size": batch_size}
            row |= seconds.median().add_suffix(" CPU s").to_dict()
            rows.append(row | {"ratio": ratios.median(), "lowest": ratios.min(), "highest": ratios.max()})
    return pd.DataFrame(rows)


def throughput(vae: VAETransformer, X: np.ndarray, repeats: int) -> pd.DataFrame:
    """Time transform and the bare module on the same chunks of rows."""
    by_hand = ByHand(vae.module_)
    chunk = max(1, CHUNK_SIZE // vae._inference.width)
    x = torch.from_numpy(X)
    functions = {
        "transform": lambda: vae.transform(X),
        "bare module": lambda: torch.cat([by_hand.means(part) for part in x.split(chunk)]),
    }
    seconds = take_turns(functions, repeats)
    row = (len(X) / seconds.median()).add_suffix(" rows/s").to_dict()
    ratios = seconds["bare module"] / seconds["transform"]
    return pd.DataFrame([row | {"ratio": ratios.median(), "lowest": ratios.min(), "highest": ratios.max()}])


def latency(vae: VAETransformer, pca: PCA, row: np.ndarray, calls: int) -> dict:
    """Time transform of one row, its parts, and PCA's; each part is timed alone, and the rest is the difference."""
    model = copy.deepcopy(vae.module_).double() if row.dtype == np.float64 else vae.module_
    tensor = torch.from_numpy(row)

    def validate() -> None:
        vae._check_new_rows(row)

    def convert() -> None:
        to_tensor(row).cpu().numpy().astype(row.dtype, copy=False)

    def threads() -> None:
        with limit_threads(effective_n_jobs(None)):
            pass

    @torch.inference_mode()
    def layers() -> None:
        """Pass through the encoder's linear layers and activations alone."""
        y = model.likelihood.observe(tensor)
        model.encoder(y) if model.linear is None else (model.encoder(y), model.linear.encoder(y))

    @torch.inference_mode()
    def module() -> None:
        model.posterior(tensor)

    functions = {"transform": lambda: vae.transform(row), "PCA": lambda: pca.transform(row)}
    functions |= {f.__name__: f for f in (validate, convert, threads, layers, module)}
    for function in functions.values():
        p50(function, 10)
    # In several turns, because the machine drifts.
    turns = [{name: p50(function, calls // 5) for name, function in functions.items()} for _ in range(5)]
    times = pd.DataFrame(turns).median()
    times["posterior"] = times["module"] - times["layers"]
    times["rest"] = times["transform"] - times[["validate", "convert", "threads", "module"]].sum()
    result = {"n_features": row.shape[1], "dtype": str(row.dtype), "ratio": times["transform"] / times["PCA"]}
    return result | times.drop("module").to_dict()


def main() -> None:
    """Run the three parts and print a table each."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--parts", nargs="+", default=["epoch", "rows", "row"], choices=["epoch", "rows", "row"])
    parser.add_argument("--data", choices=["random", "mnist"], default="random")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--components", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--calls", type=int, default=2000, help="of transform, for one row")
    args = common.parse(parser)
    if args.quick:
        args.rows, args.repeats, args.calls = 6000, 2, 100
    common.one_thread()
    if args.data == "mnist":
        X = common.split("mnist", 0, args.rows).X_train
    else:
        X = np.random.default_rng(0).standard_normal((args.rows, 784), dtype=np.float32)
    results = []
    if "epoch" in args.parts:
        results.append(epochs(X, args).assign(part="epoch"))
        common.show(f"Figure 5a: an epoch on {X.shape[0]} x {X.shape[1]}", results[-1].drop(columns="part"))
    if "rows" in args.parts:
        vae = VAETransformer(args.components, max_iter=1, early_stopping=False, random_state=0).fit(X)
        results.append(throughput(vae, X, args.repeats).assign(part="rows"))
        common.show("Figure 5b: transform, float32", results[-1].drop(columns="part"))
    if "row" in args.parts:
        rows = []
        for n_features in (64, 784):
            few = X[:10_000, :n_features]
            options = {"hidden_layer_sizes": (512, 256), "max_iter": 1, "early_stopping": False, "random_state": 0}
            vae = VAETransformer(args.components, **options).fit(few)
            for dtype in (np.float64, np.float32):
                pca = PCA(args.components, random_state=0).fit(few.astype(dtype))
                rows.append(latency(vae, pca, few[:1].astype(dtype), args.calls))
        results.append(pd.DataFrame(rows).assign(part="row"))
        common.show("Figure 5c: transform of one row, median microseconds", results[-1].drop(columns="part"), 1)
    common.save(pd.concat(results), args.output)


if __name__ == "__main__":
    main()
