"""Training on pseudo-labels: models that do not fit are replaced, and the others are calibrated."""

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, make_moons
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEClassifier
from sklearn_vae._semi_supervised import distillation
from sklearn_vae._semi_supervised.distillation import Distillation
from sklearn_vae._semi_supervised.experts import Pool
from sklearn_vae._training import recipe


@pytest.fixture
def two_moons():
    """600 rows of two moons, one in 20 with its label."""
    X, truth = make_moons(600, noise=0.05, random_state=0)
    return X, truth, np.where(np.arange(600) % 20, -1, truth)


@pytest.fixture
def fading(monkeypatch):
    """Pseudo-labels fade in training on clustered classes, as above 5000 rows."""
    monkeypatch.setattr(recipe, "MAX_SMALL_ROWS", 500)


@pytest.fixture
def network(monkeypatch):
    """A small network without the weight decay of few rows; the copies for calibration have 200 rows."""
    monkeypatch.setattr(distillation, "MAX_CROSS_FIT_ROWS", 200)
    params = {"max_iter": 15, "batch_size": 32, "alpha": 1e-3, "learning_rate_init": 5e-3, "random_state": 0}
    return VAEClassifier(2, hidden_layer_sizes=(32, 32), **params)


def test_consistency_training_that_ignores_the_labels_is_replaced():
    """With this split and these labels the long training predicted .4 to .6 for nearly all rows."""
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
    scaler, few = StandardScaler().fit(X_train), np.full(len(y_train), -1)
    rng = np.random.RandomState(0)
    for k in (0, 1):
        few[rng.permutation(np.flatnonzero(y_train == k))[:50]] = k
    vae = VAEClassifier(random_state=0).fit(scaler.transform(X_train), few)
    assert vae.score(scaler.transform(X_test), y_test) > 0.94


@pytest.mark.parametrize(("disagreements", "kept"), [([0.1, 0.5, 0.6], 0), ([0.5, 0.1, 0.6], 1), ([0.5, 0.3, 0.1], 2)])
def test_the_nearest_of_models_that_all_stray_is_kept(monkeypatch, two_moons, disagreements, kept):
    X, _, y = two_moons
    values, runs, train = iter(disagreements), [], Distillation._train
    monkeypatch.setattr(distillation, "has_strayed", lambda log_p, target: True)
    monkeypatch.setattr(distillation, "disagreement", lambda log_p, target: next(values))
    monkeypatch.setattr(Distillation, "_train", lambda self, *args: runs.append(train(self, *args)) or runs[-1])
    vae = VAEClassifier(2, hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X, y)
    assert len(runs) == 3 and vae._fitted_model.model is runs[kept].model


def test_copies_for_calibration_do_not_see_the_labels_that_they_predict(monkeypatch, two_moons, fading, network):
    X, _, y = two_moons
    seen, call, cross_fit, found = [], Pool.__call__, Distillation._cross_fit, []
    monkeypatch.setattr(Pool, "__call__", lambda self, labels, index: seen.append(labels) or call(self, labels, index))
    monkeypatch.setattr(
        Distillation, "_cross_fit", lambda self, *args: found.append(cross_fit(self, *args)) or found[-1]
    )
    network.fit(X, y)
    predictions, truth = found[0]
    assert predictions.shape == truth.shape and len(predictions) > 10
    hidden = [np.flatnonzero((labels.codes == -1) & (y != -1)) for labels in seen]
    assert len(hidden[0]) == 0 and len(hidden) == 3
    assert len(hidden[1]) and len(hidden[2]) and not set(hidden[1]) & set(hidden[2])
    shares = truth.sum(axis=0)
    np.testing.assert_array_equal(shares, np.bincount(y[np.concatenate(hidden[1:])]))


@pytest.mark.parametrize("right", [True, False])
def test_hidden_labels_set_the_confidence_of_a_long_training(monkeypatch, two_moons, fading, network, right):
    """Copies that are sure and wrong make the model unsure, and copies that are right make it sure."""
    X, _, y = two_moons

    def cross_fit(self, procedure):
        labels = self.labels
        p = np.full((len(labels.labelled), 2), 0.02)
        p[np.arange(len(p)), labels.codes[labels.labelled] if right else 1 - labels.codes[labels.labelled]] = 0.98
        return np.log(p), labels.truth(labels.labelled)

    monkeypatch.setattr(Distillation, "_cross_fit", cross_fit)
    confidence = network.fit(X, y).predict_proba(X).max(1).mean()
    assert confidence > 0.9 if right else confidence < 0.7


def test_probabilities_of_digits_from_few_labels_are_calibrated():
    """Two labels of each digit: log loss well below that of the shares, and confidence near the accuracy."""
    X, digit = load_digits(return_X_y=True)
    y, rng = np.full(len(X), -1), np.random.RandomState(0)
    for k in range(10):
        y[rng.permutation(np.flatnonzero(digit == k))[:2]] = k
    vae = VAEClassifier(random_state=0).fit(X, y)
    unseen = y == -1
    p = vae.predict_proba(X[unseen])
    assert log_loss(digit[unseen], p) < 0.8
    assert abs(p.max(1).mean() - vae.score(X[unseen], digit[unseen])) < 0.12
