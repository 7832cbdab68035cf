"""Variational autoencoders behind scikit-learn's API."""

import importlib

from sklearn_vae._classifier import VAEClassifier
from sklearn_vae._image_flattener import ImageFlattener
from sklearn_vae._imputer import VAEImputer
from sklearn_vae._labelled_kfold import LabelledKFold
from sklearn_vae._outliers import VAEOutlierDetector
from sklearn_vae._oversampler import VAEOverSampler
from sklearn_vae._steps import sample
from sklearn_vae._transformer import VAETransformer
from sklearn_vae._version import __version__

__all__ = [
    "ImageFlattener",
    "LabelledKFold",
    "VAEClassifier",
    "VAEImputer",
    "VAEOutlierDetector",
    "VAEOverSampler",
    "VAETransformer",
    "__version__",
    "displays",
    "sample",
]


def __getattr__(name: str):
    # The displays are imported when they are first used, because they take a tenth of the time of the package.
    if name == "displays":
        return importlib.import_module("sklearn_vae.displays")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
