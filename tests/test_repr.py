"""What estimators look like: as text, and as HTML with links to the documentation."""

import html
import inspect
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from naming import public_classes
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

from sklearn_vae import ImageFlattener, VAEClassifier, VAETransformer
from sklearn_vae._documentation import URL
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import Conv
from sklearn_vae.objectives import IWAE
from sklearn_vae.priors import VampPrior

SHOWN = [
    (path, cls) for path, cls in public_classes() if issubclass(cls, BaseEstimator) and not inspect.isabstract(cls)
]
SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}


@pytest.fixture(scope="module")
def estimators(iris):
    """Of both kinds, before and after a fit."""
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
def test_link_is_that_of_the_api_page(path, cls):
    link = cls.__new__(cls)._get_doc_link()
    assert link == f"{URL}/api/generated/{path}.html"


def test_address_is_that_of_the_project():
    project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
    assert project["urls"]["Documentation"] == URL


def test_classes_of_users_have_no_link():
    class OwnLikelihood(Gaussian):
        pass

    assert OwnLikelihood()._get_doc_link() == ""


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_fitted_attribute_links_to_its_description(estimators, name):
    estimator = estimators[name]
    text = estimator._repr_html_()
    linked = set(re.findall(rf'href="{re.escape(estimator._get_doc_link())}#:~:text=(\w+),-', text))
    fitted = {name for name in vars(estimator) if name.endswith("_") and not name.startswith("_")}
    assert linked == set(estimator.get_params(deep=False)) | fitted
    assert bool(fitted) == (not name.startswith("unfitted"))


@pytest.mark.parametrize("name", ["transformer", "classifier"])
def test_html_shows_values_on_one_short_line(estimators, name):
    """Long ones, such as that of the torch module, are cut."""
    cells = re.findall(r"<td>([^<]*)</td>", estimators[name]._repr_html_())
    assert any(cell.startswith("VAE(") for cell in cells)
    assert max(len(html.unescape(" ".join(cell.split()))) for cell in cells) < 120


def test_no_attribute_is_computed_for_the_representation():
    """scikit-learn evaluates every attribute whose name ends in _."""
    for cls in (VAETransformer, VAEClassifier, ImageFlattener):
        assert not [name for name in dir(cls) if name.endswith("_") and not name.startswith("_")]


def test_html_of_a_pipeline_links_to_each_step(estimators):
    text = make_pipeline(ImageFlattener(), estimators["classifier"])._repr_html_()
    for page in ("sklearn_vae.ImageFlattener", "sklearn_vae.VAEClassifier"):
        assert f'href="{URL}/api/generated/{page}.html"' in text
