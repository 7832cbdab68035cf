"""For any rows and parameters, fit gives finite, valid results or an error that fits the case.

``HYPOTHESIS_PROFILE=long python -m pytest tests/test_properties.py`` draws some 3,000 cases at random; by default the
cases are few, and the same each time.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from strategies import (
    LIKELIHOODS,
    NETWORKS,
    NONSENSE,
    OBJECTIVES,
    PRIORS,
    class_weights,
    classifier_parameters,
    labels,
    seeds,
    tables,
    transformer_parameters,
    weights,
)

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.likelihoods import LIKELIHOODS as REGISTRY
from sklearn_vae.likelihoods import Gaussian

# Without the phase that explains failures, which traces all of torch.
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
EVERY = {"deadline": None, "database": None, "phases": PHASES, "suppress_health_check": list(HealthCheck)}
settings.register_profile("ci", max_examples=24, derandomize=True, **EVERY)
settings.register_profile("long", max_examples=400, derandomize=False, **EVERY)
PROFILE = settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def cases(share: float):
    """Return the profile with a share of its number of cases."""
    return settings(PROFILE, max_examples=max(1, round(share * PROFILE.max_examples)))


# A case takes less than a second, or a few on a busy machine.
MAX_SECONDS = 60


class Hang(Exception):
    """A case that takes too long."""


@contextmanager
def watchdog():
    """Raise where the code is after `MAX_SECONDS`."""

    def stop(signum, frame):
        raise Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, MAX_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Refusals

DIVERGED = "training diverged: .*use a smaller learning_rate_init"


def reasons(estimator, table, weight=None, y=None, min_rows=2):
    """Yield patterns of the errors that the case may have."""
    params = estimator.get_params(deep=False)
    likelihood = estimator._architecture.likelihood if hasattr(estimator, "_architecture") else estimator.likelihood
    if len(table.values) < min_rows:
        yield "Found array with 1 sample"
    if not table.finite:
        yield "Input X contains infinity"
    elif not takes(likelihood, table):
        yield r"likelihood \w+: expected (values in \[0, |the \d+ values 0, )"
    elif hasattr(estimator, "_architecture") and table.filled.max() <= 1:
        yield r"likelihood \w+: expected numbers from 0 to \d+, got fractions of at most 1"
    if weight is not None and np.count_nonzero(weight > 1e-37 * weight.max()) < 2:
        yield "Sample weights must contain at least one non-zero number|at least two rows with a positive sample_weight"
    if np.isnan(table.values).all(axis=1).any():
        yield "at least (two rows|one row) with a positive sample_weight|expected labels of at least two classes"
    if "conv" in str(params.get("network", "")).lower():
        yield "network Conv: "
    if getattr(likelihood, "per_column", False):
        yield "Gaussian: expected per_column=False with a fixed scale"
    if y is not None and n_classes(y, weight) < 2:
        yield "expected labels of at least two classes"
    if isinstance(params.get("class_weight"), dict) and {*params["class_weight"].values()} - {1}:
        yield r"expected class_weight to be finite numbers of at least 0 and at most 1e\+15, and one of at least 1e-15"
    if is_extreme(params):
        yield DIVERGED
    if table.finite and has_outlier(table):
        yield "training diverged: the mean loss of held-out rows is .*leave outliers out"
    if isinstance(likelihood, Gaussian) and isinstance(likelihood.scale, float) and is_wide(table, likelihood.scale):
        yield "Gaussian: expected scale to be at least 1e-09 times the root of the columns' mean variance"


def takes(likelihood, table):
    """Whether all values are possible."""
    likelihood = REGISTRY[likelihood]() if isinstance(likelihood, str) else likelihood
    if not hasattr(likelihood, "max_value"):
        return True
    levels, largest, values = getattr(likelihood, "levels", None), likelihood.max_value, table.filled
    if largest == "auto":
        is_image = np.asarray(table.X).dtype == np.uint8 and values.max() > 1
        largest = (levels or 256) - 1 if is_image else 1
    position = values / largest * (levels - 1) if levels else np.zeros(1)
    return values.min() >= 0 and values.max() <= largest and (np.abs(position - np.rint(position)) <= 0.01).all()


def has_outlier(table):
    """Whether a row is so far from most that its square overflows in float32, in units of the others."""
    distance = np.abs(table.filled - np.median(table.filled, axis=0)).max(1)
    # The unit of constant columns is 1.
    return distance.max() > 1e15 * (np.median(distance) or 1.0)


def is_wide(table, scale):
    """Return whether columns vary so much that float32 cannot distinguish noise of this scale from none."""
    # The unit of constant columns is 1.
    return table.finite and max(1.0, np.ptp(table.filled, axis=0).max()) > 1e8 * scale


def n_classes(y, weight):
    y = y if weight is None else y[weight > 1e-37 * weight.max()]
    return len(set(y.tolist()) - {-1})


def is_extreme(params):
    """Return whether a parameter is so extreme that training may overflow."""
    limits = {"learning_rate_init": 0.05, "alpha": 10, "input_noise": 10, "generative_weight": 10}
    limits |= {"consistency_weight": 10, "consistency_radius": 100, "entropy_weight": 10}
    large = any(not isinstance(params.get(k, 0), str) and params.get(k, 0) > v for k, v in limits.items())
    return large or isinstance(getattr(params["likelihood"], "scale", "optimal"), float)


def fitted_or_refused(estimator, table, weight=None, *y, method="fit", may_diverge=False):
    """Fit; return None if fit raises one of the errors that the case may have."""
    try:
        return getattr(estimator, method)(table.X, *y, sample_weight=weight)
    except (ValueError, TypeError) as error:
        known = [*reasons(estimator, table, weight, *y), *([DIVERGED] if may_diverge else [])]
        if not any(re.search(pattern, str(error)) for pattern in known):
            raise
        return None


# Results


def assert_fitted_state_is_finite(estimator):
    for name, value in vars(estimator).items():
        if name.endswith("_") and name not in ("module_", "classes_", "feature_names_in_"):
            assert np.isfinite(value).all(), name
    for name, tensor in estimator.module_.state_dict().items():
        # A class has fewer Gaussians than there is room for: the others have the weight 0.
        if name != "class_mixture.log_weight":
            assert bool(torch.isfinite(tensor).all()), name
    assert len(estimator.loss_curve_) == len(estimator.reconstruction_curve_) == len(estimator.kl_curve_)
    assert len(getattr(estimator, "validation_scores_", ())) == len(getattr(estimator, "validation_iter_", ()))


def assert_is_finite(value, shape, dtype=np.float64, least=0):
    value = np.asarray(value)
    assert value.shape == shape and value.dtype == dtype and (np.isfinite(value) | (value == least)).all()


def assert_kl_is_positive(estimator, n_rows, weight):
    r"""Closed forms are at least 0 up to rounding; estimates are at least 0 in expectation.

    Of n draws, :math:`E \exp(-\sum_i \log q(z_i) / p(z_i)) \le 1`, so that their mean is below -30 / n with a
    probability of less than exp(-30); with weights up to the largest one n is their sum over it.
    """
    kl = getattr(estimator, "kl_per_component_", None)
    if kl is None:
        return
    estimated = "standard" not in str(estimator.prior).lower()
    n = n_rows if weight is None else weight.sum() / weight.max()
    assert (kl >= -(30 / n if estimated else 1e-4)).all()


def assert_results_are_valid(estimator, X):
    n, d = np.shape(X)
    dtype = np.float32 if np.asarray(X).dtype in (np.float32, np.uint8) else np.float64
    Z = estimator.transform(X)
    assert_is_finite(Z, (n, estimator._n_features_out), dtype)
    assert_is_finite(estimator.inverse_transform(Z), (n, d), dtype)
    if hasattr(estimator, "sample"):
        # float32 cannot represent the density of rows that are far away.
        is_far = dtype == np.float32 and distance(estimator, X) > 1e15
        assert_is_finite(estimator.score_samples(X), (n,), dtype, -np.inf if is_far else 0)
        drawn = estimator.sample(3, random_state=0)
        drawn = drawn[0] if isinstance(drawn, tuple) else drawn
        assert_is_finite(drawn, (3, d))
        assert_is_in_range(drawn, estimator._architecture.likelihood)
    if hasattr(estimator, "predict"):
        p = estimator.predict_proba(X)
        assert_is_finite(p, (n, len(estimator.classes_)), dtype)
        np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
        assert np.isin(estimator.predict(X), estimator.classes_).all()


def distance(estimator, X):
    """Return the largest distance of the rows from the training rows, in the units of the fit."""
    likelihood = estimator.module_.likelihood
    center = getattr(likelihood, "center", torch.zeros(())).double().numpy()
    unit = getattr(likelihood, "unit", likelihood.input_unit).double().numpy()
    return np.abs(np.asarray(X, dtype=np.float64) - center).max() / unit


def assert_is_in_range(X, likelihood):
    largest = getattr(likelihood, "max_value", np.inf)
    if largest < np.inf:
        assert X.min() >= 0 and X.max() <= largest
    if hasattr(likelihood, "dynamic_binarization"):
        assert np.isin(X, [0, largest]).all()
    if hasattr(likelihood, "levels"):
        position = X / largest * (likelihood.levels - 1)
        np.testing.assert_allclose(position, np.rint(position), atol=1e-6)


def assert_results_are_equal(estimator, other, X):
    np.testing.assert_array_equal(estimator.transform(X), other.transform(X))
    if hasattr(estimator, "sample"):
        np.testing.assert_array_equal(estimator.score_samples(X), other.score_samples(X))
    if hasattr(estimator, "predict"):
        np.testing.assert_array_equal(estimator.predict_proba(X), other.predict_proba(X))


# Properties


@watchdog()
def check(vae, table, weight, *y):
    """Fit, and call every public method."""
    if fitted_or_refused(vae, table, weight, *y) is not None:
        assert_fitted_state_is_finite(vae)
        assert_kl_is_positive(vae, len(table.values), weight)
        assert_results_are_valid(vae, table.X)
        assert_results_are_equal(vae, pickle.loads(pickle.dumps(vae)), table.X)
        assert_results_are_equal(vae, clone(vae).fit(table.X, *y, sample_weight=weight), table.X)


families = st.sampled_from([*sorted(LIKELIHOODS), "gaussian", "gaussian"])


@cases(3)
@given(st.data(), families)
def test_transformer_is_valid_or_refuses(data, family):
    table = data.draw(tables(family))
    weight = data.draw(weights(len(table.values)))
    check(VAETransformer(**data.draw(transformer_parameters(family))), table, weight)


@cases(1.5)
@given(st.data(), families)
def test_classifier_is_valid_or_refuses(data, family):
    table = data.draw(tables(family))
    weight, y = data.draw(weights(len(table.values))), data.draw(labels(len(table.values)))
    params = data.draw(classifier_parameters(family)) | {"class_weight": data.draw(class_weights(y))}
    check(VAEClassifier(**params), table, weight, y)


@pytest.mark.filterwarnings("ignore:the rows differ in means or scales")
@cases(0.5)
@given(st.data(), families)
def test_going_on_is_valid_or_refused(data, family):
    """Training continues with other rows of the same width; it may refuse rows on a very different scale."""
    first = data.draw(tables(family, containers=["array"]))
    second = data.draw(tables(family, first.values.shape[1], ["array"]))
    vae = VAETransformer(**data.draw(transformer_parameters(family)), warm_start=data.draw(st.booleans()))
    method = "fit" if vae.warm_start else "partial_fit"
    with watchdog():
        if fitted_or_refused(vae, first, method=method) is None:
            return
        is_far = second.finite and distance(vae, second.X) > 1e12
        if fitted_or_refused(vae, second, method=method, may_diverge=is_far) is not None:
            assert_fitted_state_is_finite(vae)
            assert_results_are_valid(vae, second.X)
            assert_results_are_equal(vae, pickle.loads(pickle.dumps(vae)), second.X)


@cases(0.5)
@given(st.data(), families)
def test_new_rows_are_mapped_or_refused(data, family):
    """This includes rows unlike the training rows, if float32 can represent their distance."""
    table = data.draw(tables(family, containers=["array"]))
    new = data.draw(tables(family, table.values.shape[1], ["array"]))
    vae = VAETransformer(**data.draw(transformer_parameters(family)))
    with watchdog():
        if fitted_or_refused(vae, table) is None:
            return
        known = list(reasons(vae, new, min_rows=1))
        if new.finite and new.X.dtype == np.float32 and distance(vae, new.X) > 1e30:
            return
        try:
            assert_results_are_valid(vae, new.X)
        except ValueError as error:
            if not any(re.search(pattern, str(error)) for pattern in known):
                raise


@cases(0.5)
@given(st.data(), st.integers(-90, 90), st.sampled_from(["float32", "float64"]), st.integers(2, 40), st.integers(1, 40))
def test_unit_of_the_data_does_not_matter(data, exponent, dtype, n, d):
    """Scaling by powers of two is exact, so results are those at scale 1, for float32 and float64 rows."""
    X = np.random.default_rng(data.draw(seeds)).normal(size=(n, d)).astype(dtype)
    params = {"n_components": data.draw(st.integers(1, 5)), "hidden_layer_sizes": (4,), "max_iter": 2}
    params |= {"random_state": 0, "early_stopping": False, "whiten": True}
    y = np.where(np.arange(n) < max(2, n // 2), np.arange(n) % 2, -1)
    for vae, targets in ((VAETransformer(**params), []), (VAEClassifier(**params), [y])):
        with watchdog():
            near, far = (clone(vae).fit(np.ldexp(X, e), *targets) for e in (0, exponent))
        np.testing.assert_allclose(far.transform(np.ldexp(X, exponent)), near.transform(X), rtol=1e-4, atol=1e-5)
        if targets:
            p = far.predict_proba(np.ldexp(X, exponent))
            np.testing.assert_allclose(p, near.predict_proba(X), rtol=1e-4, atol=1e-5)


def nested_parameters(estimator):
    """Return the names of all parameters, components' own included."""
    return sorted(set(estimator.get_params()) - {"device", "verbose", "n_jobs", "warm_start"})


@cases(1.5)
@given(st.data())
def test_wrong_parameter_is_named(data):
    """A value of the wrong type or range raises an error that names its parameter, unless it happens to be valid."""
    components = {
        "likelihood": data.draw(st.sampled_from([g[1 if len(g) < 10 else 2] for g in LIKELIHOODS.values()])),
        "prior": data.draw(st.sampled_from([p for p in PRIORS if not isinstance(p, str)])),
        "network": data.draw(st.sampled_from([n for n in NETWORKS if not isinstance(n, str)])),
        "objective": data.draw(st.sampled_from([o for o in OBJECTIVES if not isinstance(o, str)])),
    }
    common = {"hidden_layer_sizes": (4,), "max_iter": 2, "n_draws": 2, "random_state": 0, **components}
    is_classifier = data.draw(st.booleans())
    vae = clone((VAEClassifier if is_classifier else VAETransformer)(n_components=2, **common))
    y = [np.arange(12) % 2] if is_classifier else []
    name, value = data.draw(st.sampled_from(nested_parameters(vae))), data.draw(st.sampled_from(NONSENSE))
    X = np.random.default_rng(0).integers(0, 2, (12, 12)).astype(float)
    with watchdog():
        try:
            vae.set_params(**{name: value}).fit(X, *y)
            assert_fitted_state_is_finite(vae)
            assert_results_are_valid(vae, X)
        except (ValueError, TypeError) as error:
            assert name.rpartition("__")[-1] in str(error) or "training diverged" in str(error), error
