"""The points that it draws."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from drawn import FRAME, IMAGES, SPECIES, TINY, legend

from sklearn_vae import VAETransformer
from sklearn_vae.displays import LatentSpaceDisplay, TraversalDisplay
from sklearn_vae.objectives import NeighborEmbedding


def test_latent_space_draws_codes_in_the_colours_of_classes(table):
    display = LatentSpaceDisplay.from_estimator(table, FRAME, SPECIES)
    first, second = display.components
    np.testing.assert_allclose(display.scatters_[0].get_offsets(), table.transform(FRAME)[:, [first, second]])
    colors = display.scatters_[0].get_facecolors()
    assert len(np.unique(colors, axis=0)) == 3
    assert all(len(np.unique(colors[label == SPECIES], axis=0)) == 1 for label in np.unique(SPECIES))
    assert legend(display.ax_) == ["setosa", "versicolor", "virginica"] and display.colorbar_ is None
    assert display.ax_.get_xlabel() == f"component {first}" and display.ax_.get_ylabel() == f"component {second}"


def test_latent_space_draws_unlabelled_rows_below_in_grey(classifier, few_labels):
    display = LatentSpaceDisplay.from_estimator(classifier, FRAME, few_labels, components=[2, 0])
    unlabelled = few_labels == -1
    codes = classifier[:-1].transform(FRAME)
    codes = classifier[-1].transform(codes)[:, [2, 0]]
    offsets = np.asarray(display.scatters_[0].get_offsets())
    np.testing.assert_allclose(offsets, np.concatenate([codes[unlabelled], codes[~unlabelled]]))
    grey = np.ptp(display.scatters_[0].get_facecolors()[:, :3], axis=1) == 0
    np.testing.assert_array_equal(grey, np.arange(150) < unlabelled.sum())
    assert legend(display.ax_) == ["setosa", "versicolor", "virginica", "unlabelled (-1)"]


@pytest.mark.parametrize("y", [np.linspace(0, 1, 150), np.arange(150)], ids=["fractions", "many numbers"])
def test_latent_space_draws_amounts_with_a_colour_bar(y):
    Z = np.random.default_rng(0).normal(size=(150, 2))
    display = LatentSpaceDisplay.from_predictions(Z, y)
    np.testing.assert_array_equal(display.scatters_[0].get_array(), y)
    assert display.legend_ is None and display.colorbar_.mappable is display.scatters_[0]


def test_latent_space_draws_pairs_of_the_most_active_components(vae):
    Z = np.random.default_rng(0).normal(size=(50, 6)) * [1, 5, 2, 6, 4, 3]
    display = LatentSpaceDisplay.from_predictions(Z, scatter_kwargs={"s": 7})
    np.testing.assert_array_equal(display.components, [1, 3, 4, 5])
    pairs = [(1, 3), (1, 4), (1, 5), (3, 4), (3, 5), (4, 5)]
    for scatter, panel, pair in zip(display.scatters_, display.axes_, pairs, strict=True):
        assert scatter.axes is panel and scatter.get_sizes() == [7]
        np.testing.assert_array_equal(scatter.get_offsets(), Z[:, pair])
    assert [panel.get_xlabel() for panel in display.axes_[[2, 4, 5]]] == ["component 1", "component 3", "component 4"]
    assert [panel.get_ylabel() for panel in display.axes_[:3]] == ["component 3", "component 4", "component 5"]
    by_kl = LatentSpaceDisplay.from_estimator(vae, FRAME.to_numpy()).components
    np.testing.assert_array_equal(by_kl, np.sort(np.argsort(-vae.kl_per_component_)[:4]))


@pytest.mark.parametrize(
    ("components", "match"),
    [
        ([0], "at least two components to draw, got 1"),
        ([0, 3], "indices from 0 to 2, got"),
        ([0.5, 1], "indices from 0 to 2, got"),
    ],
)
def test_latent_space_components_that_cannot_be_drawn(components, match):
    with pytest.raises(ValueError, match=match):
        LatentSpaceDisplay.from_predictions(np.eye(3), components=components)


def test_latent_space_labels_of_another_length():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        LatentSpaceDisplay.from_predictions(np.eye(3), [0, 1])


def test_density_is_behind_the_points_of_each_panel():
    Z = np.random.default_rng(0).normal(size=(200, 3))
    display = LatentSpaceDisplay.from_predictions(Z, density=True)
    assert [contours.axes for contours in display.densities_] == list(display.axes_)
    assert all(c.get_zorder() < s.get_zorder() for c, s in zip(display.densities_, display.scatters_, strict=True))
    assert LatentSpaceDisplay.from_predictions(Z).densities_ == []


@pytest.mark.parametrize("n_components", [2, 3])
def test_names_of_classes_are_at_their_middle_row(n_components):
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b"], 100)
    Z = rng.normal(size=(100, n_components)) + 20 * (labels == "b")[:, None]
    Z[np.argmax(labels == "a")] = 1e3
    display = LatentSpaceDisplay.from_predictions(Z, labels, label_classes=True)
    assert [text.get_text() for text in display.texts_] == ["a", "b"] * len(display.axes_)
    assert [text.axes for text in display.texts_] == list(np.repeat(display.axes_, 2))
    for text, label in zip(display.texts_[:2], "ab", strict=True):
        rows = Z[labels == label][:, :2]
        assert (text.get_position() == rows).all(axis=1).any()
        assert np.linalg.norm(text.get_position() - np.median(rows, axis=0)) < 0.5
        assert text.get_path_effects()
    assert display.legend_ is None


def test_names_of_classes_with_two_clusters_are_on_one_of_them():
    Z = np.array([[0.0, 0.0], [0.0, 1.0], [10.0, 0.0], [10.0, 1.0]])
    (text,) = LatentSpaceDisplay.from_predictions(Z, list("aaaa"), label_classes=True).texts_
    assert text.get_position() in [tuple(row) for row in Z]


def test_legend_beside_names_of_classes_has_unlabelled_rows_only(few_labels):
    Z = FRAME.to_numpy()[:, :2]
    display = LatentSpaceDisplay.from_predictions(Z, few_labels, label_classes=True)
    assert legend(display.ax_) == ["unlabelled (-1)"]
    assert {text.get_text() for text in display.texts_} == {"setosa", "versicolor", "virginica"}


@pytest.mark.parametrize(
    ("y", "came"), [(None, "none"), (np.linspace(0, 1, 9), "continuous values"), (np.full(9, -1), "none")]
)
def test_names_need_classes(y, came):
    with pytest.raises(ValueError, match=f"expected classes in y for label_classes=True, got {came}; pass"):
        LatentSpaceDisplay.from_predictions(np.random.default_rng(0).normal(size=(9, 2)), y, label_classes=True)


@pytest.mark.parametrize("name", ["density", "label_classes", "equal_aspect"])
def test_options_that_are_neither_true_nor_false(name):
    with pytest.raises(ValueError, match=f"expected {name} to be True or False, got 'yes'"):
        LatentSpaceDisplay.from_predictions(np.eye(3), list("abc"), **{name: "yes"})


def lengths_of_units(ax):
    ax.figure.draw_without_rendering()
    return np.diff(ax.transData.transform([(0, 0), (1, 1)]), axis=0)[0]


@pytest.mark.parametrize("objective", ["neighbors", NeighborEmbedding(n_neighbors=5)])
def test_units_of_maps_have_one_length_on_both_axes(objective):
    vae = VAETransformer(2, objective=objective, **TINY).fit(FRAME)
    display = LatentSpaceDisplay.from_estimator(vae, FRAME, density=True)
    assert display.equal_aspect
    x, y = lengths_of_units(display.ax_)
    assert x == pytest.approx(y)
    free = LatentSpaceDisplay.from_estimator(vae, FRAME, equal_aspect=False)
    assert free.ax_.get_aspect() == "auto" and not free.equal_aspect


def test_units_of_other_components_may_differ(table):
    assert LatentSpaceDisplay.from_estimator(table, FRAME).ax_.get_aspect() == "auto"
    x, y = lengths_of_units(LatentSpaceDisplay.from_estimator(table, FRAME, equal_aspect=True).ax_)
    assert x == pytest.approx(y)


def test_units_of_pairs_have_one_length_on_given_axes():
    Z = np.random.default_rng(0).normal(size=(60, 3)) * [1, 5, 20]
    ax = plt.subplots(1, 2, figsize=(9, 3))[1][0]
    for panel in LatentSpaceDisplay.from_predictions(Z, equal_aspect=True, ax=ax).axes_:
        assert np.diff(lengths_of_units(panel)) == pytest.approx(0, abs=1e-6)
        assert np.diff(panel.get_xlim()) == pytest.approx(np.diff(panel.get_ylim()))


def test_map_has_room_for_rows_that_are_drawn_later():
    Z = np.random.default_rng(0).normal(size=(60, 2))
    first = LatentSpaceDisplay.from_predictions(Z, equal_aspect=True)
    LatentSpaceDisplay.from_predictions(Z + np.array([0, 9]), equal_aspect=True, ax=first.ax_)
    low, high = first.ax_.get_ylim()
    assert low < Z[:, 1].min() and high > Z[:, 1].max() + 9
    assert np.diff(lengths_of_units(first.ax_)) == pytest.approx(0, abs=1e-6)


def test_map_keeps_the_aspect_of_an_image(images):
    traversal = TraversalDisplay.from_estimator(images, IMAGES, n_steps=3)
    aspect = traversal.ax_.get_aspect()
    assert aspect != 1
    LatentSpaceDisplay.from_estimator(images, IMAGES, equal_aspect=True, ax=traversal.ax_)
    assert traversal.ax_.get_aspect() == aspect


def test_points_are_smaller_the_more_there_are():
    sizes = []
    for n_rows in (50, 1000, 60000):
        scatter = LatentSpaceDisplay.from_predictions(np.random.default_rng(0).normal(size=(n_rows, 2))).scatters_[0]
        sizes.append(scatter.get_sizes()[0])
        width, height = scatter.axes.get_window_extent().size * 72 / scatter.axes.figure.dpi
        assert n_rows * sizes[-1] < 0.21 * width * height
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 20 and sizes[-1] > 0.2
