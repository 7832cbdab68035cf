"""The number of latent variables that `n_components="auto"` chooses, beside an exhaustive search.

Half of the rows of each set of the panel, at most `--rows`, are standardised and fitted with every number 1, 2, 4, ...
and with "auto". The score is the mean log-likelihood of the other half. `loss` is the best of these scores less that of
the choice.
"""

from __future__ import annotations

import warnings

import common
import imputation
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer

AUTO = "auto"


def split(name: str, n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return training and test rows, standardised by the training rows, without columns that are constant there."""
    X, _ = imputation.load(name)
    train, test = train_test_split(X.astype(float), train_size=min(n_rows, len(X) // 2), random_state=seed)
    kept = train.std(0) > 0
    scaler = StandardScaler().fit(train[:, kept])
    return scaler.transform(train[:, kept]), scaler.transform(test[: len(train), kept])


def measure(cell: dict, args) -> dict:
    """Fit one number, and score the test rows."""
    train, test = split(cell["set"], args.rows, cell["seed"])
    n = cell["n_components"] if cell["n_components"] == AUTO else int(cell["n_components"])
    vae, clock = VAETransformer(n, random_state=cell["seed"], **args.params), common.Clock()
    with clock.running():
        vae.fit(train)
    values = {"rows": len(train), "columns": train.shape[1], "chosen": vae.n_components_}
    return {**cell, **values, "score": vae.score(test), "cpu_s": clock.seconds}


def numbers(n_columns: int) -> list[str]:
    """Return the numbers that an exhaustive search tries, and "auto"."""
    return [*(str(2**i) for i in range(20) if 2**i < n_columns), AUTO]


def main() -> None:
    """Run all sets and seeds, and print the table."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--sets", nargs="+", default=imputation.SETS, choices=imputation.SETS, metavar="SET")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=1000, help="largest number of training rows")
    common.add_results_options(parser, peers=False)
    args = common.parse(parser)
    if args.quick:
        args.sets, args.rows, args.params = ["wine"], 60, {"max_iter": 2, **args.params}
    warnings.filterwarnings("ignore")
    common.one_thread()
    results = common.Results(args.output, args.resume)
    for seed in args.seeds:
        for name in args.sets:
            n_columns = split(name, args.rows, seed)[0].shape[1]
            for n in numbers(n_columns):
                cell = {"set": name, "seed": seed, "n_components": n}
                if results.lacks(cell):
                    results.add(measure(cell, args))
    frame = results.frame()
    keys = ["set", "seed"]
    is_auto = frame["n_components"] == AUTO
    auto, others = frame[is_auto].set_index(keys), frame[~is_auto]
    best = others.loc[others.groupby(keys)["score"].idxmax()].set_index(keys)
    table = auto[["rows", "columns", "chosen"]].assign(
        best=best["chosen"],
        score=auto["score"],
        loss=best["score"] - auto["score"],
        cpu_s=auto["cpu_s"],
        exhaustive_cpu_s=others.groupby(keys)["cpu_s"].sum(),
    )
    common.show("choices, and the loss in nats per row", table)
    common.show("means", table[["loss", "cpu_s", "exhaustive_cpu_s"]].mean().to_frame().T)


if __name__ == "__main__":
    main()
