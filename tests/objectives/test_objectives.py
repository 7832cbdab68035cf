"""Bounds other than the plain one: importance weighting, its gradients, and free bits."""

import copy
import math

import numpy as np
import pytest
import torch
from naming import shown
from scipy import stats
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.objectives import ELBO, IWAE, Batch, FreeBits, draw
from sklearn_vae.objectives.joint import Joint
from sklearn_vae.priors import Mixture, VampPrior

QUICK = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.01, "early_stopping": False, "random_state": 0}
PRIORS = ["standard_normal", Mixture(3), VampPrior(4)]
over_priors = pytest.mark.parametrize("prior", PRIORS, ids=shown)
MIXTURES = PRIORS[1:]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def fitted(X, prior="standard_normal", n_components=2, max_iter=5, **params):
    """A nonlinear model in float64 and evaluation mode, whose noise scale stays."""
    vae = VAETransformer(n_components, prior=prior, max_iter=max_iter, **{**QUICK, "init": "random", **params})
    return vae.fit(X).module_.double().requires_grad_(True)


def batch_of(model, X, **known):
    return Batch(model.likelihood.observe(torch.tensor(X)), **known)


def is_generative_part(name):
    """Return whether a parameter does not belong to the encoder."""
    return "decoder" in name or name.startswith(("likelihood", "prior"))


def gradients(model, objective, batch, beta=1.0, seed=0):
    """Gradients of the mean loss as two vectors: the encoder's parameters, and the others."""
    model.zero_grad()
    objective(model, batch, beta, generator(seed)).loss.mean().backward()
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    encoder = torch.cat([g.flatten() for name, g in named if not is_generative_part(name)])
    return encoder, torch.cat([g.flatten() for name, g in named if is_generative_part(name)])


# Importance weighting


@pytest.mark.parametrize("gradient", ["dreg", "plain"])
@pytest.mark.parametrize("prior", MIXTURES, ids=shown)
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_iwae_of_one_draw_is_the_elbo_draw_for_draw(iris, prior, gradient, beta):
    model = fitted(iris, prior)
    batch = batch_of(model, iris)
    one, elbo = (o(model, batch, beta, generator()) for o in (IWAE(1, gradient), ELBO()))
    for term, expected in zip(one, elbo, strict=True):
        torch.testing.assert_close(term, expected)


def test_iwae_of_one_draw_is_the_elbo_in_expectation_where_its_kl_has_a_closed_form(iris):
    model = fitted(iris)
    batch = batch_of(model, iris.repeat(100, axis=0))
    one, elbo = (o(model, batch, 1.0, generator()) for o in (IWAE(1), ELBO()))
    torch.testing.assert_close(one.reconstruction, elbo.reconstruction)
    difference = (one.loss - elbo.loss).detach()
    assert difference.mean().abs() < 5 * difference.std() / len(difference) ** 0.5


def test_iwae_plain_gradient_of_one_draw_is_the_elbos(iris):
    """The bound is estimated at the draw, as with a mixture prior."""
    model = fitted(iris, Mixture(3))
    batch = batch_of(model, iris)
    for found, expected in zip(*(gradients(model, o, batch) for o in (IWAE(1, "plain"), ELBO())), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.fixture(scope="module")
def linear_gaussian():
    """Probabilistic PCA with posteriors too wide, and its exact log p(x) of five rows."""
    X = np.random.default_rng(0).normal(size=(30, 4)) @ np.diag([3.0, 2.0, 1.0, 0.5]) + 1
    model = (
        VAETransformer(2, hidden_layer_sizes=(4,), max_iter=0, random_state=0)
        .fit(X)
        .module_.double()
        .requires_grad_(False)
    )
    model.linear.log_scale += 0.5
    W = model.linear.decoder.weight.numpy() * float(model.likelihood.unit)
    covariance = W @ W.T + np.diag(model.likelihood.variance.numpy())
    exact = stats.multivariate_normal(model.likelihood.center.numpy(), covariance).logpdf(X[:5])
    return model, X[:5], torch.tensor(exact)


def bounds(linear_gaussian, n_draws, n_repeats):
    """Mean and standard error of the bound per row."""
    model, X, _ = linear_gaussian
    batch = batch_of(model, np.tile(X, (n_repeats, 1)))
    values = -IWAE(n_draws)(model, batch, 1.0, generator()).loss.view(n_repeats, 5)
    return values.mean(0), values.std(0) / n_repeats**0.5


def test_iwae_rises_with_its_draws_below_the_exact_marginal(linear_gaussian):
    exact, before, before_error = linear_gaussian[2], -torch.inf, 0.0
    for n_draws in (1, 5, 50):
        mean, error = bounds(linear_gaussian, n_draws, 20000 // n_draws)
        assert (mean - before > 5 * (error**2 + before_error**2) ** 0.5).all()
        assert (mean < exact + 5 * error).all()
        before, before_error = mean, error


def test_iwae_converges_to_the_exact_marginal(linear_gaussian):
    mean, error = bounds(linear_gaussian, 1000, 20)
    assert ((mean - linear_gaussian[2]).abs() < 5 * error + 2e-3).all() and (error < 0.02).all()


def test_iwae_is_exact_with_one_draw_where_the_posterior_is():
    X = np.random.default_rng(0).normal(size=(30, 4)) * [3.0, 2.0, 1.0, 0.5]
    model = (
        VAETransformer(2, hidden_layer_sizes=(4,), max_iter=0, random_state=0)
        .fit(X)
        .module_.double()
        .requires_grad_(False)
    )
    first, other = (-IWAE(1)(model, batch_of(model, X), 1.0, generator(seed)).loss for seed in (0, 1))
    torch.testing.assert_close(first, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("prior", "beta"), [("standard_normal", b) for b in (0.0, 0.5, 1.0, 2.0)] + [(p, 1.0) for p in MIXTURES], ids=shown
)
def test_iwae_gradients_have_the_same_expectation(iris, prior, beta):
    """The encoder's doubly reparametrised and plain gradients differ only by noise, for every weight of the KL."""
    model = fitted(iris[::10], prior, n_components=1, hidden_layer_sizes=(3,))
    batch = batch_of(model, iris[::10].repeat(40, axis=0))
    differences = torch.stack(
        [
            gradients(model, IWAE(3, "dreg"), batch, beta, seed)[0]
            - gradients(model, IWAE(3, "plain"), batch, beta, seed)[0]
            for seed in range(80)
        ]
    )
    error = differences.std(0) / len(differences) ** 0.5
    assert (differences.mean(0).abs() <= 4.5 * error + 1e-12).all()
    assert beta == 0 or (error > 0).any()


@over_priors
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_iwae_gradients_of_decoder_and_prior_do_not_depend_on_the_encoders(iris, prior, beta):
    model = fitted(iris, prior, likelihood=Gaussian("learned"))
    batch = batch_of(model, iris)
    dreg, plain = (gradients(model, IWAE(5, kind), batch, beta) for kind in ("dreg", "plain"))
    torch.testing.assert_close(dreg[1], plain[1])
    assert not torch.allclose(dreg[0], plain[0])


def test_iwae_doubly_reparametrised_gradient_has_less_noise(iris):
    """The variance ratio is below one half with many draws, and falls with more draws."""
    model = fitted(iris[::10], max_iter=60)
    batch, ratios = batch_of(model, iris[::10]), []
    for n_draws in (3, 64):
        variance = {}
        for kind in ("dreg", "plain"):
            draws = torch.stack([gradients(model, IWAE(n_draws, kind), batch, 1.0, seed)[0] for seed in range(60)])
            variance[kind] = float(draws.var(0).sum())
        ratios.append(variance["dreg"] / variance["plain"])
    assert ratios[1] < 0.5 and ratios[1] < ratios[0]


def test_iwae_without_kl_is_the_mean_likelihood_of_its_draws(iris):
    model = fitted(iris)
    batch = batch_of(model, iris)
    z = draw(model.encode(batch.observed), (6,), generator())
    log_p = model.likelihood.log_prob(batch.observed, model.decode(z))
    found = IWAE(6)(model, batch, 0.0, generator())
    torch.testing.assert_close(-found.loss, log_p.logsumexp(0) - math.log(6))
    torch.testing.assert_close(found.reconstruction, -log_p.mean(0))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("per_column", [False, True])
def test_iwae_noise_scale_is_the_error_over_rows_and_draws(iris, weighted, per_column):
    model = fitted(iris, likelihood=Gaussian(per_column=per_column), input_noise=0.0).train()
    weight = torch.linspace(0.1, 2, 150, dtype=torch.float64) if weighted else torch.ones(150, dtype=torch.float64)
    batch = batch_of(model, iris, weight=weight if weighted else None)
    model.likelihood.sums.zero_()
    IWAE(4)(model, batch, 1.0, generator())
    z = draw(model.encode(batch.observed), (4,), generator())
    square = (batch.observed.cells - model.decode(z)).square().mean(0)
    expected = weight @ (square if per_column else square.mean(1, keepdim=True)) / weight.sum()
    torch.testing.assert_close((2 * model.likelihood.log_scale).exp(), expected.detach())


def test_iwae_without_gradients_has_the_same_value(iris):
    """This is the situation for held-out rows."""
    model = fitted(iris, VampPrior(4))
    batch = batch_of(model, iris)
    expected = IWAE(5)(model, batch, 1.0, generator())
    with torch.no_grad():
        for found, value in zip(IWAE(5)(model, batch, 1.0, generator()), expected, strict=True):
            torch.testing.assert_close(found, value.detach())


@pytest.mark.parametrize("objective", [IWAE(3), FreeBits(0.2)], ids=shown)
def test_objective_in_a_joint_loss_adds_its_own_gradient(objective):
    """The classification gradient of the encoder does not change with the rescaled gradients of draws."""
    X, y = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2
    model = VAEClassifier(2, hidden_layer_sizes=(6,), max_iter=5, random_state=0).fit(X, y).module_
    model = model.double().requires_grad_(True).train()
    batch = batch_of(model, X, target=torch.eye(2, dtype=torch.float64)[y])
    both = Joint(objective, generative_weight=0.3, consistency_weight=0.0)
    labels = Joint(objective, generative_weight=0.0, consistency_weight=0.0)
    found, own, classes = (named_gradients(model, o, batch) for o in (both, objective, labels))
    for name in found:
        torch.testing.assert_close(found[name], classes[name] + 0.3 * own[name])


def named_gradients(model, objective, batch):
    model = copy.deepcopy(model)
    parameters = dict(model.named_parameters())
    loss = objective(model, batch, 1.0, generator()).loss.mean()
    found = torch.autograd.grad(loss, parameters.values(), allow_unused=True, materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


@over_priors
@pytest.mark.parametrize("objective", [IWAE(3), FreeBits(0.2)], ids=shown)
def test_objective_works_with_every_prior_in_both_estimators(iris, prior, objective):
    y, weight = np.arange(150) % 3, np.linspace(0.5, 2, 150)
    params = {"prior": prior, "objective": objective, "hidden_layer_sizes": (4,), "max_iter": 2, "n_draws": 4}
    for estimator in (VAETransformer(2, random_state=0), VAEClassifier(2, random_state=0, early_stopping=True)):
        vae = estimator.set_params(**params).fit(iris, y, sample_weight=weight)
        assert np.isfinite(vae.score_samples(iris)).all() and np.isfinite(vae.loss_curve_).all()
        assert np.isfinite(vae.validation_scores_).all() and np.isfinite(vae.kl_per_component_).all()


# Free bits


def kl_of(model, batch):
    """Mean KL of each component."""
    return model.kl(model.encode(batch.observed), None).detach().mean(0)


def test_free_bits_are_the_elbo_where_components_carry_more(iris):
    model = fitted(iris, n_components=1, max_iter=60)
    batch = batch_of(model, iris)
    least = float(kl_of(model, batch).min())
    assert least > 0.1
    for free_bits in (0, 0.9 * least):
        for found, expected in zip(*terms_and_gradients(model, batch, FreeBits(free_bits), ELBO()), strict=True):
            torch.testing.assert_close(found, expected)


def terms_and_gradients(model, batch, *objectives):
    # The noise scale keeps statistics of earlier calls.
    models = [copy.deepcopy(model) for _ in objectives]
    return [
        [*o(m, batch, 0.7, generator()), *gradients(m, o, batch, 0.7)] for m, o in zip(models, objectives, strict=True)
    ]


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_free_bits_charge_the_larger_of_allowance_and_mean_kl(iris, beta):
    """The allowance applies to each component's mean over the batch, not to single rows."""
    model = fitted(iris, max_iter=60)
    batch = batch_of(model, iris)
    kl = kl_of(model, batch)
    allowance = float(kl.mean())
    assert (kl < allowance).any() and (kl > allowance).any()
    found, elbo = (o(model, batch, beta, generator()) for o in (FreeBits(allowance), ELBO()))
    expected = elbo.reconstruction.mean() + beta * np.maximum(allowance, kl.numpy()).sum()
    assert float(found.loss.detach().mean()) == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(found.kl, elbo.kl)


def test_free_bits_leave_components_below_without_kl_gradient(iris):
    model = fitted(iris, max_iter=60)
    batch = batch_of(model, iris)
    kl = kl_of(model, batch)
    low = int(kl.argmin())
    found = encoded_gradients(model, batch, FreeBits(float(kl.mean())), 1.0)
    alone, charged = (encoded_gradients(model, batch, ELBO(), beta) for beta in (0.0, 1.0))
    for one, without, with_kl in zip(found, alone, charged, strict=True):
        torch.testing.assert_close(one[:, low], without[:, low])
        torch.testing.assert_close(one[:, 1 - low], with_kl[:, 1 - low])
        assert not torch.allclose(without[:, low], with_kl[:, low])


def encoded_gradients(model, batch, objective, beta):
    """Gradients of the mean loss in the posteriors' means and scales."""
    q = model.encode(batch.observed)
    shared = type("Encoded", (), {"likelihood": model.likelihood, "decode": model.decode, "kl": model.kl})()
    shared.encode = lambda y, generator: q
    return torch.autograd.grad(objective(shared, batch, beta, generator()).loss.mean(), [q.loc, q.scale])


def test_free_bits_keep_components_that_large_noise_would_collapse():
    X = np.random.default_rng(0).normal(size=(200, 6))
    params = {**QUICK, "init": "random", "likelihood": Gaussian(scale=2.0), "max_iter": 60}
    active = [
        int((VAETransformer(3, objective=objective, **params).fit(X).kl_per_component_ > 0.05).sum())
        for objective in ("elbo", FreeBits(0.2))
    ]
    assert active == [0, 3]


def test_free_bits_weigh_rows(iris):
    """The weighted mean decides whether a component is above its allowance."""
    model = fitted(iris, max_iter=60, n_components=1)
    batch = batch_of(model, iris)
    kl = model.kl(model.encode(batch.observed), None).detach()[:, 0]
    weight = torch.where(kl > kl.median(), 1.9, 0.1).double()
    allowance = float(kl.mean() + weight @ kl / weight.sum()) / 2
    assert kl.mean() < allowance < weight @ kl / weight.sum()
    plain, weighted = (FreeBits(allowance)(model, batch._replace(weight=w), 1.0, generator()) for w in (None, weight))
    torch.testing.assert_close(plain.loss - plain.reconstruction, torch.full_like(kl, allowance))
    torch.testing.assert_close(weighted.loss - weighted.reconstruction, kl)


@pytest.mark.parametrize("prior", MIXTURES, ids=shown)
def test_free_bits_are_shared_where_the_prior_is_one_block(iris, prior):
    model = fitted(iris, prior, max_iter=60)
    batch = batch_of(model, iris)
    kl = ELBO()(model, batch, 1.0, generator()).kl.detach()
    mean = float(kl.mean())
    below, above = (FreeBits(mean / 2 * share)(model, batch, 1.0, generator()) for share in (0.99, 1.01))
    torch.testing.assert_close(below.loss - below.reconstruction, kl)
    torch.testing.assert_close(above.loss - above.reconstruction, torch.full_like(kl, 1.01 * mean))


# Parameters


@pytest.mark.parametrize("estimator", [VAETransformer(2), VAEClassifier(2)], ids=shown)
@pytest.mark.parametrize(
    "objective",
    [IWAE(0), IWAE(2.5), IWAE(-1), IWAE(5, "x"), IWAE(5, None), FreeBits(-1), FreeBits(np.nan), FreeBits("0.1")],
    ids=shown,
)
def test_wrong_parameter_of_an_objective_is_refused_before_training(iris, estimator, objective):
    estimator = clone(estimator).set_params(objective=objective)
    with pytest.raises(InvalidParameterError, match=r"n_draws|gradient|free_bits"):
        estimator.fit(iris, np.arange(150) % 2)
    assert not hasattr(estimator, "module_")


@pytest.mark.parametrize(("name", "expected"), [("iwae", IWAE(5, "dreg")), ("free_bits", FreeBits(0.1))])
def test_objective_name_stands_for_its_defaults(iris, name, expected):
    objective = VAETransformer(2, objective=name, max_iter=0).fit(iris).module_.objective
    assert type(objective) is type(expected) and objective.get_params() == expected.get_params()


@pytest.mark.parametrize(
    ("objective", "name", "values"),
    [(IWAE(), "n_draws", [1, 4]), (IWAE(), "gradient", ["dreg", "plain"]), (FreeBits(), "free_bits", [0, 0.3])],
    ids=shown,
)
def test_objective_parameters_are_searchable_in_a_pipeline(iris, objective, name, values):
    vae = VAETransformer(2, objective=objective, max_iter=1, **QUICK)
    pipe = Pipeline([("scale", StandardScaler()), ("vae", vae)])
    search = GridSearchCV(pipe, {f"vae__objective__{name}": values}, cv=2).fit(iris)
    assert search.best_estimator_["vae"].get_params()[f"objective__{name}"] in values
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert objective.get_params() == type(objective)().get_params()
