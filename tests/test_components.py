"""Common behaviour of all likelihoods, priors, networks and objectives.

A new component is tested here, and by its family's contract, as soon as it is in its family's registry.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
from component_cases import LIKELIHOOD_CASES, N_COMPONENTS, NETWORK_CASES, OBJECTIVE_CASES, PRIOR_CASES, binary_rows
from naming import shown
from sklearn.base import clone

import sklearn_vae.likelihoods
import sklearn_vae.networks
import sklearn_vae.objectives
import sklearn_vae.priors
from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._model.same import same
from sklearn_vae.likelihoods import LIKELIHOODS
from sklearn_vae.networks import NETWORKS, Modules
from sklearn_vae.objectives import OBJECTIVES
from sklearn_vae.priors import PRIORS

FAMILIES = [sklearn_vae.likelihoods, sklearn_vae.priors, sklearn_vae.networks, sklearn_vae.objectives]
COMPONENTS = [
    *(("likelihood", case) for case in LIKELIHOOD_CASES),
    *(("prior", case) for case in PRIOR_CASES),
    *(("network", case) for case in NETWORK_CASES),
    *(("objective", case) for case in OBJECTIVE_CASES),
]

over_components = pytest.mark.parametrize("component", [case for _, case in COMPONENTS], ids=shown)


@over_components
def test_component_clone_has_equal_parameters(component):
    copied = clone(component)
    assert copied is not component and type(copied) is type(component)
    assert repr(copied) == repr(component)
    assert copied.get_params().keys() == component.get_params().keys()


@over_components
def test_component_repr_can_be_read_back(component):
    if isinstance(component, Modules):
        assert "make_encoder" in repr(component) and "make_decoder" in repr(component)
        return
    names = {name: value for family in FAMILIES for name, value in vars(family).items()}
    assert same(eval(repr(component), names), component)


@pytest.mark.parametrize(("family", "component"), COMPONENTS, ids=shown)
@pytest.mark.parametrize("init", ["ppca", "random"])
def test_component_works_in_an_estimator(family, component, init):
    X = binary_rows(40)
    before = component.get_params()
    vae = VAETransformer(
        N_COMPONENTS, hidden_layer_sizes=(6,), init=init, max_iter=2, early_stopping=False, random_state=0
    ).set_params(**{family: component})
    Z = vae.fit(X).transform(X)
    assert Z.shape == (len(X), N_COMPONENTS) and np.isfinite(Z).all()
    assert np.isfinite(vae.inverse_transform(Z)).all() and np.isfinite(vae.loss_curve_).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).transform(X), Z)
    assert component.get_params() == before


@pytest.mark.parametrize(("family", "component"), COMPONENTS, ids=shown)
def test_component_works_in_a_classifier(family, component):
    X, before = binary_rows(40), component.get_params()
    y = np.where(np.arange(40) % 2 == 0, X[:, 0], -1).astype(int)
    vae = VAEClassifier(N_COMPONENTS, hidden_layer_sizes=(6,), max_iter=2, n_draws=4, random_state=0)
    vae.set_params(**{family: component}).fit(X, y)
    p = vae.predict_proba(X)
    assert p.shape == (40, 2) and np.isfinite(p).all() and np.isfinite(vae.loss_curve_).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).predict_proba(X), p)
    assert hasattr(vae, "sample") == (family != "objective" or component.generative)
    if hasattr(vae, "sample"):
        assert np.isfinite(vae.sample(5, y=1)[0]).all() and np.isfinite(vae.score_samples(X)).all()
    assert component.get_params() == before


@pytest.mark.parametrize(
    ("family", "registry"),
    [("likelihood", LIKELIHOODS), ("prior", PRIORS), ("network", NETWORKS), ("objective", OBJECTIVES)],
)
def test_registry_name_stands_for_the_default_instance(family, registry):
    X = binary_rows(30)
    vae = VAETransformer(N_COMPONENTS, hidden_layer_sizes=(4,), max_iter=1, early_stopping=False, random_state=0)
    for name, cls in registry.items():
        by_name = clone(vae).set_params(**{family: name}).fit_transform(X)
        by_instance = clone(vae).set_params(**{family: cls()}).fit_transform(X)
        np.testing.assert_array_equal(by_name, by_instance)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_family_has_its_classes_on_the_api_page(family):
    page = (Path(__file__).parents[1] / "docs" / "api" / "index.rst").read_text().split()
    assert {name for name in family.__all__ if isinstance(vars(family)[name], type)} <= set(page)
