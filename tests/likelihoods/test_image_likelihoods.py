"""Likelihoods of values between 0 and a largest one, against quadrature, closed forms and higher precision."""

import itertools
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli

from sklearn_vae import VAETransformer
from sklearn_vae._data.devices import to_tensor
from sklearn_vae._data.ppca import fit_moments, fit_ppca
from sklearn_vae._data.rows import DenseRows
from sklearn_vae.likelihoods import Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Observed
from sklearn_vae.likelihoods.continuous_bernoulli import (
    CUTOFF,
    invert_mean,
    log_normalizer_of,
    mean_of,
    variance_of,
)
from sklearn_vae.likelihoods.discretized_logistic import MIN_SCALE, sum_of_sigmoids
from sklearn_vae.likelihoods.unit_interval import MARGIN

# Values on both sides of the cutoff for series, and large values.
PARAMETERS = np.array(
    [0.0, 1e-30, 1e-8, 1e-4, 0.03, CUTOFF * 0.999, CUTOFF * 1.001, 0.3, 1.0, 2.9, 7.0, 25.0, 60.0, 300.0, 1000.0]
)
PARAMETERS = np.concatenate([-PARAMETERS[::-1], PARAMETERS])
UNIT_INTERVAL = [Bernoulli(), Bernoulli(dynamic_binarization=True), ContinuousBernoulli(), DiscretizedLogistic()]
over_unit_interval = pytest.mark.parametrize("likelihood", UNIT_INTERVAL, ids=str)


@pytest.fixture(scope="module")
def images():
    """200 x 64 of bytes, from 0 to 255."""
    return np.rint(load_digits().data[:200] * (255 / 16)).astype(np.uint8)


def small(n_components=2, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 2, "early_stopping": False, "n_draws": 8, "random_state": 0}
    return VAETransformer(n_components, **{**values, **params})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def started(likelihood, X, n_components=2):
    """The likelihood's module at its start from `X`, in float64 and eval mode."""
    X = to_tensor(X)
    moments = fit_moments(DenseRows(X))
    module = likelihood.for_data(DenseRows(X)).build(X.shape[1], None)
    module.set_units(moments, None)
    module.linear_start(fit_ppca(DenseRows(X), moments, n_components))
    return module.double().eval()


def reference(a):
    """A, A' and A'' of the continuous Bernoulli distribution, in 60 digits."""
    with localcontext(prec=60):
        a = Decimal(float(a))
        # Below it 60 digits are not enough for the differences.
        if abs(a) < Decimal("1e-12"):
            return float(a / 2), float((a / 6 + 1) / 2), 1 / 12
        sinh = ((a / 2).exp() - (-a / 2).exp()) / 2
        log_normalizer, mean = ((a.exp() - 1) / a).ln(), 1 / (1 - (-a).exp()) - 1 / a
        return float(log_normalizer), float(mean), float(1 / a**2 - 1 / (2 * sinh) ** 2)


# Continuous Bernoulli


@pytest.mark.parametrize(
    ("function", "order", "tolerance"), [(log_normalizer_of, 0, 1e-12), (mean_of, 1, 1e-13), (variance_of, 2, 1e-11)]
)
def test_continuous_bernoulli_closed_forms_equal_those_in_higher_precision(function, order, tolerance):
    expected = np.array([reference(a)[order] for a in PARAMETERS])
    np.testing.assert_allclose(function(torch.from_numpy(PARAMETERS)).numpy(), expected, rtol=1e-12, atol=tolerance)


def test_continuous_bernoulli_log_normalizer_is_accurate_in_float32():
    a = torch.from_numpy(PARAMETERS).float()
    expected = np.array([reference(value)[0] for value in a])
    np.testing.assert_allclose(log_normalizer_of(a).numpy(), expected, rtol=2e-7, atol=3e-7)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 5e-6)])
def test_continuous_bernoulli_gradients_are_the_next_derivative(dtype, tolerance):
    a = torch.tensor(PARAMETERS, dtype=dtype).requires_grad_()
    for function, order in (
        [(log_normalizer_of, 1), (mean_of, 2)] if dtype == torch.float64 else [(log_normalizer_of, 1)]
    ):
        (gradient,) = torch.autograd.grad(function(a).sum(), a)
        expected = np.array([reference(value)[order] for value in a.detach()])
        np.testing.assert_allclose(gradient.numpy(), expected, atol=tolerance)


def test_continuous_bernoulli_log_normalizer_has_a_second_derivative():
    a = torch.from_numpy(PARAMETERS).requires_grad_()
    (first,) = torch.autograd.grad(log_normalizer_of(a).sum(), a, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), a)
    torch.testing.assert_close(second, variance_of(a.detach()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("function", [log_normalizer_of, mean_of, variance_of])
@pytest.mark.parametrize("side", [-CUTOFF, CUTOFF])
def test_continuous_bernoulli_series_join_closed_forms(function, side):
    a = torch.tensor([np.nextafter(side, 0), side], dtype=torch.float64)
    inside, outside = function(a)
    assert float(inside) == pytest.approx(float(outside), abs=1e-11)


@pytest.mark.parametrize("raw", [-1e30, -1e5, 1e5, 1e30])
def test_continuous_bernoulli_extreme_raw_outputs(raw):
    module = started(ContinuousBernoulli(), np.array([[0.0], [0.4], [1.0]])).float()
    raw = torch.full((3, 1), raw, requires_grad=True)
    y = torch.tensor([[0.0], [0.4], [1.0]])
    observed = module.observe(y)
    module.log_prob(observed, raw).sum().backward()
    assert torch.isfinite(module.log_prob(observed, raw)).all() and torch.isfinite(raw.grad).all()
    for values in (module.mean(raw), module.sample(raw, generator())):
        assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("max_value", [1.0, 255.0])
def test_continuous_bernoulli_density_has_its_mass_and_moments(max_value):
    raw = torch.tensor([-30.0, -3.0, -0.05, 0.0, 0.05, 1.0, 30.0], dtype=torch.float64)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    x, weights = (nodes + 1) / 2 * max_value, torch.from_numpy(weights / 2 * max_value)
    module = started(ContinuousBernoulli(max_value), np.array([[0.0], [1.0]]))
    x = torch.from_numpy(x)
    for a in raw:
        density = module.log_prob(module.observe(x[:, None]), a.expand(200, 1)).exp()
        mean = float(module.mean(a[None])[0])
        assert float(weights @ density) == pytest.approx(1, abs=1e-10)
        assert float(weights @ (density * x)) == pytest.approx(mean, rel=1e-10)
        variance = float(variance_of(a[None])) * max_value**2
        assert float(weights @ (density * (x - mean).square())) == pytest.approx(variance, rel=1e-8)


def test_continuous_bernoulli_log_prob_equals_torch():
    """This holds at parameters for which torch does not clip the probability."""
    X = np.random.default_rng(0).random((50, 5))
    module, raw = started(ContinuousBernoulli(), X), 5 * torch.randn(50, 5, generator=generator(), dtype=torch.float64)
    expected = TorchContinuousBernoulli(logits=raw).log_prob(torch.from_numpy(X)).sum(1)
    torch.testing.assert_close(module.log_prob(module.observe(torch.from_numpy(X)), raw), expected)


@pytest.mark.parametrize("a", [-200.0, -2.0, -1e-9, 0.0, 1e-9, 0.5, 200.0])
def test_continuous_bernoulli_samples_have_its_distribution_function(a):
    module = started(ContinuousBernoulli(255), np.array([[0.0], [255.0]]))
    draws = module.sample(torch.full((4000, 1), a), generator()).numpy()[:, 0] / 255

    def cdf(x):
        return x if abs(a) < 1e-6 else np.expm1(-abs(a) * x) / np.expm1(-abs(a))

    assert ((draws >= 0) & (draws <= 1)).all()
    assert stats.kstest(1 - draws if a > 0 else draws, cdf).pvalue > 1e-3


def test_continuous_bernoulli_natural_parameters_invert_the_mean():
    mean = np.concatenate([[1e-6, 0.02, 0.5 - 1e-9, 0.5, 0.5 + 1e-4, 1 - 1e-6], np.linspace(0.01, 0.99, 50)])
    module = started(ContinuousBernoulli(), np.array([[0.0], [1.0]]))
    np.testing.assert_allclose(mean_of(invert_mean(torch.from_numpy(mean))).numpy(), mean, rtol=0, atol=1e-14)
    a, slope = module.link(mean)
    np.testing.assert_allclose(mean_of(torch.from_numpy(a)).numpy(), mean.clip(MARGIN, 1 - MARGIN), rtol=0, atol=1e-14)
    np.testing.assert_allclose(1 / slope, variance_of(torch.from_numpy(a)).numpy())
    parameters = torch.tensor([-40.0, 0.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(invert_mean(mean_of(parameters)), parameters)


def test_continuous_bernoulli_start_of_independent_columns_is_their_mean():
    X = np.random.default_rng(0).beta(0.5, 2.0, (400, 5))
    vae = small(1, likelihood="continuous_bernoulli", max_iter=0).fit(np.c_[X, 1 - X[:, :1]])
    np.testing.assert_allclose(vae.inverse_transform(np.zeros((1, 1)))[0, 1:5], X.mean(0)[1:], rtol=1e-4)


def test_continuous_bernoulli_start_beats_independent_columns(digits):
    scores = [
        small(k, likelihood=ContinuousBernoulli(16), max_iter=0, n_draws=32).fit(digits).score(digits)
        for k in (1, 4, 8)
    ]
    x = to_tensor(digits)
    module = started(ContinuousBernoulli(16), digits)
    raw = torch.from_numpy(module.link(digits.mean(0) / 16)[0])
    alone = float(module.log_prob(module.observe(x), raw.expand(digits.shape)).mean())
    assert alone < scores[0] < scores[1] < scores[2]


# Discretised logistic


LEVELS = [(2, 1.0), (17, 16.0), (256, 255.0), (256, 1.0)]


def levels_of(n_levels, max_value):
    return np.arange(n_levels)[:, None] * (max_value / (n_levels - 1))


def with_scale(module, scale):
    """Set the scale in the data's units."""
    module.log_scale.data.fill_(math.log(scale / float(module.unit)))
    return module


@pytest.mark.parametrize(("n_levels", "max_value"), LEVELS)
@pytest.mark.parametrize("scale", [0.051, 0.3, 1.0, 40.0, 1e4])
def test_discretized_logistic_probabilities_sum_to_one_and_give_the_mean(n_levels, max_value, scale):
    X = levels_of(n_levels, max_value)
    step = X[1, 0]
    module = with_scale(started(DiscretizedLogistic(n_levels, max_value), X), scale * step)
    y = module.observe(torch.from_numpy(X))
    for raw in torch.tensor([-50.0, -1.7, -0.3, 0.0, 0.02, 1.1, 50.0], dtype=torch.float64):
        p = module.log_prob(y, raw.expand(n_levels, 1)).exp().detach()
        assert float(p.sum()) == pytest.approx(1, abs=1e-10)
        mean = float(p @ torch.from_numpy(X[:, 0]))
        assert float(module.mean(raw[None]).detach()) == pytest.approx(mean, rel=1e-10, abs=1e-10 * max_value)


@pytest.mark.parametrize("n_levels", [2, 17, 256])
def test_discretized_logistic_probabilities_of_rows_sum_to_one(n_levels):
    """The sum is over all pairs of values of two columns with different means and scales."""
    values = np.arange(n_levels) / (n_levels - 1)
    X = np.array(list(itertools.product(values, values)))
    module = started(DiscretizedLogistic(n_levels), X)
    module.log_scale.data += torch.tensor([0.5, -1.0])
    raw = torch.tensor([0.3, -0.8], dtype=torch.float64).expand(len(X), 2)
    log_prob = module.log_prob(module.observe(torch.from_numpy(X)), raw).detach()
    assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("per_column", [False, True])
def test_discretized_logistic_log_prob_equals_scipy(digits, per_column):
    module = started(DiscretizedLogistic(17, 16, per_column), digits)
    # For smaller scales, scipy's probabilities underflow.
    module.log_scale.data.clamp_min_(-math.log(2 * float(module.unit)))
    raw = torch.randn(digits.shape, generator=generator(), dtype=torch.float64)
    loc = raw.numpy() * float(module.unit) + module.center.numpy()
    scale = np.sqrt(module.variance.numpy()) * math.sqrt(3) / math.pi
    logistic = stats.logistic(loc, scale)
    below = np.where(digits > 0, logistic.cdf(digits - 0.5), 0), np.where(digits < 16, logistic.cdf(digits + 0.5), 1)
    above = np.where(digits > 0, logistic.sf(digits - 0.5), 1), np.where(digits < 16, logistic.sf(digits + 0.5), 0)
    p = np.where(digits < loc, below[1] - below[0], above[0] - above[1])
    actual = module(raw).log_prob(module.observe(to_tensor(digits)).cells).detach().numpy()
    np.testing.assert_allclose(actual, np.log(p), rtol=1e-6, atol=1e-9)


def test_discretized_logistic_tails_equal_those_in_higher_precision():
    """In float32, far on both sides of the location, and with a bin that is narrow beside the scale."""
    X = levels_of(256, 255.0)
    for scale in (0.06, 1.0, 1e3, 1e6):
        module = with_scale(started(DiscretizedLogistic(256, 255), X), scale).float()
        y = module.observe(torch.from_numpy(X))
        for level in (0, 128, 255):
            raw = y.cells[level]
            actual = module.log_prob(y, raw.expand(256, 1)).detach().numpy()
            expected = [exact_log_prob(x, float(raw) * float(module.unit) + 127.5, scale) for x in X[:, 0]]
            np.testing.assert_allclose(actual, expected, rtol=3e-5, atol=3e-4)


def exact_log_prob(x, loc, scale):
    with localcontext(prec=60):
        lower, upper = ((Decimal(x) - Decimal(loc) + Decimal(side)) / Decimal(scale) for side in (-0.5, 0.5))
        # In the upper tail the distribution function is a number near 1; that of the mirror image is not.
        mirrored = lower > 0
        above = 1 if x == 255 and not mirrored else 1 / (1 + (lower if mirrored else -upper).exp())
        beyond = x == (255 if mirrored else 0)
        below = 0 if beyond else 1 / (1 + (upper if mirrored else -lower).exp())
        return float((above - below).ln())


@pytest.mark.parametrize("log_scale", [-60.0, -5.0, 0.0, 60.0])
@pytest.mark.parametrize("raw", [-1e25, -1e3, 0.0, 1e3, 1e25])
def test_discretized_logistic_gradients_are_finite(log_scale, raw):
    X = levels_of(256, 1.0)
    module = started(DiscretizedLogistic(), X).float()
    module.log_scale.data.fill_(log_scale)
    raw = torch.full((256, 1), raw, requires_grad=True)
    log_prob = module.log_prob(module.observe(torch.from_numpy(X)), raw)
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all() and (log_prob <= 0).all()
    assert torch.isfinite(raw.grad).all() and torch.isfinite(module.log_scale.grad).all()
    for values in (module.mean(raw), module.sample(raw, generator())):
        assert ((values >= 0) & (values <= 1)).all()


def test_discretized_logistic_scale_is_floored_at_a_share_of_a_bin():
    X = levels_of(256, 255.0)
    module = with_scale(started(DiscretizedLogistic(256, 255), X), 1e-9)
    y = module.observe(torch.from_numpy(X)).cells
    assert float(module.variance.sqrt()) == pytest.approx(MIN_SCALE * math.pi / math.sqrt(3), rel=1e-6)
    assert float(module.log_prob(Observed(y, y), y).exp().min().detach()) > 0.9999
    module.log_prob(Observed(y[1:], y[1:]), y[:-1]).sum().backward()
    assert float(module.log_scale.grad) > 0


def test_discretized_logistic_samples_have_its_probabilities():
    X = levels_of(6, 10.0)
    module = with_scale(started(DiscretizedLogistic(6, 10), X), 1.5)
    raw = torch.tensor([0.4], dtype=torch.float64)
    draws = module.sample(raw.expand(6000, 1), generator()).numpy()[:, 0]
    p = module.log_prob(module.observe(torch.from_numpy(X)), raw.expand(6, 1)).exp().detach().numpy()
    counts = np.array([(draws == x).sum() for x in X[:, 0]])
    assert counts.sum() == 6000
    assert stats.chisquare(counts, 6000 * p / p.sum()).pvalue > 1e-3


def test_discretized_logistic_mean_has_its_derivative():
    """`latent_scale_` uses it in a Jacobian-vector product, which takes two backward passes."""
    module = started(DiscretizedLogistic(17, 16), levels_of(17, 16.0))
    raw = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    slope = torch.autograd.functional.jvp(module.mean, raw, torch.ones_like(raw))[1]
    h = 1e-5
    torch.testing.assert_close(
        slope, ((module.mean(raw + h) - module.mean(raw - h)) / (2 * h)).detach(), rtol=1e-6, atol=1e-8
    )


@pytest.mark.parametrize("n", [1, 2, 255, 5000])
def test_sum_of_sigmoids_and_its_derivative_equal_the_sum_of_all_terms(n):
    """Smooth columns are integrated, sharp ones are summed near `x` only; positions reach beyond both ends."""
    rate = torch.tensor([1e-6, 1e-2, 0.3, 0.5, 0.501, 1.0, 20.0], dtype=torch.float64)
    x = torch.linspace(-0.3 * n - 60, 1.3 * n + 60, 101, dtype=torch.float64)[:, None].expand(-1, len(rate))
    x = x.clone().requires_grad_()
    terms = (rate * (x[None] - torch.arange(n, dtype=torch.float64)[:, None, None] - 0.5)).sigmoid()
    actual, expected = sum_of_sigmoids(x, rate, n), terms.sum(0)
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-8)
    slopes = [torch.autograd.grad(total.sum(), x)[0] for total in (actual, expected)]
    torch.testing.assert_close(*slopes, rtol=0, atol=2e-8)


@pytest.mark.parametrize("likelihood", [DiscretizedLogistic(17, 16), ContinuousBernoulli(16)], ids=str)
def test_latent_scale_of_image_likelihoods_is_finite(digits, likelihood):
    vae = small(likelihood=likelihood, whiten=False).fit(digits)
    assert np.isfinite(vae.latent_scale_).all() and (vae.latent_scale_ > 0).all()
    assert np.isfinite(vae.inverse_transform(vae.transform(digits))).all()


def test_discretized_logistic_start_is_probabilistic_pca(digits):
    gaussian = small(4, max_iter=0, whiten=True).fit(digits)
    for per_column in (False, True):
        start = small(4, likelihood=DiscretizedLogistic(17, 16, per_column), max_iter=0, whiten=True).fit(digits)
        np.testing.assert_allclose(start.transform(digits), gaussian.transform(digits), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.mean(start.noise_variance_), gaussian.noise_variance_, rtol=1e-2)


def test_discretized_logistic_start_has_the_variance_that_components_leave_of_each_column(digits):
    start = small(4, likelihood=DiscretizedLogistic(17, 16), max_iter=0).fit(digits)
    W = start.module_.linear.decoder.weight.detach().numpy() * float(start.module_.likelihood.unit)
    left = digits.var(0, ddof=1) - np.square(W).sum(1)
    floor = (MIN_SCALE * math.pi) ** 2 / 3
    np.testing.assert_allclose(start.noise_variance_, left.clip(floor), rtol=1e-3)
    assert (start.noise_variance_ > 1.01 * floor).any() and (left < floor).any()


def test_discretized_logistic_training_learns_scales(digits):
    vae = small(4, likelihood=DiscretizedLogistic(17, 16), max_iter=20, learning_rate_init=0.02)
    start, trained = vae.set_params(max_iter=0).fit(digits).score(digits), vae.set_params(max_iter=20).fit(digits)
    assert trained.score(digits) > start and trained.noise_variance_.std() > 0


def test_discretized_logistic_approaches_the_gaussian_density_of_fine_levels():
    """With many levels log P is the logistic's log-density, and the logarithm of their distance."""
    rng = np.random.default_rng(0)
    X = np.rint(rng.random((50, 3)) * 60000)
    module = started(DiscretizedLogistic(65536, 65535), X)
    raw = torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    loc = raw.numpy() * float(module.unit) + module.center.numpy()
    scale = np.sqrt(module.variance.numpy()) * math.sqrt(3) / math.pi
    expected = stats.logistic(loc, scale).logpdf(X).sum(1)
    np.testing.assert_allclose(module.log_prob(module.observe(torch.from_numpy(X)), raw).detach(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "dtype", "value", "message"),
    [
        (DiscretizedLogistic(17, 16), np.float64, 3.5, r"the 17 values 0, 1, ..., 16, got 3.5; set levels"),
        (DiscretizedLogistic(17, 16), np.float32, 0.1, r"got 0.1; .* use likelihood='gaussian' or 'continuous_bern"),
        (DiscretizedLogistic(3, 16), np.uint8, 9, r"the 3 values 0, 8, ..., 16, got 9; set levels and max_value"),
        (DiscretizedLogistic(17, 16), np.float64, 17, r"expected values in \[0, 16\], got values from 0 to 17; give"),
        (DiscretizedLogistic(17), np.uint8, 17, r"expected values in \[0, 16\], got values from 0 to 17"),
        (ContinuousBernoulli(), np.float64, 16, r"ContinuousBernoulli: expected values in \[0, 1\], got values from 0"),
        (ContinuousBernoulli(16), np.float32, -1, r"expected values in \[0, 16\], got values from -1 to 16; give"),
        (Bernoulli(16), np.uint8, 17, r"Bernoulli: expected values in \[0, 16\], got values from 0 to 17; give"),
    ],
    ids=str,
)
def test_values_that_an_image_likelihood_cannot_have(digits, likelihood, dtype, value, message):
    X = (8 * np.rint(digits / 8) if getattr(likelihood, "levels", 17) == 3 else digits).astype(dtype)
    X[5, 7] = value
    with pytest.raises(ValueError, match=message):
        small(likelihood=likelihood).fit(X)


@pytest.mark.parametrize("X", [np.float32, np.float64])
def test_discretized_logistic_takes_levels_that_were_rounded(images, X):
    vae = small(likelihood="discretized_logistic", max_iter=1).fit((images / 255).astype(X))
    assert (vae.score_samples((images / 255).astype(X)) < 0).all()


@pytest.mark.parametrize("params", [{"levels": 1}, {"levels": 2.5}, {"max_value": 0}, {"per_column": "no"}])
def test_parameters_that_a_discretized_logistic_cannot_have(images, params):
    with pytest.raises(ValueError, match=f"The {next(iter(params))!r} parameter of DiscretizedLogistic must be"):
        small(likelihood=DiscretizedLogistic(**params)).fit(images)


# Bytes


@over_unit_interval
def test_bytes_are_divided_by_the_largest(images, likelihood):
    """Results are those of X / 255, in other units."""
    X = images / np.float32(255)
    of_bytes, of_floats = (small(likelihood=likelihood, whiten=True).fit(rows) for rows in (images, X))
    assert of_bytes.module_.likelihood.observe(torch.from_numpy(images[:3])).inputs.dtype == torch.float32
    Z = of_floats.transform(X)
    np.testing.assert_allclose(of_bytes.transform(images), Z, rtol=1e-2, atol=2e-3)
    np.testing.assert_allclose(of_bytes.inverse_transform(Z), 255 * of_floats.inverse_transform(Z), atol=0.5)
    constant = 64 * math.log(255) if isinstance(likelihood, ContinuousBernoulli) else 0.0
    np.testing.assert_allclose(of_bytes.score_samples(images) + constant, of_floats.score_samples(X), rtol=2e-2)
    np.testing.assert_allclose(of_bytes.loss_curve_, np.add(of_floats.loss_curve_, constant), rtol=1e-3)
    assert set(of_bytes.sample(50, random_state=0).ravel().tolist()) <= set(
        (255 * of_floats.sample(500, random_state=0)).ravel().tolist()
    ) or not isinstance(likelihood, Bernoulli)
    assert 200 < of_bytes.sample(50).max() <= 255 and of_floats.sample(50).max() <= 1


@over_unit_interval
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bytes_of_zeros_and_ones_are_taken_as_they_are(images, likelihood, method):
    X = (images > 127).astype(np.uint8)
    of_bytes, of_floats = (getattr(small(likelihood=likelihood), method)(rows) for rows in (X, X.astype(np.float32)))
    np.testing.assert_array_equal(of_bytes.transform(X), of_floats.transform(X.astype(np.float32)))
    np.testing.assert_array_equal(of_bytes.sample(20), of_floats.sample(20))
    assert of_bytes.sample(20).max() <= 1


@over_unit_interval
# Darker rows differ in scale from those that the discretised logistic started from.
@pytest.mark.filterwarnings("ignore:the rows differ in means or scales")
def test_darker_rows_keep_the_largest_value_of_the_first_call(images, likelihood):
    dark = (images > 127).astype(np.uint8)
    warm = small(likelihood=likelihood, warm_start=True).fit(images).fit(dark)
    part = small(likelihood=likelihood).partial_fit(images).partial_fit(dark)
    for vae in (warm, part):
        assert (
            vae.module_.likelihood.observe(torch.from_numpy(dark)).inputs.max()
            < vae.module_.likelihood.observe(torch.from_numpy(images)).inputs.max()
        )
        assert vae.transform(dark).shape == (200, 2) and vae.sample(50).max() > 1
        assert vae.likelihood is likelihood and likelihood.max_value == "auto"


@over_unit_interval
def test_images_of_floats_up_to_255_are_refused_with_the_remedy(images, likelihood):
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\].*give the largest as max_value"):
        small(likelihood=likelihood).fit(images.astype(float))
    params = likelihood.get_params() | {"max_value": 255}
    assert small(likelihood=type(likelihood)(**params)).fit(images.astype(float)).sample(20).max() > 1
