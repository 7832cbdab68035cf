"""Classes with few rows beside those of others."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEClassifier
from sklearn_vae._data.labels import Labels


def test_classifier_finds_a_rare_class():
    """The consistency loss alone gave every row to the frequent class."""
    models = {"vae": VAEClassifier(random_state=0), "logistic": LogisticRegression(max_iter=1000)}
    models["mlp"] = MLPClassifier((256, 128), random_state=0)
    precision = dict.fromkeys(models, 0.0)
    for seed in (3, 4, 6):
        X, y = make_classification(1500, 20, n_informative=8, weights=[0.97], flip_y=0, random_state=seed)
        X = StandardScaler().fit_transform(X)
        train, test, y_train, y_test = train_test_split(X, y, train_size=500, stratify=y, random_state=0)
        for name, model in models.items():
            scale = 1000 if name == "vae" else 1
            p = model.fit(scale * train, y_train).predict_proba(scale * test)[:, 1]
            precision[name] += average_precision_score(y_test, p) / 3
    assert precision["vae"] > max(precision.values()) - 0.01, precision


@pytest.mark.parametrize(
    ("counts", "n_rare"), [([50, 50], 0), ([75, 25], 0), ([97, 3], 6), ([3, 7], 0), ([300, 300, 5], 15)]
)
def test_a_class_is_rare_by_more_than_chance(counts, n_rare):
    codes = np.repeat(np.arange(len(counts)), counts)
    assert Labels(codes, np.ones(len(codes)), np.ones(len(codes)), len(counts)).n_rare == n_rare


@pytest.mark.parametrize("params", [{}, {"consistency_weight": 1.0, "alpha": 0.5}])
def test_held_out_labels_choose_the_rules(params):
    """Given parameters are kept, so that both candidates are the same."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 20 == 0
    X = rng.normal(size=(200, 3)) + 3 * y[:, None]
    vae = VAEClassifier(2, hidden_layer_sizes=(8,), max_iter=2, random_state=0, **params).fit(X, y)
    weight = vae._architecture.objective.consistency_weight
    assert weight == 1.0 if params else weight in (0.0, 1.0)
