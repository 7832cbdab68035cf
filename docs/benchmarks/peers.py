"""The classifiers that VAEClassifier is compared with, and functions to fit and evaluate them."""

from __future__ import annotations

import warnings

import common
import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.semi_supervised import LabelSpreading, SelfTrainingClassifier
from sklearn.svm import SVC

from sklearn_vae import VAEClassifier

OURS = "VAEClassifier"


class CalibratedSVC(ClassifierMixin, BaseEstimator):
    """SVC with probabilities of a cross-validated temperature, or temperature 1 if a class has a single row."""

    def fit(self, X, y):
        """Fit to labelled rows."""
        n_folds = min(5, np.unique(y, return_counts=True)[1].min())
        self.model_ = SVC()
        if n_folds > 1:
            self.model_ = CalibratedClassifierCV(SVC(), method="temperature", cv=n_folds, ensemble=False)
        self.classes_ = self.model_.fit(X, y).classes_
        return self

    def predict_proba(self, X):
        """Return the probabilities of the classes."""
        if hasattr(self.model_, "predict_proba"):
            return self.model_.predict_proba(X)
        values = self.model_.decision_function(X)
        return softmax(values if values.ndim == 2 else np.column_stack([np.zeros(len(X)), values]), axis=1)

    def predict(self, X):
        """Return the most probable classes."""
        return self.classes_[self.predict_proba(X).argmax(1)]


PEERS = {
    "LogisticRegression": LogisticRegression(max_iter=5000),
    "SVC": CalibratedSVC(),
    "HistGradientBoosting": HistGradientBoostingClassifier(),
    "MLP": MLPClassifier((256, 128)),
    "LabelSpreading": LabelSpreading(kernel="knn"),
    "SelfTraining": SelfTrainingClassifier(CalibratedSVC()),
}
# Classifiers that also learn from unlabelled rows.
USE_UNLABELLED = {OURS, "LabelSpreading", "SelfTraining"}


def new_model(name: str, seed: int, params: dict):
    """Return an unfitted classifier; `params` apply to VAEClassifier only."""
    if name not in PEERS:
        return VAEClassifier(**{"random_state": seed, **params})
    model = clone(PEERS[name])
    return model.set_params(random_state=seed) if "random_state" in model.get_params() else model


def predict_proba(model, X) -> np.ndarray:
    """Return class probabilities; NaN, as from LabelSpreading's 0 / 0, becomes equal probabilities."""
    p = model.predict_proba(X)
    return np.where(np.isfinite(p).all(1, keepdims=True), p, 1 / p.shape[1])


def evaluate(name: str, data: common.Split, seed: int, params: dict, model=None) -> dict[str, float]:
    """Fit a classifier to partly labelled rows; return measures on the test rows and CPU seconds.

    Unlabelled rows have the label -1. Supervised classifiers are fitted to the labelled rows only.
    """
    model = new_model(name, seed, params) if model is None else model
    known = slice(None) if name in USE_UNLABELLED else data.y_train != -1
    clock = common.Clock()
    with warnings.catch_warnings():
        # MLPClassifier does not converge with its defaults, and LabelSpreading divides by 0.
        warnings.simplefilter("ignore" if name in PEERS else "default")
        with clock.running():
            model.fit(data.X_train[known], data.y_train[known])
        p = predict_proba(model, data.X_test)
    codes = np.searchsorted(model.classes_, data.y_test)
    return common.judge(p, codes) | {"cpu_s": clock.seconds}
