"""Saving and loading fitted estimators."""

import copy
import io
import pickle
import sys
import warnings

import joblib
import numpy as np
import pytest
import skops.io
import torch
from naming import shown
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP, Modules
from sklearn_vae.objectives import Autoencoder
from sklearn_vae.priors import StandardNormal


class Encoder(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 5)

    def forward(self, x):
        return self.layer(x).tanh()


def decoder(n_components, n_features):
    return nn.Sequential(nn.Linear(n_components, 5), nn.Tanh(), nn.Linear(5, n_features))


class Sizes(nn.Module):
    """Layer that counts its inputs in a buffer, which a new model would not restore."""

    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 5)
        self.register_buffer("n_seen", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        self.n_seen += len(x)
        return self.layer(x)


def small(**params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return VAETransformer(2, **{**values, **params})


CASES = [
    {},
    {"whiten": False},
    {"early_stopping": False, "init": "random"},
    {"likelihood": "bernoulli"},
    {"likelihood": Gaussian(scale="learned", per_column=True)},
    {"network": MLP(principal_coordinates=2)},
    {"network": Modules(Encoder, decoder)},
    {"objective": Autoencoder(), "prior": StandardNormal()},
    {"max_iter": 0},
]
over_cases = pytest.mark.parametrize("params", CASES, ids=shown)


def _joblib_round_trip(vae):
    file = io.BytesIO()
    joblib.dump(vae, file)
    file.seek(0)
    return joblib.load(file)


def _skops_round_trip(vae):
    stream = skops.io.dumps(vae)
    return skops.io.loads(stream, trusted=skops.io.get_untrusted_types(data=stream))


ROUND_TRIPS = {
    "pickle": lambda vae: pickle.loads(pickle.dumps(vae)),
    "pickle_protocol_2": lambda vae: pickle.loads(pickle.dumps(vae, protocol=2)),
    "copy": copy.deepcopy,
    "joblib": _joblib_round_trip,
    "skops": _skops_round_trip,
}


def results(vae, X):
    Z = vae.transform(X)
    parts = [Z, vae.inverse_transform(Z)]
    return [*parts, vae.score_samples(X), vae.sample(3)] if hasattr(vae, "sample") else parts


class _Lookups(pickle.Unpickler):
    """Unpickler that records the packages whose classes and functions it looks up."""

    def __init__(self, stream):
        super().__init__(io.BytesIO(stream))
        self.packages = set()

    def find_class(self, module, name):
        self.packages.add(module.split(".")[0])
        return super().find_class(module, name)


def packages_in(stream):
    lookups = _Lookups(stream)
    lookups.load()
    return lookups.packages


@over_cases
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_round_trip_gives_the_same_results(iris, params, round_trip):
    X = iris / 10
    vae = small(**params).fit(X)
    restored = ROUND_TRIPS[round_trip](vae)
    for before, after in zip(results(vae, X), results(restored, X), strict=True):
        np.testing.assert_array_equal(before, after)
    for name in ("loss_curve_", "n_iter_", "n_steps_", "n_features_in_"):
        assert getattr(restored, name) == getattr(vae, name)
    assert repr(restored) == repr(vae)


def test_round_trip_keeps_float32_results(iris):
    X = iris.astype(np.float32)
    vae = small().fit(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).transform(X), vae.transform(X))


@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
@pytest.mark.parametrize("estimator", [VAETransformer, VAEClassifier])
def test_round_trip_of_an_unfitted_estimator(estimator, round_trip):
    vae = estimator(likelihood=Gaussian(scale=0.5))
    restored = ROUND_TRIPS[round_trip](vae)
    assert repr(restored) == repr(vae) and not hasattr(restored, "module_")
    assert vars(restored).keys() == vars(vae).keys()


def test_round_trip_keeps_the_original_usable(iris):
    vae = small().fit(iris)
    before = vae.transform(iris)
    pickle.dumps(vae), vae.__getstate__()
    np.testing.assert_array_equal(vae.transform(iris), before)
    assert isinstance(vae.module_, nn.Module)


def test_restored_estimator_can_be_fitted_and_cloned(iris):
    vae = small().fit(iris)
    restored = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(clone(restored).fit_transform(iris), vae.transform(iris))
    np.testing.assert_array_equal(restored.fit(iris).transform(iris), vae.transform(iris))


def test_restored_estimator_goes_on_with_warm_start(iris):
    vae = small(warm_start=True, early_stopping=False).fit(iris)
    restored = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(restored.fit(iris).transform(iris), vae.fit(iris).transform(iris))


@pytest.mark.parametrize("partial", [False, True])
def test_pickle_has_no_torch_and_no_skorch_object(iris, partial):
    vae = small(likelihood=Gaussian(), network=MLP()).fit(iris) if not partial else small().partial_fit(iris)
    vae.transform(iris)
    assert packages_in(pickle.dumps(vae)) == {"numpy", "sklearn_vae"}


def test_pickle_is_no_larger_than_the_weights_and_a_little(digits):
    sizes = {}
    for n_rows in (100, 400):
        vae = small(hidden_layer_sizes=(64,)).fit(digits[:n_rows])
        vae.transform(digits), vae.score(digits)
        n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in vae.module_.state_dict().values())
        sizes[n_rows] = len(pickle.dumps(vae))
        # The principal axes of the rows are there for a later `partial_fit`.
        assert n_bytes < sizes[n_rows] < n_bytes + 8 * 64 * 64 + 8000
    assert abs(sizes[400] - sizes[100]) < 1000


def test_pickle_has_no_training_rows(iris):
    X = np.array(iris)
    X[7] = [1234.5678, 2345.6789, 3456.7891, 4567.8912]
    for vae in (small().fit(X), small().partial_fit(X)):
        stream = pickle.dumps(vae)
        assert X[7].tobytes() not in stream and X[7].astype(np.float32).tobytes() not in stream


def test_skops_trusts_types_of_this_package_alone(iris):
    vae = small(likelihood=Gaussian(), prior=StandardNormal(), network=MLP()).fit(iris)
    stream = skops.io.dumps(make_pipeline(StandardScaler(), vae))
    untrusted = skops.io.get_untrusted_types(data=stream)
    assert untrusted and all(name.startswith("sklearn_vae.") for name in untrusted)
    restored = skops.io.loads(stream, trusted=untrusted)[-1]
    np.testing.assert_array_equal(restored.transform(iris), vae.transform(iris))
    np.testing.assert_array_equal(restored.sample(3), vae.sample(3))


@pytest.mark.parametrize("params", [{}, {"whiten": False, "likelihood": Gaussian(per_column=True)}], ids=str)
def test_skops_round_trip_after_partial_fit(iris, params):
    vae = small(**params).partial_fit(iris)
    stream = skops.io.dumps(vae)
    untrusted = skops.io.get_untrusted_types(data=stream)
    assert all(name.startswith("sklearn_vae.") for name in untrusted)
    restored = skops.io.loads(stream, trusted=untrusted)
    np.testing.assert_array_equal(restored.partial_fit(iris).transform(iris), vae.partial_fit(iris).transform(iris))


@pytest.mark.parametrize("encoder", [Encoder, Sizes, Encoder(4), nn.Sequential(nn.Linear(4, 3), nn.ELU())], ids=repr)
def test_user_networks_come_back(iris, encoder):
    vae = small(network=Modules(encoder, decoder)).fit(iris)
    restored = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(restored.transform(iris), vae.transform(iris))


def test_user_network_instance_is_copied(iris):
    """Training changes neither the user's module nor another estimator's."""
    encoder = Encoder(4)
    before = encoder.layer.weight.detach().clone()
    first, second = (small(network=Modules(encoder, decoder)).fit(iris) for _ in range(2))
    assert torch.equal(encoder.layer.weight, before)
    np.testing.assert_array_equal(first.transform(iris), second.transform(iris))


def test_restored_weights_can_be_written_to(iris):
    """numpy arrays of a memory-mapped pickle are read-only; tensors must not be."""
    vae = small(warm_start=True).fit(iris)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored = pickle.loads(pickle.dumps(vae)).fit(iris)
    np.testing.assert_array_equal(restored.transform(iris), vae.fit(iris).transform(iris))


def test_unpickling_leaves_global_random_state_alone(iris, global_random_state):
    stream = pickle.dumps(small(network=Modules(Encoder, decoder)).fit(iris))
    before = global_random_state()
    pickle.loads(stream)
    assert global_random_state() == before


def test_estimator_of_a_device_that_is_not_here_loads_on_the_cpu(iris):
    vae = small().fit(iris)
    expected = vae.transform(iris)
    restored = pickle.loads(pickle.dumps(vae.set_params(device="cuda:7")))
    np.testing.assert_array_equal(restored.transform(iris), expected)
    with pytest.raises(ValueError, match="expected device to be 'auto' or a device of this machine, got 'cuda:7'"):
        restored.fit(iris)


# skops: types that it loads, and code that it runs

NETWORK_CODE = """
from torch import nn
CALLS = []
def encoder(n_features):
    CALLS.append("encoder")
    return nn.Linear(n_features, 5)
def decoder(n_components, n_features):
    return nn.Linear(n_components, n_features)
"""


@pytest.fixture
def network_module(tmp_path, monkeypatch):
    """A user's module with factories, which records when they are called."""
    (tmp_path / "own_network.py").write_text(NETWORK_CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_network

    yield own_network
    sys.modules.pop("own_network", None)


def test_skops_lists_a_users_factories_and_neither_imports_nor_calls_them(iris, network_module):
    vae = small(network=Modules(network_module.encoder, network_module.decoder)).fit(iris)
    stream = skops.io.dumps(vae)
    del sys.modules["own_network"]
    untrusted = skops.io.get_untrusted_types(data=stream)
    own = [name for name in untrusted if not name.startswith("sklearn_vae.")]
    assert own == ["own_network.decoder", "own_network.encoder"]
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match="own_network"):
        skops.io.loads(stream, trusted=[name for name in untrusted if name not in own])
    assert "own_network" not in sys.modules
    restored = skops.io.loads(stream, trusted=untrusted)
    assert sys.modules["own_network"].CALLS == ["encoder"]
    np.testing.assert_array_equal(restored.transform(iris), vae.transform(iris))


def test_skops_lists_the_layers_of_module_instances(iris):
    vae = small(network=Modules(Encoder(4), nn.Linear(2, 4))).fit(iris)
    stream = skops.io.dumps(vae)
    untrusted = skops.io.get_untrusted_types(data=stream)
    own = [name for name in untrusted if not name.startswith("sklearn_vae.")]
    assert own == [f"{__name__}.Encoder", "torch.nn.modules.linear.Linear"]
    with pytest.raises(skops.io.exceptions.UntrustedTypesFoundException, match="Encoder"):
        skops.io.loads(stream, trusted=[name for name in untrusted if name not in own])
    restored = skops.io.loads(stream, trusted=untrusted)
    np.testing.assert_array_equal(restored.transform(iris), vae.transform(iris))


# Classifiers

NAMES = np.array(["ant", "bee", "cat"])
LABELS = np.where(np.arange(150) % 3 == 0, NAMES[np.arange(150) // 50].astype(object), -1)
CLASSIFIERS = [
    {},
    {"generative_weight": 0},
    {"early_stopping": True, "whiten": False},
    {"network": Modules(Encoder, decoder)},
    {"likelihood": "bernoulli", "n_mixture_components": 2},
    {"likelihood": Gaussian(scale="learned", per_column=True), "class_weight": "balanced"},
]


def small_classifier(**params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 3, "n_draws": 8, "random_state": 0}
    return VAEClassifier(2, **{**values, **params})


def classifier_results(vae, X):
    parts = [vae.predict_proba(X), vae.predict(X), vae.transform(X), vae.classes_]
    if hasattr(vae, "sample"):
        parts += [vae.score_samples(X), *vae.sample(5), vae.sample(3, y="bee")[0], vae.class_prior_]
    return parts


@pytest.mark.parametrize("params", CLASSIFIERS, ids=shown)
def test_classifier_round_trip_gives_the_same_results(iris, params):
    X = iris / 10
    vae = small_classifier(**params).fit(X, LABELS)
    for round_trip in ROUND_TRIPS.values():
        restored = round_trip(vae)
        for before, after in zip(classifier_results(vae, X), classifier_results(restored, X), strict=True):
            np.testing.assert_array_equal(before, after)
        assert repr(restored) == repr(vae) and hasattr(restored, "sample") == hasattr(vae, "sample")


def test_classifier_skops_round_trip(iris):
    vae = small_classifier().fit(iris, NAMES[np.arange(150) // 50])
    stream = skops.io.dumps(vae)
    untrusted = skops.io.get_untrusted_types(data=stream)
    assert all(name.startswith("sklearn_vae.") for name in untrusted)
    restored = skops.io.loads(stream, trusted=untrusted)
    for before, after in zip(classifier_results(vae, iris), classifier_results(restored, iris), strict=True):
        np.testing.assert_array_equal(before, after)


def test_classifier_pickle_has_neither_torch_objects_nor_training_rows(iris):
    X = np.array(iris)
    X[7] = [12.345678, 23.456789, 34.567891, 45.678912]
    stream = pickle.dumps(small_classifier().fit(X, LABELS))
    assert packages_in(stream) == {"numpy", "sklearn_vae"}
    assert X[7].tobytes() not in stream and X[7].astype(np.float32).tobytes() not in stream


def test_classifier_restored_goes_on_with_warm_start(iris):
    vae = small_classifier(warm_start=True).fit(iris, LABELS)
    restored = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(
        restored.fit(iris, LABELS).predict_proba(iris), vae.fit(iris, LABELS).predict_proba(iris)
    )


@pytest.mark.parametrize("params", [{"max_iter": -1}, {"beta": "large"}, {"learning_rate_init": 0}])
def test_invalid_parameters_are_refused_by_fit_and_not_by_a_copy(iris, params):
    """A search in parallel copies estimators before it fits them."""
    copied = pickle.loads(pickle.dumps(small(**params)))
    with pytest.raises(ValueError, match=next(iter(params))):
        copied.fit(iris)
    vae = small().fit(iris).set_params(**params)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).transform(iris), vae.transform(iris))
