"""Estimators with short fits, and labels of iris for them."""

import numpy as np

from sklearn_vae import VAEClassifier, VAEImputer, VAETransformer

NAMES = np.array(["ant", "bee", "cat"])
CLASS = np.arange(150) // 50
SEVERAL = np.arange(150) % 5 == 0
METHODS = ["predict_proba", "predict_log_proba", "transform", "score_samples"]


def small_transformer(n_components=2, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 1, "early_stopping": False, "random_state": 0}
    return VAETransformer(n_components, **{**values, **params})


def small_imputer(n_components=2, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 3, "early_stopping": False, "random_state": 0}
    return VAEImputer(n_components, **{**values, **params})


def small_classifier(n_components=2, **params):
    values = {
        "hidden_layer_sizes": (8,),
        "max_iter": 4,
        "batch_size": 32,
        "learning_rate_init": 0.02,
        "alpha": 1e-4,
        "n_draws": 8,
        "random_state": 0,
    }
    return VAEClassifier(n_components, **{**values, **params})


def marked(labels, labelled=SEVERAL, dtype=None):
    """Return labels with -1 for unlabelled rows, as an object array unless a dtype is given."""
    y = np.array(list(labels), dtype=dtype or object)
    y[~labelled] = -1
    return y
