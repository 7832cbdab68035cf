"""Interfaces for new components: one small example of each kind, written as a user would write it."""

from itertools import chain

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Independent, Laplace
from torch.distributions import Poisson as TorchPoisson

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._data.rows import DenseRows, Rows
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import TransformerRules
from sklearn_vae._training.step import Step
from sklearn_vae._training.trainer import STEPS
from sklearn_vae.likelihoods import Bernoulli, Gaussian, Likelihood, LikelihoodModule, LinearStart, Observed
from sklearn_vae.likelihoods.gaussian import FixedGaussian, OptimalGaussian
from sklearn_vae.objectives import ELBO, Objective, Terms
from sklearn_vae.objectives.base import TermSums
from sklearn_vae.priors import Prior, PriorModule
from sklearn_vae.priors.standard_normal import StandardNormalModule


class DoubleExponential(Prior):
    """Independent Laplace components of unit variance: a prior with only the required methods."""

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
    """Rows of a noisy linear model, generated on request and never stored."""

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
    runs = [vae._run(vae._procedure(X, TransformerRules(200), Progress(vae)), X, None) for X in (rows, dense)]
    # Sums over blocks of other sizes have other rounding errors.
    np.testing.assert_allclose(runs[0].scores, runs[1].scores, rtol=1e-4)
    assert len(runs[0].scores) > 1 and len(runs[0].curve) == len(runs[1].curve)


class WeightDecay(Objective):
    """Half the squared norm of the decoder's weights: a loss with a known gradient."""

    def __call__(self, model, batch, beta, generator):
        loss = sum(0.5 * p.square().sum() for p in model.decoder.parameters()).expand(len(batch.observed.cells))
        return Terms(loss, loss, torch.zeros_like(loss))


class WeightDecayStep(Step):
    """The gradient equals the weights."""

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
        return TermSums(loss * len(batch["x"]), loss * len(batch["x"]), 0.0)


def test_a_step_is_taken_for_the_models_that_it_supports(iris, monkeypatch):
    def fit(objective):
        vae = VAETransformer(2, objective=objective, hidden_layer_sizes=(8,), max_iter=4, random_state=0).fit(iris)
        return vae.loss_curve_, vae.module_.decoder.state_dict()

    curve, decoder = fit(WeightDecay())
    monkeypatch.setattr("sklearn_vae._training.trainer.STEPS", (WeightDecayStep, *STEPS))
    own_curve, own_decoder = fit(WeightDecay())
    n_calls = WeightDecayStep.n_calls
    assert n_calls > 0
    np.testing.assert_allclose(own_curve, curve, rtol=1e-5)
    for name in decoder:
        torch.testing.assert_close(own_decoder[name], decoder[name], rtol=1e-5, atol=1e-7)
    fit("elbo")
    assert WeightDecayStep.n_calls == n_calls


class Shifted(OptimalGaussian):
    """Likelihood whose inputs are the columns plus one; it declares no capability."""

    def observe(self, x, generator=None):
        observed = super().observe(x, generator)
        return Observed(observed.cells + 1, observed.inputs + 1)


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
    # Few rows and many rows are computed with the same values.
    np.testing.assert_allclose(vae.transform(iris[:2]), vae.transform(iris)[:2], atol=1e-6)


@pytest.mark.parametrize("cls", [ELBO, StandardNormalModule, OptimalGaussian, FixedGaussian])
def test_capabilities_are_declared_again_by_subclasses(cls):
    declared = {name: vars(cls)[name] for name in cls.capabilities}
    assert any(declared.values())
    silent, own = type("Silent", (cls,), {}), type("Own", (cls,), declared)
    assert not any(getattr(silent, name) for name in cls.capabilities)
    assert all(vars(own)[name] is declared[name] for name in cls.capabilities)
    assert not any(getattr(type("Grandchild", (own,), {}), name) for name in cls.capabilities)


class Poisson(Likelihood):
    """Likelihood of counts with only the required methods."""

    def build(self, n_features, n_coordinates):
        return PoissonModule(n_features, n_features)


class PoissonModule(LikelihoodModule):
    def observe(self, x, generator=None):
        counts = x.to(self.dtype)
        return Observed(counts, counts)

    def forward(self, raw):
        return TorchPoisson(raw.exp(), validate_args=False)

    def link(self, mean):
        return np.log(mean.clip(0.1)), 1 / mean.clip(0.1)


@pytest.fixture(scope="module")
def counts():
    """Rows of six columns whose logarithmic rates depend on one number, and a seventh of zeros."""
    rng = np.random.default_rng(0)
    rates = np.exp(np.linspace(0, 3, 6) + np.outer(rng.normal(size=300), np.linspace(-1, 1, 6)))
    return np.c_[rng.poisson(rates), np.zeros(300, dtype=int)]


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8])
def test_a_likelihood_is_what_it_observes_its_distribution_and_its_link(counts, cls, dtype, global_random_state):
    X = counts.clip(0, 255).astype(dtype)
    vae, before = (
        cls(2, likelihood=Poisson(), hidden_layer_sizes=(8,), max_iter=3, random_state=0),
        global_random_state(),
    )
    vae.fit(X, np.arange(300) % 2)
    assert np.isfinite(vae.loss_curve_).all() and np.isfinite(vae.score_samples(X)).all()
    draws = [vae.sample(4000, random_state=seed) for seed in (0, 0, 1)]
    draws = [x[0] if cls is VAEClassifier else x for x in draws]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])
    assert (draws[0] == draws[0].round()).all() and global_random_state() == before


def test_a_likelihood_that_is_given_as_a_distribution_is_scored_exactly(counts):
    module = Poisson().build(7, None).double().eval()
    raw = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 300, 7)))
    expected = stats.poisson(np.exp(raw.numpy())).logpmf(counts)
    observed = module.observe(torch.from_numpy(counts))
    np.testing.assert_allclose(module.log_prob_cells(observed, raw), expected, rtol=1e-9)
    mask = torch.from_numpy(np.random.default_rng(2).random(counts.shape) < 0.5)
    actual = module.log_prob(observed._replace(mask=mask), raw)
    np.testing.assert_allclose(actual, (expected * mask.numpy()).sum(-1), rtol=1e-9)
    np.testing.assert_allclose(module.mean(raw), raw.exp())
    draws = module.sample(raw[0, :1].expand(20000, 7), torch.Generator().manual_seed(0))
    error = (draws.mean(0) - raw[0, 0].exp()) / (raw[0, 0].exp() / 20000).sqrt()
    assert error.abs().max() < 5


def test_a_likelihood_starts_from_its_link(counts):
    """At the means of the columns, and better with a component."""
    vae = VAETransformer(1, likelihood=Poisson(), hidden_layer_sizes=(8,), max_iter=0, random_state=0).fit(counts)
    np.testing.assert_allclose(vae.inverse_transform([[0.0]])[0, :6], counts.mean(0)[:6], rtol=1e-4)
    alone = stats.poisson(counts.mean(0)).logpmf(counts).sum(1).mean()
    assert vae.score(counts) > alone


class Groups(Likelihood):
    """A Gaussian for some columns and zeros or ones for the others: it delegates to their likelihoods."""

    def __init__(self, real=(0,), binary=(1,)):
        self.real = real
        self.binary = binary

    def build(self, n_features, n_coordinates):
        parts = [Gaussian(per_column=True).build(len(self.real), None), Bernoulli(1.0).build(len(self.binary), None)]
        return GroupsModule(n_features, parts, [list(self.real), list(self.binary)])


def select(values, columns):
    """Values of some columns: of a tensor, of Observed, or of a summary that selects its own."""
    if isinstance(values, Observed):
        return Observed(*(None if part is None else part[..., columns] for part in values))
    return values[..., columns] if isinstance(values, torch.Tensor) else values.select(columns)


class GroupsModule(LikelihoodModule):
    def __init__(self, n_features, parts, columns):
        super().__init__(n_features, n_features)
        self.parts, self.columns, self.order = nn.ModuleList(parts), columns, np.argsort(np.concatenate(columns))

    def groups(self, *values):
        """Each part, with its columns of the values."""
        for part, c in zip(self.parts, self.columns, strict=True):
            yield part, *(select(value, c) for value in values)

    def join(self, parts):
        return torch.cat(list(parts), -1)[..., self.order]

    def observe(self, x, generator=None):
        cells = self.join(part.observe(x, generator).cells for part, x in self.groups(x))
        return Observed(cells, cells)

    def log_prob_cells(self, observed, raw):
        return self.join(part.log_prob_cells(o, r) for part, o, r in self.groups(observed, raw))

    def mean(self, raw):
        return self.join(part.mean(r) for part, r in self.groups(raw))

    def sample(self, raw, generator):
        return self.join(part.sample(r, generator) for part, r in self.groups(raw))

    def optima(self):
        return chain.from_iterable(part.optima() for part in self.parts)

    def update_optima(self, observed, raw, weight):
        for part, o, r in self.groups(observed, raw):
            part.update_optima(o, r, weight)

    def set_units(self, moments, axes):
        for part, m in self.groups(moments):
            part.set_units(m, None)

    def linear_start(self, ppca):
        return LinearStart.join([part.linear_start(p) for part, p in self.groups(ppca)], self.order)


@pytest.fixture(scope="module")
def mixed():
    """Rows of two real columns, 0 and 3, and three of zeros and ones, that depend on two numbers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(200, 5))
    X[:, [1, 2, 4]] = X[:, [1, 2, 4]] > 0
    return X * [10.0, 1, 1, 0.1, 1] + [100.0, 0, 0, 0, 0]


def fitted_groups(X, real, binary):
    vae = VAETransformer(2, likelihood=Groups(real, binary), hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    return vae.fit(X)


@pytest.mark.parametrize(("real", "binary"), [((0, 3), (1, 2, 4)), ((3, 0), (4, 1, 2))])
def test_a_likelihood_may_delegate_groups_of_columns(mixed, real, binary):
    vae = fitted_groups(mixed, real, binary)
    model, x = vae.module_.double(), torch.from_numpy(mixed)
    gaussian, bernoulli = model.likelihood.parts
    raw = model.decode(torch.from_numpy(np.random.default_rng(1).normal(size=(3, 200, 2))))
    expected = gaussian.log_prob(gaussian.observe(x[:, real]), raw[..., real])
    expected = expected + bernoulli.log_prob(bernoulli.observe(x[:, binary]), raw[..., binary])
    torch.testing.assert_close(model.likelihood.log_prob(model.likelihood.observe(x), raw), expected)
    means, draws = vae.inverse_transform(vae.transform(mixed)), vae.sample(500, random_state=0)
    assert ((means[:, binary] > 0) & (means[:, binary] < 1)).all() and set(draws[:, binary].ravel()) == {0.0, 1.0}
    for values in (means, draws):
        np.testing.assert_allclose(values[:, real].mean(0), mixed[:, real].mean(0), atol=2)
    assert (np.square(means - mixed).mean(0)[[*real]] < 0.9 * mixed.var(0)[[*real]]).all()


def test_groups_of_columns_may_stand_anywhere(mixed):
    order = [4, 3, 2, 1, 0]
    scores = [
        fitted_groups(mixed, (0, 3), (1, 2, 4)).score_samples(mixed),
        fitted_groups(mixed[:, order], (4, 1), (3, 2, 0)).score_samples(mixed[:, order]),
    ]
    np.testing.assert_allclose(*scores, rtol=1e-3)


@pytest.mark.parametrize("weighted", [False, True])
def test_groups_of_columns_have_closed_form_parameters_of_observed_cells(mixed, weighted):
    likelihood = fitted_groups(mixed, (0, 3), (1, 2, 4)).module_.double().likelihood
    gaussian, _ = likelihood.parts
    observed, raw = likelihood.observe(torch.from_numpy(mixed)), torch.zeros(200, 5, dtype=torch.float64)
    observed = observed._replace(mask=torch.rand(200, 5, generator=torch.Generator().manual_seed(0)) < 0.7)
    weight = torch.arange(200.0, dtype=torch.float64) if weighted else None
    (sums,) = likelihood.optima()
    assert sums is gaussian.sums
    sums.zero_()
    likelihood.train().log_prob(observed, raw, weight)
    w = observed.mask[:, [0, 3]] * (1 if weight is None else weight[:, None])
    torch.testing.assert_close(sums, torch.stack([(w * observed.cells[:, [0, 3]].square()).sum(0), w.sum(0).double()]))
