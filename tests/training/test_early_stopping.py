"""Early stopping, and starts from which training does not move by itself."""

import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_wine, make_circles, make_s_curve, make_swiss_roll
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from sklearn_vae import VAETransformer
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training import evaluate as _evaluate
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
    vae = fitted_to_scores(monkeypatch, scores, **params)
    return vae.n_iter_, vae.best_iter_


def fitted_to_scores(monkeypatch, scores, **params):
    monkeypatch.setattr(_recipe, "MAX_SMALL_ROWS", 20)
    scored(monkeypatch, scores)
    X = np.random.default_rng(0).normal(size=(400, 4)) @ np.diag([10.0, 5, 1, 1])
    return VAETransformer(**HELD_OUT, max_iter=len(scores) - 1, batch_size=8, **params).fit(X)


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


def test_best_score_is_that_of_the_kept_model(monkeypatch):
    scores = [5, 4, 3, 2, 1, 0.5, 0.6, 0.4]
    vae = fitted_to_scores(monkeypatch, scores, beta=lambda step: min(1.0, step / 224))
    assert (vae.best_iter_, vae.best_validation_score_) == (6, 0.6) and vae.validation_scores_ == scores


def test_a_cycle_of_beta_does_not_lose_the_best_model(monkeypatch):
    """Beta leaves its last value in the second of three epochs of 45 steps."""
    vae = fitted_to_scores(monkeypatch, [5, 6, 1, 4], beta=lambda step: 0.5 if 45 <= step < 90 else 1.0)
    assert (vae.best_iter_, vae.best_validation_score_) == (1, 6)


def test_iris_is_trained_to_the_end_of_a_warmup(iris):
    """Patience that counted during the warm-up returned the start, with a score of -2.69."""
    vae = VAETransformer(2, beta=lambda step: min(1.0, step / 600), random_state=0).fit(iris)
    assert vae.n_steps_ > 600 and vae.score(iris) > -2.2


# Degenerate starts


# All of these take minutes, and docs/benchmarks/degenerate_starts.py has more.
IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


def torus(n, rng):
    a, b = rng.uniform(0, 2 * np.pi, (2, n))
    x = np.column_stack([(1 + np.cos(a)) * np.cos(b), (1 + np.cos(a)) * np.sin(b), np.sin(a)])
    return x + 0.05 * rng.normal(size=(n, 3))


def checkerboard(n, rng):
    x = rng.uniform(0, 4, (8 * n, 2))
    return x[np.floor(x).sum(1) % 2 == 0][:n]


def whitened(load, n_components):
    return PCA(n_components, whiten=True, random_state=0).fit_transform(load().data)


# Rows, number of components, and the largest share of PCA's error.
DEGENERATE = {
    "roll": (lambda rng: make_swiss_roll(1200, noise=0.1, random_state=rng)[0], 2, 0.4),
    "S-curve": (lambda rng: make_s_curve(1200, noise=0.05, random_state=rng)[0], 2, 0.4),
    "circles": (lambda rng: make_circles(1200, noise=0.05, factor=0.5, random_state=rng)[0], 1, 0.6),
    "checkerboard": (lambda rng: checkerboard(1200, rng), 1, 0.6),
    "torus": (lambda rng: torus(1200, rng), 2, 0.7),
    # So many training rows that candidates are chosen after a third of the epochs.
    "many circles": (lambda rng: make_circles(7000, noise=0.05, factor=0.5, random_state=rng)[0], 1, 0.6),
    "whitened breast_cancer": (lambda rng: whitened(load_breast_cancer, 15), 4, 0.95),
    # With few rows and directions that are all alike, PCA's are as good as any.
    "whitened wine": (lambda rng: whitened(load_wine, 6), 2, 1.02),
}


def degenerate(name, seed):
    """Rows whose columns have about equal variances: training and test rows, and a number of components."""
    rows, n_components, _ = DEGENERATE[name]
    return *train_test_split(rows(np.random.RandomState(seed)), random_state=seed), n_components


@pytest.mark.parametrize("name", DEGENERATE if IS_LONG else ["circles", "whitened wine"])
def test_degenerate_starts_do_not_stop_the_fit(name):
    train, test, n_components = degenerate(name, 3)
    vae, pca = VAETransformer(n_components, random_state=0).fit(train), PCA(n_components).fit(train)
    lost = [np.square(m.inverse_transform(m.transform(test)) - test).sum() for m in (vae, pca)]
    assert lost[0] < DEGENERATE[name][-1] * lost[1]
    assert vae.score(test) > pca.score(test) - 0.02 * abs(pca.score(test))


def test_warmup_is_a_fraction_of_the_run():
    recipe = replace(_recipe_of(beta=2.0), kl_warmup=(0.3, 0.2))
    beta = recipe.settings(1000).beta
    assert [beta(step) for step in (0, 299, 300, 350, 400, 499, 500, 999)] == pytest.approx(
        [0, 0, 0, 0.5, 1, 1.99, 2, 2]
    )
    assert _recipe_of(beta=2.0).settings(1000).beta(0) == 2


def test_the_weight_of_the_kl_is_0_for_a_bounded_length_of_training():
    recipe = replace(_recipe_of(beta=1.0), kl_warmup=(0.3, 0.2), learning_rate=4e-3)
    beta = recipe.settings(4000).beta
    assert [beta(step) for step in (0, 299, 300, 700, 1100)] == pytest.approx([0, 0, 0, 0.5, 1])


def _recipe_of(beta):
    return _recipe.Recipe(64, 1e-3, 0, 0.0, beta, 0.0, 0.0, 0.0, lambda n_steps: lambda step: 1.0)


@pytest.mark.parametrize(
    ("estimates", "chosen"),
    [
        ([[0, 0, 0, 0], [1, 1, 1, 1]], 1),
        ([[1, 1, 1, 1], [0, 0, 0, 0]], 0),
        # The mean loss is 1, its standard error 1.5. The first candidate is better for three rows, or for one.
        ([[1, 1, 1, 0], [0, 0, 0, 7]], 0),
        ([[0, 0, 0, 0], [-1, 1, 1, 3]], 1),
        # The mean loss is 1.75, its standard error 1.19.
        ([[1, 1, 0, 0], [0, 2, 2, 5]], 1),
        ([[0, 0, 9], [0, 0, 9], [0, 0, 9]], 0),
        # A candidate without a finite log-likelihood of some row loses.
        ([[0, 0, math.nan], [0, 0, -9]], 1),
        ([[0, 0, -9], [0, 0, math.nan]], 0),
    ],
)
def test_best_candidate_is_chosen_or_an_earlier_one_that_is_better_for_most_rows(monkeypatch, estimates, chosen):
    monkeypatch.setattr(_evaluate, "row_log_likelihoods", lambda values, rows: torch.tensor(values).double())
    rows = DenseRows(torch.zeros(len(estimates[0]), 2))
    assert _evaluate.choose([[values] for values in estimates], [rows]) == chosen


def test_one_held_out_part_chooses_between_candidates(monkeypatch):
    """As for more than 5000 rows: a degenerate start, with KL warm-ups and without."""
    monkeypatch.setattr("sklearn_vae._training.recipe.MAX_SMALL_ROWS", 500)
    train, test, n_components = degenerate("roll", 1)
    vae, pca = VAETransformer(n_components, random_state=0, max_iter=250).fit(train), PCA(n_components).fit(train)
    lost = [np.square(m.inverse_transform(m.transform(test)) - test).sum() for m in (vae, pca)]
    assert lost[0] < 0.5 * lost[1]
