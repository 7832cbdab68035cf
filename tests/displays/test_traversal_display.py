"""The images and colours that it draws."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawn import DIGITS, FRAME, IMAGES, TINY, ticks, tiles
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAETransformer
from sklearn_vae.displays import (
    LatentSpaceDisplay,
    TraversalDisplay,
)


def test_traversal_draws_images_where_their_codes_are(images):
    display = TraversalDisplay.from_estimator(images, IMAGES, n_steps=5)
    first, second = display.components
    Z = images[:-1].transform(IMAGES)
    x, y = (np.linspace(*np.percentile(Z[:, j], [1, 99]), 5) for j in (first, second))
    left, right, bottom, top = display.images_[0].get_extent()
    np.testing.assert_allclose([left, right], [x[0] - (x[1] - x[0]) / 2, x[4] + (x[1] - x[0]) / 2])
    np.testing.assert_allclose([bottom, top], [y[0] - (y[1] - y[0]) / 2, y[4] + (y[1] - y[0]) / 2])
    code = np.zeros((1, 2))
    code[0, [first, second]] = x[3], y[1]
    # The first row of an image is at the top.
    drawn = tiles(display.images_[0], 5, 5)[4 - 1, 3]
    np.testing.assert_allclose(drawn, images[:-1].inverse_transform(code)[0])
    assert display.ax_.get_xlabel() == f"component {first}"


def test_traversal_pixels_are_square_and_codes_can_be_drawn_over_it(images):
    display = TraversalDisplay.from_estimator(images, IMAGES, n_steps=3)
    display.figure_.draw_without_rendering()
    box, array = display.images_[0].get_window_extent(), display.images_[0].get_array()
    assert box.width / array.shape[1] == pytest.approx(box.height / array.shape[0], rel=0.01)
    over = LatentSpaceDisplay.from_estimator(images, IMAGES, DIGITS, ax=display.ax_)
    assert over.ax_ is display.ax_ and over.scatters_[0].axes is display.images_[0].axes


def test_traversal_changes_one_component_at_a_time(flat):
    X = IMAGES.reshape(120, -1)
    display = TraversalDisplay.from_estimator(flat, X, components=[2, 0, 1], n_steps=4, index=7)
    Z = flat.transform(X)
    codes = np.tile(Z[7], (4, 1))
    codes[:, 0] = np.linspace(*np.percentile(Z[:, 0], [1, 99]), 4)
    drawn = tiles(display.images_[0], 3, 4)
    np.testing.assert_allclose(drawn[1].reshape(4, -1), flat.inverse_transform(codes))
    assert ticks(display.ax_.yaxis) == [
        "component 2",
        "component 0",
        "component 1",
    ]


def test_traversal_of_a_table_draws_columns_as_colours_along_components(vae):
    X = FRAME.to_numpy()
    display = TraversalDisplay.from_estimator(vae, X, n_steps=5, feature_names=list("abcd"))
    Z = vae.transform(X)
    code = Z[np.linalg.norm(Z - Z.mean(axis=0), axis=1).argmin()].copy()
    code[display.components[1]] = np.percentile(Z[:, display.components[1]], 99)
    expected = (vae.inverse_transform(code[None])[0] - X.mean(axis=0)) / X.std(axis=0)
    image = display.images_[0].get_array()
    assert image.shape == (4, 4 * 6 - 1)
    np.testing.assert_allclose(image[:, 6 + 4], expected)
    assert np.ma.getmaskarray(np.ma.masked_invalid(image))[:, 5].all()
    assert ticks(display.ax_.yaxis) == list("abcd")
    assert ticks(display.ax_.xaxis) == list(map(str, display.components))
    low, high = display.images_[0].get_clim()
    assert -low == high == pytest.approx(np.nanmax(np.abs(image)))


def test_traversal_of_a_table_draws_a_panel_per_column_over_a_plane(table):
    display = TraversalDisplay.from_estimator(table, FRAME, n_steps=4)
    assert [panel.get_title() for panel in display.axes_] == list(FRAME.columns)
    x, y = display.values
    code = np.zeros((1, 2))
    code[0, display.components] = x[3], y[1]
    expected = (table.inverse_transform(code)[0] - FRAME.mean()) / FRAME.std(ddof=0)
    drawn = [image.get_array()[1, 3] for image in display.images_]
    np.testing.assert_allclose(drawn, expected)
    assert {image.origin for image in display.images_} == {"lower"}
    assert len({image.get_clim() for image in display.images_}) == 1


def test_traversal_of_a_wide_table_draws_the_columns_that_change_most():
    grid = np.linspace(-1, 1, 3)
    decoded = grid[:, None, None] * np.arange(1.0, 21) * np.ones((3, 3, 20))
    X = np.tile([[-1.0], [1.0]], (1, 20))
    display = TraversalDisplay(decoded=decoded, values=np.array([grid, grid]), components=[0, 1], plane=True, X=X)
    assert [panel.get_title() for panel in display.plot().axes_] == [f"x{i}" for i in range(4, 20)]


def test_traversal_of_one_step(table):
    with pytest.raises(ValueError, match="n_steps to be at least 2, got 1"):
        TraversalDisplay.from_estimator(table, FRAME, n_steps=1)


def test_traversal_of_frames_keeps_names_through_pandas_output():
    pipeline = make_pipeline(StandardScaler(), VAETransformer(2, **TINY)).set_output(transform="pandas").fit(FRAME)
    display = TraversalDisplay.from_estimator(pipeline, pd.DataFrame(FRAME), n_steps=2)
    assert [panel.get_title() for panel in display.axes_] == list(FRAME.columns)


def test_traversal_of_codes_that_are_all_the_same(images, table):
    image = TraversalDisplay.from_estimator(images, IMAGES[:1], n_steps=3)
    for display in (image, TraversalDisplay.from_estimator(table, FRAME[:1], n_steps=3)):
        np.testing.assert_allclose(display.decoded, np.broadcast_to(display.decoded[0, 0], display.decoded.shape))
        left, right, bottom, top = display.images_[0].get_extent()
        assert left < display.values[0, 0] < right and bottom < display.values[1, 0] < top
        display.figure_.draw_without_rendering()


def test_traversal_of_three_columns_has_three_panels():
    vae = VAETransformer(2, **TINY).fit(FRAME.iloc[:, :3])
    display = TraversalDisplay.from_estimator(vae, FRAME.iloc[:, :3], n_steps=3)
    assert [panel.get_title() for panel in display.axes_] == list(FRAME.columns[:3])
    # The fourth place of the grid stays empty.
    assert display.ax_.child_axes == list(display.axes_)


PATH = np.array([[-1.0, 0.0], [2.0, 0.0], [2.0, 6.0]])


def test_path_has_codes_at_equal_distances(images):
    display = TraversalDisplay.from_estimator(images, IMAGES, path=PATH, n_steps=4)
    np.testing.assert_allclose(display.values.T, [[-1, 0], [2, 0], [2, 3], [2, 6]])
    decoded = images[:-1].inverse_transform(display.values.T)
    np.testing.assert_allclose(display.decoded, decoded[None])
    np.testing.assert_allclose(display.path_.get_xydata(), display.values.T)
    for image, expected in zip(display.images_, decoded, strict=True):
        np.testing.assert_allclose(image.get_array(), expected)
    assert display.ax_.get_xlabel() == "component 0" and display.ax_.get_ylabel() == "component 1"


def boxes_of_images(display):
    display.figure_.draw_without_rendering()
    return [image.get_window_extent() for image in display.images_]


@pytest.mark.parametrize("path", [[[0, 0], [9, 0]], [[0, 0], [0, 9]], [[5, 5], [0, 0]]], ids=["-", "|", "/"])
def test_images_are_beside_the_path_and_apart_from_each_other(images, path):
    display = TraversalDisplay.from_estimator(images, IMAGES, path=path, n_steps=7)
    boxes = boxes_of_images(display)
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    dots = display.ax_.transData.transform(display.path_.get_xydata())
    assert not any(box.contains(*dot) for box in boxes for dot in dots)
    assert all(box.width == pytest.approx(box.height) for box in boxes)
    # All on one side, near their code.
    offsets = np.array([(box.p0 + box.p1) / 2 for box in boxes]) - dots
    np.testing.assert_allclose(offsets, np.broadcast_to(offsets[0], offsets.shape), atol=1)
    assert offsets[0, 1] > -1e-6 and np.linalg.norm(offsets[0]) < 2 * boxes[0].width


def test_path_on_a_map_keeps_its_limits(images):
    codes = LatentSpaceDisplay.from_estimator(images, IMAGES, DIGITS)
    limits = codes.ax_.get_xlim(), codes.ax_.get_ylim()
    display = TraversalDisplay.from_estimator(images, IMAGES, path=codes.Z[:2], n_steps=5, ax=codes.ax_)
    assert display.ax_ is codes.ax_ and (codes.ax_.get_xlim(), codes.ax_.get_ylim()) == limits
    np.testing.assert_allclose(display.images_[0].get_array(), images[:-1].inverse_transform(codes.Z[:1])[0])


def test_path_takes_arguments_of_imshow(images):
    style = {"cmap": "gray_r", "vmin": -3, "vmax": 30, "alpha": 0.5}
    (image, *_) = TraversalDisplay.from_estimator(images, IMAGES, path=PATH, image_kwargs=style).images_
    assert image.get_cmap().name == "gray_r" and image.get_clim() == (-3, 30) and image.get_alpha() == 0.5


def test_path_of_colour_images_has_colours_from_0_to_1():
    X = np.random.default_rng(0).normal(size=(40, 12)) * 50
    vae = VAETransformer(2, **TINY).fit(X)
    display = TraversalDisplay.from_estimator(vae, X, path=[[-99, 0], [99, 0]], n_steps=3, image_shape=(2, 2, 3))
    low, high = X.min(), X.max()
    expected = ((display.decoded[0] - low) / (high - low)).clip(0, 1)
    np.testing.assert_allclose([image.get_array() for image in display.images_], expected)


def test_path_over_three_components_is_a_row_of_images(flat):
    X = IMAGES.reshape(120, -1)
    Z = flat.transform(X)
    display = TraversalDisplay.from_estimator(flat, X, path=Z[[3, 8]], n_steps=5)
    codes = np.linspace(Z[3], Z[8], 5)
    drawn = tiles(display.images_[0], 1, 5)[0]
    np.testing.assert_allclose(drawn.reshape(5, -1), flat.inverse_transform(codes), atol=1e-5)
    assert display.ax_.get_xlabel() == "along the path" and display.path_ is None
    over_two = TraversalDisplay.from_estimator(flat, X, path=Z[[3, 8]], n_steps=5, components=[2, 0])
    np.testing.assert_allclose(over_two.path_.get_xydata(), codes[:, [2, 0]])


def test_path_of_a_table_draws_columns_as_colours(table):
    display = TraversalDisplay.from_estimator(table, FRAME, path=PATH, n_steps=6)
    X = FRAME.to_numpy()
    expected = (table.inverse_transform(display.values.T) - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(display.images_[0].get_array(), expected.T)
    assert ticks(display.ax_.yaxis) == list(FRAME.columns)
    assert display.ax_.get_xlabel() == "along the path" and ticks(display.ax_.xaxis) == []


def test_path_is_drawn_again_from_what_is_stored(images):
    display = TraversalDisplay.from_estimator(images, IMAGES, path=PATH, n_steps=4)
    drawn = [image.get_array() for image in display.images_]
    ax = plt.subplots()[1]
    np.testing.assert_array_equal([image.get_array() for image in display.plot(ax).images_], drawn)
    assert display.path_.axes is ax


def test_path_between_equal_codes_is_drawn(images, table):
    for display in (
        TraversalDisplay.from_estimator(images, IMAGES, path=np.ones((2, 2)), n_steps=3),
        TraversalDisplay.from_estimator(table, FRAME, path=np.ones((2, 2)), n_steps=3),
    ):
        np.testing.assert_array_equal(display.values, 1)
        display.figure_.draw_without_rendering()


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ([[0.0, 1.0]], r"at least two codes of 2 components, as transform returns them, got shape \(1, 2\)"),
        (np.eye(3), r"at least two codes of 2 components, .* got shape \(3, 3\)"),
        ([0, 1], "Expected 2D array"),
        ([[0.0, 1.0], [np.nan, 1.0]], "path contains NaN"),
    ],
)
def test_paths_that_are_none(table, path, match):
    with pytest.raises(ValueError, match=match):
        TraversalDisplay.from_estimator(table, FRAME, path=path)


def test_path_has_no_row_for_other_components(table):
    with pytest.raises(ValueError, match="index=None with a path, whose codes have values for all components, got 3"):
        TraversalDisplay.from_estimator(table, FRAME, path=PATH, index=3)
