"""Docstrings satisfy numpydoc's rules, as scikit-learn selects them, and agree with the code."""

import inspect
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from naming import public_objects
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate
from sklearn.base import BaseEstimator

from sklearn_vae import (
    ImageFlattener,
    VAEClassifier,
    VAEImputer,
    VAEOutlierDetector,
    VAEOverSampler,
    VAETransformer,
)

PUBLIC = public_objects()
CLASSES = [value for _, value in PUBLIC if inspect.isclass(value)]
# scikit-learn's own rules, sklearn/tests/test_docstrings.py. RT02: names of returned values are
# given. GL01, GL02: where the first and the last line are.
IGNORED = {"RT02", "GL01", "GL02"}
# Extended summary, See Also and example are required for classes that users construct, not for methods.
OF_ESTIMATORS = {"ES01", "SA01", "EX01"}


def module_of(value):
    return getattr(value, "__module__", None) or ""


def own_methods(cls):
    """Public methods and properties that this package defines; an override is described by the public base class."""
    described = [base for base in cls.__mro__[1:] if base in CLASSES]
    return {
        name: value
        for name, value in inspect.getmembers(cls)
        if not name.startswith("_")
        and (callable(value) or isinstance(value, property))
        and module_of(getattr(value, "fget", value)).startswith("sklearn_vae")
        and not any(hasattr(base, name) for base in described)
    }


def errors(path, ignored):
    """Return numpydoc's errors; parameters of a property are those of the function that it returns."""
    found = validate(path)["errors"]
    return [f"{path}: {code} {message}" for code, message in found if code not in ignored]


@pytest.mark.parametrize(("path", "value"), PUBLIC, ids=[path for path, _ in PUBLIC])
def test_docstrings_are_valid(path, value):
    constructed = inspect.isclass(value) and issubclass(value, BaseEstimator) and not inspect.isabstract(value)
    ignored = IGNORED if constructed else IGNORED | OF_ESTIMATORS
    if inspect.isclass(value) and not module_of(value.__init__).startswith("sklearn_vae"):
        ignored = ignored | {"PR01"}  # The parameters are those of a constructor of torch's or of typing's.
    found = errors(path, ignored)
    if inspect.isclass(value):
        for name, method in own_methods(value).items():
            ignored = IGNORED | OF_ESTIMATORS | ({"PR02"} if isinstance(method, property) else set())
            found += errors(f"{path}.{name}", ignored)
    assert not found, "\n".join(found)


@pytest.fixture(scope="module")
def fitted_to_all(iris):
    """Estimators with every fitted attribute that they can have."""
    frame = pd.DataFrame(iris, columns=list("abcd"))
    params = {"hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": True, "random_state": 0}
    return {
        VAETransformer: VAETransformer(2, **params).fit(frame),
        VAEClassifier: VAEClassifier(2, **params).fit(frame, np.arange(150) % 3),
        VAEImputer: VAEImputer(2, **params).fit(frame),
        VAEOutlierDetector: VAEOutlierDetector(vae_estimator=VAETransformer(2, **params)).fit(frame),
        VAEOverSampler: VAEOverSampler(vae_estimator=VAEClassifier(2, **params)).fit(frame, np.arange(150) % 3),
        ImageFlattener: ImageFlattener().fit(iris.reshape(-1, 2, 2)),
    }


@pytest.mark.parametrize(
    "cls", [VAETransformer, VAEClassifier, VAEImputer, VAEOutlierDetector, VAEOverSampler, ImageFlattener]
)
def test_fitted_attributes_are_those_of_the_docstring(fitted_to_all, cls):
    documented = [name for name, _, _ in NumpyDocString(inspect.getdoc(cls))["Attributes"]]
    fitted = {name for name in vars(fitted_to_all[cls]) if name.endswith("_") and not name.startswith("_")}
    fitted |= {name for name in ("module_",) if hasattr(fitted_to_all[cls], name)}
    assert len(documented) == len(set(documented)) and set(documented) == fitted


def test_every_public_name_is_in_the_api_pages():
    text = Path(__file__).parents[1].joinpath("docs", "api", "index.rst").read_text()
    listed, module = set(), None
    for line in text.splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.fullmatch(r" {3}(\w+)", line):
            listed.add(f"{module}.{found[1]}")
    assert listed == {path for path, _ in PUBLIC}
