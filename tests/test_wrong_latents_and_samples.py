"""Wrong latents, numbers of samples and seeds of samples raise an error that names them."""

import numpy as np
import pytest
from small_estimators import small_transformer as small


@pytest.mark.parametrize("width", [1, 3])
def test_latents_of_another_width(iris, width):
    with pytest.raises(ValueError, match=f"expected Z with n_components=2 columns.*got {width}"):
        small().fit(iris).inverse_transform(np.zeros((5, width)))


@pytest.mark.parametrize(
    ("Z", "message"),
    [
        (np.full((3, 2), np.nan), "Input Z contains NaN"),
        (np.full((3, 2), np.inf), "Input Z contains infinity"),
        (np.zeros(2), "Expected 2D array, got 1D array"),
        (np.zeros((0, 2)), r"Found array with 0 sample\(s\)"),
        (np.zeros((3, 2), dtype=complex), "Complex data not supported"),
        ([["a", "b"]], "could not convert string to float|dtype='numeric' is not compatible"),
    ],
)
def test_wrong_latents(iris, Z, message):
    with pytest.raises(ValueError, match=message):
        small().fit(iris).inverse_transform(Z)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3", None, np.nan, True, np.True_])
def test_sample_of_a_wrong_number(fitted, n_samples):
    with pytest.raises(ValueError, match=f"expected n_samples to be an integer of at least 1, got {n_samples!r}"):
        fitted.sample(n_samples)


def test_sample_with_a_wrong_random_state(fitted):
    with pytest.raises(ValueError, match="'seven' cannot be used to seed"):
        fitted.sample(random_state="seven")
