"""The images and boxes that it draws."""

import numpy as np
import pytest
from drawn import FRAME, IMAGES, SPECIES, legend, ticks, tiles

from sklearn_vae.displays import (
    SamplesDisplay,
)


def test_samples_of_images(images):
    display = SamplesDisplay.from_estimator(images, n_samples=12, random_state=3)
    drawn = tiles(display.image_, 2, 10)
    expected = images[:2].inverse_transform(images[2].sample(12, random_state=3, noise=False))
    np.testing.assert_allclose(drawn.reshape(20, 8, 8)[:12], expected)
    assert np.isnan(drawn.reshape(20, 8, 8)[12:]).all()
    np.testing.assert_allclose(display.image_.get_clim(), np.percentile(expected, [1, 99]))
    display = SamplesDisplay.from_estimator(images, IMAGES, n_samples=12)
    assert display.image_.get_clim() == (0, 16)
    display = SamplesDisplay.from_estimator(images, n_samples=12, random_state=3, noise=True)
    expected = images[:2].inverse_transform(images[2].sample(12, random_state=3))
    np.testing.assert_allclose(tiles(display.image_, 2, 10).reshape(20, 8, 8)[:12], expected)


def test_samples_of_images_by_class(image_classifier):
    vae = image_classifier.best_estimator_[-1]
    display = SamplesDisplay.from_estimator(image_classifier, classes=[1, 0], n_samples=3, random_state=1)
    expected, labels = vae.sample(y=[1, 1, 1, 0, 0, 0], random_state=1, noise=False)
    np.testing.assert_allclose(tiles(display.image_, 2, 3), expected.reshape(2, 3, 8, 8))
    np.testing.assert_array_equal(display.y_sampled, labels)
    assert ticks(display.ax_.yaxis) == ["1", "0"]
    every = SamplesDisplay.from_estimator(image_classifier)
    np.testing.assert_array_equal(every.y_sampled, np.repeat([0, 1], 10))
    mixed = SamplesDisplay.from_estimator(image_classifier, classes=None)
    assert mixed.y_sampled is None and len(mixed.X_sampled) == 40


def medians(boxes):
    return [line.get_ydata()[0] for line in boxes["medians"]]


def test_samples_of_a_table_beside_the_data(table):
    display = SamplesDisplay.from_estimator(table, FRAME, random_state=0)
    X = FRAME.to_numpy()
    drawn = table[0].inverse_transform(table[1].sample(1000, random_state=0))
    for key, rows in {"data": X, "samples": drawn}.items():
        np.testing.assert_allclose(medians(display.boxes_[key]), np.median((rows - X.mean(0)) / X.std(0), axis=0))
    whiskers = [line.get_ydata()[1] for line in display.boxes_["data"]["whiskers"]]
    for column, (low, high) in enumerate(np.reshape(whiskers, (4, 2))):
        inside = (FRAME.iloc[:, column] - X.mean(0)[column]) / X.std(0)[column]
        assert np.mean((inside >= low) & (inside <= high)) == pytest.approx(0.9, abs=0.05)
    assert legend(display.ax_) == ["data", "samples"]
    assert ticks(display.ax_.xaxis) == list(FRAME.columns)


def test_samples_of_a_table_by_class(classifier):
    display = SamplesDisplay.from_estimator(classifier, FRAME, SPECIES, n_samples=20, random_state=0)
    assert len(display.boxes_) == 6
    X = FRAME.to_numpy()
    standard = (X[SPECIES == "virginica"] - X.mean(0)) / X.std(0)
    np.testing.assert_allclose(medians(display.boxes_["data", "virginica"]), np.median(standard, axis=0))
    drawn, labels = classifier[1].sample(y=np.repeat(np.unique(SPECIES), 20), random_state=0)
    standard = (classifier[0].inverse_transform(drawn)[labels == "setosa"] - X.mean(0)) / X.std(0)
    np.testing.assert_allclose(medians(display.boxes_["samples", "setosa"]), np.median(standard, axis=0))
    assert legend(display.ax_)[:2] == ["setosa, data", "setosa, samples"]
    places = [float(np.mean(boxes["medians"][0].get_xdata())) for boxes in display.boxes_.values()]
    assert np.all(np.diff(places) > 0) and places[0] > -0.5 and places[-1] < 0.5


def test_samples_of_a_table_without_labels_or_without_data(classifier):
    display = SamplesDisplay.from_estimator(classifier, FRAME, n_samples=20)
    assert list(display.boxes_) == ["data", "samples"]
    display = SamplesDisplay.from_estimator(classifier, FRAME, classes="setosa", n_samples=20)
    assert list(display.boxes_) == ["data", ("samples", "setosa")]
    display = SamplesDisplay.from_estimator(classifier, n_samples=20)
    assert list(display.boxes_) == [("samples", label) for label in np.unique(SPECIES)]


def test_samples_of_classes_that_there_are_not(table, classifier):
    with pytest.raises(ValueError, match="classes=None for a VAETransformer, which has no classes"):
        SamplesDisplay.from_estimator(table, classes=["setosa"])
    with pytest.raises(ValueError, match=r"expected y to be of the classes .* got 'rose'"):
        SamplesDisplay.from_estimator(classifier, classes=["rose"])
