"""Representations of estimators as text and HTML."""

import copy
import html
import inspect
import re
from importlib.util import find_spec

import numpy as np
import pytest
from naming import public_classes
from sklearn.base import BaseEstimator

from sklearn_vae import ImageFlattener, VAEClassifier, VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import Conv
from sklearn_vae.objectives import IWAE
from sklearn_vae.priors import VampPrior

SHOWN = [
    (path, cls) for path, cls in public_classes() if issubclass(cls, BaseEstimator) and not inspect.isabstract(cls)
]
shows_attributes = pytest.mark.skipif(
    find_spec("sklearn.callback") is None, reason="scikit-learn before 1.9 shows no fitted attributes"
)
SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}


def shown_names(estimator):
    """Names in the tables of the HTML representation."""
    return set(re.findall(r'<td class="param">(?:<a [^>]*>)?(\w+)', estimator._repr_html_()))


@pytest.fixture(scope="module")
def estimators(iris):
    """Estimators of both kinds, before and after a fit."""
    y = np.arange(150) % 3
    return {
        "unfitted transformer": VAETransformer(likelihood=Gaussian()),
        "unfitted classifier": VAEClassifier(),
        "transformer": VAETransformer(**SMALL, early_stopping=True, whiten=False).fit(iris),
        "classifier": VAEClassifier(**SMALL, early_stopping=True, whiten=False).fit(iris, y),
        "transformer after partial_fit": VAETransformer(**SMALL).partial_fit(iris),
        "unfitted images": ImageFlattener(),
        "images": ImageFlattener().fit(iris.reshape(-1, 2, 2)),
    }


NAMES = [
    "unfitted transformer",
    "unfitted classifier",
    "transformer",
    "classifier",
    "transformer after partial_fit",
    "unfitted images",
    "images",
]


@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (VAETransformer(), "VAETransformer()"),
        (VAETransformer(3, verbose=True), "VAETransformer(n_components=3, verbose=True)"),
        (VAETransformer(likelihood=Gaussian(scale="learned")), "VAETransformer(likelihood=Gaussian(scale='learned'))"),
        (VAETransformer(likelihood=Gaussian()), "VAETransformer(likelihood=Gaussian())"),
        (
            VAEClassifier(prior=VampPrior(500), objective=IWAE()),
            "VAEClassifier(objective=IWAE(), prior=VampPrior(n_pseudo_inputs=500))",
        ),
        (VAEClassifier(network=Conv(image_shape=(8, 8))), "VAEClassifier(network=Conv(image_shape=(8, 8)))"),
        (ImageFlattener(channels="last"), "ImageFlattener(channels='last')"),
    ],
    ids=str,
)
def test_text_has_the_parameters_that_were_changed(estimator, expected):
    assert repr(estimator) == expected


@pytest.mark.parametrize("name", ["transformer", "classifier", "transformer after partial_fit"])
def test_text_is_that_of_an_unfitted_estimator(estimators, name):
    estimator = estimators[name]
    assert repr(estimator) == repr(type(estimator)(**estimator.get_params(deep=False)))


def test_callbacks_are_not_shown():
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has no callbacks")
    vae = VAETransformer(3).set_callbacks(callback.ProgressBar())
    assert repr(vae) == "VAETransformer(n_components=3)" and "ProgressBar" not in vae._repr_html_()


@pytest.mark.parametrize(("path", "cls"), SHOWN, ids=[path for path, _ in SHOWN])
def test_nothing_links_to_pages_without_an_address(path, cls):
    assert cls.__new__(cls)._get_doc_link() == ""


@pytest.mark.parametrize("name", NAMES)
def test_html_has_no_links(estimators, name):
    assert "href" not in estimators[name]._repr_html_()


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("unfitted")])
def test_html_shows_every_parameter(estimators, name):
    assert shown_names(estimators[name]) == set(estimators[name].get_params())


@shows_attributes
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("unfitted")])
def test_html_shows_every_parameter_and_fitted_attribute(estimators, name):
    estimator = estimators[name]
    fitted = {name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")}
    fitted |= {"module_"} if hasattr(estimator, "module_") else set()
    assert fitted and shown_names(estimator) == set(estimator.get_params()) | fitted


@shows_attributes
@pytest.mark.parametrize("name", ["transformer", "classifier"])
def test_html_shows_values_on_one_short_line(estimators, name):
    """Long ones, such as that of the torch module, are cut."""
    cells = re.findall(r"<td>([^<]*)</td>", estimators[name]._repr_html_())
    assert any(cell.startswith("VAE(") for cell in cells)
    assert max(len(html.unescape(" ".join(cell.split()))) for cell in cells) < 120


def test_no_attribute_is_computed_for_the_representation():
    """scikit-learn evaluates every attribute whose name ends in _."""
    for cls in (VAETransformer, VAEClassifier, ImageFlattener):
        assert not [name for name in dir(cls) if name[-1] == "_" and name[0] != "_" and name != "module_"]


def test_representation_does_not_hand_out_the_module(estimators):
    """Twins of a model that a user may change are derived anew at each call."""
    for estimator in map(copy.deepcopy, (estimators["transformer"], estimators["classifier"])):
        inference = estimator._fitted_model.inference
        assert estimator._repr_html_() and estimator._fitted_model.inference is inference
