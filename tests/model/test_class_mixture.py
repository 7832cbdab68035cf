"""The class mixture p(y) p(z|y): it integrates to one, its samples, and log p(x) with it."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.mixture import GaussianMixture

from sklearn_vae import VAEClassifier
from sklearn_vae._model.class_mixture import MIN_VARIANCE, ClassMixture, best_mixture, numbers_of_components
from sklearn_vae._model.class_samples import sample_of_classes


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draws(n_components, n_classes=2, n_draws=400, seed=0):
    """For each class rows from two Gaussians that are far apart."""
    rng = np.random.default_rng(seed)
    side = np.where(np.arange(n_draws) % 2, 4.0, -4.0)[:, None]
    scale = [1.0, 0.4, 0.7][:n_components]
    return [k + side * (1 - k / 2) + rng.normal(size=(n_draws, n_components)) * scale for k in range(n_classes)]


def fitted_mixture(z, prior, n_mixture_components=5, seed=0):
    mixture = ClassMixture(len(z), n_mixture_components, z[0].shape[1]).double()
    return mixture.fit(z, np.array(prior), seed)


def sample(mixture, n_samples, seed=0):
    source = generator(seed)
    y = mixture.sample_classes(n_samples, source)
    return mixture.sample(y, source).numpy(), y.numpy()


# Density


@pytest.mark.parametrize("n_components", [1, 3])
def test_class_mixture_of_one_gaussian_equals_scipy(n_components):
    z = draws(n_components, n_draws=50)
    mixture = fitted_mixture(z, [0.3, 0.7], n_mixture_components=1)
    points = torch.from_numpy(draws(n_components, seed=1)[0][:20])
    for k, rows in enumerate(z):
        covariance = np.cov(rows.T, bias=True).reshape(n_components, -1) + MIN_VARIANCE * np.eye(n_components)
        expected = stats.multivariate_normal(rows.mean(0), covariance).logpdf(points.numpy())
        np.testing.assert_allclose(mixture.log_prob_classes(points)[:, k], expected, rtol=1e-6)


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_class_mixture_equals_scikit_learn(n_components):
    z = draws(n_components)
    mixture = fitted_mixture(z, [0.3, 0.7])
    points = torch.from_numpy(draws(n_components, seed=1)[0][:20])
    for k, rows in enumerate(z):
        one = best_mixture(rows, 5, 0)
        assert one.n_components > 1
        np.testing.assert_allclose(mixture.log_prob_classes(points)[:, k], one.score_samples(points), rtol=1e-6)


@pytest.mark.parametrize("prior", [(0.5, 0.5), (0.1, 0.9)])
def test_class_mixture_weighs_classes_by_their_prior(prior):
    mixture = fitted_mixture(draws(2), prior)
    points = torch.from_numpy(draws(2, seed=1)[0][:20])
    expected = (mixture.log_prob_classes(points).exp() * torch.tensor(prior, dtype=torch.float64)).sum(-1).log()
    torch.testing.assert_close(mixture.log_prob(points), expected)


def test_class_mixture_is_any_class_alone_where_the_other_is_far_away():
    """log p(z) is then log p(y) + log p(z|y): a class ten times as frequent is ten times as dense."""
    z = [np.random.default_rng(0).normal(size=(300, 2)) + shift for shift in (-30, 30)]
    mixture = fitted_mixture(z, [1 / 11, 10 / 11])
    for k, rows in enumerate(z):
        points = torch.from_numpy(rows[:10])
        expected = mixture.log_prob_classes(points)[:, k] + math.log([1 / 11, 10 / 11][k])
        torch.testing.assert_close(mixture.log_prob(points), expected)


def test_class_mixture_integrates_to_one_in_one_dimension():
    mixture = fitted_mixture(draws(1), [0.3, 0.7])
    grid = torch.linspace(-30, 30, 20001, dtype=torch.float64)[:, None]
    assert float(torch.trapezoid(mixture.log_prob(grid).exp(), grid[:, 0])) == pytest.approx(1, abs=1e-6)
    each = torch.trapezoid(mixture.log_prob_classes(grid).exp(), grid[:, 0], dim=0)
    torch.testing.assert_close(each, torch.ones(2, dtype=torch.float64))


def test_class_mixture_integrates_to_one_in_two_dimensions():
    mixture = fitted_mixture(draws(2), [0.3, 0.7])
    axis = torch.linspace(-20, 20, 501, dtype=torch.float64)
    density = mixture.log_prob(torch.cartesian_prod(axis, axis)).exp().view(501, 501)
    assert float(torch.trapezoid(torch.trapezoid(density, axis), axis)) == pytest.approx(1, abs=1e-6)


def test_class_mixture_keeps_leading_dimensions():
    mixture = fitted_mixture(draws(2), [0.3, 0.7])
    z = torch.from_numpy(draws(2, seed=1)[0][:12]).view(3, 4, 2)
    assert mixture.log_prob_classes(z).shape == (3, 4, 2)
    torch.testing.assert_close(mixture.log_prob(z), mixture.log_prob(z.view(12, 2)).view(3, 4))


def test_class_mixture_before_its_fit_is_standard_normal():
    """A model that is built for loading weights has this state."""
    z = torch.from_numpy(draws(2)[0][:5])
    expected = stats.norm.logpdf(z.numpy()).sum(-1)
    np.testing.assert_allclose(ClassMixture(3, 4, 2).double().log_prob(z), expected, rtol=1e-6)


# Samples


def test_class_mixture_samples_have_the_moments_of_their_class():
    z = draws(3)
    mixture = fitted_mixture(z, [0.3, 0.7])
    for k, rows in enumerate(z):
        drawn = mixture.sample(torch.full((20000,), k), generator()).numpy()
        one = best_mixture(rows, 5, 0)
        mean = one.weights_ @ one.means_
        second = np.einsum("k,kij->ij", one.weights_, one.covariances_ + one.means_[:, :, None] * one.means_[:, None])
        np.testing.assert_allclose(drawn.mean(0), mean, atol=5 * drawn.std(0).max() / math.sqrt(20000))
        np.testing.assert_allclose(np.cov(drawn.T), second - np.outer(mean, mean), atol=0.2)


def test_class_mixture_samples_follow_its_density():
    """Shares of samples in bins are the density's integrals (chi-squared)."""
    mixture = fitted_mixture(draws(1), [0.3, 0.7])
    values, _ = sample(mixture, 5000)
    grid = torch.linspace(-30, 30, 20001, dtype=torch.float64)[:, None]
    cdf = torch.cumulative_trapezoid(mixture.log_prob(grid).exp(), grid[:, 0]).numpy()
    uniform = np.interp(values[:, 0], grid[1:, 0].numpy(), cdf)
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("prior", [(0.5, 0.5), (0.05, 0.95)])
def test_class_mixture_samples_classes_by_their_prior(prior):
    y = fitted_mixture(draws(2), prior).sample_classes(20000, generator()).numpy()
    np.testing.assert_allclose(np.bincount(y) / 20000, prior, atol=5 * math.sqrt(prior[0] * prior[1] / 20000))


def test_class_mixture_sample_is_drawn_from_its_generator_alone(global_random_state):
    mixture, before = fitted_mixture(draws(2), [0.3, 0.7]), global_random_state()
    first, again, other = (sample(mixture, 50, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert global_random_state() == before


# Fit


def test_best_mixture_takes_no_more_gaussians_than_there_are():
    rng = np.random.default_rng(0)
    one, five = rng.normal(size=(500, 2)), rng.normal(size=(500, 2)) + 20 * (np.arange(500) % 5)[:, None]
    assert best_mixture(one, 10, 0).n_components == 1
    assert best_mixture(five, 10, 0).n_components == 5
    assert best_mixture(five, 2, 0).n_components == 2
    assert best_mixture(five[:2], 10, 0).n_components <= 2


@pytest.mark.parametrize(
    ("largest", "expected"),
    {
        1: [1],
        2: [1, 2],
        3: [1, 2, 3],
        5: [1, 2, 5],
        10: [1, 2, 5, 10],
        30: [1, 2, 5, 10, 20, 30],
        200: [1, 2, 5, 10, 20, 50, 100, 200],
    }.items(),
)
def test_numbers_of_components_are_the_series_up_to_the_largest(largest, expected):
    assert list(numbers_of_components(largest)) == expected


@pytest.mark.parametrize(("n_clusters", "largest", "chosen"), [(3, 30, 5), (10, 30, 10), (14, 30, 20), (14, 14, 14)])
def test_best_mixture_of_a_known_number_of_clusters(n_clusters, largest, chosen):
    """The next number of the series, not the largest that is allowed."""
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=(60, 2)) * 0.05 + rng.normal(size=2) * 20 for _ in range(n_clusters)])
    best = best_mixture(z, largest, 0)
    assert best.n_components == chosen
    assert best.bic(z) < GaussianMixture(largest, reg_covar=MIN_VARIANCE, random_state=0).fit(z).bic(z) + 1e-6


@pytest.mark.parametrize("n_mixture_components", [1, 3, 10])
def test_best_mixture_has_the_smallest_bic_that_was_tried(n_mixture_components):
    z = draws(2)[0]
    best = best_mixture(z, n_mixture_components, 0)
    assert isinstance(best, GaussianMixture) and best.n_components <= n_mixture_components
    one = GaussianMixture(1, reg_covar=MIN_VARIANCE, random_state=0).fit(z)
    assert best.bic(z) < one.bic(z) or n_mixture_components == 1


@pytest.mark.parametrize("scale", [1e3, 1e14])
def test_best_mixture_of_posteriors_far_from_the_prior(scale):
    """Rounding errors exceed the smallest variance, or rows differ only by rounding errors."""
    z = scale * np.random.default_rng(0).normal(size=(40, 3)) @ [[1, 1, 1], [0, 1e-9, 0], [0, 0, 1e-9]]
    assert np.isfinite(best_mixture(z, 5, 0).bic(z))
    equal = scale + 1e-3 * np.random.default_rng(0).normal(size=(40, 1))
    assert best_mixture(equal, 5, 0).n_components == 1


def test_class_mixture_refit_forgets_its_earlier_components():
    z = draws(2)
    again = fitted_mixture(z, [0.3, 0.7]).fit([rows[::2] for rows in z], np.array([0.5, 0.5]), 0)
    first = fitted_mixture([rows[::2] for rows in z], [0.5, 0.5])
    points = torch.from_numpy(z[1][:20])
    torch.testing.assert_close(again.log_prob(points), first.log_prob(points))


def test_class_mixture_of_equal_draws_is_a_density():
    """Identical rows get a variance of MIN_VARIANCE."""
    mixture = fitted_mixture([np.zeros((20, 1)), np.ones((20, 1))], [0.5, 0.5], n_mixture_components=1)
    value = float(mixture.log_prob_classes(torch.zeros(1, 1, dtype=torch.float64))[0, 0])
    assert value == pytest.approx(stats.norm(0, math.sqrt(MIN_VARIANCE)).logpdf(0), rel=1e-6)


def test_class_mixture_state_dict_round_trip():
    mixture, restored = fitted_mixture(draws(2), [0.3, 0.7]), ClassMixture(2, 5, 2).double()
    restored.load_state_dict(mixture.state_dict())
    z = torch.from_numpy(draws(2)[0])
    assert torch.equal(mixture.log_prob(z), restored.log_prob(z))


# In an estimator


@pytest.fixture(scope="module")
def one_latent():
    """A classifier of one latent variable, and its rows; two classes, of which one is rare."""
    rng = np.random.default_rng(0)
    y = (np.arange(200) % 5 == 0).astype(int)
    X = np.outer(rng.normal(size=200) + 4 * y, [1.0, -0.5, 0.3]) + 0.5 * rng.normal(size=(200, 3))
    params = {"hidden_layer_sizes": (6,), "max_iter": 20, "generative_weight": 0.1, "learning_rate_init": 0.02}
    return VAEClassifier(1, n_draws=2000, random_state=0, **params).fit(X, y), X


def test_score_samples_equals_numerical_integration(one_latent):
    """log of the integral of p(z) p(x|z), with p(z) = sum_y p(y) p(z|y)."""
    vae, X = one_latent
    model = vae.module_.double()
    grid = torch.linspace(-12, 12, 12001, dtype=torch.float64)[:, None]
    with torch.no_grad():
        raw, log_prior = model.decode(grid), model.class_mixture.log_prob(grid)
        assert float(torch.trapezoid(log_prior.exp(), grid[:, 0])) == pytest.approx(1, abs=1e-5)
        joint = [model.likelihood.log_prob(model.likelihood.observe(x[None]), raw) + log_prior for x in torch.tensor(X)]
    expected = [float((j + math.log(24 / 12000)).logsumexp(0)) for j in joint]
    np.testing.assert_allclose(vae.score_samples(X[:200]), expected, atol=0.1)


def test_score_samples_depends_on_the_share_of_a_class(one_latent):
    """Rows of the rare class are less likely by the ratio of the shares than with equal ones."""
    vae, X = one_latent
    mixture, y = vae.module_.class_mixture, vae.predict(X)
    before, kept = vae.score_samples(X), mixture.log_class.clone()
    assert kept.exp().tolist() == pytest.approx([0.8, 0.2], abs=0.02)
    vae.module_.class_mixture.log_class.fill_(math.log(0.5))
    try:
        change = vae.score_samples(X) - before
    finally:
        mixture.log_class.copy_(kept)
    assert np.median(change[y == 1]) == pytest.approx(math.log(0.5 / 0.2), abs=0.2)
    assert np.median(change[y == 0]) == pytest.approx(math.log(0.5 / 0.8), abs=0.2)


def test_rows_of_the_mixture_have_the_moments_of_the_class(one_latent):
    vae, X = one_latent
    y = (np.arange(200) % 5 == 0).astype(int)
    for label in (0, 1):
        with torch.inference_mode():
            drawn = sample_of_classes(vae._fitted_model.inference, torch.full((3000,), label), generator(), n=1)
        np.testing.assert_allclose(drawn.mean(0), X[y == label].mean(0), atol=0.3)
        np.testing.assert_allclose(drawn.std(0), X[y == label].std(0), rtol=0.3)
