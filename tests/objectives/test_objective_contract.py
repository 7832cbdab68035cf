"""The contract of objectives, tested over their registry."""

import copy
import math

import numpy as np
import pytest
import torch
from component_cases import N_COMPONENTS, N_ROWS, OBJECTIVE_CASES, binary_rows, generator
from naming import shown
from scipy import stats

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import LIKELIHOODS
from sklearn_vae.objectives import ELBO, IWAE, Autoencoder, FreeBits

GENERATIVE_CASES = [objective for objective in OBJECTIVE_CASES if objective.generative]
over_objectives = pytest.mark.parametrize("objective", OBJECTIVE_CASES, ids=shown)


def model_with(objective, X, **params):
    """A model with random initial weights and this objective, with no parameter at zero, in float64."""
    vae = VAETransformer(
        N_COMPONENTS, hidden_layer_sizes=(6,), init="random", objective=objective, max_iter=0, random_state=0, **params
    )
    return vae.fit(X).module_.double().requires_grad_(True)


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
