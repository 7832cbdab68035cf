"""The package's version, which is stored with every saved estimator."""

__version__ = "0.1.0"
