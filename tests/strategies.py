"""Hypothesis strategies for tables, labels, weights and parameters, valid and invalid."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from sklearn_vae import likelihoods, networks, objectives, priors

DTYPES = ["float64", "float32", "float16", "int8", "int32", "int64", "uint8", "bool", "object"]
CONTAINERS = ["array", "fortran", "readonly", "strided", "frame", "list"]
# Chosen more often than not, so that most cases get as far as training.
usual = st.integers(0, 3).map(bool)
seeds = st.integers(0, 2**16)
powers = st.integers(-30, 30).map(lambda exponent: 10.0**exponent)


class Table(NamedTuple):
    """Rows, and the reasons for which fit may refuse them."""

    recipe: str
    X: Any
    values: np.ndarray  # of X, float64

    def __repr__(self) -> str:
        return self.recipe

    @property
    def finite(self) -> bool:
        return not np.isinf(self.values).any()

    @property
    def filled(self) -> np.ndarray:
        """The values with zeros, which every likelihood takes, for missing cells."""
        return np.where(np.isnan(self.values), 0.0, self.values)


def constant_column(X, rng):
    X[:, 0] = X[0, 0]


def duplicated_columns(X, rng):
    X[:, -1] = X[:, 0]


def collinear_columns(X, rng):
    X[:] = X[:, :1] * rng.normal(size=X.shape[1])


def duplicated_rows(X, rng):
    X[:] = X[rng.integers(0, min(3, len(X)), len(X))]


def equal_rows(X, rng):
    X[:] = X[0]


def zeros(X, rng):
    X[:] = 0


def outlier(X, rng):
    X[0] *= 1e6


def large_offset(X, rng):
    X += 10.0 ** rng.integers(0, 13, X.shape[1])


def column_scales(X, rng):
    X *= 10.0 ** rng.integers(-30, 1, X.shape[1])


def missing_cell(X, rng):
    X[-1, -1] = np.nan


def missing_cells(X, rng):
    X[rng.random(X.shape) < 0.3] = np.nan


def missing_column(X, rng):
    X[:, 0] = np.nan


def infinite_cell(X, rng):
    X[0, 0] = np.inf


GAPS = [missing_cell, missing_cells, missing_column]
IN_RANGE = [constant_column, duplicated_columns, duplicated_rows, equal_rows, zeros, *GAPS]
REAL = [*IN_RANGE, collinear_columns, outlier, large_offset, column_scales]
WRONG = [infinite_cell]


@st.composite
def tables(
    draw, likelihood: str = "gaussian", n_features: int | None = None, containers: list[str] = CONTAINERS
) -> Table:
    """Draw rows that are mostly in the support of the likelihood."""
    n = draw(st.integers(5, 40) | st.integers(1, 5))
    n_features = n_features or draw(st.integers(1, 12) | st.sampled_from([16, 150]))
    seed, dtype, container = draw(seeds), draw(st.sampled_from(DTYPES)), draw(st.sampled_from(containers))
    rng, scale = np.random.default_rng(seed), None
    if likelihood == "gaussian" or not draw(usual):
        scale, possible = draw(powers | st.just(1.0)), REAL
        X = rng.normal(size=(n, n_features)) * scale
    else:
        X, possible = in_unit_interval(rng.random((n, n_features)), likelihood, seed), IN_RANGE
    changes = draw(st.lists(st.sampled_from(possible), max_size=3, unique=True))
    if not draw(usual) and not draw(usual):
        changes.append(draw(st.sampled_from(WRONG)))
    for change in changes:
        change(X, rng)
    recipe = ", ".join([f"{n} x {n_features} {dtype} {container}", f"{scale=}", f"{seed=}"])
    recipe = ", ".join([recipe, *(change.__name__ for change in changes)])
    X = as_dtype(X, dtype)
    return Table(f"<{recipe}>", as_container(X, container), X.astype(np.float64))


def in_unit_interval(X: np.ndarray, likelihood: str, seed: int) -> np.ndarray:
    """Round to the likelihood's values, and sometimes to zeros and ones."""
    n_levels = 2 if likelihood == "bernoulli" and seed % 2 else 256
    return np.rint(X * (n_levels - 1)) / (n_levels - 1) if likelihood != "continuous_bernoulli" else X


def as_dtype(X: np.ndarray, dtype: str) -> np.ndarray:
    """Convert to the type and clip to its range; NaN and infinity stay if the type has them."""
    if dtype in ("bool", "object"):
        return np.median(X) < X if dtype == "bool" else X.astype(object)
    if dtype.startswith("float"):
        largest = float(np.finfo(dtype).max) / 4
        return np.where(np.isfinite(X), X.clip(-largest, largest), X).astype(dtype)
    limits, X = np.iinfo(dtype), np.nan_to_num(X)
    largest = np.abs(X).max()
    # Small values would all be 0.
    X = X * (100 / largest) if 0 < largest < 1 else X
    return X.clip(max(limits.min, -(2.0**62)), min(limits.max, 2.0**62)).astype(dtype)


def as_container(X: np.ndarray, container: str) -> Any:
    """Return the rows in one of the containers that users have."""
    if container == "fortran":
        return np.asfortranarray(X)
    if container == "strided":
        return np.repeat(X, 2, axis=0)[::2]
    if container == "frame":
        return pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])
    if container == "list":
        return X.tolist()
    X.setflags(write=container != "readonly")
    return X


@st.composite
def weights(draw, n: int) -> np.ndarray | None:
    """Draw weights of rows, or None: equal, tiny, huge, of many sizes, some of them zero."""
    kind = draw(st.sampled_from(["none", "none", "none", "equal", "tiny", "huge", "many", "zeros", "few"]))
    if kind == "none":
        return None
    rng = np.random.default_rng(draw(seeds))
    w = rng.random(n) + 0.1
    factor = {"equal": 0.0, "tiny": 1e-30, "huge": 1e30}.get(kind, 1.0)
    if kind == "equal":
        return np.full(n, draw(powers))
    if kind == "many":
        return 10.0 ** rng.integers(-30, 30, n)
    if kind == "zeros":
        return w * (rng.random(n) < 0.7)
    return w * (np.arange(n) < 2) if kind == "few" else w * factor


def falling_beta(step: int) -> float:
    """A weight of the KL term that falls."""
    return 1 / (1 + step)


LIKELIHOODS = {
    "gaussian": [
        "gaussian",
        "gaussian",
        likelihoods.Gaussian(),
        likelihoods.Gaussian(per_column=True),
        likelihoods.Gaussian(scale="learned"),
        likelihoods.Gaussian(scale="learned", per_column=True),
        likelihoods.Gaussian(scale=1.0),
        likelihoods.Gaussian(scale=1.0, per_column=True),
        likelihoods.Gaussian(scale=1e-30),
        likelihoods.Gaussian(scale=1e30),
    ],
    "bernoulli": ["bernoulli", likelihoods.Bernoulli(dynamic_binarization=True), likelihoods.Bernoulli(max_value=1e6)],
    "continuous_bernoulli": ["continuous_bernoulli", likelihoods.ContinuousBernoulli(max_value=255)],
    "discretized_logistic": [
        "discretized_logistic",
        likelihoods.DiscretizedLogistic(per_column=False),
        likelihoods.DiscretizedLogistic(levels=2),
    ],
}
PRIORS = [
    "standard_normal",
    "mixture",
    "vamp",
    priors.StandardNormal(),
    priors.Mixture(1),
    priors.Mixture(50),
    priors.VampPrior(1),
    priors.VampPrior(60),
]
NETWORKS = [
    "mlp",
    networks.MLP("tanh", decoder_activation="elu"),
    networks.MLP("logistic", initializer="glorot", layer_norm=True),
    networks.MLP(principal_coordinates=3),
    networks.MLP(principal_coordinates=None),
    networks.MLP(decoder_hidden_layer_sizes=()),
    "conv",
    networks.Conv((3, 4), channels=(2,), decoder_channels=(3,), hidden_layer_sizes=()),
]
OBJECTIVES = [
    "elbo",
    "iwae",
    "free_bits",
    "autoencoder",
    objectives.IWAE(1),
    objectives.IWAE(3, gradient="plain"),
    objectives.FreeBits(0),
    objectives.FreeBits(1e6),
]
SHARED = {
    "prior": st.sampled_from(PRIORS),
    "beta": st.sampled_from([0, 1e-30, 0.1, 1, 100, 1e6, falling_beta]),
    "network": st.sampled_from(NETWORKS),
    "objective": st.sampled_from(OBJECTIVES),
    "init": st.sampled_from(["ppca", "random"]),
    "whiten": st.booleans(),
    "hidden_layer_sizes": st.sampled_from([(), (1,), 3, [4, 4], (300,), np.array([5])]),
    "max_iter": st.integers(0, 4),
    "batch_size": st.sampled_from([1, 2, 7, 64, 10**9, "auto"]),
    "learning_rate_init": st.sampled_from(["auto", *(10.0**e for e in range(-12, 7, 2))]),
    "warmup_steps": st.sampled_from([0, 1, 100, 10**9]),
    "learning_rate_decay": st.sampled_from([0, 0.5, 1]),
    "alpha": st.sampled_from(["auto", 0, 1e-30, 1, 1e6]),
    "input_noise": st.sampled_from(["auto", 0, 1e-30, 1, 1e6]),
    "averaging": st.sampled_from([0, 0.5, 0.998, 1 - 2**-53]),
    "early_stopping": st.booleans(),
    "validation_fraction": st.sampled_from([1e-9, 0.1, 0.5, 1 - 1e-9]),
    "n_iter_no_change": st.sampled_from([1, 2, 10**9]),
    "tol": st.sampled_from([0, 1e-30, 1, 1e9]),
    "n_draws": st.sampled_from([1, 2, 130]),
    "random_state": seeds,
}
CLASSIFIER = {
    "n_components": st.just("auto") | st.integers(1, 20),
    "generative_weight": st.sampled_from([0, 1e-30, 1, 1e6]),
    "consistency_weight": st.sampled_from([0, 1e-30, 1, 1e6]),
    "consistency_radius": st.sampled_from([1e-30, 0.1, 10, 1e6]),
    "entropy_weight": st.sampled_from([0, 1, 1e6]),
    "unlabelled": st.sampled_from(["auto", "ignore"]),
    "n_neighbors": st.sampled_from([1, 3, 10**6]),
    "n_mixture_components": st.sampled_from([1, 2, 20]),
}


@st.composite
def parameters(draw, likelihood: str, own: dict[str, st.SearchStrategy]) -> dict[str, Any]:
    """Draw values of up to ten parameters; the others have small values or their defaults."""
    choices = {**SHARED, "likelihood": st.sampled_from(LIKELIHOODS[likelihood]), **own}
    names = draw(st.lists(st.sampled_from(sorted(choices)), max_size=10, unique=True))
    drawn = {name: draw(choices[name]) for name in names}
    return {
        "hidden_layer_sizes": (8,),
        "max_iter": 2,
        "n_draws": 4,
        "random_state": 0,
        "likelihood": likelihood,
    } | drawn


def transformer_parameters(likelihood: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw parameters of a VAETransformer."""
    return parameters(likelihood, {"n_components": st.integers(1, 20)})


def classifier_parameters(likelihood: str) -> st.SearchStrategy[dict[str, Any]]:
    """Draw parameters of a VAEClassifier."""
    return parameters(likelihood, CLASSIFIER)


@st.composite
def labels(draw, n: int) -> np.ndarray:
    """Draw labels: some classes have one row, some rows have no label, and sometimes there are too few classes."""
    rng = np.random.default_rng(draw(seeds))
    n_classes, kind = (
        draw(st.sampled_from([2, 3, 5, 2, 3, 1])),
        draw(st.sampled_from(["int", "str", "bool", "object", "float"])),
    )
    codes = rng.integers(0, n_classes, n) if draw(st.booleans()) else np.arange(n) % n_classes
    if draw(st.booleans()):
        # All classes but the first have one row.
        codes = np.where(np.arange(n) < n_classes, np.arange(n), 0)
    unlabelled = rng.random(n) < draw(st.sampled_from([0, 0, 0, 0.3, 0.5, 0.9]))
    if kind == "bool":
        return codes > 0
    if kind == "str":
        return np.array(list("edcba"))[codes]
    if kind == "object":
        return np.where(unlabelled, -1, np.array(list("edcba"), dtype=object)[codes])
    return np.where(unlabelled, -1, 3 * codes + 1).astype(kind)


@st.composite
def class_weights(draw, y: np.ndarray) -> dict | str | None:
    """Draw class weights, which may differ widely; one of them is 1."""
    classes = [label for label in dict.fromkeys(y.tolist()) if label != -1]
    drawn = {label: draw(st.sampled_from([0, 1e-30, 1, 1e30])) for label in classes[1:]}
    return draw(st.sampled_from([None, None, "balanced", dict.fromkeys(classes[:1], 1) | drawn]))


# Values that are wrong for nearly every parameter.
NONSENSE: list[Any] = [None, "nonsense", "", -1, 0, -0.5, 2.5, float("nan"), float("inf"), True, (), {}, [1.5], b"auto"]
NONSENSE += [[[1, 2], [3, 4]], np.array([0.5, 1]), np.float32("nan"), 1j, object(), float, np.array("auto"), {"a": 1}]
