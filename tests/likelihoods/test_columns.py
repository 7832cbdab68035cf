"""Columns: the sum of its parts, their parameters by name, and a start on standardised columns."""

import numpy as np
import pytest
import torch
from component_cases import normal
from likelihood_modules import started
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Bernoulli, Categorical, Columns, DiscretizedLogistic, Gaussian, Poisson

N = 200


@pytest.fixture(scope="module")
def mixed():
    """Columns 0 and 5 real, 1 to 3 a block of categories, 4 of zeros and ones, 6 of counts."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)

    def noisy():
        return z + 0.3 * rng.normal(size=N)

    block = np.eye(3)[np.digitize(noisy(), [-0.5, 0.5])]
    return np.c_[1000 * noisy() + 5000, block, noisy() > 0, 0.01 * noisy(), rng.poisson(np.exp(1 + 0.5 * z))]


def groups(**params):
    return Columns(
        [
            ("real", Gaussian(**params), [5, 0]),
            ("class", Categorical(), slice(1, 4)),
            ("flag", Bernoulli(), 4),
            ("count", Poisson(), [6]),
        ],
        remainder="refuse",
    )


def fitted(X, likelihood, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return VAETransformer(2, likelihood=likelihood, **(values | params)).fit(X)


def test_log_prob_is_the_sum_of_the_parts(mixed):
    module, _ = started(groups(), mixed)
    raw, x = normal(3, N, 7), torch.from_numpy(mixed)
    own = raw.split([2, 3, 1, 1], -1)
    expected = torch.zeros(3, N, dtype=torch.float64)
    for part, columns, r in zip(module.parts, ([5, 0], [1, 2, 3], [4], [6]), own, strict=True):
        expected += part.log_prob(part.observe(x[:, columns]), r)
    torch.testing.assert_close(module.log_prob(module.observe(x), raw), expected)


def test_densities_are_in_the_units_of_the_data(mixed):
    module, _ = started(Columns([("real", Gaussian(), [0, 1])]), mixed[:, [0, 5]])
    raw, x = normal(N, 2), torch.from_numpy(mixed[:, [0, 5]])
    mean, variance = module.mean(raw), module.parts[0].variance
    expected = torch.distributions.Normal(mean, variance.sqrt()).log_prob(x)
    torch.testing.assert_close(module.log_prob_cells(module.observe(x), raw), expected)
    draws = module.sample(raw[:1].expand(20000, 2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(draws.std(0), variance.sqrt(), rtol=0.05, atol=0)


def test_units_change_nothing_but_the_density(mixed):
    """Each column is standardised by itself, so units cannot matter."""
    scaled = mixed.copy()
    scaled[:, 0] *= 1e4
    scores = [fitted(X, groups()).score_samples(X) for X in (mixed, scaled)]
    np.testing.assert_allclose(scores[0], scores[1] + np.log(1e4), atol=1e-3)


def test_columns_may_stand_anywhere(mixed):
    order = [4, 6, 1, 2, 3, 5, 0]
    moved = Columns(
        [("real", Gaussian(), [5, 6]), ("class", Categorical(), [2, 3, 4]), ("f", Bernoulli(), 0), ("c", Poisson(), 1)]
    )
    scores = fitted(mixed, groups(), max_iter=0).score_samples(mixed)
    np.testing.assert_allclose(fitted(mixed[:, order], moved, max_iter=0).score_samples(mixed[:, order]), scores, 1e-3)


def test_start_of_numbers_is_probabilistic_pca_of_standardised_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 5)) + 0.4 * rng.normal(size=(N, 5))
    scale = np.array([1, 10, 100, 0.1, 5.0])
    X = X * scale + scale
    vae = fitted(X, Columns([]), max_iter=0, n_draws=5000)
    Y = (X - X.mean(0)) / X.std(0, ddof=1)
    expected = PCA(2).fit(Y).score_samples(Y) - np.log(X.std(0, ddof=1)).sum()
    np.testing.assert_allclose(vae.score_samples(X), expected, atol=0.05)
    np.testing.assert_allclose(np.abs(vae.transform(X)), np.abs(PCA(2).fit_transform(Y)), rtol=5e-3)


def test_start_has_the_marginal_density_of_the_observed_cells():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 4)) + 0.4 * rng.normal(size=(N, 4))
    X *= [1, 10, 100, 0.1]
    vae = fitted(X, Columns([]), max_iter=0, n_draws=5000, whiten=True)
    mean = vae.inverse_transform(np.zeros((1, 2)))[0]
    W = (vae.inverse_transform(np.eye(2)) - mean).T
    covariance = W @ W.T + np.diag(vae.module_.likelihood.parts[0].variance.numpy())
    rows = X.copy()
    rows[:, 2] = np.nan
    o = [0, 1, 3]
    expected = multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(rows[:, o])
    np.testing.assert_allclose(vae.score_samples(rows), expected, atol=0.05)


def test_every_group_gains_from_the_others_at_the_start(mixed):
    vae = fitted(mixed, groups(), max_iter=0)
    module, x = vae.module_.double(), torch.from_numpy(mixed)
    observed = module.observe(x)
    explained = module.likelihood.log_prob_cells(observed, module.decode(module.encode(observed).mean)).mean(0)
    alone = module.likelihood.log_prob_cells(observed, module.decode(torch.zeros(N, 2, dtype=torch.float64))).mean(0)
    gain = (explained - alone).detach().numpy()
    assert gain[[0, 4, 5, 6]].min() > 0.1 and gain[1:4].sum() > 0.1


def test_noise_scales_of_columns_are_measured(mixed):
    X = mixed.copy()
    X[:, 5] = np.random.default_rng(1).normal(size=N)
    likelihood = fitted(X, groups(), max_iter=5).module_.likelihood
    log_scale = likelihood.parts[0].part.column_log_scale
    assert log_scale[0] > log_scale[1]
    assert not fitted(X, groups(per_column=False)).module_.likelihood.measured_columns()


@pytest.mark.parametrize("likelihood", [Gaussian(scale=30.0), DiscretizedLogistic(256, 255), Bernoulli(255)])
def test_likelihoods_of_columns_as_they_are_start_from_standardised_ones(likelihood):
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    byte = (127 + 60 * z + 20 * rng.normal(size=N)).round().clip(0, 255)
    X = np.c_[byte, z + 0.3 * rng.normal(size=N), z + 0.3 * rng.normal(size=N)]
    vae = fitted(X, Columns([("byte", likelihood, 0)]), max_iter=0)
    decoded = vae.inverse_transform(vae.transform(X))
    assert np.corrcoef(decoded.T, X.T)[range(3), range(3, 6)].min() > 0.8
    np.testing.assert_allclose(decoded.mean(0), X.mean(0), atol=0.2 * X.std(0).max())


def test_parameters_are_set_and_searched_by_name(mixed):
    likelihood = groups()
    assert likelihood.get_params()["real__per_column"] == "auto"
    vae = VAETransformer(2, likelihood=likelihood, hidden_layer_sizes=(8,), max_iter=2, random_state=0)
    vae.set_params(likelihood__real__per_column=True, likelihood__count__library_size=True)
    assert likelihood.likelihoods[0][1].per_column is True
    vae.set_params(likelihood__flag=Gaussian())
    assert vae.likelihood.likelihoods[2][1:] == (likelihood.likelihoods[2][1], 4)
    search = GridSearchCV(vae, {"likelihood__real__scale": ["optimal", "learned"]}, cv=2).fit(mixed)
    assert search.best_estimator_.likelihood.likelihoods[0][1].scale == search.best_params_["likelihood__real__scale"]
    with pytest.raises(ValueError, match="Invalid parameter"):
        vae.set_params(likelihood__unreal__scale=1.0)


def test_specification_is_not_changed_by_a_fit(mixed):
    likelihood = groups()
    before = repr(likelihood)
    fitted(mixed, likelihood)
    assert repr(likelihood) == before == repr(clone(likelihood))


def test_training_continues_with_the_same_groups_only(mixed):
    vae = fitted(mixed, groups(), warm_start=True).fit(mixed)
    assert vae.partial_fit(mixed).n_steps_ > 0
    with pytest.raises(ValueError, match="expected likelihood as in the first call"):
        vae.set_params(likelihood__real__per_column=True).fit(mixed)
    with pytest.raises(ValueError, match="expected likelihood as in the first call"):
        vae.set_params(likelihood=Columns([("real", Gaussian(), [5, 0])])).fit(mixed)


def test_remainder(mixed):
    X = mixed[:, [0, 5, 6]]
    for remainder, parts in (("from_dtype", 2), (Gaussian(per_column=True), 2)):
        vae = fitted(X, Columns([("count", Poisson(), [2])], remainder=remainder))
        assert len(vae.module_.likelihood.parts) == parts
    with pytest.raises(ValueError, match=r"got none for \[0, 1\]"):
        fitted(X, Columns([("count", Poisson(), [2])], remainder="refuse"))


@pytest.mark.parametrize(
    ("likelihoods", "error", "message"),
    [
        ([("a", Gaussian(), 0), ("a", Gaussian(), 1)], ValueError, "'a' more than once"),
        ([("a", Gaussian(), 0), ("b", Gaussian(), [0, 1])], ValueError, "column 0 more than once"),
        ([("a", Gaussian())], TypeError, "expected .name, likelihood, columns. tuples"),
        ([("a", "gaussian", 0)], TypeError, "expected .name, likelihood, columns. tuples"),
        ([("a__b", Gaussian(), 0)], ValueError, "must not contain __"),
        ([("remainder", Gaussian(), 0)], ValueError, "conflict with constructor arguments"),
        ([("a", Gaussian(), 7)], ValueError, "expected positions below 7, got 7"),
        ([("a", Gaussian(), "age")], ValueError, "names need a data frame"),
        ([("a", Gaussian(), [True, False])], ValueError, "mask of length 7"),
        ([("a", Gaussian(scale=-1.0), 0)], ValueError, "'scale' parameter"),
        ([("a", Columns([]), 0)], TypeError, "not Columns themselves"),
        ([("a", Poisson(), 5)], ValueError, "group 'a': likelihood Poisson: expected counts"),
        (Gaussian(), ValueError, "'likelihoods' parameter"),
    ],
)
def test_wrong_groups_are_refused(mixed, likelihoods, error, message):
    with pytest.raises(error, match=message):
        fitted(mixed, Columns(likelihoods))


def test_masks_negative_positions_and_empty_groups(mixed):
    X = mixed[:, [0, 5, 6]]
    for columns in ([False, False, True], -1, [-1], slice(2, None), np.array([2])):
        vae = fitted(X, Columns([("count", Poisson(), columns), ("none", Gaussian(), [])]), max_iter=0)
        assert (vae.sample(20, random_state=0)[:, 2] % 1 == 0).all()


def test_mean_given_rows_is_that_of_the_parts(mixed):
    X = np.c_[mixed, mixed[:, 6] + np.arange(N) % 3]
    likelihood = groups().set_params(count=Poisson(library_size=True))
    likelihood.likelihoods[3] = ("count", likelihood.likelihoods[3][1], [6, 7])
    module, _ = started(likelihood, X)
    raw = normal(N, module.n_outputs).double()
    mean, given = module.mean(raw).numpy(), module.mean_given(module.observe(torch.from_numpy(X)), raw).numpy()
    np.testing.assert_allclose(given[:, :6], mean[:, :6])
    np.testing.assert_allclose(given[:, 6:].sum(1), X[:, 6:].sum(1), atol=1e-6)


def test_kinds_of_means_are_those_of_the_groups(mixed):
    kinds = ["number", "probability", "probability", "probability", "probability", "number", "count"]
    assert fitted(mixed, groups())._architecture.likelihood.kinds_of_means(7) == kinds
    assert Columns([("grey", Bernoulli(max_value=255), [1])]).kinds_of_means(2) == ["number", "number"]
