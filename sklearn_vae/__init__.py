"""Variational autoencoders behind scikit-learn's API."""

from sklearn_vae._transformer import VAETransformer

__all__ = ["VAETransformer"]
__version__ = "0.1.0"
