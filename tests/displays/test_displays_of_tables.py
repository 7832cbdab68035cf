"""Tables of categories, booleans and counts: shares, probabilities and logarithms."""

import numpy as np
import pandas as pd
import pytest
from drawn import FRAME, TINY, legend, ticks
from sklearn.metrics import mean_poisson_deviance
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from tables import mixed_frame

from sklearn_vae import VAEClassifier, VAEImputer, VAETransformer
from sklearn_vae.displays import LatentSpaceDisplay, ReconstructionDisplay, SamplesDisplay, TraversalDisplay
from sklearn_vae.likelihoods import Columns, Poisson

OF_ROWS = [LatentSpaceDisplay, ReconstructionDisplay, SamplesDisplay, TraversalDisplay]
LABELS = ["income", "age", "member", "city = Bonn", "city = Oslo", "city = Rome"]
LABELS += [f"grade = {name}" for name in ["low", "mid", "high", "top"]]


@pytest.fixture(scope="module")
def frame():
    return mixed_frame(gaps=True)


@pytest.fixture(scope="module")
def mixed(frame):
    return VAETransformer(3, **TINY).fit(frame)


def counts(n=120, seed=0):
    rng = np.random.default_rng(seed)
    return rng.poisson(np.exp(rng.normal(size=(n, 1)) * [1, -1, 0.5, 1] + [0, 1, 3, 4]))


def heights(bars):
    return np.array([bar.get_height() for bar in bars])


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("display", OF_ROWS)
@pytest.mark.parametrize("estimator", [VAETransformer, VAEImputer])
def test_displays_of_rows_draw_mixed_frames(display, estimator, library):
    X = mixed_frame(library, gaps=True)
    drawn = display.from_estimator(estimator(2, **TINY).fit(X), X)
    drawn.figure_.draw_without_rendering()
    assert all(ax.has_data() for ax in drawn.figure_.axes if ax.axison)


def test_reconstruction_of_categories_is_the_brier_score_over_that_of_shares():
    X = np.repeat(np.eye(3), [5, 3, 2], axis=0)
    shares = np.tile(X.mean(axis=0), (10, 1))
    half = 0.5 * (X + shares)
    for reconstructed, error in [(shares, 1), (X, 0), (half, 0.5)]:
        display = ReconstructionDisplay(X=X, X_reconstructed=reconstructed, feature_names=["class"], block_sizes=[3])
        np.testing.assert_allclose(heights(display.plot().bars_), [error])
    assert legend(display.ax_) == ["predicting the column's mean or shares"]


def test_reconstruction_of_a_frame_has_a_bar_per_column_and_probabilities(frame, mixed):
    display = ReconstructionDisplay.from_estimator(mixed, frame)
    assert ticks(display.ax_.xaxis) == list(frame.columns)
    assert list(display.block_sizes) == [1, 1, 1, 3, 4]
    back = display.X_reconstructed
    np.testing.assert_allclose(back[:, 3:6].sum(axis=1), 1)
    np.testing.assert_allclose(back[:, 6:].sum(axis=1), 1)
    decoded = mixed.inverse_transform(mixed.transform(frame))
    np.testing.assert_allclose(back[:, 0], decoded["income"])
    np.testing.assert_array_equal(np.array(["Bonn", "Oslo", "Rome"])[back[:, 3:6].argmax(axis=1)], decoded["city"])
    assert ((back[:, 2] > 0) & (back[:, 2] < 1)).all()
    observed = frame["city"].notna().to_numpy()
    X = pd.get_dummies(frame["city"]).to_numpy(dtype=float)[observed]
    error = np.square(back[observed, 3:6] - X).mean(axis=0).sum() / X.var(axis=0).sum()
    np.testing.assert_allclose(heights(display.bars_)[3], np.sqrt(error))


def test_reconstruction_error_of_counts_is_their_deviance():
    X = counts()
    vae = VAETransformer(2, likelihood="poisson", **TINY).fit(X)
    display = ReconstructionDisplay.from_estimator(vae, X)
    back = vae.inverse_transform(vae.transform(X))
    expected = [
        mean_poisson_deviance(X[:, j], back[:, j]) / mean_poisson_deviance(X[:, j], np.full(len(X), X[:, j].mean()))
        for j in range(4)
    ]
    np.testing.assert_allclose(heights(display.bars_), np.sqrt(expected))
    assert "deviance" in display.ax_.get_ylabel()


@pytest.mark.parametrize("likelihood", ["multinomial", Poisson(library_size=True)])
def test_reconstruction_of_counts_given_their_totals_has_these_totals(likelihood):
    X = counts()
    vae = VAETransformer(2, likelihood=likelihood, **TINY).fit(X)
    display = ReconstructionDisplay.from_estimator(vae, X)
    np.testing.assert_allclose(display.X_reconstructed.sum(axis=1), X.sum(axis=1), rtol=1e-6)
    back = vae.inverse_transform(vae.transform(X))
    ratio = display.X_reconstructed / back
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-6)


def test_reconstruction_of_columns_of_counts_and_numbers_says_what_errors_are():
    X = mixed_frame().assign(visits=counts(150)[:, 0])[["income", "visits", "city"]]
    vae = VAETransformer(2, likelihood=Columns([("visits", Poisson(), ["visits"])]), **TINY).fit(X)
    display = ReconstructionDisplay.from_estimator(vae, X)
    assert display.ax_.get_ylabel().endswith("(counts: of deviance)")
    assert display.kinds == ["number", "count", *["probability"] * 3]
    label = TraversalDisplay.from_estimator(vae, X).colorbar_.ax.get_ylabel()
    assert label.endswith("(counts: of log(1 + count))")


def test_traversal_along_components_draws_probabilities_with_colours_of_their_own(frame, mixed):
    display = TraversalDisplay.from_estimator(mixed, frame, n_steps=4, image_kwargs={"cmap": "PiYG", "alpha": 0.9})
    assert ticks(display.ax_.yaxis) == LABELS
    numbers, shares = display.images_
    assert np.isnan(np.ma.filled(numbers.get_array(), np.nan)[2:]).all()
    image = np.ma.filled(shares.get_array(), np.nan)
    assert np.isnan(image[:2]).all()
    np.testing.assert_allclose(image[3:6, :4].sum(axis=0), 1)
    np.testing.assert_allclose(image[2, :4], display.decoded[0, :, 2])
    assert shares.get_clim() == (0, 1) and shares.get_cmap().name == "viridis" and shares.get_alpha() == 0.9
    assert numbers.get_cmap().name == "PiYG"
    assert display.probability_colorbar_.ax.get_ylabel() == "probability"
    assert display.colorbar_.mappable is numbers


def test_traversal_over_a_plane_draws_probabilities_with_colours_of_their_own(frame):
    vae = VAETransformer(2, **TINY).fit(frame)
    display = TraversalDisplay.from_estimator(vae, frame, n_steps=3)
    assert [panel.get_title() for panel in display.axes_] == LABELS
    ranges = {image.get_clim() for image in display.images_[2:]}
    assert ranges == {(0, 1)}
    low, high = display.images_[0].get_clim()
    assert low == -high and display.images_[1].get_clim() == (low, high)
    np.testing.assert_allclose(display.images_[4].get_array(), display.decoded[..., 4])
    assert display.colorbar_ is not None and display.probability_colorbar_ is not None


def test_traversal_of_categories_only_has_one_colour_bar():
    X = mixed_frame()[["city", "grade"]]
    for n_components in (2, 3):
        display = TraversalDisplay.from_estimator(VAETransformer(n_components, **TINY).fit(X), X)
        assert display.colorbar_ is None and display.probability_colorbar_ is not None


def test_traversal_of_counts_is_on_the_scale_of_logarithms():
    X = counts()
    vae = VAETransformer(3, likelihood="poisson", **TINY).fit(X)
    display = TraversalDisplay.from_estimator(vae, X, n_steps=4)
    expected = (np.log1p(display.decoded[0]) - np.log1p(X.mean(axis=0))) / np.log1p(X).std(axis=0)
    np.testing.assert_allclose(display.images_[0].get_array()[:, :4], expected.T)
    assert display.colorbar_.ax.get_ylabel() == "standard deviations of log(1 + count)\nfrom the column's mean"


def test_samples_of_a_frame_are_boxes_of_numbers_and_bars_of_shares(frame, mixed):
    display = SamplesDisplay.from_estimator(mixed, frame, n_samples=300, random_state=0)
    drawn = mixed.sample(300, random_state=0)
    boxes, bars = display.axes_
    assert ticks(boxes.xaxis) == LABELS[:2] and ticks(bars.xaxis) == LABELS[2:]
    shares = frame["city"].value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(heights(display.bars_["data"])[1:4], shares)
    np.testing.assert_allclose(heights(display.bars_["samples"])[0], drawn["member"].mean())
    medians = [line.get_ydata()[0] for line in display.boxes_["samples"]["medians"]]
    np.testing.assert_allclose(
        medians[0], (drawn["income"].median() - frame["income"].mean()) / frame["income"].std(ddof=0)
    )
    assert legend(bars) == ["data", "samples"]


def test_samples_of_a_frame_by_class(frame):
    y = (frame["age"] > 40).to_numpy().astype(int)
    vae = VAEClassifier(2, **TINY).fit(frame, y)
    display = SamplesDisplay.from_estimator(vae, frame, y, n_samples=50, bar_kwargs={"alpha": 0.5})
    assert list(display.bars_) == [("data", 0), ("samples", 0), ("data", 1), ("samples", 1)] == list(display.boxes_)
    np.testing.assert_allclose(heights(display.bars_["data", 1])[0], frame["member"][y == 1].mean())
    assert display.bars_["data", 1][0].get_alpha() == 0.5


def test_samples_of_zeros_and_ones_are_bars_only():
    X = counts() > 2
    vae = VAETransformer(2, likelihood="bernoulli", **TINY).fit(X)
    display = SamplesDisplay.from_estimator(vae, X)
    assert display.boxes_ is None and list(display.axes_) == [display.ax_]
    np.testing.assert_allclose(heights(display.bars_["data"]), X.mean(axis=0))


def test_samples_of_counts_are_on_the_scale_of_logarithms():
    X = counts()
    vae = VAETransformer(2, likelihood="negative_binomial", **TINY).fit(X)
    display = SamplesDisplay.from_estimator(vae, X)
    medians = [line.get_ydata()[0] for line in display.boxes_["data"]["medians"]]
    logs = np.log1p(X)
    np.testing.assert_allclose(medians, np.median((logs - logs.mean(axis=0)) / logs.std(axis=0), axis=0))
    assert display.bars_ is None


@pytest.mark.parametrize("display", [ReconstructionDisplay, SamplesDisplay, TraversalDisplay])
def test_columns_without_a_value_are_drawn_without_a_warning(display):
    X = mixed_frame().assign(number=np.nan, text=pd.Series([None] * 150, dtype=object))
    drawn = display.from_estimator(VAETransformer(3, **TINY).fit(X), X)
    names = list(drawn.feature_names)
    assert "number" in names and "text" not in names
    drawn.figure_.draw_without_rendering()


def test_feature_names_of_a_frame_are_given_for_its_columns(frame, mixed):
    names = ["a", "b", "c", "d", "e"]
    assert ReconstructionDisplay.from_estimator(mixed, frame, feature_names=names).feature_names == names
    labels = TraversalDisplay.from_estimator(mixed, frame, feature_names=names).feature_names
    assert labels[:4] == ["a", "b", "c", "d = Bonn"]
    with pytest.raises(ValueError, match="one name for each of 5 columns, got 1"):
        SamplesDisplay.from_estimator(mixed, frame, feature_names=["a"])


def test_steps_before_a_table_are_not_undone(frame):
    older, younger = (lambda X, change=change: X.assign(age=X["age"] + change) for change in (1, -1))
    older = FunctionTransformer(older, younger, check_inverse=False)
    pipeline = make_pipeline(older, VAETransformer(2, **TINY)).fit(frame)
    display = ReconstructionDisplay.from_estimator(pipeline, frame)
    np.testing.assert_array_equal(display.X[:, 1], frame["age"] + 1)


def test_pipeline_of_an_imputer_and_a_transformer_is_drawn_after_the_imputer(frame):
    pipeline = make_pipeline(VAEImputer(3, **TINY), VAETransformer(2, **TINY)).fit(frame)
    np.testing.assert_allclose(LatentSpaceDisplay.from_estimator(pipeline, frame).Z, pipeline.transform(frame))
    assert not np.isnan(ReconstructionDisplay.from_estimator(pipeline, frame).X).any()


def test_kinds_do_not_hold_where_steps_are_undone():
    X = counts()
    halves = FunctionTransformer(lambda X: 2 * X, lambda X: X / 2)
    display = ReconstructionDisplay.from_estimator(
        make_pipeline(halves, VAETransformer(2, likelihood="poisson", **TINY)).fit(X), X
    )
    assert display.kinds is None
    np.testing.assert_array_equal(display.X, X)


def test_nullable_integers_of_a_pipeline_are_numbers_with_gaps():
    X = FRAME.assign(count=pd.array(np.arange(150) // 10, dtype="Int64"))
    X.loc[3, "count"] = pd.NA
    pipeline = make_pipeline(StandardScaler(), VAETransformer(2, **TINY)).fit(X)
    for display in (ReconstructionDisplay, SamplesDisplay, TraversalDisplay):
        assert np.isnan(display.from_estimator(pipeline, X).X[3, 4])


def test_kinds_of_another_number_of_columns():
    with pytest.raises(ValueError, match="kinds to have one entry for each of 2 columns, got 1"):
        SamplesDisplay(X_sampled=np.zeros((3, 2)), kinds=["count"]).plot()


def test_categories_as_given_predictions():
    X = mixed_frame()
    with pytest.raises(ValueError, match="expected rows of numbers or booleans, .* from_estimator, which draws"):
        ReconstructionDisplay.from_predictions(X, X)
