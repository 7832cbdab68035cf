"""Bernoulli likelihood with dynamic binarisation: drawn in training, deterministic in inference."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training.evaluate import evaluate
from sklearn_vae.likelihoods import Bernoulli
from sklearn_vae.likelihoods.bernoulli import BernoulliModule


@pytest.fixture(scope="module")
def images():
    """200 x 64 of bytes, from 0 to 255."""
    return np.rint(load_digits().data[:200] * (255 / 16)).astype(np.uint8)


def small(n_components=2, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "n_draws": 8, "random_state": 0}
    return VAETransformer(n_components, **{**values, **params})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def observed(monkeypatch):
    """Record each result of `BernoulliModule.observe`, whether it had a generator, and whether it was training."""
    seen, observe = [], BernoulliModule.observe

    def record(self, x, generator=None):
        observed = observe(self, x, generator)
        seen.append((generator is not None, self.training, observed.cells.clone()))
        return observed

    monkeypatch.setattr(BernoulliModule, "observe", record)
    return seen


def training_draws(seen):
    return [y for random, training, y in seen if random and training]


def test_dynamic_binarization_draws_zeros_and_ones_of_the_right_mean(images, observed):
    grey = np.tile(images[:1], (50, 1))
    small(likelihood=Bernoulli(dynamic_binarization=True), max_iter=40, batch_size=50).fit(grey)
    draws = torch.stack(training_draws(observed))
    assert draws.shape == (40, 50, 64) and set(draws.unique().tolist()) == {0.0, 1.0}
    p = grey[0] / 255
    error = draws.mean((0, 1)).numpy() - p
    assert (np.abs(error) <= 5 * np.sqrt(p * (1 - p) / 2000)).all()


def test_dynamic_binarization_draws_anew_at_each_step_and_the_same_with_the_same_seed(images, observed):
    vae = small(likelihood=Bernoulli(dynamic_binarization=True), max_iter=3, batch_size=200)
    grey = np.tile(images[:1], (200, 1))
    runs = []
    for seed in (0, 0, 1):
        observed.clear()
        vae.set_params(random_state=seed).fit(grey)
        runs.append(training_draws(observed))
    first, again, other = runs
    assert len(first) == 3 and not any(torch.equal(a, b) for a, b in itertools.combinations(first, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("method", ["transform", "score_samples"])
def test_dynamic_binarization_is_for_training_alone(images, observed, method):
    vae = small(likelihood=Bernoulli(dynamic_binarization=True)).fit(images)
    observed.clear()
    first = getattr(vae, method)(images)
    assert {random for random, _, _ in observed} == {False}
    np.testing.assert_array_equal(torch.cat([y for _, _, y in observed]).numpy(), (images / np.float32(255)))
    np.testing.assert_array_equal(getattr(vae, method)(images), first)


def test_dynamic_binarization_without_it_training_sees_grey_values(images, observed):
    small(likelihood="bernoulli", max_iter=1).fit(images)
    draws = torch.cat(training_draws(observed))
    assert len(draws) == len(images) and not set(draws.unique().tolist()) <= {0.0, 1.0}


def test_dynamic_binarization_validation_scores_are_comparable(images):
    """A model's score is the same at each call, because held-out rows get the same draws."""
    vae = small(likelihood=Bernoulli(dynamic_binarization=True), early_stopping=True, max_iter=8).fit(images)
    rows = DenseRows(torch.from_numpy(images))
    assert evaluate(vae.module_, rows, 1.0)[0] == evaluate(vae.module_, rows, 1.0)[0]
    assert np.isfinite(vae.validation_scores_).all()
    assert max(vae.validation_scores_) == vae.best_validation_score_ > vae.validation_scores_[0]


def test_dynamic_binarization_of_zeros_and_ones_changes_nothing(images):
    X = (images > 127).astype(np.uint8)
    plain, drawn = (small(likelihood=Bernoulli(dynamic_binarization=flag)) for flag in (False, True))
    before = plain.fit(X).module_.likelihood.observe(torch.from_numpy(X))
    after = drawn.fit(X).module_.likelihood.observe(torch.from_numpy(X), generator())
    assert torch.equal(before.cells, after.cells) and torch.equal(before.inputs, after.inputs)


def test_dynamic_binarization_in_a_classifier(images):
    y = np.where(np.arange(200) % 4 == 0, load_digits().target[:200] % 2, -1)
    vae = VAEClassifier(
        2, hidden_layer_sizes=(8,), max_iter=2, likelihood=Bernoulli(dynamic_binarization=True), random_state=0
    ).fit(images, y)
    np.testing.assert_array_equal(vae.predict_proba(images), vae.predict_proba(images))
    assert np.isfinite(vae.score_samples(images)).all()
