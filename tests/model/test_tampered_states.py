"""Damaged or changed states give an error that names the field, or an estimator that works.

``HYPOTHESIS_PROFILE=long python -m pytest tests/model/test_tampered_states.py`` changes every field in every way; by
default every field is changed in one.
"""

import copy
import os
import pickle
import resource
from itertools import islice

import numpy as np
import pytest
import torch
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.likelihoods import Bernoulli, Gaussian
from sklearn_vae.networks import MLP, Conv, Modules
from sklearn_vae.objectives import IWAE
from sklearn_vae.priors import Mixture, VampPrior

X = np.random.default_rng(0).random((24, 4))
Y = np.array(["ant", "bee", -1], dtype=object)[np.arange(24) % 3]
SMALL = {"hidden_layer_sizes": (3,), "max_iter": 2, "n_draws": 2, "random_state": 0}
# Number of changes of each field by default.
N_CHANGES = 10**6 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 1


def classifier(**params):
    return VAEClassifier(2, n_mixture_components=2, **SMALL, **params).fit(X, Y)


def transformer(**params):
    return VAETransformer(2, **SMALL, **params)


ESTIMATORS = {
    "fit": lambda: transformer(whiten=True).fit(X),
    "held out": lambda: transformer(whiten=False, likelihood="bernoulli").fit(X),
    "chunks": lambda: transformer(whiten=False, network=MLP()).partial_fit(X),
    "vamp": lambda: transformer(prior=VampPrior(3), objective=IWAE(2), init="random").partial_fit(X),
    "conv": lambda: transformer(network=Conv((2, 2), channels=(2,)), prior=Mixture(2)).fit(X),
    "rotated": lambda: transformer(network=MLP(principal_coordinates=3)).fit(X.repeat(8, 1)),
    "classifier": lambda: classifier(whiten=False, early_stopping=True),
    "modules": lambda: classifier(network=Modules(nn.Linear(4, 3), nn.Linear(2, 4)), likelihood=Gaussian(scale=0.5)),
    "not generative": lambda: classifier(generative_weight=0, likelihood=Bernoulli(max_value=2.0)),
    "not fitted": lambda: transformer(likelihood=Gaussian()),
}
over_estimators = pytest.mark.parametrize("name", ESTIMATORS)


@pytest.fixture(scope="module")
def states():
    return {name: (estimator := make(), pickle.dumps(estimator.__getstate__())) for name, make in ESTIMATORS.items()}


# Changes


def insides(value):
    """The fields of a dictionary, a list or an object of this package, as pairs of a key and a value."""
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))[:2]
    return list(vars(value).items()) if type(value).__module__.startswith("sklearn_vae.") else []


def paths(value, path=()):
    """Yield the keys that lead to each field."""
    for key, inside in insides(value):
        yield (*path, key)
        yield from paths(inside, (*path, key))


def get(state, path):
    for key in path:
        state = state[key] if isinstance(state, dict | list | tuple) else vars(state)[key]
    return state


def put(state, path, value):
    """Change a field in place; a tuple is replaced by a new one."""
    holder = get(state, path[:-1])
    if isinstance(holder, tuple):
        put(state, path[:-1], tuple(value if i == path[-1] else old for i, old in enumerate(holder)))
    else:
        (holder if isinstance(holder, dict | list) else vars(holder))[path[-1]] = value


def array_changes(a):
    yield "short", a.reshape(-1)[: a.size // 2]
    yield "long", np.concatenate([a.reshape(-1), a.reshape(-1)])
    yield "empty", a.reshape(-1)[:0]
    yield "another axis", a[None]
    yield "object", a.astype(object)
    if a.dtype.kind == "f":
        yield "another precision", a.astype(np.float32 if a.dtype == np.float64 else np.float64)
        yield "whole", np.zeros(a.shape, dtype=np.int64)
        yield "NaN", np.full_like(a, np.nan)
        yield "infinite", np.full_like(a, np.inf)
        yield "negative", -np.abs(a) - 1
        yield "other bytes", a.astype(a.dtype.newbyteorder())


def changes(value):
    """Yield changed values of a field, with a description of the change."""
    if isinstance(value, np.ndarray):
        yield from array_changes(value)
    elif isinstance(value, bool):
        yield "other", not value
    elif isinstance(value, int):
        yield from (("more", value + 1), ("zero", 0), ("negative", -1), ("fraction", value + 0.5))
    elif isinstance(value, float):
        yield from (("NaN", np.nan), ("negative", -1.0), ("infinite", np.inf))
    elif isinstance(value, str):
        yield from (("other", "nonsense"), ("empty", ""))
    elif isinstance(value, list | tuple):
        kind = type(value)
        yield from (("empty", kind()), ("short", value[:-1]), ("long", kind([*value, *value, 1])))
        yield "negative", kind([-1] * len(value))
    elif isinstance(value, dict):
        yield from (("empty", {}), ("extra", {**value, "extra": np.zeros(1)}))
        yield from ((f"without {key}", {k: v for k, v in value.items() if k != key}) for key in islice(value, 3))
    for other in (None, 5, "nonsense", [1], {}, object(), np.zeros(2), True):
        yield f"a {type(other).__name__}", other


def load(estimator, state):
    restored = type(estimator).__new__(type(estimator))
    restored.__setstate__(state)
    return restored


def use(estimator, goes_on=True):
    """Call all public methods; training need not go on where parameters ask for another model."""
    methods = {"transform": X, "score_samples": X, "predict": X, "predict_proba": X, "predict_log_proba": X}
    rows = np.resize(X, (24, estimator.n_features_in_))
    for name in methods:
        if hasattr(estimator, name):
            assert len(getattr(estimator, name)(rows)) == 24
    estimator.inverse_transform(estimator.transform(rows)), estimator.get_feature_names_out(), repr(estimator)
    if hasattr(estimator, "sample"):
        estimator.sample(3)
    if hasattr(estimator, "predict"):
        estimator.score(rows[:2], ["ant", "bee"])
    pickle.loads(pickle.dumps(estimator)).transform(rows)
    if hasattr(estimator, "partial_fit"):
        try:
            estimator.partial_fit(rows[:2], *([["ant", "bee"]] if hasattr(estimator, "predict") else []))
        except (ValueError, TypeError):
            assert not goes_on


def refused_or_usable(estimator, state, what, goes_on=True):
    """Return the error of loading or of a parameter, or None after using what was loaded."""
    try:
        restored = load(estimator, state)
    except (ValueError, TypeError) as error:
        return error
    if hasattr(restored, "module_"):
        try:
            use(restored, goes_on)
        except InvalidParameterError as error:
            # A parameter of a method, which names it.
            return error
        except Exception as error:
            raise AssertionError(f"{what} was loaded, and then {type(error).__name__}: {error}") from error
    return None


# Tests


@over_estimators
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
# With another center, the rows differ from those that the model started from.
@pytest.mark.filterwarnings("ignore:the rows differ in means or scales")
def test_states_with_one_field_changed_are_refused_or_usable(states, name):
    estimator, stream = states[name]
    for i, path in enumerate(paths(pickle.loads(stream))):
        value = get(pickle.loads(stream), path)
        every = [("unlike any", "removed"), *changes(value)]
        # Other ways for each field.
        chosen = {j % len(every) for j in range(3 * i, 3 * i + min(N_CHANGES, len(every)))}
        for how, changed in (every[j] for j in sorted(chosen)):
            state = pickle.loads(stream)
            put(state, path, copy.copy(changed))
            goes_on = path[0] not in ("_architecture", *estimator.get_params(deep=False))
            refused_or_usable(estimator, state, f"{path} {how}", goes_on)


@over_estimators
def test_states_without_a_field_are_refused_or_usable(states, name):
    estimator, stream = states[name]
    for key in pickle.loads(stream):
        state = pickle.loads(stream)
        del state[key]
        if key == "_versions":
            with pytest.warns(InconsistentVersionWarning):
                load(estimator, state)
        else:
            refused_or_usable(estimator, state, f"a state without {key}")


@over_estimators
def test_states_that_replace_methods_are_refused(states, name):
    estimator, stream = states[name]
    for key in ("transform", "fit", "get_params", "_validate_params"):
        with pytest.raises(ValueError, match=f"without its methods {key}.* damaged or was changed"):
            load(estimator, {**pickle.loads(stream), key: 5})
    with pytest.raises(ValueError, match="likelihood to be stored without its methods build"):
        state = pickle.loads(states["fit"][1])
        vars(state["_architecture"].likelihood)["build"] = 5
        load(states["fit"][0], state)


def test_estimators_keep_what_a_user_adds(states):
    estimator, stream = states["fit"]
    assert load(estimator, {**pickle.loads(stream), "note": "mine"}).note == "mine"


CHANGED = {
    "exp_avg": (
        "chunks",
        ("_training_state", "trainer", "moments", "exp_avg"),
        lambda a: a[:1],
        "exp_avg'.*shape .*got an array",
    ),
    "exp_avg_sq": (
        "chunks",
        ("_training_state", "trainer", "moments", "exp_avg_sq"),
        lambda a: -a - 1,
        "exp_avg_sq.* at least 0",
    ),
    "precision": (
        "chunks",
        ("_training_state", "trainer", "weights"),
        lambda a: a.astype(float),
        "'weights'.*type float32",
    ),
    "optima": ("chunks", ("_training_state", "trainer", "optima"), lambda o: o[:0], "'optima'.*to be 1 arrays"),
    "seed": ("chunks", ("_training_state", "trainer", "seed"), lambda n: 2**63, "'seed'.*an integer"),
    "digest": ("chunks", ("_training_state", "trainer", "digest"), lambda d: 1, "'digest'.*a string"),
    "weights": ("fit", ("module_", "linear.encoder.weight"), lambda a: a * np.nan, "linear.encoder.weight.*finite"),
    "columns": ("fit", ("n_features_in_",), lambda n: 5, "n_features_in_ to be 4"),
    "versions": ("fit", ("_versions",), lambda v: None, "_versions"),
    "package": ("fit", ("_versions", "torch"), lambda v: 5, "_versions"),
    "device": ("fit", ("device",), lambda v: None, "'device' parameter"),
    "classes": ("classifier", ("classes_",), lambda a: a[:1], "classes_ to be 2 different labels"),
    "labels": ("classifier", ("classes_",), lambda a: a[[0, 0]], "classes_ to be 2 different labels"),
    "scale": ("held out", ("latent_scale_",), lambda a: a[:1], "latent_scale_ to be 2 finite numbers"),
    "NaN": ("held out", ("latent_scale_",), lambda a: a * np.nan, "latent_scale_ to be 2 finite numbers"),
    "mixture": (
        "classifier",
        ("module_", "class_mixture.log_weight"),
        lambda a: np.full_like(a, -np.inf),
        "log_weight.* of sum 1",
    ),
}


@pytest.mark.parametrize(("name", "path", "change", "message"), CHANGED.values(), ids=CHANGED)
def test_changed_field_is_named(states, name, path, change, message):
    estimator, stream = states[name]
    state = pickle.loads(stream)
    put(state, path, change(get(state, path)))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load(estimator, state)


LARGE = {
    "columns": ("fit", {"n_features": 10**9}),
    "components": ("fit", {"n_components": 10**9}),
    "layers": ("fit", {"hidden_layer_sizes": (10**5, 10**5)}),
    "overflow": ("fit", {"hidden_layer_sizes": (2**62,)}),
    "beyond 64 bits": ("fit", {"hidden_layer_sizes": (2**70,)}),
    "coordinates": ("fit", {"n_coordinates": 10**9}),
    "pseudo-inputs": ("vamp", {"prior": VampPrior(10**9)}),
    "Gaussians": ("conv", {"prior": Mixture(10**9)}),
    "channels": ("conv", {"network": Conv((2, 2), channels=(10**8,))}),
    "decoder": ("fit", {"network": MLP(decoder_hidden_layer_sizes=(10**5, 10**5))}),
    "classes": ("classifier", {"n_classes": 10**8}),
    "class mixtures": ("classifier", {"n_mixture_components": 10**9}),
}


@pytest.mark.parametrize(("name", "sizes"), LARGE.values(), ids=LARGE)
def test_large_sizes_are_refused_before_memory_is_taken(states, name, sizes):
    """Sizes that a file also declares elsewhere are compared with its weights."""
    estimator, stream = states[name]
    state = pickle.loads(stream)
    vars(state["_architecture"]).update(sizes)
    state["n_features_in_"] = state["_architecture"].n_features
    if "n_classes" in sizes:
        state["_architecture"].__dict__["n_classes"] = sizes["n_classes"]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, TypeError)):
        load(estimator, state)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 2**17  # KiB


@pytest.mark.parametrize("init", ["ppca", "random"])
@pytest.mark.parametrize(
    "network", ["mlp", "conv", MLP(initializer="glorot", layer_norm=True)], ids=["mlp", "conv", "other"]
)
def test_sizes_are_compared_without_values(init, network):
    """A model on torch's device "meta" has the sizes of the real one."""
    vae = transformer(init=init, network=network).partial_fit(X)
    with torch.device("meta"):
        skeleton = vae._architecture.build(torch.Generator())
    assert {tensor.device.type for tensor in skeleton.state_dict().values()} == {"meta"}
    for name, tensor in vae.module_.state_dict().items():
        assert skeleton.state_dict()[name].shape == tensor.shape
