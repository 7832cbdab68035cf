"""Early stopping, and starts from which training does not move by itself."""

import numpy as np
import pytest
from sklearn.datasets import load_wine, make_s_curve, make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from sklearn_vae import VAETransformer
from sklearn_vae._training import fit as _fit
from sklearn_vae._training import recipe as _recipe

# Early stopping


def scored(monkeypatch, scores):
    """Let held-out rows have these scores, one after another."""
    values = iter(scores)
    monkeypatch.setattr(_fit, "evaluate", lambda model, rows, beta: (next(values), ()))


HELD_OUT = {"hidden_layer_sizes": (4,), "n_iter_no_change": 4, "random_state": 0, "n_components": 2}


def fit_scored(monkeypatch, scores, **params):
    """Fit with one validation per epoch; return the numbers of epochs run and kept."""
    monkeypatch.setattr(_recipe, "MAX_SMALL_ROWS", 20)
    scored(monkeypatch, scores)
    X = np.random.default_rng(0).normal(size=(400, 4)) @ np.diag([10.0, 5, 1, 1])
    vae = VAETransformer(**HELD_OUT, max_iter=len(scores) - 1, batch_size=8, **params).fit(X)
    return vae.n_iter_, vae.best_iter_


def test_training_goes_on_while_the_score_is_rising(monkeypatch):
    """The first steps may cost more than later steps have regained when patience ends."""
    assert fit_scored(monkeypatch, [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 2]) == (13, 12)


def test_training_stops_when_the_score_falls_or_stays(monkeypatch):
    assert fit_scored(monkeypatch, [0, 1, 2, 1, 0, -1, -2, -3, 9, 9]) == (6, 2)
    assert fit_scored(monkeypatch, [0, 1, 2, 1, 1, 1, 1, 1, 9, 9]) == (6, 2)


def test_validations_do_not_count_before_beta_is_there(monkeypatch):
    """One epoch has 45 steps. Beta rises in the first four, whose scores are the best."""
    scores = [5, 4, 3, 2, 1, 0.5, 0.6, 0.4, 0.3, 0.2, 0.1, 0.0, -1]
    assert fit_scored(monkeypatch, scores, beta=lambda step: min(1.0, step / 179)) == (8, 4)


def test_iris_is_trained_to_the_end_of_a_warmup(iris):
    """Patience that counted during the warm-up returned the start, with a score of -2.69."""
    vae = VAETransformer(2, beta=lambda step: min(1.0, step / 600), random_state=0).fit(iris)
    assert vae.n_steps_ > 600 and vae.score(iris) > -2.2


# Degenerate starts


def degenerate(name, seed):
    """Rows whose columns have about equal variances: training and test rows, and a number of components."""
    rows = {
        "roll": lambda: (make_swiss_roll(1200, noise=0.1, random_state=seed)[0], 2),
        "S-curve": lambda: (make_s_curve(1200, noise=0.05, random_state=seed)[0], 2),
        "whitened wine": lambda: (PCA(6, whiten=True, random_state=0).fit_transform(load_wine().data), 2),
    }
    X, n_components = rows[name]()
    return *train_test_split(X, random_state=seed), n_components


@pytest.mark.parametrize(("name", "share"), [("roll", 0.5), ("S-curve", 0.8), ("whitened wine", 1.02)])
def test_degenerate_starts_do_not_stop_the_fit(name, share):
    """The VAE loses less variance than PCA; on whitened wine nearly as much, where every direction is alike."""
    train, test, n_components = degenerate(name, 3)
    vae, pca = VAETransformer(n_components, random_state=0).fit(train), PCA(n_components).fit(train)
    lost = [np.square(m.inverse_transform(m.transform(test)) - test).sum() for m in (vae, pca)]
    assert lost[0] < share * lost[1]
    assert vae.score(test) > pca.score(test) - 0.02 * abs(pca.score(test))


def test_one_held_out_part_chooses_between_candidates(monkeypatch):
    """As for more than 5000 rows: a degenerate start, with and without a KL warm-up."""
    monkeypatch.setattr("sklearn_vae._training.recipe.MAX_SMALL_ROWS", 500)
    train, test, n_components = degenerate("roll", 1)
    vae, pca = VAETransformer(n_components, random_state=0, max_iter=400).fit(train), PCA(n_components).fit(train)
    lost = [np.square(m.inverse_transform(m.transform(test)) - test).sum() for m in (vae, pca)]
    assert lost[0] < 0.5 * lost[1]
