"""Anomaly detectors with their own defaults, which `anomalies.py` compares. PyOD's need the extra "bench".

Each function returns an unfitted detector for the given training rows. After `fit`, `score` returns larger values for
more anomalous rows.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cache, partial

import numpy as np
from sklearn.decomposition import PCA, FactorAnalysis
from sklearn.neighbors import NearestNeighbors

from sklearn_vae import VAEOutlierDetector, VAETransformer
from sklearn_vae.likelihoods import Gaussian

N_COMPONENTS = 8  # default of VAETransformer
N_NEIGHBORS = 5


class Detector:
    """A model and its anomaly score."""

    def __init__(self, model, score: Callable[[object, np.ndarray], np.ndarray]):
        self.model = model
        self._score = score

    def fit(self, X: np.ndarray) -> Detector:
        """Fit to normal rows and discard the output that the model prints."""
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            self.model.fit(X)
        return self

    def score(self, X: np.ndarray) -> np.ndarray:
        """Return finite scores, larger for anomalies; NaN and infinite scores become the largest ones."""
        with contextlib.redirect_stderr(io.StringIO()):
            scores = np.asarray(self._score(self.model, X), np.float64)
        return np.nan_to_num(scores, nan=np.inf).clip(-1e300, 1e300)


def minus_score_samples(model, X: np.ndarray) -> np.ndarray:
    """Return the negative of the model's `score_samples`."""
    return -model.score_samples(X)


def squared_error(model, X: np.ndarray) -> np.ndarray:
    """Return the squared distance between each row and its reconstruction."""
    return np.square(X - model.inverse_transform(model.transform(X))).sum(1)


def mean_distance(model, X: np.ndarray) -> np.ndarray:
    """Return the mean distance to the nearest training rows."""
    return model.kneighbors(X)[0].mean(1)


def vae(X: np.ndarray, seed: int, n_components: int = N_COMPONENTS, **params) -> Detector:
    """Return a VAETransformer with fewer components than columns."""
    k = min(n_components, X.shape[1] - 1)
    return Detector(VAETransformer(**{"n_components": k, "random_state": seed, **params}), minus_score_samples)


def outlier_detector(X: np.ndarray, seed: int, contamination: float | str = "auto") -> Detector:
    """Return a VAEOutlierDetector, which is told the share of anomalies among the training rows."""
    return Detector(VAEOutlierDetector(contamination=contamination, random_state=seed), minus_score_samples)


def linear(X: np.ndarray, seed: int, cls: type, score: Callable = minus_score_samples) -> Detector:
    """Return a linear model with the default number of components, or fewer for few columns."""
    return Detector(cls(min(N_COMPONENTS, X.shape[1] - 1), random_state=seed), score)


def nearest(X: np.ndarray, seed: int) -> Detector:
    """Return a nearest-neighbour detector."""
    return Detector(NearestNeighbors(n_neighbors=N_NEIGHBORS), mean_distance)


def pyod(X: np.ndarray, seed: int, name: str) -> Detector:
    """Return a PyOD detector. IForest, OCSVM and LOF wrap scikit-learn's, with its defaults."""
    from importlib import import_module

    modules = {"AutoEncoder": "auto_encoder", "DeepSVDD": "deep_svdd"}
    cls = getattr(import_module(f"pyod.models.{modules.get(name, name.lower())}"), name)
    params = {"n_features": X.shape[1]} if name == "DeepSVDD" else {}
    names = cls.__init__.__code__.co_varnames
    params |= {"random_state": seed} if "random_state" in names else {}
    params |= {"verbose": 0} if "verbose" in names and name != "OCSVM" else {}
    return Detector(cls(**params), lambda model, rows: model.decision_function(rows))


OURS = "VAETransformer"
DETECTOR = "VAEOutlierDetector"
PYOD = [
    "VAE",
    "AutoEncoder",
    "DeepSVDD",
    "PCA",
    "IForest",
    "OCSVM",
    "KNN",
    "LOF",
    "ECOD",
    "COPOD",
    "HBOS",
    "GMM",
    "INNE",
]
DETECTORS: dict[str, Callable[..., Detector]] = {
    DETECTOR: outlier_detector,
    OURS: vae,
    f"{OURS}, per_column": partial(vae, likelihood=Gaussian(per_column=True)),
    f"{OURS}, 2 components": partial(vae, n_components=2),
    f"{OURS}, 32 components": partial(vae, n_components=32),
    **{f"PyOD {name}": partial(pyod, name=name) for name in PYOD},
    "PCA, likelihood": partial(linear, cls=PCA),
    "PCA, error": partial(linear, cls=PCA, score=squared_error),
    "FactorAnalysis": partial(linear, cls=FactorAnalysis),
    "NearestNeighbors, mean": nearest,
}
# The slowest detectors, which `--cheap` omits.
SLOW = [f"{OURS}, 2 components", f"{OURS}, 32 components", "PyOD VAE", "PyOD AutoEncoder", "PyOD DeepSVDD"]


@cache
def load(detector: str) -> None:
    """Fit and score once per process, so that first-use imports and compilation are not timed."""
    X = np.random.RandomState(0).normal(size=(100, 5))
    DETECTORS[detector](X, 0).fit(X[:64]).score(X)
