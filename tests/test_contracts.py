"""Contracts of likelihoods, priors, networks and objectives: one per family, tested over its registry.

A new component is tested here as soon as it is in its family's registry.
"""

import copy
import itertools
import math
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from naming import shown
from scipy import stats
from sklearn.base import clone
from torch import nn
from torch.distributions import Normal

import sklearn_vae.likelihoods
import sklearn_vae.networks
import sklearn_vae.objectives
import sklearn_vae.priors
from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._data.ppca import fit_moments, fit_ppca
from sklearn_vae._data.rows import DenseRows
from sklearn_vae.likelihoods import LIKELIHOODS, Bernoulli, DiscretizedLogistic, Gaussian, LikelihoodModule, Observed
from sklearn_vae.likelihoods.base import SUMS_DECAY
from sklearn_vae.networks import MLP, NETWORKS, Modules
from sklearn_vae.networks.mlp import ACTIVATIONS
from sklearn_vae.objectives import ELBO, IWAE, OBJECTIVES, Autoencoder, FreeBits
from sklearn_vae.priors import PRIORS, PriorModule

FAMILIES = [sklearn_vae.likelihoods, sklearn_vae.priors, sklearn_vae.networks, sklearn_vae.objectives]
# Nine columns can also be a 3 x 3 image.
N_ROWS, N_FEATURES, N_COMPONENTS = 12, 9, 2


def make_encoder(n_features):
    return nn.Sequential(nn.Linear(n_features, 6), nn.Tanh())


def make_decoder(n_components, n_features):
    return nn.Sequential(nn.Linear(n_components, 6), nn.Tanh(), nn.Linear(6, n_features))


GAUSSIANS = [
    Gaussian(),
    Gaussian(per_column=True),
    Gaussian(scale="learned"),
    Gaussian(scale="learned", per_column=True),
    Gaussian(scale=0.7),
]
LIKELIHOOD_CASES = [
    *(cls() for cls in LIKELIHOODS.values()),
    *GAUSSIANS[1:],
    Bernoulli(dynamic_binarization=True),
    DiscretizedLogistic(levels=2, per_column=False),
]
PRIOR_CASES = [cls() for cls in PRIORS.values()]
NETWORK_CASES = [
    *(cls() for cls in NETWORKS.values()),
    *(MLP(activation=name, decoder_activation=name) for name in ACTIVATIONS),
    MLP(decoder_hidden_layer_sizes=(3, 4)),
    MLP(principal_coordinates=None),
    Modules(make_encoder, make_decoder),
]
OBJECTIVE_CASES = [cls() for cls in OBJECTIVES.values()]
GENERATIVE_CASES = [objective for objective in OBJECTIVE_CASES if objective.generative]
COMPONENTS = [
    *(("likelihood", case) for case in LIKELIHOOD_CASES),
    *(("prior", case) for case in PRIOR_CASES),
    *(("network", case) for case in NETWORK_CASES),
    *(("objective", case) for case in OBJECTIVE_CASES),
]

over_components = pytest.mark.parametrize("component", [case for _, case in COMPONENTS], ids=shown)
over_likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOOD_CASES, ids=shown)
over_gaussians = pytest.mark.parametrize("likelihood", GAUSSIANS, ids=shown)
over_priors = pytest.mark.parametrize("prior", PRIOR_CASES, ids=shown)
over_networks = pytest.mark.parametrize("network", NETWORK_CASES, ids=shown)
over_objectives = pytest.mark.parametrize("objective", OBJECTIVE_CASES, ids=shown)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def binary_rows(n_rows=N_ROWS, n_features=N_FEATURES):
    """Zeros and ones, which every likelihood accepts; both occur in every column."""
    rows = np.random.default_rng(0).integers(0, 2, (n_rows, n_features)).astype(float)
    rows[0], rows[1] = 0.0, 1.0
    return rows


def started(likelihood, X, n_coordinates=None, n_components=N_COMPONENTS):
    """The likelihood's module in the units of `X`, at its start, in float64 and eval mode."""
    X = torch.from_numpy(X)
    moments = fit_moments(DenseRows(X))
    ppca = fit_ppca(DenseRows(X), moments, n_components, n_coordinates or 0)
    module = likelihood.for_data(DenseRows(X)).build(X.shape[1], n_coordinates)
    module.set_units(moments, ppca.axes[:, :n_coordinates] if n_coordinates else None)
    start = module.linear_start(ppca)
    return module.double().eval(), start


def built(network, zero_output=False, seed=0):
    return network.build(N_FEATURES, N_COMPONENTS, N_FEATURES, (8, 7), zero_output, generator(seed))


def model_with(objective, X, **params):
    """A model with random initial weights and this objective, with no parameter at zero, in float64."""
    vae = VAETransformer(
        N_COMPONENTS, hidden_layer_sizes=(6,), init="random", objective=objective, max_iter=0, random_state=0, **params
    )
    return vae.fit(X).module_.double().requires_grad_(True)


# All families


@over_components
def test_component_clone_has_equal_parameters(component):
    copied = clone(component)
    assert copied is not component and type(copied) is type(component)
    assert repr(copied) == repr(component)
    assert copied.get_params().keys() == component.get_params().keys()


@over_components
def test_component_repr_can_be_read_back(component):
    if isinstance(component, Modules):
        assert "make_encoder" in repr(component) and "make_decoder" in repr(component)
        return
    names = {name: value for family in FAMILIES for name, value in vars(family).items()}
    assert eval(repr(component), names).get_params() == component.get_params()


@pytest.mark.parametrize(("family", "component"), COMPONENTS, ids=shown)
@pytest.mark.parametrize("init", ["ppca", "random"])
def test_component_works_in_an_estimator(family, component, init):
    X = binary_rows(40)
    before = component.get_params()
    vae = VAETransformer(
        N_COMPONENTS, hidden_layer_sizes=(6,), init=init, max_iter=2, early_stopping=False, random_state=0
    ).set_params(**{family: component})
    Z = vae.fit(X).transform(X)
    assert Z.shape == (len(X), N_COMPONENTS) and np.isfinite(Z).all()
    assert np.isfinite(vae.inverse_transform(Z)).all() and np.isfinite(vae.loss_curve_).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).transform(X), Z)
    assert component.get_params() == before


@pytest.mark.parametrize(("family", "component"), COMPONENTS, ids=shown)
def test_component_works_in_a_classifier(family, component):
    X, before = binary_rows(40), component.get_params()
    y = np.where(np.arange(40) % 2 == 0, X[:, 0], -1).astype(int)
    vae = VAEClassifier(N_COMPONENTS, hidden_layer_sizes=(6,), max_iter=2, n_draws=4, random_state=0)
    vae.set_params(**{family: component}).fit(X, y)
    p = vae.predict_proba(X)
    assert p.shape == (40, 2) and np.isfinite(p).all() and np.isfinite(vae.loss_curve_).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).predict_proba(X), p)
    assert hasattr(vae, "sample") == (family != "objective" or component.generative)
    if hasattr(vae, "sample"):
        assert np.isfinite(vae.sample(5, y=1)[0]).all() and np.isfinite(vae.score_samples(X)).all()
    assert component.get_params() == before


@pytest.mark.parametrize(
    ("family", "registry"),
    [("likelihood", LIKELIHOODS), ("prior", PRIORS), ("network", NETWORKS), ("objective", OBJECTIVES)],
)
def test_registry_name_stands_for_the_default_instance(family, registry):
    X = binary_rows(30)
    vae = VAETransformer(N_COMPONENTS, hidden_layer_sizes=(4,), max_iter=1, early_stopping=False, random_state=0)
    for name, cls in registry.items():
        by_name = clone(vae).set_params(**{family: name}).fit_transform(X)
        by_instance = clone(vae).set_params(**{family: cls()}).fit_transform(X)
        np.testing.assert_array_equal(by_name, by_instance)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_family_has_its_classes_on_the_api_page(family):
    page = (Path(__file__).parents[1] / "docs" / "api" / "index.rst").read_text().split()
    assert {name for name in family.__all__ if isinstance(vars(family)[name], type)} <= set(page)


# Likelihoods


@over_likelihoods
def test_likelihood_shapes(likelihood):
    X = binary_rows()
    module, start = started(likelihood, X)
    observed, raw = module.observe(torch.from_numpy(X)), normal(3, N_ROWS, module.n_outputs)
    assert observed.inputs.shape == (N_ROWS, module.n_inputs) and observed.mask is None
    assert observed.inputs.dtype == observed.cells.dtype == module.dtype == torch.float64
    assert module.log_prob(observed, raw).shape == (3, N_ROWS)
    assert module.log_prob_cells(observed, raw).shape == (3, *observed.cells.shape)
    assert module.mean(raw).shape == module.sample(raw, generator()).shape == (3, N_ROWS, N_FEATURES)
    assert module.mean(raw).dtype == module.sample(raw, generator()).dtype == torch.float64
    assert start.encoder_weight.shape == (N_COMPONENTS, module.n_inputs)
    assert start.decoder_weight.shape == (module.n_outputs, N_COMPONENTS)
    assert start.encoder_bias.shape == start.posterior_variance.shape == (N_COMPONENTS,)
    assert start.decoder_bias.shape == (module.n_outputs,)


@over_likelihoods
def test_likelihood_gradients_are_finite(likelihood):
    X = binary_rows()
    module, _ = started(likelihood, X)
    raw = normal(N_ROWS, module.n_outputs).requires_grad_()
    module.train().log_prob(module.observe(torch.from_numpy(X)), raw).sum().backward()
    for gradient in [raw.grad, *(p.grad for p in module.parameters())]:
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


@over_likelihoods
def test_likelihood_log_prob_sums_over_columns_of_its_distribution(likelihood):
    """Up to the constant of the units, a row's log-probability is the sum of its distribution's over cells."""
    X = binary_rows()
    module, _ = started(likelihood, X)
    y, raw = module.observe(torch.from_numpy(X)), normal(N_ROWS, module.n_outputs)
    difference = module.log_prob(y, raw) - module(raw).log_prob(y.cells).sum(-1)
    torch.testing.assert_close(difference, difference[:1].expand(N_ROWS))


@over_likelihoods
@pytest.mark.parametrize("n_coordinates", [None, 2, N_FEATURES])
@pytest.mark.parametrize("training", [False, True])
def test_likelihood_log_prob_is_the_sum_over_cells(likelihood, n_coordinates, training):
    if n_coordinates is not None and not likelihood.isotropic:
        return
    X = binary_rows()
    module, _ = started(likelihood, X, n_coordinates)
    module.train(training)
    observed, raw = module.observe(torch.from_numpy(X)), normal(3, N_ROWS, module.n_outputs)
    total = module.log_prob(observed, raw)
    torch.testing.assert_close(total, module.log_prob_cells(observed, raw).sum(-1))


@over_likelihoods
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_likelihood_mask_of_ones_changes_nothing(likelihood, training, weighted):
    X = torch.from_numpy(binary_rows())
    totals, optima = [], []
    for masked in (False, True):
        module, _ = started(likelihood, X.numpy())
        observed, raw = module.observe(X), normal(3, N_ROWS, module.n_outputs)
        observed = observed._replace(mask=torch.ones_like(observed.cells, dtype=torch.bool) if masked else None)
        weight = torch.linspace(0, 2, N_ROWS, dtype=torch.float64) if weighted else None
        totals.append(module.train(training).log_prob(observed, raw, weight))
        optima.append([*module.optima()])
    torch.testing.assert_close(*totals)
    torch.testing.assert_close(*optima)


@over_likelihoods
@pytest.mark.parametrize("training", [False, True])
def test_likelihood_leaves_out_cells_that_were_not_observed(likelihood, training):
    """Their values do not matter, and they do not enter parameters with a closed form either."""
    X = torch.from_numpy(binary_rows())
    mask = torch.rand(X.shape, generator=generator()) < 0.7
    totals, optima = [], []
    for filling in (0.0, 1.0):
        module, _ = started(likelihood, X.numpy())
        observed, raw = module.observe(X.where(mask, filling)), normal(3, N_ROWS, module.n_outputs).requires_grad_()
        total = module.train(training).log_prob(observed._replace(mask=mask), raw)
        torch.testing.assert_close(total, (module.log_prob_cells(observed, raw) * mask).sum(-1))
        (gradient,) = torch.autograd.grad(total.sum(), raw)
        assert not gradient.masked_select(~mask).any() and gradient.masked_select(mask).all()
        totals.append(total)
        optima.append([*module.optima()])
    torch.testing.assert_close(*totals)
    torch.testing.assert_close(*optima)


@over_gaussians
def test_gaussian_closed_form_parameters_of_rows_with_gaps_are_at_their_optimum(likelihood):
    """The observed cells' weighted mean squares, per scale."""
    X = torch.from_numpy(binary_rows())
    module, _ = started(likelihood, X.numpy())
    mask, weight = torch.rand(X.shape, generator=generator()) < 0.7, torch.linspace(0, 2, N_ROWS).double()
    observed, raw = module.observe(X)._replace(mask=mask), normal(N_ROWS, module.n_outputs)
    for sums in fit_optima(module, observed, raw, weight):
        square, n_cells = (weight[:, None] * mask * (observed.cells - raw).square()), weight[:, None] * mask
        dim = 0 if sums.shape[1] > 1 else (0, 1)
        torch.testing.assert_close(sums, torch.stack([square.sum(dim), n_cells.sum(dim)]).view_as(sums))


def test_gaussian_refuses_gaps_in_principal_coordinates():
    X = binary_rows()
    module, _ = started(Gaussian(per_column=False), X, 2)
    observed = module.observe(torch.from_numpy(X))
    observed = observed._replace(mask=torch.ones_like(observed.cells, dtype=torch.bool))
    with pytest.raises(ValueError, match="expected all cells to be observed .*principal_coordinates=None"):
        module.log_prob(observed, normal(N_ROWS, 2))


@over_likelihoods
def test_likelihood_mean_and_samples_follow_from_its_distribution(likelihood):
    n_draws = 20000
    module, _ = started(likelihood, binary_rows())
    raw = normal(1, module.n_outputs)
    torch.testing.assert_close(LikelihoodModule.mean(module, raw), module.mean(raw), rtol=1e-5, atol=1e-5)
    draws = [
        sample(raw.expand(n_draws, -1), generator(seed)).detach()
        for seed, sample in enumerate([module.sample, partial(LikelihoodModule.sample, module)])
    ]
    for power in (1, 2):
        a, b = (values**power for values in draws)
        error = (a.mean(0) - b.mean(0)) / ((a.var(0) + b.var(0)) / n_draws).sqrt()
        assert error.abs().max() < 5


@over_gaussians
@pytest.mark.parametrize("n_coordinates", [None, 2, N_FEATURES])
def test_gaussian_log_prob_equals_scipy(likelihood, n_coordinates):
    if n_coordinates is not None and not likelihood.isotropic:
        assert likelihood.per_column
        return
    X = 300 + 20 * np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES)) * np.arange(1, N_FEATURES + 1)
    module, _ = started(likelihood, X, n_coordinates)
    raw = normal(N_ROWS, module.n_outputs)
    log_prob = module.log_prob(module.observe(torch.from_numpy(X)), raw)
    expected = stats.norm(module.mean(raw).numpy(), module.variance.detach().sqrt().numpy()).logpdf(X).sum(1)
    # The axes are kept in float32.
    np.testing.assert_allclose(log_prob.detach().numpy(), expected, rtol=1e-9 if n_coordinates is None else 1e-3)


def test_bernoulli_probabilities_sum_to_one():
    vectors = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    module, _ = started(Bernoulli(), vectors.numpy())
    for raw in normal(4, 3) * 5:
        log_prob = module.log_prob(module.observe(vectors), raw.expand(8, 3))
        assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-12)


@over_likelihoods
def test_likelihood_mean_is_the_mean_of_samples(likelihood):
    n_draws = 20000
    module, _ = started(likelihood, binary_rows())
    raw = normal(1, module.n_outputs)
    draws = module.sample(raw.expand(n_draws, -1), generator(1)).detach()
    error = (draws.mean(0) - module.mean(raw)[0]) / (draws.std(0) / math.sqrt(n_draws))
    assert error.abs().max() < 5


@over_likelihoods
def test_likelihood_sample_is_drawn_from_its_generator_alone(likelihood, global_random_state):
    module, _ = started(likelihood, binary_rows())
    raw, before = normal(N_ROWS, module.n_outputs), global_random_state()
    first, again, other = (module.sample(raw, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert global_random_state() == before


@over_likelihoods
def test_likelihood_state_dict_round_trip(likelihood):
    X = binary_rows() * 0.5
    module, _ = started(likelihood, X)
    restored = likelihood.for_data(DenseRows(torch.from_numpy(X))).build(N_FEATURES, None).double().eval()
    restored.load_state_dict(module.state_dict())
    y, raw = torch.from_numpy(X), normal(N_ROWS, module.n_outputs)
    assert torch.equal(restored.log_prob(restored.observe(y), raw), module.log_prob(module.observe(y), raw))
    assert torch.equal(restored.mean(raw), module.mean(raw))


def rows_of(observed, index):
    """Return the observed values of some of the rows."""
    return Observed(*(None if part is None else part[index] for part in observed))


def fit_optima(module, y, raw, weight=None):
    """Reset the sums of closed-form parameters to those of these rows alone, and return them."""
    for sums in module.optima():
        sums.zero_()
    module.train().log_prob(y, raw, weight)
    module.eval()
    return [sums.clone() for sums in module.optima()]


@over_likelihoods
@pytest.mark.parametrize("weighted", [False, True])
def test_likelihood_closed_form_parameters_are_at_their_optimum(likelihood, weighted):
    """At the parameters that follow from the sums, no step up or down raises the rows' total log-probability."""
    X = torch.from_numpy(binary_rows())
    module, _ = started(likelihood, X.numpy())
    weight = torch.linspace(0, 2, N_ROWS, dtype=torch.float64) if weighted else None
    y, raw = module.observe(X), normal(N_ROWS, module.n_outputs)
    fit_optima(module, y, raw, weight)

    def total():
        return float((module.log_prob(y, raw) * (1 if weight is None else weight)).sum().detach())

    best = total()
    for sums in module.optima():
        for i, factor in itertools.product(np.ndindex(*sums.shape), [0.99, 1.01]):
            sums[i] *= factor
            assert total() < best
            sums[i] /= factor
    assert total() == pytest.approx(best)


@over_likelihoods
def test_likelihood_rows_count_by_their_weight_in_closed_form_parameters(likelihood):
    X = torch.from_numpy(binary_rows())
    module, _ = started(likelihood, X.numpy())
    y, raw, counts = module.observe(X), normal(N_ROWS, module.n_outputs), torch.arange(N_ROWS) % 4
    weighted = fit_optima(module, y, raw, counts.double())
    repeated = fit_optima(
        module, rows_of(y, torch.arange(N_ROWS).repeat_interleave(counts)), raw.repeat_interleave(counts, 0)
    )
    torch.testing.assert_close(weighted, repeated)


@over_likelihoods
def test_likelihood_batches_count_by_their_weight_in_closed_form_parameters(likelihood):
    """Sums over batches are kept, and a batch is scored with the parameters that follow from them."""
    X = torch.from_numpy(binary_rows())
    module, _ = started(likelihood, X.numpy())
    y, raw, weight = module.observe(X), normal(N_ROWS, module.n_outputs), torch.linspace(0, 30, N_ROWS).double()
    second = fit_optima(module, rows_of(y, slice(5, None)), raw[5:], weight[5:])
    first = fit_optima(module, rows_of(y, slice(5)), raw[:5], weight[:5])
    in_training = module.train().log_prob(rows_of(y, slice(5, None)), raw[5:], weight[5:])
    for sums, a, b in zip(module.optima(), first, second, strict=True):
        torch.testing.assert_close(sums, SUMS_DECAY * a + b)
    torch.testing.assert_close(module.eval().log_prob(rows_of(y, slice(5, None)), raw[5:]), in_training)


@over_likelihoods
def test_likelihood_scores_its_own_samples_higher_than_those_of_another(likelihood):
    """Gibbs' inequality: E_p log p >= E_p log q."""
    module, _ = started(likelihood, binary_rows())
    p, q = (normal(1, module.n_outputs, seed=seed).expand(2000, -1) for seed in (0, 1))
    y = module.observe(module.sample(p, generator()))
    difference = (module.log_prob(y, p) - module.log_prob(y, q)).detach()
    assert difference.mean() > 4 * difference.std() / math.sqrt(2000)


@over_likelihoods
def test_likelihood_start_posterior_is_between_zero_and_the_prior(likelihood):
    _, start = started(likelihood, binary_rows())
    assert (start.posterior_variance > 0).all() and (start.posterior_variance <= 1).all()


# Priors


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


# Networks


@over_networks
@pytest.mark.parametrize("zero_output", [False, True])
def test_network_shapes(network, zero_output):
    encoder, decoder = built(network, zero_output)
    features = encoder(torch.randn(7, N_FEATURES, generator=generator()))
    assert features.ndim == 2 and len(features) == 7
    assert decoder(torch.randn(7, N_COMPONENTS, generator=generator())).shape == (7, N_FEATURES)


@over_networks
def test_network_zero_output_returns_zeros(network):
    _, decoder = built(network, zero_output=True)
    assert not decoder(normal(7, N_COMPONENTS).float()).any()


@over_networks
@pytest.mark.parametrize("zero_output", [False, True])
def test_network_can_leave_its_start(network, zero_output):
    """Gradients are finite, and not all zero, so that training can move either network."""
    encoder, decoder = built(network, zero_output)
    for module, width in [(encoder, N_FEATURES), (decoder, N_COMPONENTS)]:
        (module(normal(7, width).float()) - 1).square().sum().backward()
        gradients = [parameter.grad for parameter in module.parameters()]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


@over_networks
def test_network_weights_are_drawn_from_the_generator_alone(network, global_random_state):
    before = global_random_state()
    first, again, other = (nn.ModuleList(built(network, seed=seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert global_random_state() == before


@over_networks
def test_network_state_dict_round_trip(network):
    pairs = [nn.ModuleList(built(network, seed=seed)) for seed in (0, 1)]
    pairs[1].load_state_dict(pairs[0].state_dict())
    for first, second, width in zip(*pairs, (N_FEATURES, N_COMPONENTS), strict=True):
        x = normal(5, width).float()
        assert torch.equal(first(x), second(x))


@over_networks
def test_network_treats_rows_independently(network):
    for module, width in zip(built(network), (N_FEATURES, N_COMPONENTS), strict=True):
        module, x = module.double().eval(), normal(9, width)
        torch.testing.assert_close(module(x)[2:5], module(x[2:5]), rtol=1e-12, atol=1e-12)


# Objectives


@over_objectives
@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
def test_objective_terms_are_finite_and_per_row(objective, likelihood):
    X = torch.from_numpy(binary_rows())
    model = model_with(objective, X.numpy(), likelihood=likelihood).train()
    terms = model(X, beta=1.0, generator=generator())
    for term in terms:
        assert term.shape == (N_ROWS,) and torch.isfinite(term).all()
    terms.loss.mean().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("objective", [Autoencoder(), ELBO(), FreeBits(0), IWAE(1), IWAE(1, "plain")], ids=shown)
def test_objective_is_linear_in_beta(objective):
    """Free bits without an allowance, and IWAE with one draw, equal the ELBO."""
    X = torch.from_numpy(binary_rows())
    model = model_with(objective, X.numpy())
    terms = {beta: model(X, beta=beta, generator=generator()) for beta in (0.0, 1.0, 2.5)}
    for beta in terms:
        torch.testing.assert_close(terms[beta].loss, terms[0.0].loss + beta * terms[1.0].kl)
    torch.testing.assert_close(terms[0.0].loss, terms[0.0].reconstruction)


@over_objectives
def test_objective_is_drawn_from_its_generator_alone(objective, global_random_state):
    X = torch.from_numpy(binary_rows())
    model, before = model_with(objective, X.numpy()).train(), global_random_state()
    first, again = (m(X, beta=1.0, generator=generator()).loss for m in (copy.deepcopy(model), model))
    assert torch.equal(first, again)
    assert global_random_state() == before


@over_objectives
def test_objective_state_dict_round_trip(objective):
    X = torch.from_numpy(binary_rows())
    model = model_with(objective, X.numpy())
    restored = copy.deepcopy(model)
    for parameter in restored.parameters():
        parameter.data.zero_()
    restored.load_state_dict(model.state_dict())
    losses = [m(X, beta=1.0, generator=generator()).loss for m in (model, restored)]
    assert torch.equal(*losses)


@pytest.mark.parametrize("objective", GENERATIVE_CASES, ids=shown)
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_generative_objective_bounds_the_exact_marginal(objective, shift):
    """A linear-Gaussian model has log p(x) = log N(x; mu, WW' + s2 I); the gap is KL(q || posterior)."""
    n_draws = 4000
    X = np.random.default_rng(0).normal(size=(30, 4)) @ np.diag([3.0, 2.0, 1.0, 0.5]) + 1
    model = VAETransformer(2, objective=objective, max_iter=0, random_state=0).fit(X).module_.double()
    model.linear.log_scale.data += shift
    W = model.linear.decoder.weight.detach().numpy() * float(model.likelihood.unit)
    covariance = W @ W.T + np.diag(model.likelihood.variance.numpy())
    x = torch.from_numpy(X[:5])
    exact = stats.multivariate_normal(model.likelihood.center.numpy(), covariance).logpdf(X[:5])
    bounds = -model(x.repeat(n_draws, 1), beta=1.0, generator=generator()).loss.detach().view(n_draws, 5)
    error = 5 * bounds.std(0).numpy() / math.sqrt(n_draws)
    gap = 2 * ((math.exp(2 * shift) - 1) / 2 - shift)
    assert (bounds.mean(0).numpy() < exact + error).all()
    assert (bounds.mean(0).numpy() > exact - gap - error).all()
    if shift:
        assert (bounds.mean(0).numpy() < exact - error).all()
