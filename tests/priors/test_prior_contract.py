"""The contract of priors, tested over their registry."""

import math

import pytest
import torch
from component_cases import N_COMPONENTS, PRIOR_CASES, generator, normal
from naming import shown
from torch.distributions import Normal

from sklearn_vae.priors import PriorModule

over_priors = pytest.mark.parametrize("prior", PRIOR_CASES, ids=shown)


def encode(y):
    """A posterior whose means and scales are neither constant nor alike."""
    return Normal(y[:, :-1] - 0.5 * y[:, -1:], 0.5 + 0.3 * y[:, 1:].square())


def started_prior(prior, n_components=N_COMPONENTS, seed=0):
    """The prior's module at its start from random rows, in float64."""
    module = prior.build(n_components, n_components + 1, generator()).double()
    module.bind(encode)
    module.start_at(lambda n: normal(min(n, 30), n_components + 1, seed=seed))
    return module.requires_grad_(False)


@over_priors
def test_prior_shapes(prior):
    module = started_prior(prior)
    z = module.sample(7, generator())
    q = Normal(z, torch.ones_like(z))
    assert z.shape == (7, N_COMPONENTS) and z.dtype == torch.float64
    assert module.log_prob(z).shape == (7,)
    assert module.log_prob(z.expand(3, 7, N_COMPONENTS)).shape == (3, 7)
    assert module.kl(q, z).shape in [(7, N_COMPONENTS), (7, 1)]
    assert module.marginal_kl(q, z).shape == (7, N_COMPONENTS)


@over_priors
def test_prior_log_prob_is_that_of_its_distribution(prior):
    module, z = started_prior(prior), normal(3, 7, N_COMPONENTS)
    torch.testing.assert_close(module.log_prob(z), module().log_prob(z))


@over_priors
def test_prior_density_integrates_to_one(prior):
    grid = torch.linspace(-25, 25, 10001, dtype=torch.float64)[:, None]
    density = started_prior(prior, 1).log_prob(grid).exp()
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=1e-6)


@over_priors
def test_prior_sample_has_the_moments_of_its_density(prior):
    grid = torch.linspace(-25, 25, 10001, dtype=torch.float64)[:, None]
    module = started_prior(prior, 1)
    density, draws = module.log_prob(grid).exp(), module.sample(40000, generator())
    for power in (1, 2):
        moment = torch.trapezoid(density * grid[:, 0] ** power, grid[:, 0])
        values = draws[:, 0] ** power
        assert (values.mean() - moment).abs() < 5 * values.std() / math.sqrt(len(values))


@over_priors
def test_prior_sample_is_drawn_from_its_generator_alone(prior, global_random_state):
    module, before = started_prior(prior), global_random_state()
    first, again, other = (module.sample(5, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert global_random_state() == before


@over_priors
def test_prior_kl_equals_monte_carlo(prior):
    n_draws = 40000
    module = started_prior(prior)
    q = Normal(normal(4, N_COMPONENTS), normal(4, N_COMPONENTS, seed=1).exp())
    z = q.loc + q.scale * normal(n_draws, 4, N_COMPONENTS, seed=2)
    ratio = q.log_prob(z).sum(-1) - module.log_prob(z)
    many = Normal(q.loc.repeat(1000, 1), q.scale.repeat(1000, 1))
    z = many.loc + many.scale * normal(*many.loc.shape, seed=3)
    kl = module.kl(many, z).sum(-1).unflatten(0, (1000, 4))
    error = ratio.mean(0) - kl.mean(0)
    assert (error.abs() < 5 * (ratio.std(0) / math.sqrt(n_draws) + kl.std(0) / math.sqrt(1000))).all()
    assert (ratio.mean(0) > 0).all()


@over_priors
def test_prior_kl_to_itself_is_zero(prior):
    """This holds at every draw, also if the KL is estimated."""
    module = started_prior(prior, 1)
    z = module.sample(1000, generator())
    own = type("Own", (), {"log_prob": lambda self, z: module.log_prob(z)[..., None]})()
    if type(module).kl is PriorModule.kl:
        assert not module.kl(own, z).any()
    else:
        assert not module.kl(module().base_dist, z).any()


@over_priors
def test_prior_marginal_kl_is_the_kl_of_one_component(prior):
    module, q = started_prior(prior, 1), Normal(normal(5, 1), normal(5, 1, seed=1).exp())
    z = q.loc + q.scale * normal(5, 1, seed=2)
    torch.testing.assert_close(module.marginal_kl(q, z), module.kl(q, z))


@over_priors
def test_prior_marginal_kl_by_default_is_near_that_of_its_density(prior):
    """The kernel estimate of one component's density, which is also the joint one."""
    module = started_prior(prior, 1)
    z = module.sample(4000, generator())
    q = Normal(z, torch.ones_like(z))
    estimate, exact = PriorModule.marginal_kl(module, q, z), module.marginal_kl(q, z)
    assert abs(float((estimate - exact).mean())) < 0.05


@over_priors
def test_prior_state_dict_round_trip(prior):
    module, restored = started_prior(prior), prior.build(N_COMPONENTS, N_COMPONENTS + 1, generator()).double()
    restored.bind(encode)
    restored.load_state_dict(module.state_dict())
    z = normal(6, N_COMPONENTS)
    assert torch.equal(restored.log_prob(z), module.log_prob(z))
