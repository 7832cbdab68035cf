"""Images as rows, and back: views where they can be, scikit-learn's conventions, and pipelines from images."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import estimator_checks

from sklearn_vae import ImageFlattener, VAEClassifier, VAETransformer

# scikit-learn's suite skips estimators that do not take rows; these of its checks need no rows.
CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_param_validation",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]
GREY, COLOUR = (8, 6), (3, 8, 6)


def batch(shape, n=5, dtype=np.float64):
    return np.arange(n * np.prod(shape)).reshape(n, *shape).astype(dtype)


@pytest.fixture(scope="module")
def images():
    """200 digits of 8 x 8 pixels, and their classes."""
    digits = load_digits()
    return digits.images[:200], digits.target[:200]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("estimator", [ImageFlattener(), ImageFlattener("last")], ids=repr)
def test_scikit_learn_check(estimator, check):
    getattr(estimator_checks, check)("ImageFlattener", estimator)


def test_tags_say_that_images_go_in():
    tags = ImageFlattener().__sklearn_tags__()
    assert tags.input_tags.three_d_array and not tags.input_tags.two_d_array
    assert tags.requires_fit and not tags.no_validation and tags.input_tags.allow_nan


@pytest.mark.parametrize("shape", [GREY, COLOUR, (1, 4, 4)])
def test_columns_are_in_c_order_of_channels_height_width(shape):
    X = batch(shape)
    flattener = ImageFlattener().fit(X)
    assert flattener.image_shape_ == shape and not hasattr(flattener, "n_features_in_")
    np.testing.assert_array_equal(flattener.transform(X), X.reshape(5, -1))
    np.testing.assert_array_equal(flattener.inverse_transform(X.reshape(5, -1)), X)
    # torch's image layers take this type, too.
    tensor = torch.from_numpy(flattener.transform(X)).unflatten(1, flattener.image_shape_)
    np.testing.assert_array_equal(tensor, X)


def test_channels_last_give_the_same_columns():
    first = batch(COLOUR)
    last = np.ascontiguousarray(first.transpose(0, 2, 3, 1))
    flattener = ImageFlattener(channels="last").fit(last)
    assert flattener.image_shape_ == COLOUR
    rows = flattener.transform(last)
    np.testing.assert_array_equal(rows, ImageFlattener().fit_transform(first))
    np.testing.assert_array_equal(flattener.inverse_transform(rows), last)


def test_channels_say_nothing_of_images_without():
    X = batch(GREY)
    np.testing.assert_array_equal(*(ImageFlattener(channels).fit_transform(X) for channels in ("first", "last")))


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_nothing_is_copied_or_converted(shape, dtype):
    X = batch(shape, dtype=dtype)
    flattener = ImageFlattener().fit(X)
    for images in (X, X[::2], X[1:3]):
        rows = flattener.transform(images)
        assert rows.dtype == dtype and np.shares_memory(rows, X)
        assert flattener.inverse_transform(rows).dtype == dtype
        assert np.shares_memory(flattener.inverse_transform(rows), X)


def test_channels_last_are_copied_once_only():
    X = batch((8, 6, 3), dtype=np.uint8)
    flattener = ImageFlattener("last").fit(X)
    rows = flattener.transform(X)
    assert rows.dtype == np.uint8 and rows.flags.c_contiguous and not np.shares_memory(rows, X)
    assert np.shares_memory(flattener.inverse_transform(rows), rows)
    one = batch((8, 6, 1))
    assert np.shares_memory(ImageFlattener("last").fit_transform(one), one)


def test_read_only_images_and_lists_are_taken():
    X = batch(GREY)
    X.setflags(write=False)
    rows = ImageFlattener().fit_transform(X)
    np.testing.assert_array_equal(ImageFlattener().fit_transform(X.tolist()), rows)
    np.testing.assert_array_equal(ImageFlattener().fit_transform(torch.from_numpy(X.copy())), rows)


def test_nan_and_infinity_are_left_to_what_follows():
    X = batch(GREY)
    X[0, 1, 2], X[1, 0, 0] = np.nan, np.inf
    flattener = ImageFlattener().fit(X)
    np.testing.assert_array_equal(flattener.inverse_transform(flattener.transform(X)), X)
    with pytest.raises(ValueError, match="Input X contains infinity"):
        make_pipeline(ImageFlattener(), VAETransformer(2)).fit(X)


@pytest.mark.parametrize("shape", [(5,), (5, 4), (5, 2, 3, 4, 4)])
@pytest.mark.parametrize("channels", ["first", "last"])
def test_input_that_is_no_images(shape, channels):
    four = {"first": "n_channels, height, width", "last": "height, width, n_channels"}[channels]
    message = rf"expected images .*\(n_samples, height, width\) or \(n_samples, {four}\), got shape .*image\[None\]"
    with pytest.raises(ValueError, match=message):
        ImageFlattener(channels).fit(np.zeros(shape))


def test_images_without_pixels():
    with pytest.raises(ValueError, match=r"expected images of at least one pixel, got shape \(5, 0, 4\)"):
        ImageFlattener().fit(np.zeros((5, 0, 4)))
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        ImageFlattener().fit(np.zeros((0, 4, 4)))


@pytest.mark.parametrize("shape", [(8, 7), (8,), (48,), (1, 8, 6), (3, 8, 6)])
def test_images_of_another_shape_than_fitted(shape):
    flattener = ImageFlattener().fit(batch(GREY))
    with pytest.raises(ValueError, match=r"expected images of shape \(8, 6\), as ImageFlattener was fitted to, got an"):
        flattener.transform(np.zeros((5, *shape)))


def test_shapes_are_told_as_they_came():
    flattener = ImageFlattener("last").fit(batch((8, 6, 3)))
    with pytest.raises(
        ValueError, match=r"expected images of shape \(8, 6, 3\).* got an array of shape \(5, 3, 8, 6\)"
    ):
        flattener.transform(batch(COLOUR))
    with pytest.raises(ValueError, match=r"expected rows of 144 columns, the pixels .* \(3, 8, 6\), got 48"):
        flattener.inverse_transform(np.zeros((2, 48)))


def test_wrong_parameter_and_wrong_order_of_calls():
    with pytest.raises(ValueError, match="'channels' parameter .* Got 'middle'"):
        ImageFlattener("middle").fit(batch(GREY))
    for call in (lambda f: f.transform(batch(GREY)), lambda f: f.inverse_transform(np.zeros((2, 48)))):
        with pytest.raises(NotFittedError):
            call(ImageFlattener())
    with pytest.raises(NotFittedError):
        ImageFlattener().get_feature_names_out()
    with pytest.raises(ValueError, match="could not convert|numeric"):
        ImageFlattener().fit(np.full((2, 3, 3), "a"))


def test_feature_names_are_places():
    grey, colour = ImageFlattener().fit(batch((2, 2))), ImageFlattener().fit(batch((2, 1, 2)))
    assert grey.get_feature_names_out().tolist() == ["pixel_0_0", "pixel_0_1", "pixel_1_0", "pixel_1_1"]
    assert colour.get_feature_names_out().tolist() == [
        "pixel_0_0_0",
        "pixel_0_0_1",
        "pixel_1_0_0",
        "pixel_1_0_1",
    ]


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_set_output(container):
    X = batch(GREY)
    pipeline = make_pipeline(ImageFlattener(), VAETransformer(2, max_iter=1, random_state=0))
    frame = pipeline.set_output(transform=container).fit(X)[0].transform(X)
    assert list(frame.columns) == pipeline[0].get_feature_names_out().tolist()
    np.testing.assert_array_equal(pipeline[0].inverse_transform(frame), X)
    assert list(pipeline.transform(X).columns) == ["vaetransformer0", "vaetransformer1"]
    assert list(pipeline[1].feature_names_in_) == list(frame.columns)


def test_clone_and_pickle():
    flattener = ImageFlattener("last").fit(batch((8, 6, 3)))
    restored = pickle.loads(pickle.dumps(flattener))
    assert restored.image_shape_ == COLOUR and repr(restored) == "ImageFlattener(channels='last')"
    copied = clone(flattener)
    assert copied.channels == "last" and not hasattr(copied, "image_shape_")
    assert copied.fit(batch(GREY)).image_shape_ == GREY


def test_pipeline_from_images_to_classes_and_back(images):
    X, y = images
    vae = VAETransformer(max_iter=3, random_state=0)
    pipeline = Pipeline([("flatten", ImageFlattener()), ("vae", vae), ("classify", LogisticRegression(max_iter=1000))])
    search = GridSearchCV(pipeline, {"vae__n_components": [2, 6]}, cv=2, error_score="raise").fit(X, y)
    best = search.best_estimator_
    assert search.best_params_ == {"vae__n_components": 6} and search.score(X, y) > 0.7
    Z = best[:-1].transform(X)
    decoded = best[:-1].inverse_transform(Z)
    assert decoded.shape == X.shape
    np.testing.assert_array_equal(decoded.reshape(200, -1), best["vae"].inverse_transform(Z))
    drawn = best["flatten"].inverse_transform(best["vae"].sample(3, random_state=0))
    assert drawn.shape == (3, 8, 8)


def test_pipeline_of_bytes(images):
    """Bytes give what the same numbers in float32 give."""
    X, y = images
    results = [
        make_pipeline(ImageFlattener(), VAEClassifier(2, max_iter=2, random_state=0)).fit(part, y).predict_proba(part)
        for part in (X.astype(np.uint8), X.astype(np.float32))
    ]
    np.testing.assert_allclose(*results, atol=1e-4)
