"""Variational autoencoders behind scikit-learn's API."""

from sklearn_vae._classifier import VAEClassifier
from sklearn_vae._images import ImageFlattener
from sklearn_vae._split import LabelledKFold
from sklearn_vae._transformer import VAETransformer

__all__ = ["ImageFlattener", "LabelledKFold", "VAEClassifier", "VAETransformer"]
__version__ = "0.1.0"
