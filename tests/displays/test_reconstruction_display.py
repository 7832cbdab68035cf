"""The images and bars that it draws."""

import numpy as np
import pytest
from drawn import FRAME, IMAGES, TINY, ticks, tiles
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

from sklearn_vae import ImageFlattener, VAETransformer
from sklearn_vae.displays import ReconstructionDisplay, SamplesDisplay, TraversalDisplay


def test_reconstruction_draws_images_above_what_comes_back(images):
    display = ReconstructionDisplay.from_estimator(images, IMAGES, n_images=4)
    drawn = tiles(display.image_, 2, 4)
    np.testing.assert_array_equal(drawn[0], IMAGES[:4])
    np.testing.assert_allclose(drawn[1], images[:-1].inverse_transform(images[:-1].transform(IMAGES[:4])))
    assert display.image_.get_clim() == (IMAGES[:4].min(), IMAGES[:4].max())
    assert ticks(display.ax_.yaxis) == ["data", "reconstruction"]
    np.testing.assert_allclose(display.ax_.get_yticks(), [4, 13])


def test_reconstruction_draws_errors_of_columns(table):
    display = ReconstructionDisplay.from_estimator(table, FRAME)
    residual = FRAME.to_numpy() - table.inverse_transform(table.transform(FRAME))
    expected = np.sqrt((residual**2).mean(axis=0)) / FRAME.std(ddof=0)
    np.testing.assert_allclose([bar.get_height() for bar in display.bars_], expected)
    assert ticks(display.ax_.xaxis) == list(FRAME.columns)


def test_reconstruction_error_of_the_mean_is_one_and_of_constant_columns_absolute():
    X = np.column_stack([np.arange(5.0), np.full(5, 3.0)])
    display = ReconstructionDisplay.from_predictions(X, np.column_stack([np.full(5, 2.0), np.full(5, 2.5)]))
    np.testing.assert_allclose([bar.get_height() for bar in display.bars_], [1, 0.5])
    assert ticks(display.ax_.xaxis) == ["x0", "x1"]
    with pytest.raises(ValueError, match="one name for each of 2 columns, got 1"):
        ReconstructionDisplay.from_predictions(X, X, feature_names=["a"])


def test_reconstruction_cuts_colours_at_the_range_of_the_data(caplog):
    X = np.zeros((1, 4, 4, 3))
    X[0, 0, 0] = 255
    back = np.full((1, 4, 4, 3), 300.0)
    back[0, 3, 3] = -20
    image = np.asarray(ReconstructionDisplay.from_predictions(X, back).image_.get_array())
    np.testing.assert_array_equal(image[:4, :4], X[0] / 255)
    np.testing.assert_array_equal(image[5:9, :4], (back[0] > 0).astype(float))
    np.testing.assert_array_equal(image[4], 1.0)
    # matplotlib clips values too, but warns.
    assert not caplog.records


@pytest.mark.parametrize(
    ("shape", "image_shape"),
    [((2, 6), (2, 3)), ((2, 1, 2, 3), None), ((2, 2, 3, 1), None), ((2, 6), (1, 2, 3)), ((2, 2, 3), None)],
)
def test_image_shapes_of_grey_images(shape, image_shape):
    X = np.arange(12.0).reshape(shape)
    display = ReconstructionDisplay.from_predictions(X, X, image_shape=image_shape)
    np.testing.assert_array_equal(display.X, np.arange(12.0).reshape(2, 2, 3))


def test_image_shapes_of_colour_images():
    X = np.random.default_rng(0).uniform(size=(2, 4, 5, 3))
    for given, shape in [(X.reshape(2, -1), (4, 5, 3)), (np.moveaxis(X, -1, 1).reshape(2, -1), (3, 4, 5)), (X, None)]:
        np.testing.assert_array_equal(ReconstructionDisplay.from_predictions(given, given, image_shape=shape).X, X)


@pytest.mark.parametrize(
    ("image_shape", "match"),
    [
        ((8, 9), r"as many pixels as rows have columns, 64, got image_shape=\(8, 9\), which makes 72"),
        ((64,), r"expected images of shape \(height, width\)"),
        ((4, 2, 8), "one or three channels"),
    ],
)
@pytest.mark.parametrize("display", [ReconstructionDisplay, SamplesDisplay, TraversalDisplay])
def test_image_shape_that_rows_do_not_have(display, image_shape, match, flat):
    with pytest.raises(ValueError, match=match):
        display.from_estimator(flat, IMAGES.reshape(120, -1), image_shape=image_shape)


def test_one_row_as_a_vector(flat):
    with pytest.raises(ValueError, match=r"got shape \(64,\); pass one row as X\[:1\]"):
        ReconstructionDisplay.from_estimator(flat, IMAGES[0].ravel())


def test_image_shape_of_a_flattener_before_steps_without_an_inverse_is_known():
    pipeline = make_pipeline(ImageFlattener(), SimpleImputer(), VAETransformer(2, **TINY)).fit(IMAGES)
    display = ReconstructionDisplay.from_estimator(pipeline, IMAGES, n_images=3)
    np.testing.assert_array_equal(tiles(display.image_, 2, 3)[0], IMAGES[:3])


def test_image_shape_of_a_convolutional_network_is_known(flat):
    X = IMAGES.reshape(120, -1)
    display = ReconstructionDisplay.from_estimator(flat, X, n_images=3)
    np.testing.assert_array_equal(tiles(display.image_, 2, 3)[0], IMAGES[:3])
