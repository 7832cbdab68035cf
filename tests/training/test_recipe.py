"""Schedules and every "auto" are resolved per run, by a recipe that the first call decides."""

import numpy as np
import pytest

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._training import fit as _fit
from sklearn_vae._training import recipe as _recipe
from sklearn_vae._training.fit import Seeds

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 4)) @ RNG.normal(size=(4, 4))
QUICK = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 6, "n_iter_no_change": 1000, "random_state": 0}


@pytest.fixture
def trainers(monkeypatch):
    """The trainers of all runs that a test makes."""
    made = []

    class Recorded(_fit.Trainer):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(_fit, "Trainer", Recorded)
    return made


def last_rate(trainer):
    """The learning rate of the last step, as a share of the peak."""
    rate = trainer.settings.learning_rate
    return rate(trainer.step - 1) / max(map(rate, range(trainer.step)))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
def test_learning_rate_ends_with_a_run_beside_held_out_rows(fraction, trainers, monkeypatch):
    monkeypatch.setattr(_recipe, "MAX_SMALL_ROWS", 20)
    VAETransformer(**QUICK, validation_fraction=fraction, batch_size=8, warmup_steps=2).fit(X)
    (trainer,) = trainers
    assert trainer.settings.learning_rate(trainer.step) == 0 and last_rate(trainer) < 0.2


def test_learning_rate_ends_with_each_fold_and_the_last_run_follows_it(trainers):
    vae = VAETransformer(**QUICK, batch_size=8, warmup_steps=2).fit(X)
    *folds, last = trainers
    assert len(folds) == 3 and all(last_rate(trainer) < 0.1 for trainer in folds)
    assert [last.settings.learning_rate(step) for step in range(vae.n_steps_)] == [
        folds[0].settings.learning_rate(step) for step in range(vae.n_steps_)
    ]


@pytest.mark.parametrize("n_labelled", [100, 400])
def test_learning_rate_of_experts_ends_as_that_of_the_networks_they_stand_for(n_labelled, trainers):
    y = np.where(np.arange(400) < n_labelled, X[:, 0] > 0, -1)
    VAEClassifier(**QUICK, batch_size=8, warmup_steps=2).fit(X, y)
    assert len(trainers) > 3 and all(last_rate(trainer) < 0.1 for trainer in trainers)


def test_partial_fit_keeps_the_recipe_of_the_first_call(trainers):
    vae = VAETransformer(n_components=2, hidden_layer_sizes=(8,), random_state=0)
    for n_rows in (40, 400, 2):
        vae.partial_fit(X[:n_rows])
    first, *later = [trainer.settings for trainer in trainers]
    for settings in later:
        assert (settings.batch_size, settings.input_noise, settings.weight_decay) == (
            first.batch_size,
            first.input_noise,
            first.weight_decay,
        )
        assert settings.learning_rate(500) == first.learning_rate(500)
    vae.set_params(learning_rate_init=1e-4).partial_fit(X)
    assert trainers[-1].settings.learning_rate(500) == 1e-4


def test_partial_fit_after_fit_keeps_the_recipe_of_fit(trainers):
    vae = VAETransformer(**QUICK, early_stopping=False).fit(X)
    vae.partial_fit(X[:10])
    assert trainers[0].settings.input_noise == trainers[1].settings.input_noise


def chunks(first, second):
    """A model that has seen two chunks with these weights."""
    vae = VAETransformer(**QUICK).partial_fit(X[:200], sample_weight=first)
    return vae.partial_fit(X[200:] + 0.3, sample_weight=second).transform(X)


def test_partial_fit_weighs_chunks_against_each_other():
    weight = np.linspace(1, 2, 200)
    same = chunks(weight, weight)
    np.testing.assert_allclose(chunks(7 * weight, 7 * weight), same, rtol=1e-4, atol=1e-5)
    assert np.abs(chunks(weight, 100 * weight) - same).max() > 1e-3


def test_partial_fit_without_weights_has_weights_of_one():
    ones = np.ones(200)
    np.testing.assert_array_equal(chunks(None, None), chunks(ones, None))
    np.testing.assert_array_equal(chunks(None, 3 * ones), chunks(2 * ones, 6 * ones))
    np.testing.assert_array_equal(chunks(2 * ones, None), chunks(2 * ones, ones))


@pytest.mark.parametrize("size", [1, 149])
def test_partial_fit_takes_chunks_of_one_row(size):
    vae = VAETransformer(**QUICK).partial_fit(X[:100])
    for start in range(0, 150, size)[:5]:
        vae.partial_fit(X[start : start + size])
    vae.partial_fit(X[:3], sample_weight=[0, 2, 0])
    assert np.isfinite(vae.transform(X)).all() and np.isfinite(vae.kl_per_component_).all()


def test_statistics_of_chunks_are_those_of_many_rows():
    """A last chunk of one row has no variance."""
    vae = VAETransformer(**QUICK, learning_rate_init=1e-12).partial_fit(X)
    scale, kl = vae.latent_scale_, vae.kl_per_component_
    vae.partial_fit(X[:1])
    np.testing.assert_allclose(vae.latent_scale_, scale, rtol=0.05)
    np.testing.assert_allclose(vae.kl_per_component_, kl, rtol=0.05)


def test_partial_fit_keeps_measured_column_scales():
    columns = X * np.array([1, 3, 0.2, 5])
    vae = VAETransformer(**{**QUICK, "max_iter": 20}).fit(columns)
    variance, score = vae.noise_variance_, vae.score(columns)
    assert variance.shape == (4,)
    vae.set_params(learning_rate_init=1e-12, input_noise=0.0).partial_fit(columns)
    assert np.ptp(np.log(vae.noise_variance_ / variance)) < 1e-3
    assert vae.score(columns) == pytest.approx(score, abs=0.2)


def test_seeds_of_a_fit_are_independent_streams():
    first, again, other = Seeds.spawn(3), Seeds.spawn(3), Seeds.spawn(4)
    assert first == again and len({*first, *other}) == 2 * len(first)


def test_partial_fit_uses_the_given_batch_size_after_a_small_first_chunk():
    vae = VAETransformer(**{**QUICK, "batch_size": 64}).partial_fit(X[:50])
    assert vae.n_steps_ == 1 and vae.partial_fit(X).n_steps_ == 1 + 7


@pytest.mark.parametrize("early_stopping", [False, True])
def test_beta_is_asked_for_the_steps_of_the_run_only(early_stopping):
    steps = []
    vae = VAETransformer(**QUICK, batch_size=50, early_stopping=early_stopping)
    vae.set_params(beta=lambda step: steps.append(step) or 1.0).fit(X)
    assert min(steps) == 0 and max(steps) < 8 * QUICK["max_iter"]


def test_pseudo_labels_of_many_clustered_rows_lose_their_weight():
    """They lose it within a tenth of the steps; those of few rows keep it."""
    many, few = (_recipe.ClassifierRules(n_rows, 100, clustered=True).target_weight(1000) for n_rows in (6000, 600))
    assert [many(step) for step in (0, 50, 100, 999)] == [1, 0.5, 0, 0]
    assert [few(step) for step in (0, 50, 100, 999)] == [1, 1, 1, 1]
