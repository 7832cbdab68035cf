"""Versions that are stored with a state, and the warnings when it is loaded with other versions."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn
import skops.io
import torch
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sklearn_vae
from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._model import persistence

SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}


@pytest.fixture(scope="module")
def kinds(iris):
    """Fitted estimators of both kinds; not to be changed."""
    return {
        "transformer": VAETransformer(**SMALL).fit(iris),
        "classifier": VAEClassifier(**SMALL).fit(iris, np.arange(150) % 3),
    }


over_kinds = pytest.mark.parametrize("kind", ["transformer", "classifier"])


def saved_with(vae, **versions):
    """Return a state that declares other versions."""
    state = vae.__getstate__()
    return {**state, "_versions": state["_versions"] | {k.replace("_", "-"): v for k, v in versions.items()}}


def load(vae, state):
    restored = type(vae).__new__(type(vae))
    restored.__setstate__(state)
    return restored


def test_state_has_the_versions_and_estimators_have_not(kinds):
    vae = kinds["transformer"]
    state = vae.__getstate__()
    assert state["_versions"] == {
        "sklearn-vae": sklearn_vae.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": str(torch.__version__).split("+")[0],
    }
    assert {type(version) for version in state["_versions"].values()} == {str}
    restored = pickle.loads(pickle.dumps(vae))
    assert "_versions" not in {**vars(vae), **vars(restored), **restored.get_params()}
    assert "_versions" not in repr(restored) + restored._repr_html_()


def _skops_round_trip(stream):
    return skops.io.loads(stream, trusted=skops.io.get_untrusted_types(data=stream))


ROUND_TRIPS = {
    "pickle": lambda vae: pickle.loads(pickle.dumps(vae)),
    "skops": lambda vae: _skops_round_trip(skops.io.dumps(vae)),
    "clone": clone,
    "shallow copy": copy.copy,
    "deep copy": copy.deepcopy,
}


@over_kinds
@pytest.mark.parametrize("round_trip", ROUND_TRIPS)
def test_same_versions_do_not_warn(kinds, kind, round_trip):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ROUND_TRIPS[round_trip](kinds[kind])
        ROUND_TRIPS[round_trip](make_pipeline(StandardScaler(), kinds[kind]))


@over_kinds
@pytest.mark.parametrize(
    ("package", "version"),
    [("sklearn_vae", "0.0.1"), ("scikit_learn", "1.2.3"), ("torch", "1.13.1"), ("torch", "3.0.0")],
)
def test_other_versions_warn(iris, kinds, kind, package, version):
    vae = kinds[kind]
    name = package.replace("_", "-")
    expected = rf"^{type(vae).__name__} was saved with {name} {version} \(here [\d.]+\): .*fit it again\.$"
    with pytest.warns(InconsistentVersionWarning, match=expected) as record:
        restored = load(vae, saved_with(vae, **{package: version}))
    assert len(record) == 1 and record[0].filename == __file__
    assert record[0].message.original_sklearn_version == ("1.2.3" if "scikit" in package else sklearn.__version__)
    np.testing.assert_array_equal(restored.transform(iris), vae.transform(iris))


def test_unfitted_estimators_of_other_versions_warn():
    vae = VAETransformer(3)
    with pytest.warns(InconsistentVersionWarning, match="VAETransformer was saved with sklearn-vae 9.0"):
        assert load(vae, saved_with(vae, sklearn_vae="9.0")).n_components == 3


@pytest.mark.parametrize("package", [sklearn, torch])
@pytest.mark.parametrize("change", [lambda v: f"{'.'.join(v.split('.')[:2])}.99", lambda v: f"{v}+cu126"])
def test_patches_and_local_parts_of_versions_do_not_warn(monkeypatch, package, change):
    stream = pickle.dumps(VAETransformer(3))
    monkeypatch.setattr(package, "__version__", change(package.__version__.split("+")[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(stream)


def test_a_patch_of_this_package_warns(monkeypatch):
    stream = pickle.dumps(VAETransformer(3))
    monkeypatch.setattr(persistence, "__version__", f"{sklearn_vae.__version__}.post1")
    with pytest.warns(InconsistentVersionWarning, match=r"saved with sklearn-vae .* \(here .*\.post1\)"):
        pickle.loads(stream)


def test_state_without_versions_loads_with_a_warning(iris, kinds):
    vae = kinds["transformer"]
    state = vae.__getstate__()
    del state["_versions"]
    with pytest.warns(InconsistentVersionWarning, match="sklearn-vae of an unknown version"):
        restored = load(vae, state)
    np.testing.assert_array_equal(restored.transform(iris), vae.transform(iris))


def test_state_that_does_not_fit_says_what_it_was_saved_with(kinds):
    state = saved_with(kinds["transformer"], torch="2.99.0")
    state["module_"] = {name.replace("decoder", "dec"): value for name, value in state["module_"].items()}
    expected = r"(?s)rebuild the saved model.*decoder.0.weight.*with \(sklearn-vae [\d.]+, .*torch 2.99.0\)"
    with pytest.warns(InconsistentVersionWarning), pytest.raises(ValueError, match=expected):
        load(kinds["transformer"], state)
