"""Small data and fitted models that several test modules share."""

import importlib.util
import inspect
import os
import pickle
import random
import sys

# Without it scikit-learn's array API check is skipped; scipy reads it once, when it is imported.
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from small_estimators import CLASS, NAMES, small_classifier

from sklearn_vae import VAETransformer


class Figures:
    """Plugin that closes figures after each test, page and docstring: matplotlib warns of more than 20."""

    def pytest_runtest_teardown(self):
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close("all")


def pytest_configure(config):
    """Register what applies to pages and docstrings too."""
    config.pluginmanager.register(Figures())


def lacking(page):
    """Return what a page of the documentation needs and this environment lacks, or None."""
    if page == "progress.rst" and importlib.util.find_spec("sklearn.callback") is None:
        return "scikit-learn before 1.9 has no callbacks"
    if page == "onnx.rst":
        if not all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime", "onnxscript")):
            return "the extra onnx is not installed"
        if not inspect.signature(torch.onnx.export).parameters["dynamo"].default:
            return "torch before 2.9 exports to ONNX differently"
    return None


def pytest_collection_modifyitems(items):
    """Leave out the pages that cannot run here."""
    for item in items:
        if reason := lacking(item.path.name):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def iris():
    """150 x 4, read-only."""
    return _locked(load_iris().data)


@pytest.fixture(scope="session")
def digits():
    """400 x 64, read-only."""
    return _locked(load_digits().data[:400])


@pytest.fixture(scope="session")
def fitted(iris):
    """A trained transformer of two components; not to be changed."""
    return VAETransformer(
        2, hidden_layer_sizes=(16,), max_iter=20, early_stopping=False, whiten=True, random_state=0
    ).fit(iris)


@pytest.fixture(scope="session")
def trained(iris):
    """A classifier trained on all of iris, with strings as labels; not to be changed."""
    return small_classifier(max_iter=30, n_draws=64).fit(iris, NAMES[CLASS])


@pytest.fixture
def global_random_state():
    """A function that returns the state of python's, numpy's and torch's global generators."""

    def state():
        return pickle.dumps((random.getstate(), np.random.get_state(), torch.get_rng_state().numpy()))

    return state


def _locked(X):
    X = np.ascontiguousarray(X, dtype=np.float64)
    X.setflags(write=False)
    return X
