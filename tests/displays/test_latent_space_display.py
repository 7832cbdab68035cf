"""The points that it draws."""

import numpy as np
import pytest
from drawn import FRAME, SPECIES, legend

from sklearn_vae.displays import (
    LatentSpaceDisplay,
)


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
