"""Wrong sample weights raise an error that says what was expected and what was given."""

import numpy as np
import pytest
from small_estimators import small_transformer as small


def test_all_weights_zero(iris):
    """scikit-learn refuses them from 1.9 on, before we do."""
    with pytest.raises(ValueError, match=r"at least one non-zero number|got 0 of 150"):
        small().fit(iris, sample_weight=np.zeros(150))


def test_one_positive_weight(iris):
    with pytest.raises(ValueError, match="at least two rows with a positive sample_weight, got 1 of 150"):
        small().fit(iris, sample_weight=np.eye(150)[0])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(150, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.full(150, np.nan), "Input sample_weight contains NaN"),
        (np.full(150, np.inf), "Input sample_weight contains infinity"),
        (np.ones(149), r"sample_weight.shape == \(149,\), expected \(150,\)"),
        (np.ones((150, 2)), "Sample weights must be 1D array or scalar"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_wrong_weights(iris, method, weight, message):
    with pytest.raises(ValueError, match=message):
        getattr(small(), method)(iris, sample_weight=weight)


@pytest.mark.parametrize("factor", [1e-50, 1e50])
def test_weights_of_another_size_than_in_the_first_call(iris, factor):
    vae = small().partial_fit(iris)
    with pytest.raises(ValueError, match="expected sample_weight of similar size as in the first call, where the mean"):
        vae.partial_fit(iris, sample_weight=np.full(150, factor))
