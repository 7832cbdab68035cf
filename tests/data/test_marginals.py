"""Properties of a column's values that decide by which likelihood they are modelled."""

import numpy as np
import pytest

from sklearn_vae._data.marginals import MIN_SEPARATION, is_discrete, separation

QUANTILES = (np.arange(20_000) + 0.5) / 20_000


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        # Half-normal: mean sqrt(2 / pi), variance 1 - 2 / pi.
        (np.random.default_rng(0).normal(size=200_000), np.sqrt(2 / np.pi) / np.sqrt(1 - 2 / np.pi)),
        (QUANTILES, np.sqrt(3)),
        # The sine of a uniform angle: mean 2 / pi, variance 1 / 2 - (2 / pi)^2.
        (np.sin(np.pi * (QUANTILES - 0.5)), 2 / np.pi / np.sqrt(0.5 - (2 / np.pi) ** 2)),
    ],
    ids=["normal", "uniform", "arcsine"],
)
def test_separation_of_known_distributions(values, expected):
    assert separation(values) == pytest.approx(expected, rel=0.01)
    assert separation(values) < MIN_SEPARATION


def test_separation_of_two_clusters_is_that_of_their_moments():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=300), 40 + 3 * rng.normal(size=100)
    expected = (second.mean() - first.mean()) / (second.std() + first.std())
    values = rng.permutation(np.concatenate([first, second]))
    assert separation(values) == pytest.approx(expected) and expected > MIN_SEPARATION


@pytest.mark.parametrize("change", [lambda x: 3 * x + 7, np.negative, lambda x: x * 1e300, lambda x: x * 1e-300])
def test_separation_does_not_depend_on_origin_and_unit(change):
    values = np.random.default_rng(0).exponential(size=500)
    assert separation(change(values)) == pytest.approx(separation(values))


@pytest.mark.parametrize(
    "values",
    [
        [],
        np.zeros(50),
        np.arange(19),
        # Few values apart, however many of them there are: zeros and ones, or a spike beside other values.
        np.arange(1000) % 2,
        np.concatenate([np.full(500, -50), np.arange(500)]),
        np.concatenate([np.arange(1000), 1e6 + np.arange(40)]),
    ],
    ids=["empty", "constant", "few values", "two values", "spike", "outliers"],
)
def test_small_clusters_do_not_count(values):
    assert separation(np.asarray(values, dtype=float)) < MIN_SEPARATION


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], False),
        ([3, 1, -2], True),
        ([0.1, 0.1, 0.1, 0.2, 0.3], True),
        ([0.1, 0.1, 0.2, 0.3], False),
        (QUANTILES, False),
        (QUANTILES.round(3), True),
    ],
)
def test_values_are_discrete_if_whole_or_mostly_repeated(values, expected):
    assert is_discrete(np.asarray(values, dtype=float)) is expected
