"""The heat map of the columns' shares."""

import numpy as np
import pandas as pd
import pytest
from drawn import ticks
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEOutlierDetector, VAETransformer
from sklearn_vae.displays import ExplanationDisplay


@pytest.fixture(scope="module")
def wine():
    return load_wine(as_frame=True).data


@pytest.fixture(scope="module")
def pipeline(wine):
    vae = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=3)
    return make_pipeline(StandardScaler(), VAEOutlierDetector(vae_estimator=vae, random_state=0)).fit(wine)


def test_rows_are_those_with_the_lowest_scores_and_shares_sum_to_1(pipeline, wine):
    frame = wine.set_axis([f"bottle {i}" for i in range(len(wine))])
    display = ExplanationDisplay.from_estimator(pipeline, frame, n_rows=7)
    scores = pipeline.score_samples(frame)
    np.testing.assert_array_equal(display.rows_, np.argsort(scores, kind="stable")[:7])
    shares = display.image_.get_array()
    assert shares.shape == (7, 13)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert ticks(display.ax_.xaxis) == list(wine.columns)
    lowest, mark = display.rows_[0], "" if scores.min() < pipeline[-1].offset_ else ", inlier"
    assert ticks(display.ax_.yaxis)[0] == f"bottle {lowest} ({scores.min():.1f}{mark})"


def test_rows_above_the_threshold_are_marked():
    display = ExplanationDisplay(parts=[[-1.0, -3.0], [-0.25, -0.25]], offset=-2).plot(image_kwargs={"cmap": "Blues"})
    assert ticks(display.ax_.yaxis) == ["0 (-4.0)", "1 (-0.5, inlier)"]
    assert ticks(display.ax_.xaxis) == ["x0", "x1"]
    np.testing.assert_allclose(display.image_.get_array(), [[0.25, 0.75], [0.5, 0.5]])


def test_names_can_be_given(pipeline, wine):
    names = [f"column {i}" for i in range(13)]
    display = ExplanationDisplay.from_estimator(pipeline, wine, feature_names=names)
    assert ticks(display.ax_.xaxis) == names
    with pytest.raises(ValueError, match="one name for each of 13 columns, got 2"):
        ExplanationDisplay.from_estimator(pipeline, wine, feature_names=["a", "b"])


@pytest.mark.parametrize("steps", [[], ["passthrough"]])
def test_detectors_alone_and_behind_no_transformer(pipeline, wine, steps):
    rows = pipeline[0].transform(wine)
    expected = ExplanationDisplay.from_estimator(pipeline[-1], rows)
    display = ExplanationDisplay.from_estimator(make_pipeline(*steps, pipeline[-1]), rows)
    np.testing.assert_array_equal(display.image_.get_array(), expected.image_.get_array())


@pytest.mark.parametrize("estimator", [VAETransformer(), make_pipeline(StandardScaler(), VAETransformer())])
def test_other_estimators_are_refused(estimator):
    with pytest.raises(TypeError, match="expected a VAEOutlierDetector, .* got VAETransformer"):
        ExplanationDisplay.from_estimator(estimator, pd.DataFrame({"a": [1.0]}))
