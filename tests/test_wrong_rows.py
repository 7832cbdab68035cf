"""Wrong rows raise an error before training that says what was expected, what was given and what to do."""

import numpy as np
import pandas as pd
import pytest
import torch
from naming import shown
from small_estimators import small_transformer as small

from sklearn_vae.likelihoods import Bernoulli, Gaussian


def changed(X, value):
    X = np.array(X)
    X[3, 1] = value
    return X


# Values


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples", "score", "fit_transform"])
@pytest.mark.parametrize("gap", [False, True])
def test_infinite_cells(iris, method, gap):
    vae, X = small().fit(iris), changed(iris, np.inf)
    if gap:
        X[0, 0] = np.nan
    with pytest.raises(ValueError, match="Input X contains infinity"):
        getattr(vae, method)(X)


@pytest.mark.parametrize("value", [-0.1, 1.5, 255.0])
@pytest.mark.parametrize("likelihood", ["bernoulli", Bernoulli()], ids=shown)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples"])
def test_bernoulli_values_outside_the_unit_interval(iris, method, likelihood, value):
    vae = small(likelihood=likelihood).fit(iris / 10)
    message = r"Bernoulli: expected values in \[0, 1\], got values from .* to .*; give the largest as max_value, scale"
    with pytest.raises(ValueError, match=message):
        getattr(vae, method)(changed(iris / 10, value))


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples"])
def test_float32_rows_whose_results_overflow(iris, method):
    vae = small().fit(iris.astype(np.float32))
    with pytest.raises(
        ValueError, match=r"float32 values of at most 2.13e\+37 for 4 columns, .* values overflow, got 3e\+38"
    ):
        getattr(vae, method)(changed(iris, 3e38).astype(np.float32))
    large = (iris * 2e36).astype(np.float32)
    Z = vae.fit(large).transform(large)
    for values in (Z, vae.inverse_transform(Z), vae.score_samples(large)):
        assert np.isfinite(values).all()


def test_variance_beyond_float64(iris):
    with pytest.raises(ValueError, match="expected columns with a finite variance.*overflow; scale the columns"):
        small().fit(1e200 * iris)


# Numbers of rows and columns


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_one_row(iris, method):
    with pytest.raises(ValueError, match=r"Found array with 1 sample\(s\).*minimum of 2 is required"):
        getattr(small(), method)(iris[:1])


def test_warm_start_on_one_row(iris):
    vae = small(warm_start=True).fit(iris)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        vae.fit(iris[:1])
    with pytest.raises(ValueError, match="at least two rows with a positive sample_weight, got 1 of 3"):
        vae.fit(iris[:3], sample_weight=[0, 1, 0])


def test_no_rows(iris):
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        small().fit(iris[:0])
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        small().fit(iris).transform(iris[:0])


def test_no_columns(iris):
    with pytest.raises(ValueError, match=r"Found array with 0 feature\(s\).*minimum of 1 is required"):
        small().fit(iris[:, :0])


def test_one_row_as_a_vector():
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        small().fit(np.zeros(150))


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples"])
def test_images_that_are_no_rows(iris, method):
    with pytest.raises(ValueError, match=r"got shape \(5, 2, 2\); flatten .*X.reshape.* ImageFlattener before"):
        getattr(small().fit(iris), method)(np.zeros((5, 2, 2)))


@pytest.mark.parametrize("method", ["transform", "score_samples", "score", "partial_fit"])
def test_rows_of_another_width(iris, method):
    with pytest.raises(ValueError, match="X has 3 features, but VAETransformer is expecting 4 features"):
        getattr(small().fit(iris), method)(iris[:, :3])


def test_warm_start_with_rows_of_another_width(iris):
    with pytest.raises(ValueError, match="X has 3 features, but VAETransformer is expecting 4 features"):
        small(warm_start=True).fit(iris).fit(iris[:, :3])


def test_frame_with_other_columns(iris):
    X = pd.DataFrame(iris, columns=list("abcd"))
    vae = small().fit(X)
    with pytest.raises(ValueError, match=r"feature names should match.*\n.*seen at fit time, yet now missing:\n- b"):
        vae.transform(X.drop(columns="b"))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        vae.transform(X[["b", "a", "c", "d"]])
    with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- e"):
        vae.transform(X.rename(columns={"d": "e"}))


# Types


def test_strings(iris):
    with pytest.raises(ValueError, match="could not convert string to float: 'red'"):
        small().fit([["red", 1.0], ["blue", 2.0]])


def test_object_arrays_of_numbers_are_numbers(iris):
    np.testing.assert_array_equal(small().fit_transform(iris.astype(object)), small().fit_transform(iris))


def test_object_arrays_of_other_things(iris):
    X = iris.astype(object)
    X[0, 0] = {"a": 1}
    with pytest.raises(TypeError, match=r"float\(\) argument must be a string or a real number, not 'dict'"):
        small().fit(X)


def test_complex_numbers(iris):
    with pytest.raises(ValueError, match="Complex data not supported"):
        small().fit(iris + 1j)


# Unusual rows


def test_good_input_at_the_limits_is_taken(iris):
    """Unusual but valid input: bounds of [0, 1], one column, integers, many components, tiny scales."""
    for X, params in [
        ((iris > 3).astype(float), {"likelihood": "bernoulli"}),
        (iris[:, :1], {}),
        ((10 * iris).astype(int), {}),
        (iris, {"n_components": 20}),
        (iris, {"likelihood": Gaussian(scale=1e-3)}),
        (iris, {"beta": 0}),
        (iris, {"hidden_layer_sizes": ()}),
    ]:
        assert np.isfinite(small(**{"n_components": 2, **params}).fit_transform(X)).all()
        assert torch.is_grad_enabled()
