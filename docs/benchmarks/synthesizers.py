"""Methods that draw rows like those of a mixed table, with one interface.

Each method is a function of training rows, the name of the class, a seed and parameters. It returns a function that
draws rows. Peers take no gaps: a gap of a category becomes a category of its own, a gap of a number becomes the median
with a column of its own that says so. In drawn rows these become gaps again. The VAEs take gaps, and draw rows without.
As "with gaps" they get the same categories and columns, and numbers keep their gaps.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import mixed_sets
import pandas as pd
from gaussian_copula import GaussianCopula
from joblib import parallel_config

from sklearn_vae import VAEClassifier, VAETransformer

Draw = Callable[[], pd.DataFrame]

MISSING = "missing"
SUFFIX = " is missing"


def mark(data: pd.DataFrame) -> pd.DataFrame:
    """Return rows in which a gap of a category is a category, and a column of categories says of numbers' gaps."""
    words = mixed_sets.categories(data)
    marked = data.astype(dict.fromkeys(words, object)).fillna(dict.fromkeys(words, MISSING))
    for name in data.columns[data.isna().any()].difference(words):
        marked[name + SUFFIX] = data[name].isna().map({True: "yes", False: "no"}).astype(object)
    return marked


def fill(data: pd.DataFrame) -> pd.DataFrame:
    """Return rows without gaps."""
    marked = mark(data)
    return marked.fillna(marked.median(numeric_only=True))


def restore(drawn: pd.DataFrame, like: pd.DataFrame) -> pd.DataFrame:
    """Return drawn rows with gaps, and with the columns of the training rows."""
    words, result = mixed_sets.categories(like), drawn[like.columns].copy()
    for name in drawn.columns.difference(like.columns):
        result.loc[(drawn[name] == "yes").to_numpy(), name.removesuffix(SUFFIX)] = float("nan")
    for name in words:
        result[name] = result[name].astype("str").where(drawn[name] != MISSING)
    return result.reset_index(drop=True)


def real_rows(training: pd.DataFrame, target: str, seed: int, params: dict) -> Draw:
    """Return the training rows: what drawn rows could reach."""
    return lambda: training


def vae_transformer(training: pd.DataFrame, target: str, seed: int, params: dict) -> Draw:
    """Fit VAETransformer to all columns."""
    vae = VAETransformer(random_state=seed, **params).fit(training)
    return lambda: vae.sample(len(training), random_state=seed)


def vae_classifier(training: pd.DataFrame, target: str, seed: int, params: dict) -> Draw:
    """Fit VAEClassifier, which draws rows with classes."""
    X, y = training.drop(columns=target), training[target].to_numpy(dtype=str)
    vae = VAEClassifier(random_state=seed, **params).fit(X, y)

    def draw() -> pd.DataFrame:
        drawn, classes = vae.sample(len(X), random_state=seed)
        return drawn.assign(**{target: classes})[training.columns]

    return draw


def with_gaps(method: Callable[[pd.DataFrame, str, int, dict], Draw]) -> Callable[[pd.DataFrame, str, int, dict], Draw]:
    """Return a method that draws rows with gaps."""

    def fit(training: pd.DataFrame, target: str, seed: int, params: dict) -> Draw:
        draw = method(mark(training), target, seed, params)
        return lambda: restore(draw(), training)

    return fit


def copula(training: pd.DataFrame, target: str, seed: int, params: dict) -> Draw:
    """Fit a Gaussian copula to all columns."""
    model = GaussianCopula(seed).fit(fill(training))
    return lambda: restore(model.sample(len(training)), training)


def smotenc(training: pd.DataFrame, target: str, seed: int, params: dict) -> Draw:
    """Interpolate between training rows of a class, as many of each class as there are training rows."""
    from imblearn.over_sampling import SMOTENC

    filled = fill(training)
    X, y = filled.drop(columns=target), filled[target]
    wanted = (2 * y.value_counts()).to_dict()
    sampler = SMOTENC(mixed_sets.categories(X), sampling_strategy=wanted, random_state=seed)

    def draw() -> pd.DataFrame:
        drawn, classes = sampler.fit_resample(X, y)
        return restore(drawn.assign(**{target: classes})[len(X) :], training)

    return draw


def ctgan(name: str) -> Callable[[pd.DataFrame, str, int, dict], Draw]:
    """Return a method of the package ctgan, with its default parameters."""

    def fit(training: pd.DataFrame, target: str, seed: int, params: dict) -> Draw:
        model = getattr(import_module("ctgan"), name)(enable_gpu=False)
        model.set_random_state(seed)
        filled = fill(training)
        with parallel_config(backend="sequential"):  # so that one process takes all CPU seconds
            model.fit(filled, mixed_sets.categories(filled))
        return lambda: restore(model.sample(len(training)), training)

    return fit


METHODS = {
    "real rows": real_rows,
    "VAETransformer": vae_transformer,
    "VAEClassifier": vae_classifier,
    "VAETransformer with gaps": with_gaps(vae_transformer),
    "VAEClassifier with gaps": with_gaps(vae_classifier),
    "SMOTENC": smotenc,
    "copula": copula,
    "TVAE": ctgan("TVAE"),
    "CTGAN": ctgan("CTGAN"),
}
PACKAGES = {"SMOTENC": "imblearn", "TVAE": "ctgan", "CTGAN": "ctgan"}


def installed(name: str) -> bool:
    """Return whether the package that a method needs is installed."""
    return find_spec(PACKAGES.get(name, "sklearn_vae")) is not None
