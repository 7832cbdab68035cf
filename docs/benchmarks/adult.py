"""Adult, a table of integers and categories with gaps: columns explained, and samples beside those of SMOTENC.

The rows are split into training and test rows. `columns` compares the model's mean log-probability of each column of
the test rows, given the posterior, with that of the column's marginal: a Gaussian for numbers, shares for categories.
`row` compares the log-likelihood of whole rows, which the posterior's KL lowers. `samples` draws as many rows as there
are training rows. A gradient boosting classifier of the income is trained on drawn rows and tested on real ones (macro
F1); real rows are the ceiling. Another one tells drawn from real rows (AUC, best is 0.5), by all columns and by
categories only. SMOTENC of imbalanced-learn interpolates between training rows; it runs if it is installed.

The environment variable SKLEARN_VAE_ADULT may name a CSV file with the columns of the UCI set and a header.
"""

from __future__ import annotations

import os
import warnings
from importlib.util import find_spec

import common
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import fetch_openml
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_predict, train_test_split

from sklearn_vae import VAEClassifier, VAETransformer

TARGET = "income"
VARIABLE = "SKLEARN_VAE_ADULT"
N_DRAWS = 16  # posterior draws that a column's log-probability is averaged over
MAX_ROWS_OF_COLUMNS = 2000  # test rows of the comparison by column
MAX_ROWS_OF_DETECTION = 5000  # rows of each kind that the AUC is computed on


def load() -> pd.DataFrame:
    """Return all rows, from a file or from OpenML."""
    path = os.environ.get(VARIABLE)
    if path:
        return pd.read_csv(path)
    X = fetch_openml("adult", version=2, as_frame=True).frame
    return X.rename(columns={"class": TARGET}).rename(columns=lambda name: name.replace("-", "_"))


def marginal(values: np.ndarray, training: np.ndarray, kind: str) -> float:
    """Return the mean log-probability of a column's matrix under the marginal of the training rows."""
    if kind == "category":
        share = np.nansum(training, axis=0) + 0.5
        return float(np.nanmean(np.where(np.isnan(values).any(1), np.nan, values @ np.log(share / share.sum()))))
    mean, std = np.nanmean(training), np.nanstd(training)
    return float(np.nanmean(-0.5 * np.square((values - mean) / std) - np.log(std * np.sqrt(2 * np.pi))))


@torch.no_grad()
def reconstruction(vae: VAETransformer, x: np.ndarray) -> np.ndarray:
    """Return E log p(x_j|z) of the cells of encoded rows, z from the posterior; NaN where a cell is missing."""
    model = vae.module_.double()
    rows = torch.from_numpy(x)
    observed = model.observe_rows(rows)
    q = model.encode(observed)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((N_DRAWS, *q.loc.shape), generator=generator, dtype=torch.float64)
    cells = torch.zeros(rows.shape, dtype=torch.float64)
    for draw in noise:
        cells += model.likelihood.log_prob_cells(observed, model.decode(q.loc + q.scale * draw)) / N_DRAWS
    return cells.where(~rows.isnan(), torch.nan).numpy()


def columns(training: pd.DataFrame, test: pd.DataFrame, seed: int, params: dict) -> list[dict]:
    """Fit the model; compare its log-probability of each column with that of the marginal."""
    clock = common.Clock()
    with clock.running():
        vae = VAETransformer(random_state=seed, **params).fit(training)
    table, test = vae._table, test[:MAX_ROWS_OF_COLUMNS]
    x, known = table.encode(test), table.encode(training)
    cells, rows = reconstruction(vae, x), []
    for column in table.columns:
        own = np.nanmean(cells[:, column.slice].sum(axis=1))
        alone = marginal(x[:, column.slice], known[:, column.slice], column.kind)
        rows.append({"column": column.name, "model": own, "marginal": alone, "gain": own - alone})
    missing = test.isna().mean()
    alone = sum(row["marginal"] * (1 - missing[row["column"]]) for row in rows)
    rows.append({"column": "row", "model": vae.score(test), "marginal": alone, "gain": vae.score(test) - alone})
    return [{"part": "columns", "seed": seed, "cpu_s": clock.seconds, **row} for row in rows]


def draw_smotenc(training: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return rows that SMOTENC interpolates, as many of each class as there are training rows."""
    from imblearn.over_sampling import SMOTENC

    y = training[TARGET]
    X = training.drop(columns=TARGET)
    categories = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
    X = X.astype(dict.fromkeys(categories, object)).fillna(dict.fromkeys(categories, "missing"))
    sampler = SMOTENC(categories, sampling_strategy=(2 * y.value_counts()).to_dict(), random_state=seed)
    drawn, classes = sampler.fit_resample(X, y)
    return drawn.replace("missing", None).assign(**{TARGET: classes})[len(X) :]


def draw_classifier(training: pd.DataFrame, seed: int, params: dict) -> pd.DataFrame:
    """Return rows that VAEClassifier draws."""
    X, y = training.drop(columns=TARGET), training[TARGET].to_numpy(dtype=str)
    drawn, classes = VAEClassifier(random_state=seed, **params).fit(X, y).sample(len(X), random_state=seed)
    return drawn.assign(**{TARGET: classes})


def as_categories(X: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return features with the categories of another frame's columns, as the classifier takes them."""
    X = X.drop(columns=TARGET, errors="ignore")
    return X.assign(
        **{
            name: pd.Categorical(X[name].astype(object), categories=sorted(like[name].dropna().unique()))
            for name in X
            if not pd.api.types.is_numeric_dtype(like[name])
        }
    )


def boosting(seed: int) -> HistGradientBoostingClassifier:
    """Return the classifier, which takes gaps and categories."""
    return HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)


def samples(training: pd.DataFrame, test: pd.DataFrame, seed: int, params: dict) -> list[dict]:
    """Draw rows by each method; train classifiers of the income, and of drawn against real rows."""
    methods = {
        "real rows": lambda: training,
        "VAETransformer": lambda: (
            VAETransformer(random_state=seed, **params).fit(training).sample(len(training), random_state=seed)
        ),
        "VAEClassifier": lambda: draw_classifier(training, seed, params),
    }
    if find_spec("imblearn"):
        methods["SMOTENC"] = lambda: draw_smotenc(training, seed)
    rows, everything = [], pd.concat([training, test])
    for name, draw in methods.items():
        clock = common.Clock()
        with clock.running():
            drawn = draw()
        model = boosting(seed).fit(as_categories(drawn, everything), drawn[TARGET].to_numpy(dtype=str))
        predicted = model.predict(as_categories(test, everything))
        f1 = f1_score(test[TARGET].to_numpy(dtype=str), predicted, average="macro")
        auc = {"auc": detection(drawn, test, everything, seed)}
        numbers = [name for name in test if pd.api.types.is_numeric_dtype(test[name])]
        parts = (part.drop(columns=numbers) for part in (drawn, test, everything))
        auc["auc_categories"] = detection(*parts, seed)
        rows.append({"part": "samples", "seed": seed, "method": name, "macro_f1": f1, **auc, "cpu_s": clock.seconds})
    return rows


def detection(drawn: pd.DataFrame, test: pd.DataFrame, everything: pd.DataFrame, seed: int) -> float:
    """Return the AUC with which a classifier tells drawn rows from test rows, cross-validated."""
    n = min(len(drawn), len(test), MAX_ROWS_OF_DETECTION)
    both = pd.concat([part.sample(n, random_state=seed) for part in (drawn, test)])
    X = as_categories(both, everything).assign(**{TARGET: (both[TARGET] == both[TARGET].iloc[0]).to_numpy()})
    is_drawn = np.repeat([1, 0], n)
    order = np.random.RandomState(seed).permutation(2 * n)
    p = cross_val_predict(boosting(seed), X.iloc[order], is_drawn[order], cv=3, method="predict_proba")[:, 1]
    positive, negative = np.sort(p[is_drawn[order] == 1]), np.sort(p[is_drawn[order] == 0])
    below = np.searchsorted(negative, positive) + np.searchsorted(negative, positive, side="right")
    return float(below.mean() / (2 * len(negative)))


def main() -> None:
    """Run both parts for all seeds, and print the tables."""
    parser = common.make_parser(__doc__)
    parser.add_argument("--parts", nargs="+", default=["columns", "samples"], choices=["columns", "samples"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", type=int, default=26_048, help="number of training rows")
    args = common.parse(parser)
    if args.quick:
        args.rows, args.params = 300, {"max_iter": 2, "hidden_layer_sizes": (16,), **args.params}
    warnings.filterwarnings("ignore")
    common.one_thread()
    X, rows = load(), []
    for seed in args.seeds:
        training, test = train_test_split(X, test_size=0.2, random_state=seed, stratify=X[TARGET])
        training, test = training[: args.rows].reset_index(drop=True), test.reset_index(drop=True)
        test = test[: args.rows]
        for part in args.parts:
            rows += {"columns": columns, "samples": samples}[part](training, test, seed, args.params)
    frame = pd.DataFrame(rows)
    for part, index in (("columns", "column"), ("samples", "method")):
        if part in args.parts:
            own = frame[frame["part"] == part].dropna(axis=1, how="all")
            common.show(part, own.groupby(index, sort=False).mean(numeric_only=True).drop(columns="seed"))
    common.save(frame, args.output)


if __name__ == "__main__":
    main()
