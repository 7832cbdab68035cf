"""Log-probability of each column of a mixed table given the other columns, and of whole rows, on test rows.

log p of a cell given the rest of its row is log p of the row less log p of the row with a gap there. `normal` takes the
columns as independent, a Gaussian for numbers and shares for categories; `histogram` has probabilities of frequent
numbers and a histogram of the others; `copula` is the Gaussian copula of these. `posterior` is the mean log-probability
of a cell under the decoder, given the posterior of the whole row: what the latent variables keep of it, which the KL
pays for in log p of a row.

All numbers of these sets are integers, so that a probability and a density of the unit interval are comparable.

With `--resume`, the rows of the CSV are kept and only missing ones are computed; with `--again`, those of `--sets`,
`--methods` and `--seeds` are computed again, and the others are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import common
import mixed_sets
import mixed_tables
import numpy as np
import pandas as pd
import torch
from gaussian_copula import GaussianCopula

from sklearn_vae import VAETransformer

SETS = ["adult", "german", "contraceptive", "credit"]  # sets without fractions
N_DRAWS = 16  # posterior draws that a cell's log-probability is averaged over
MAX_ROWS = 2000  # number of test rows


class Scores(NamedTuple):
    """Log-probabilities of rows (n_rows,), and of cells (n_rows, n_columns) with NaN in gaps."""

    rows: np.ndarray
    cells: np.ndarray
    posterior: np.ndarray | None = None


def normal(training: pd.DataFrame, test: pd.DataFrame, seed: int, params: dict) -> Scores:
    """Take the columns as independent: shares of categories, a Gaussian for numbers."""
    words, cells = mixed_sets.categories(training), []
    for name in training:
        x, known = test[name], training[name]
        if name in words:
            counts = known.value_counts() + 0.5
            cells.append(x.map(np.log(counts / counts.sum())).to_numpy(dtype=float))
        else:
            z = (x - known.mean()) / known.std(ddof=0)
            cells.append((-0.5 * np.square(z) - np.log(known.std(ddof=0) * np.sqrt(2 * np.pi))).to_numpy())
    return independent(np.column_stack(cells))


def independent(cells: np.ndarray) -> Scores:
    """Return the scores of independent columns."""
    return Scores(np.nansum(cells, axis=1), cells)


def histogram(training: pd.DataFrame, test: pd.DataFrame, seed: int, params: dict) -> Scores:
    """Take the columns as independent, with the copula's distributions."""
    return independent(GaussianCopula(seed).fit(training).scores(test)[1])


def copula(training: pd.DataFrame, test: pd.DataFrame, seed: int, params: dict) -> Scores:
    """Fit a Gaussian copula."""
    return Scores(*GaussianCopula(seed).fit(training).log_prob(test))


def vae_transformer(training: pd.DataFrame, test: pd.DataFrame, seed: int, params: dict) -> Scores:
    """Fit VAETransformer."""
    vae = VAETransformer(random_state=seed, **params).fit(training)
    rows, cells = vae.score_samples(test), []
    for name in test:
        rest = vae.score_samples(test.assign(**{name: test[name].mask(test[name].notna())}))
        cells.append(np.where(test[name].isna(), np.nan, rows - rest))
    return Scores(rows, np.column_stack(cells), posterior(vae, test))


@torch.no_grad()
def posterior(vae: VAETransformer, test: pd.DataFrame) -> np.ndarray:
    """Return E log p(x_j|z) of the cells of encoded rows, z from the posterior; NaN where a cell is missing."""
    model = vae.module_.double()
    rows = torch.from_numpy(vae._table.encode(test))
    observed = model.observe_rows(rows)
    q = model.encode(observed)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((N_DRAWS, *q.loc.shape), generator=generator, dtype=torch.float64)
    cells = torch.zeros(rows.shape, dtype=torch.float64)
    for draw in noise:
        cells += model.likelihood.log_prob_cells(observed, model.decode(q.loc + q.scale * draw)) / N_DRAWS
    cells = cells.where(~rows.isnan(), torch.nan).numpy()
    return np.column_stack([cells[:, column.slice].sum(axis=1) for column in vae._table.columns])


METHODS = {"normal": normal, "histogram": histogram, "copula": copula, "VAETransformer": vae_transformer}


def run(name: str, method: str, seed: int, args) -> list[dict]:
    """Fit a method; return the means over test rows of log p of each column, and of whole rows."""
    training, test = mixed_tables.split(name, seed, args.rows)
    test = test[:MAX_ROWS]
    clock = common.Clock()
    with clock.running():
        scores = METHODS[method](training, test, seed, args.params)
    cells = np.nanmean(scores.cells, axis=0)
    kept = cells * np.nan if scores.posterior is None else np.nanmean(scores.posterior, axis=0)
    key = {"set": name, "method": method, "seed": seed, "cpu_s": clock.seconds}
    rows = [
        {**key, "column": column, "log_p": a, "posterior": b} for column, a, b in zip(test, cells, kept, strict=True)
    ]
    return [*rows, {**key, "column": "row", "log_p": scores.rows.mean(), "posterior": np.nan}]


def report(frame: pd.DataFrame) -> None:
    """Print log p of each column by each method."""
    for name, part in frame.groupby("set", sort=False):
        means = part.groupby(["column", "method"], sort=False)[["log_p", "posterior"]].mean()
        table = means["log_p"].unstack(sort=False)
        if "VAETransformer" in table:
            table["posterior"] = means["posterior"].unstack(sort=False)["VAETransformer"]
        common.show(f"{name}: log p of a cell given the rest of its row, and of rows, in nats", table, 2)


def main() -> None:
    """Run the methods on all sets, and print the tables."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    mixed_tables.add_sets_options(parser)
    parser.set_defaults(sets=SETS)
    args, results = mixed_tables.start(parser)
    for seed in args.seeds:
        for name in args.sets:
            for method in args.methods:
                if results.lacks({"set": name, "method": method, "seed": seed}):
                    for row in run(name, method, seed, args):
                        results.add(row)
    report(results.frame())


if __name__ == "__main__":
    main()
