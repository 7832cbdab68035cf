"""The version, which the state of an estimator carries."""

__version__ = "0.1.0"
