"""Mixture priors: densities, initial values, gradients, bounds, and their effect on a model."""

import copy
import math

import numpy as np
import pytest
import torch
from naming import shown
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training.diagnostics import kl_statistics
from sklearn_vae.networks import MLP, Modules
from sklearn_vae.priors import Mixture, StandardNormal, VampPrior

QUICK = {"hidden_layer_sizes": (16,), "learning_rate_init": 0.01, "early_stopping": False, "random_state": 0}
MIXTURES = [Mixture(7), VampPrior(7)]
over_mixtures = pytest.mark.parametrize("prior", MIXTURES, ids=shown)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def encode(y):
    """A posterior whose means and scales are neither constant nor alike."""
    return Normal(y[:, :-1] - 0.5 * y[:, -1:], 0.5 + 0.3 * y[:, 1:].square())


def random_module(prior, n_components=3):
    """The prior's module with random parameters, in float64."""
    module = prior.build(n_components, n_components + 1, generator()).double()
    module.bind(encode)
    for seed, parameter in enumerate(module.parameters()):
        parameter.data = normal(*parameter.shape, seed=seed)
    return module


def narrow_module(n, d, log_scale, shift=0.0):
    """A float32 mixture of Gaussians of one scale, with weights that differ."""
    module = Mixture(n).build(d, d, generator())
    module.logits.data = normal(n).float()
    module.loc.data = (2 * normal(n, d, seed=1) + shift).float()
    module.log_scale.data.fill_(log_scale)
    return module.requires_grad_(False)


def brute_force(module, z):
    """log p(z) by its definition, in float64, from the parameters as they are."""
    log_weight, gaussians = module.parameters_of()
    loc, scale = gaussians.loc.double(), gaussians.scale.double()
    log_p = Normal(loc, scale).log_prob(z.double()[..., None, :]).sum(-1)
    return (log_weight.double() + log_p).logsumexp(-1)


def started(X, prior, n_components=2, **params):
    """A model at its start, in float64."""
    vae = VAETransformer(n_components, prior=prior, max_iter=0, **{**QUICK, **params}).fit(X)
    return vae.module_.double().requires_grad_(False)


def clusters(n_rows, seed):
    """Five clusters on a circle, in four columns."""
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * rng.integers(0, 5, n_rows) / 5
    z = 3 * np.c_[np.cos(angle), np.sin(angle)] + 0.15 * rng.normal(size=(n_rows, 2))
    return z @ np.array([[1, 0, 0.5, 0.2], [0, 1, -0.3, 0.6]]) + 0.1 * rng.normal(size=(n_rows, 4))


# Densities


@pytest.mark.parametrize("prior", [*MIXTURES, Mixture(1), VampPrior(1)], ids=shown)
@pytest.mark.parametrize("distance", [0.0, 30.0, 1e4])
def test_mixture_log_prob_equals_torch_and_its_definition(prior, distance):
    module = random_module(prior)
    z = normal(2, 5, 3, seed=9) + distance
    log_weight, gaussians = module.parameters_of()
    torch_mixture = MixtureSameFamily(Categorical(logits=log_weight), Independent(gaussians, 1))
    expected = torch.zeros(2, 5, dtype=torch.float64)
    for draw, row in np.ndindex(2, 5):
        terms = [
            w + Normal(m, s).log_prob(z[draw, row]).sum()
            for w, m, s in zip(log_weight, gaussians.loc, gaussians.scale, strict=True)
        ]
        expected[draw, row] = torch.stack(terms).logsumexp(0)
    torch.testing.assert_close(module.log_prob(z), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(module.log_prob(z), torch_mixture.log_prob(z), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("log_scale", [-12.0, -8.0, -5.0, -3.0, 0.0, 6.0])
@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_mixture_log_prob_is_exact_in_float32_at_every_scale(log_scale, shift):
    """At draws from the Gaussians nearly all of the multiplied-out squares cancels, down to the narrowest posterior."""
    module = narrow_module(20, 5, log_scale, shift)
    z = module.sample(200, generator())
    log_p = module.log_prob(z)
    assert log_p.dtype == z.dtype == torch.float32
    torch.testing.assert_close(log_p.double(), brute_force(module, z), rtol=2e-6, atol=1e-3)


@pytest.mark.parametrize("log_scale", [-12.0, -5.0, 0.0, 6.0])
@pytest.mark.parametrize("distance", [1.0, 1e3])
def test_mixture_log_prob_is_exact_in_float32_far_from_the_means(log_scale, distance):
    module = narrow_module(20, 5, log_scale)
    z = (distance * normal(50, 5, seed=4)).float()
    torch.testing.assert_close(module.log_prob(z).double(), brute_force(module, z), rtol=2e-6, atol=1e-3)


@pytest.mark.parametrize("log_scale", [-12.0, -6.0, 0.0])
def test_mixture_gradients_are_exact_in_float32(log_scale):
    module = narrow_module(20, 5, log_scale).requires_grad_(True)
    z = module.sample(50, generator()).detach().requires_grad_()
    tensors = [z, module.loc, module.log_scale, module.logits]
    found = torch.autograd.grad(module.log_prob(z).sum(), tensors)
    for gradient, expected in zip(found, torch.autograd.grad(brute_force(module, z).sum(), tensors), strict=True):
        largest = float(expected.abs().max())
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-4 * largest)


@over_mixtures
def test_mixture_gradients_equal_finite_differences(prior):
    module, z = random_module(prior, 2), normal(3, 2, seed=9).requires_grad_()
    names = [name for name, _ in module.named_parameters()]

    def log_prob(z, *values):
        return torch.func.functional_call(
            Called(module), {f"module.{n}": v for n, v in zip(names, values, strict=True)}, (z,)
        )

    assert torch.autograd.gradcheck(log_prob, (z, *module.parameters()))


class Called(nn.Module):
    """A prior whose `forward` is its log-density."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, z):
        return self.module.log_prob(z)


def test_mixture_samples_its_gaussians_in_their_shares():
    n_draws, loc = 20000, torch.tensor([[-50.0, 0.0], [0.0, 50.0], [50.0, 50.0]], dtype=torch.float64)
    share, scale = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), torch.tensor([0.1, 1.0, 3.0]).double()
    module = Mixture(3).build(2, 2, generator()).double()
    module.load_state_dict({"logits": share.log(), "loc": loc, "log_scale": scale.log()[:, None].expand(3, 2)})
    z = module.sample(n_draws, generator()).detach()
    nearest = torch.cdist(z, loc).argmin(1)
    for k in range(3):
        own = z[nearest == k] - loc[k]
        assert abs(len(own) / n_draws - share[k]) < 5 * (share[k] * (1 - share[k]) / n_draws) ** 0.5
        assert (own.mean(0).abs() < 5 * scale[k] / len(own) ** 0.5).all()
        assert ((own.std(0) / scale[k] - 1).abs() < 5 / (2 * len(own)) ** 0.5).all()


# The aggregate posterior


@pytest.fixture(scope="module")
def trained(iris):
    """A model trained with the standard normal, its rows as the likelihood observes them, and draws of their q."""
    model = VAETransformer(2, max_iter=60, **QUICK).fit(iris).module_.double().requires_grad_(False)
    y = model.likelihood.observe(torch.tensor(iris)).inputs
    q = model.posterior(torch.tensor(iris))
    return model, y, q, q.loc + q.scale * normal(400, *q.loc.shape)


def aggregate(model, y):
    module = VampPrior(len(y)).build(2, y.shape[1], generator()).double().requires_grad_(False)
    module.bind(model._encode_untracked)
    module.pseudo_inputs.copy_(y)
    return module


def test_vamp_prior_of_all_rows_is_the_aggregate_posterior(trained):
    model, y, q, z = trained
    module = aggregate(model, y)
    expected = Normal(q.loc, q.scale).log_prob(z[0][:, None]).sum(-1).logsumexp(-1) - math.log(len(y))
    torch.testing.assert_close(module.log_prob(z[0]), expected)
    draws = module.sample(20000, generator())
    error = 5 * draws.std(0) / 20000**0.5
    assert ((draws.mean(0) - q.loc.mean(0)).abs() < error).all()


def test_vamp_prior_of_all_rows_costs_at_most_the_log_of_their_number(trained):
    """It is the mutual information of z and the row, between 0 and log n; each draw contributes at most log n."""
    model, y, q, z = trained
    kl = q.log_prob(z).sum(-1) - aggregate(model, y).log_prob(z)
    assert kl.max() <= math.log(len(y)) + 1e-9
    assert 0.5 < float(kl.mean()) < math.log(len(y))


def test_vamp_prior_of_all_rows_has_the_smallest_kl(trained):
    """E KL(q || p) - E KL(q || mean q) = KL(mean q || p) is positive for every other p."""
    model, y, q, z = trained
    best = aggregate(model, y).log_prob(z)
    variance = q.loc.var(0, correction=0) + q.variance.mean(0)
    # The best single Gaussian, an initial mixture, and the posteriors of a tenth of the rows.
    others = [Independent(Normal(q.loc.mean(0), variance.sqrt()), 1).log_prob(z), model.log_prior(z)]
    for prior in (Mixture(10), VampPrior(15)):
        module = prior.build(2, y.shape[1], generator()).double().requires_grad_(False)
        module.bind(model._encode_untracked)
        module.start_at(lambda n: y[:: len(y) // n][:n])
        others.append(module.log_prob(z))
    for other in others:
        # Average over the draws of a row first, because the standard error is over rows.
        gap = (best - other).mean(1)
        assert gap.mean() > 5 * gap.std() / len(gap) ** 0.5 > 0


def test_vamp_prior_of_a_constant_encoder_costs_nothing():
    def constant(y):
        return Normal(torch.zeros_like(y[:, :2]), torch.ones_like(y[:, :2]))

    module = VampPrior(9).build(2, 3, generator()).double()
    module.bind(constant)
    z = normal(50, 2)
    kl = module.kl(constant(normal(50, 3)), z)
    torch.testing.assert_close(kl, torch.zeros_like(kl))


# Starts


@pytest.mark.parametrize("n", [1, 20, 3000])
def test_mixture_start_keeps_the_moments_of_the_posteriors(n):
    """Mean and variance are those of the aggregate posterior, which is N(0, I) at the start of training."""
    rows, share = normal(n, 2), 0.3
    module = Mixture(n).build(2, 2, generator()).double().requires_grad_(False)
    module.bind(lambda y: Normal((1 - share) ** 0.5 * y, torch.full_like(y, share**0.5)))
    module.start_at(lambda n: rows[:n])
    width = n ** (-1 / 6)
    loc, scale = module.loc, module.log_scale.exp()
    variance = scale.square().mean(0) + loc.var(0, correction=0)
    expected = (1 - width**2) * ((1 - share) * rows.var(0, correction=0) + share) + width**2
    torch.testing.assert_close(variance, expected)
    torch.testing.assert_close(loc.mean(0), ((1 - width**2) * (1 - share)) ** 0.5 * rows.mean(0))
    assert n < 3000 or ((variance - 1).abs() < 0.1).all()
    torch.testing.assert_close(module.logits, torch.zeros_like(module.logits))


@pytest.mark.parametrize("prior", [StandardNormal(), Mixture(1)], ids=shown)
def test_mixture_of_one_starts_as_the_standard_normal(iris, prior):
    expected = VAETransformer(2, max_iter=0).fit(iris).score_samples(iris)
    np.testing.assert_allclose(VAETransformer(2, prior=prior, max_iter=0).fit(iris).score_samples(iris), expected)


def test_mixture_start_leaves_unused_components_at_unit_variance(iris):
    """A third component carries no information about columns that lie in a plane."""
    X = iris[:, :2] @ np.array([[1.0, 0, 0.5, 2], [0, 1, 0.5, -1]])
    model = started(X, Mixture(100), 3)
    variance = model.prior.log_scale.exp().square().mean(0) + model.prior.loc.var(0)
    assert ((variance - 1).abs() < 0.3).all() and float((variance[2] - 1).abs()) < 1e-3


def test_mixture_of_more_gaussians_than_rows_starts_the_others_at_the_standard_normal(iris):
    prior = started(iris[:10], Mixture(30)).prior
    assert prior.loc[:10].any(1).all() and not prior.loc[10:].any() and not prior.log_scale[10:].any()


@pytest.mark.parametrize("n", [4, 30])
def test_vamp_prior_starts_at_training_rows(iris, n):
    """Different ones; with fewer rows than pseudo-inputs, each as often as the others or once more."""
    X = np.unique(iris, axis=0)[:12]
    model = started(X, VampPrior(n))
    y = model.likelihood.observe(torch.tensor(X)).inputs
    distance, row = torch.cdist(model.prior.pseudo_inputs, y).min(1)
    counts = np.bincount(row.numpy(), minlength=12)
    assert distance.max() < 1e-5 and counts.sum() == n
    assert counts.max() - counts.min() <= 1 and counts.max() == math.ceil(n / 12)


def test_vamp_prior_takes_no_rows_without_weight(iris):
    weight = (np.arange(150) < 20).astype(float)
    vae = VAETransformer(2, prior=VampPrior(30), max_iter=0, random_state=0).fit(iris, sample_weight=weight)
    model = vae.module_.double()
    y = model.likelihood.observe(torch.tensor(iris[:20])).inputs
    assert torch.cdist(model.prior.pseudo_inputs, y).min(1).values.max() < 1e-4


def test_vamp_prior_lives_in_principal_coordinates(digits):
    """Pseudo-inputs are rotated rows and the norm of what is dropped, as the encoder sees them."""
    model = started(digits, VampPrior(5), network=MLP(principal_coordinates=16))
    u = model.prior.pseudo_inputs
    y = model.likelihood.observe(torch.tensor(digits)).inputs
    assert u.shape == (5, 17) and (u[:, -1] > 0).all()
    distance, row = torch.cdist(u, y).min(1)
    assert distance.max() < 1e-3 and len(row.unique()) == 5
    assert np.isfinite(model.sample(model.sample_latents(3, generator()), generator()).numpy()).all()


@over_mixtures
def test_mixture_start_is_not_in_training_mode(iris, prior, global_random_state):
    """Dropout draws nothing from torch's global generator, and batch normalisation learns nothing."""
    before = global_random_state()
    network = Modules(noisy_encoder, plain_decoder)
    model = VAETransformer(2, prior=prior, network=network, max_iter=0, random_state=0).fit(iris).module_
    assert global_random_state() == before
    assert int(model.encoder[1].num_batches_tracked) == 0


def noisy_encoder(n_features):
    return nn.Sequential(nn.Linear(n_features, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Tanh())


def plain_decoder(n_components, n_features):
    return nn.Linear(n_components, n_features)


# In a model


@over_mixtures
@pytest.mark.parametrize("objective", ["elbo", "iwae"])
def test_mixture_gradients_reach_prior_and_encoder(iris, prior, objective):
    model = started(iris, prior, objective=objective, init="random").requires_grad_(True)
    model.train()(torch.tensor(iris), beta=1.0, generator=generator()).loss.mean().backward()
    for parameter in model.parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any()


def test_vamp_prior_trains_the_encoder_at_pseudo_inputs(iris):
    """log p(z) at a given z has a gradient in the encoder, which makes p(z)."""
    model = started(iris, VampPrior(7)).requires_grad_(True)
    model.log_prior(normal(9, 2)).sum().backward()
    assert model.linear.encoder.weight.grad.any() and model.linear.log_scale.grad.any()
    assert model.prior.pseudo_inputs.grad.any()


def test_vamp_prior_of_a_copy_has_the_copys_encoder(iris):
    """Moving averages of weights are kept in a deep copy of the model."""
    model, z = started(iris, VampPrior(7)), normal(9, 2)
    copied, before = copy.deepcopy(model), model.log_prior(z)
    model.linear.encoder.weight.mul_(2)
    model.prior.pseudo_inputs.add_(1)
    assert torch.equal(copied.log_prior(z), before) and not torch.equal(model.log_prior(z), before)


@pytest.mark.parametrize("prior", [Mixture(10), VampPrior(20)], ids=shown)
def test_mixture_fits_clusters_better_than_the_standard_normal(prior):
    """The gain on held-out rows was at least 0.6 nats per row over several seeds."""
    X, held_out = clusters(300, 0), clusters(300, 100)
    vae = VAETransformer(2, max_iter=30, **QUICK)
    plain, mixed = (clone(vae).set_params(prior=p).fit(X).score(held_out) for p in ("standard_normal", prior))
    assert mixed > plain + 0.3


@pytest.mark.parametrize("prior", [Mixture(4), VampPrior(4)], ids=shown)
@pytest.mark.parametrize("n_components", [1, 2])
def test_mixture_kl_per_component_equals_numerical_integration(iris, prior, n_components):
    model = VAETransformer(n_components, prior=prior, max_iter=10, **QUICK).fit(iris).module_.double()
    X, n_repeats, grid = torch.tensor(iris[::5]), 200, torch.linspace(-15, 15, 6001, dtype=torch.float64)[:, None, None]
    with torch.no_grad():
        q = model.posterior(X)
        log_weight, gaussians = model.prior.parameters_of()
        # (grid, Gaussians, components)
        log_p = (log_weight[:, None] + gaussians.log_prob(grid)).logsumexp(1)[:, None]
        log_q = q.log_prob(grid)
        exact = torch.trapezoid(log_q.exp() * (log_q - log_p), grid, dim=0).mean(0).numpy()
        many = Normal(q.loc.repeat(n_repeats, 1), q.scale.repeat(n_repeats, 1))
        spread = model.marginal_kl(many, many.loc + many.scale * normal(*many.loc.shape)).std(0).numpy()
    _, found = kl_statistics(model, DenseRows(X.repeat(n_repeats, 1)))
    assert (np.abs(found - exact) < 5 * spread / math.sqrt(len(X) * n_repeats)).all()


@over_mixtures
def test_mixture_goes_on_training(iris, prior):
    """With warm_start and partial_fit; its number of Gaussians then stays."""
    vae = VAETransformer(2, prior=clone(prior), max_iter=2, warm_start=True, **QUICK).fit(iris)
    before = {name: value.clone() for name, value in vae.module_.prior.state_dict().items()}
    after = vae.fit(iris).module_.prior.state_dict()
    assert any(not torch.equal(after[name], before[name]) for name in before)
    name = next(iter(prior.get_params()))
    with pytest.raises(ValueError, match="expected prior as in the first call"):
        vae.set_params(**{f"prior__{name}": 3}).fit(iris)
    chunks = VAETransformer(2, prior=prior, **QUICK).partial_fit(iris[::2]).partial_fit(iris[1::2])
    assert np.isfinite(chunks.score(iris))


def awkward(name):
    X = np.random.default_rng(0).normal(size=(30, 5))
    return {
        "constant": np.ones((20, 3)),
        "two different rows": np.repeat(X[:2], 10, axis=0),
        "three rows": X[:3],
        "a line": X[:, :1] @ np.ones((1, 6)),
        "wide": np.random.default_rng(1).normal(size=(20, 1000)),
        "far away": 1e6 * X + 1e8,
        "bytes": (20 * np.abs(X)).astype(np.uint8),
    }[name]


@pytest.mark.parametrize("prior", [Mixture(1), Mixture(40), VampPrior(1), VampPrior(40)], ids=shown)
@pytest.mark.parametrize(
    "name", ["constant", "two different rows", "three rows", "a line", "wide", "far away", "bytes"]
)
def test_mixture_works_on_awkward_rows(prior, name):
    X = awkward(name)
    vae = VAETransformer(1, prior=prior, objective="iwae", n_draws=4, max_iter=2, hidden_layer_sizes=(4,))
    vae.set_params(random_state=0).fit(X)
    for values in (vae.score_samples(X), vae.kl_per_component_, vae.sample(3), vae.loss_curve_, vae.transform(X)):
        assert np.isfinite(values).all()


# Parameters


@pytest.mark.parametrize("estimator", [VAETransformer(2), VAEClassifier(2)], ids=shown)
@pytest.mark.parametrize(
    "prior",
    [Mixture(0), Mixture(1.5), Mixture("10"), VampPrior(0), VampPrior(-3), VampPrior(None), VampPrior(2.0)],
    ids=shown,
)
def test_wrong_number_of_gaussians_is_refused_before_training(iris, estimator, prior):
    estimator = clone(estimator).set_params(prior=prior)
    with pytest.raises(InvalidParameterError, match=r"n_mixture_components|n_pseudo_inputs"):
        estimator.fit(iris, np.arange(150) % 2)
    assert not hasattr(estimator, "module_")


@pytest.mark.parametrize(("name", "cls"), [("mixture", Mixture), ("vamp", VampPrior)])
def test_prior_name_builds_its_module(iris, name, cls):
    model = started(iris, name)
    assert type(model.prior) is type(cls().build(2, 5, generator()))


@over_mixtures
def test_prior_parameters_are_searchable_in_a_pipeline(iris, prior):
    vae = VAETransformer(2, prior=prior, max_iter=1, **QUICK)
    name = f"vae__prior__{next(iter(prior.get_params()))}"
    pipe = Pipeline([("scale", StandardScaler()), ("vae", vae)])
    search = GridSearchCV(pipe, {name: [1, 5]}, cv=2).fit(iris)
    assert search.best_params_[name] in (1, 5) and np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert clone(search.best_estimator_).get_params()[name] == search.best_params_[name]
    assert prior.get_params() == MIXTURES[MIXTURES.index(prior)].get_params()
