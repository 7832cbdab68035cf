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
    unseen = few == -1
    rows, labels = np.concatenate([X_train[unseen], X_test]), np.concatenate([y_train[unseen], y_test])
    assert vae.score(scaler.transform(rows), labels) > 0.95


@pytest.fixture
def cross_fits(monkeypatch):
    """Arguments and results of `_cross_fit`."""
    calls, cross_fit = [], Distillation._cross_fit

    def spy(self, *args):
        calls.append((args, cross_fit(self, *args)))
        return calls[-1][1]

    monkeypatch.setattr(Distillation, "_cross_fit", spy)
    return calls


@pytest.mark.parametrize(("disagreements", "kept"), [([0.1, 0.5, 0.6], 0), ([0.5, 0.1, 0.6], 1), ([0.5, 0.3, 0.1], 2)])
def test_the_nearest_of_models_that_all_stray_is_kept(
    monkeypatch, two_moons, fading, runs, cross_fits, disagreements, kept
):
    """And it is calibrated as its own procedure asks: pseudo-labels fade in the first one only."""
    X, _, y = two_moons
    values = iter(disagreements)
    monkeypatch.setattr(distillation, "has_strayed", lambda log_p, target: True)
    monkeypatch.setattr(distillation, "disagreement", lambda log_p, target: next(values))
    vae = VAEClassifier(2, hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X, y)
    results = [run.result for run in runs if run.name == "fit"]
    assert len(results) == 3 and vae._fitted_model.model is results[kept].model
    assert len(cross_fits) == (kept == 0)


@pytest.mark.parametrize("n_misfits", [0, 1, 2])
def test_a_model_that_does_not_fit_its_labels_is_replaced(monkeypatch, two_moons, runs, n_misfits):
    X, _, y = two_moons
    fits = iter([False] * n_misfits + [True])
    monkeypatch.setattr(distillation, "has_strayed", lambda log_p, target: False)
    monkeypatch.setattr(Distillation, "_fits_labels", lambda self, model: next(fits))
    vae = VAEClassifier(2, hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(X, y)
    results = [run.result for run in runs if run.name == "fit"]
    assert len(results) == n_misfits + 1 and vae._fitted_model.model is results[-1].model


def test_a_run_without_terms_that_smooth_is_not_replaced_by_itself(monkeypatch, two_moons, runs):
    X, _, y = two_moons
    monkeypatch.setattr(distillation, "has_strayed", lambda log_p, target: True)
    params = {"consistency_weight": 0.0, "entropy_weight": 0.0, "hidden_layer_sizes": (8,), "max_iter": 3}
    VAEClassifier(2, **params, random_state=0).fit(X, y)
    assert sum(run.name == "fit" for run in runs) == 2


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_scale_of_class_weights_does_not_change_which_model_fits(two_moons, runs, scale):
    """A network without time to learn fits no labels."""
    X, _, y = two_moons
    vae = VAEClassifier(2, hidden_layer_sizes=(8,), max_iter=1, class_weight={0: scale, 1: scale}, random_state=0)
    vae.fit(X, y)
    assert sum(run.name == "fit" for run in runs) == 3


def test_runs_for_calibration_start_from_a_model_that_has_seen_no_label(two_moons, fading, network, runs):
    """With ``warm_start`` the fit itself starts from the fitted model."""
    X, _, y = two_moons
    network.set_params(warm_start=True).fit(X, y)
    network.fit(X, y)
    first_losses = [run.result.curve[0] for run in runs if run.name == "calibration"]
    assert len(first_losses) == 4 and first_losses[:2] == first_losses[2:]


def test_runs_for_calibration_do_not_see_the_labels_that_they_predict(
    monkeypatch, two_moons, fading, network, runs, cross_fits
):
    X, _, y = two_moons
    seen, call = [], Pool.__call__
    monkeypatch.setattr(Pool, "__call__", lambda self, labels, index: seen.append(labels) or call(self, labels, index))
    network.fit(X, y)
    predictions, truth = cross_fits[0][1]
    assert predictions.shape == truth.shape and len(predictions) > 10
    hidden = [np.flatnonzero((labels.codes == -1) & (y != -1)) for labels in seen]
    assert len(hidden[0]) == 0 and len(hidden) == 3
    assert len(hidden[1]) and len(hidden[2]) and not set(hidden[1]) & set(hidden[2])
    shares = truth.sum(axis=0)
    np.testing.assert_array_equal(shares, np.bincount(y[np.concatenate(hidden[1:])]))
    trained_on = [run.rows for run in runs if run.name == "calibration"]
    assert [len(rows.labelled) for rows in trained_on] == [30 - len(index) for index in hidden[1:]]


@pytest.mark.parametrize("right", [True, False])
def test_hidden_labels_set_the_confidence_of_a_long_training(monkeypatch, two_moons, fading, network, right):
    """Copies that are sure and wrong make the model unsure, and copies that are right make it sure."""
    X, _, y = two_moons

    def cross_fit(self, procedure, n_epochs):
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
