"""Maps between columns and normal scores."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest, norm

from sklearn_vae._data.normal_scores import MAX_BINS, NormalScores
from sklearn_vae._data.rows import DenseRows


def learned(X, weight=None):
    """Normal scores of the columns of X."""
    X = torch.as_tensor(np.asarray(X, dtype=float))
    X = X[:, None] if X.ndim == 1 else X
    scores = NormalScores(X.shape[1])
    scores.learn(DenseRows(X, None if weight is None else torch.as_tensor(weight), has_gaps=True))
    return scores


def middle(scores, x):
    """Middle of the interval of each value of one column."""
    return scores.interval(scores.locate(torch.as_tensor(x, dtype=torch.float64)[:, None]))[0][:, 0].numpy()


def probability(scores, x):
    """Probability of each value of one column."""
    center, width = scores.interval(scores.locate(torch.as_tensor(x, dtype=torch.float64)[:, None]))
    ends = (center + width / 2)[:, 0].numpy(), (center - width / 2)[:, 0].numpy()
    return norm.cdf(ends[0]) - norm.cdf(ends[1])


def test_scores_of_a_continuous_column_are_standard_normal():
    x = np.random.RandomState(0).lognormal(size=4000)
    assert kstest(middle(learned(x[:2000]), x[2000:]), "norm").pvalue > 0.01


def test_scores_increase_also_beyond_the_training_rows():
    x = np.random.RandomState(0).standard_t(2, 300)
    new = np.sort(np.concatenate([x, [-1e6, -50.0, 50.0, 1e6]]))
    assert (np.diff(middle(learned(x), new)) > 0).all()


def test_common_values_have_their_shares():
    x = np.repeat([0, 3, 4, 900], [700, 100, 150, 50])
    scores = learned(x)
    np.testing.assert_allclose(probability(scores, np.array([0, 3, 4, 900])), [0.7, 0.1, 0.15, 0.05], atol=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_of_integers_sum_to_one(seed):
    x = np.random.RandomState(seed).negative_binomial(1, 0.02, 500) * np.random.RandomState(seed).binomial(1, 0.5, 500)
    p = probability(learned(x), np.arange(x.min(), x.max() + 1))
    assert p.sum() == pytest.approx(1, abs=0.01)
    assert (p > 0).all()


def test_rare_values_share_a_bin():
    x = np.random.RandomState(0).randint(0, 10**6, 10_000)
    scores = learned(x)
    assert int(scores.last[0]) < MAX_BINS
    p = probability(scores, x[:500])
    np.testing.assert_allclose(np.quantile(p, [0.05, 0.5, 0.95]), 1e-6, rtol=0.3)


def test_values_invert_scores():
    x = np.repeat([0.0, 2.0, 5.0], 30)
    scores = learned(np.c_[x, np.arange(90.0), np.linspace(0, 1, 90)])
    X = torch.tensor(np.c_[x, np.arange(90.0), np.linspace(0, 1, 90)])
    back = scores.values(scores.interval(scores.locate(X))[0])
    np.testing.assert_allclose(back[:, 0], x)
    np.testing.assert_allclose(back[:, 1], np.arange(90.0), atol=1)
    np.testing.assert_allclose(back[:, 2], np.linspace(0, 1, 90), atol=0.02)


def test_values_stay_in_the_range_and_are_integers():
    x = np.random.RandomState(0).poisson(3, 200)
    values = learned(x).values(torch.linspace(-40, 40, 999, dtype=torch.float64)[:, None])
    assert set(np.unique(values)) <= set(range(x.min(), x.max() + 1))


def test_values_of_normal_draws_have_the_distribution_of_the_rows():
    x = np.random.RandomState(0).gamma(0.5, size=3000).round(2)
    drawn = learned(x).values(torch.from_numpy(np.random.RandomState(1).randn(3000, 1)))[:, 0].numpy()
    assert (drawn == 0).mean() == pytest.approx((x == 0).mean(), abs=0.02)
    np.testing.assert_allclose(
        np.quantile(drawn, [0.25, 0.5, 0.75, 0.95]), np.quantile(x, [0.25, 0.5, 0.75, 0.95]), 0.15
    )


def test_means_are_those_of_drawn_values():
    x = np.random.RandomState(0).gamma(0.5, size=(500, 2)) * [1, 30]
    x[:, 1] = x[:, 1].round()
    scores, loc, scale = learned(x), torch.tensor([[0.5, -0.3], [-1.0, 3.0]]), torch.tensor([0.7, 0.2])
    drawn = scores.values(loc + scale * torch.from_numpy(np.random.RandomState(1).randn(20_000, 1, 2))).mean(0)
    np.testing.assert_allclose(scores.mean(loc.double(), scale.double()), drawn, rtol=0.03)


def test_weights_are_repeats():
    x, weight = np.repeat(np.arange(1, 6), 30), np.repeat([1.0, 2.0, 1.0, 3.0, 2.0], 30)
    rows = (x, weight), (np.repeat(x, weight.astype(int)),)
    # The effective number of rows differs, and with it the mass beyond the ends.
    weighted, repeated = (p / p.sum() for p in (probability(learned(*args), np.arange(1, 6)) for args in rows))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-6)


def test_common_factors_and_rows_of_weight_zero_change_nothing():
    x = np.random.RandomState(0).poisson(3, 200).astype(float)
    weight = np.where(np.arange(200) < 150, 2.0, 0.0)
    expected, weighted = learned(x[:150]), learned(x, weight)
    for name, table in expected.named_buffers():
        np.testing.assert_allclose(weighted.get_buffer(name), table, err_msg=name)


def test_scores_of_outliers_grow_as_the_logarithm():
    """An outlier among held-out rows would decide on when training stops."""
    x = np.random.RandomState(0).normal(50, 10, 500).round()
    scores = middle(learned(x), [x.max(), 1e3, 1e6, 1e9])
    assert (np.diff(scores) > 0).all() and scores[1] < 10 and scores[-1] < 25
    np.testing.assert_allclose(scores[3] - scores[2], np.log(1000), rtol=0.01)


@pytest.mark.parametrize("column", [[3.0] * 20, [np.nan] * 20, [np.nan] * 19 + [2.0]])
def test_columns_of_one_value_or_none(column):
    scores = learned(np.array(column))
    center, width = scores.interval(scores.locate(torch.tensor([[3.0], [1e9], [-7.5]], dtype=torch.float64)))
    assert bool(center.isfinite().all() & (width > 0).all())


def test_missing_cells_stay_missing():
    scores = learned(np.array([1.0, np.nan, 2.0, 2.0]))
    assert scores.locate(torch.tensor([[np.nan], [1.0]], dtype=torch.float64)).isnan().tolist() == [[True], [False]]
