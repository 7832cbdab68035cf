"""The interfaces that components are added on: a toy of each kind, written as a user would."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Laplace

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._engine import STEPS
from sklearn_vae._progress import Progress
from sklearn_vae._recipe import TransformerRules
from sklearn_vae._rows import DenseRows, Rows
from sklearn_vae._step import Step
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.likelihoods.gaussian import FixedGaussian, OptimalGaussian
from sklearn_vae.objectives import ELBO, Objective, Terms
from sklearn_vae.objectives.base import Parts
from sklearn_vae.priors import Prior, PriorModule
from sklearn_vae.priors.standard_normal import StandardNormalModule


class DoubleExponential(Prior):
    """Independent Laplace components of unit variance: a prior that brings no more than it must."""

    def build(self, n_components, n_inputs, generator):
        return DoubleExponentialModule(n_components)


class DoubleExponentialModule(PriorModule):
    def __init__(self, n_components):
        super().__init__()
        self.register_buffer("loc", torch.zeros(n_components, dtype=torch.float32, device="cpu"))

    def forward(self):
        return Independent(Laplace(self.loc, torch.full_like(self.loc, 0.5**0.5)), 1)

    def sample(self, n_samples, generator):
        u = torch.rand((n_samples, len(self.loc)), generator=generator, dtype=self.loc.dtype, device=self.loc.device)
        return Laplace(self.loc, torch.full_like(self.loc, 0.5**0.5)).icdf(u)


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_a_prior_is_its_distribution_and_its_draws(iris, cls):
    vae = cls(2, prior=DoubleExponential(), hidden_layer_sizes=(8,), max_iter=3, random_state=0)
    vae.fit(iris, np.arange(150) // 50)
    assert np.isfinite(vae.score_samples(iris)).all() and (vae.kl_per_component_ > 0).all()
    # An importance-weighted estimate of log p(x) under this prior, and not under another.
    normal = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(iris)
    assert abs(vae.score_samples(iris).mean() - normal.score_samples(iris).mean()) > 1e-3


class GeneratedRows(Rows):
    """Rows of a linear model with noise that are made when they are asked for, and held nowhere."""

    n_features, dtype, device = 6, torch.float32, torch.device("cpu")

    def __init__(self, index):
        self.index = index

    def __len__(self):
        return len(self.index)

    def __getitem__(self, index):
        z = torch.stack([torch.sin(self.index[index] * k) for k in (1.0, 2.0)], -1)
        noise = torch.stack([torch.sin(self.index[index] * k) for k in range(3, 9)], -1)
        return {"x": (z @ torch.arange(1.0, 13).view(2, 6) + 0.1 * noise).float()}

    def select(self, index):
        return GeneratedRows(self.index[index])

    @property
    def total_weight(self):
        return float(len(self))


def test_rows_may_come_from_anywhere():
    rows = GeneratedRows(torch.arange(200.0))
    dense = DenseRows(rows[torch.arange(200)]["x"])
    vae = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    runs = [vae._run(vae._fitter(X, TransformerRules(200), Progress(vae)), X, None) for X in (rows, dense)]
    # Sums over blocks of other sizes round otherwise.
    np.testing.assert_allclose(runs[0].scores, runs[1].scores, rtol=1e-4)
    assert len(runs[0].scores) > 1 and len(runs[0].curve) == len(runs[1].curve)


class WeightDecay(Objective):
    """Half the squared decoder: a loss whose gradient is plain to see."""

    def __call__(self, model, batch, beta, generator):
        loss = sum(0.5 * p.square().sum() for p in model.decoder.parameters()).expand(len(batch.y))
        return Terms(loss, loss, torch.zeros_like(loss))


class WeightDecayStep(Step):
    """The gradient is the weights."""

    n_calls = 0

    @classmethod
    def supports(cls, model):
        return isinstance(model.objective, WeightDecay)

    @torch.no_grad()
    def __call__(self, batch, beta, generator):
        type(self).n_calls += 1
        self.weights.gradient.zero_()
        loss = 0.0
        for parameter in self.model.decoder.parameters():
            parameter.grad.copy_(parameter)
            loss += 0.5 * float(parameter.square().sum())
        return Parts(loss * len(batch["x"]), loss * len(batch["x"]), 0.0)


def test_a_step_is_taken_for_the_models_that_it_supports(iris, monkeypatch):
    def fit(objective):
        vae = VAETransformer(2, objective=objective, hidden_layer_sizes=(8,), max_iter=4, random_state=0).fit(iris)
        return vae.loss_curve_, vae.module_.decoder.state_dict()

    curve, decoder = fit(WeightDecay())
    monkeypatch.setattr("sklearn_vae._engine.STEPS", (WeightDecayStep, *STEPS))
    own_curve, own_decoder = fit(WeightDecay())
    n_calls = WeightDecayStep.n_calls
    assert n_calls > 0
    np.testing.assert_allclose(own_curve, curve, rtol=1e-5)
    for name in decoder:
        torch.testing.assert_close(own_decoder[name], decoder[name], rtol=1e-5, atol=1e-7)
    fit("elbo")
    assert WeightDecayStep.n_calls == n_calls


class Shifted(OptimalGaussian):
    """Sees columns as they are, moved by one; declares nothing."""

    def observe(self, x, generator=None):
        return super().observe(x, generator) + 1


class ShiftedGaussian(Gaussian):
    """A scale of its own, measured in the same way."""

    def build(self, n_features, n_coordinates):
        return Shifted(n_features, n_coordinates, 1, measures_columns=True)


def test_a_subclass_has_none_of_the_capabilities_that_it_does_not_declare(iris):
    vae = VAETransformer(2, likelihood=ShiftedGaussian(), hidden_layer_sizes=(8,), max_iter=3, random_state=0)
    vae.fit(iris)
    likelihood = vae.module_.likelihood
    assert not any(getattr(likelihood, name) for name in likelihood.capabilities)
    assert (likelihood.column_log_scale == 0).all()
    # What few rows are computed with is what many are computed with.
    np.testing.assert_allclose(vae.transform(iris[:2]), vae.transform(iris)[:2], atol=1e-6)


@pytest.mark.parametrize("cls", [ELBO, StandardNormalModule, OptimalGaussian, FixedGaussian])
def test_capabilities_are_declared_again_by_subclasses(cls):
    declared = {name: vars(cls)[name] for name in cls.capabilities}
    assert any(declared.values())
    silent, own = type("Silent", (cls,), {}), type("Own", (cls,), declared)
    assert not any(getattr(silent, name) for name in cls.capabilities)
    assert all(vars(own)[name] is declared[name] for name in cls.capabilities)
    assert not any(getattr(type("Grandchild", (own,), {}), name) for name in cls.capabilities)
