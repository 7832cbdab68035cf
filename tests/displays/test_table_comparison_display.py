"""The distributions and associations that it compares, and its panels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from drawn import FRAME, IMAGES, TINY, ticks
from scipy import sparse
from scipy.stats import chi2_contingency, ks_2samp, spearmanr
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from tables import LIBRARIES, adult_like, mixed_frame

from sklearn_vae import VAEImputer, VAETransformer
from sklearn_vae.displays import TableComparisonDisplay
from sklearn_vae.displays._associations import associations
from sklearn_vae.displays._column_comparison import MAX_BINS, bin_edges

compare = TableComparisonDisplay.from_frames


def named(display):
    return {column.name: column for column in display.columns}


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_table_beside_itself_shows_no_difference(library):
    X = mixed_frame(library, gaps=True)
    display = compare(X, X)
    assert [column.name for column in display.columns] == list(X.columns)
    for column in display.columns:
        np.testing.assert_array_equal(column.data, column.samples)
        assert column.data.sum() == pytest.approx(1) and column.distance == 0
    np.testing.assert_array_equal(display.associations, display.associations_sampled)
    assert not display.images_[2].get_array().any()
    assert display.images_[2].axes.get_title() == "samples - data (mean size 0.00)"


def test_shuffled_columns_have_the_same_distributions_and_no_association():
    X = mixed_frame(n=2000)
    rng = np.random.default_rng(0)
    shuffled = pd.DataFrame({name: rng.permutation(X[name]) for name in X}).astype(X.dtypes)
    display = compare(X, shuffled)
    assert all(column.distance == 0 for column in display.columns)
    below = np.tril_indices(5, -1)
    assert display.associations[below].min() > 0.5
    assert display.associations_sampled[below].max() < 0.1


def test_rows_in_another_order_are_the_same_table():
    X = mixed_frame(gaps=True)
    display = compare(X, X.sample(frac=1, random_state=0))
    assert all(column.distance == 0 for column in display.columns)
    np.testing.assert_allclose(display.associations, display.associations_sampled)


def test_shares_of_categories_leave_missing_cells_out_and_include_those_of_samples_only():
    X = pd.DataFrame({"city": ["Oslo", "Oslo", "Rome", None], "member": [True, False, True, True]})
    Y = pd.DataFrame({"member": [True, True], "city": ["Paris", "Oslo"]})
    columns = named(compare(X, Y))
    assert columns["city"].categories == ["Oslo", "Rome", "Paris"]
    np.testing.assert_allclose(columns["city"].data, [2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(columns["city"].samples, [1 / 2, 0, 1 / 2])
    assert columns["city"].distance == pytest.approx(0.5)
    assert columns["member"].categories == ["False", "True"] and columns["member"].distance == pytest.approx(0.25)


def test_histograms_of_numbers_hold_all_observed_cells_in_common_bins():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=500), rng.normal(1, 2, size=300)
    x[::7] = np.nan
    column = compare(x[:, None], y[:, None]).columns[0]
    observed = x[~np.isnan(x)]
    np.testing.assert_allclose(column.data, np.histogram(observed, column.edges)[0] / len(observed))
    np.testing.assert_allclose(column.samples, np.histogram(y, column.edges)[0] / len(y))
    assert column.data.sum() == pytest.approx(1) and column.samples.sum() == pytest.approx(1)
    assert column.distance == pytest.approx(ks_2samp(observed, y).statistic)
    assert column.categories == [] and column.linear_width is None


@pytest.mark.parametrize(("low", "high"), [(0, 9), (-3, 26), (10, 400), (-100, 5)])
def test_bins_of_integers_hold_as_many_integers_each(low, high):
    data = np.r_[low, high, np.random.default_rng(0).integers(low, high + 1, 200)].astype(float)
    edges, linear_width = bin_edges(data, data + 0.3)
    widths = np.diff(edges)
    assert linear_width is None and len(widths) <= MAX_BINS
    np.testing.assert_array_equal(widths, widths[0])
    assert (edges % 1 == 0.5).all() and widths[0] % 1 == 0
    assert edges[0] < low and edges[-1] > high + 0.3
    assert (widths[0] == 1) == (high - low < MAX_BINS)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("is_integer", [True, False])
def test_numbers_with_a_long_tail_have_logarithmic_bins(is_integer, sign):
    rng = np.random.default_rng(0)
    data = sign * np.exp(rng.normal(size=400) * 2 + 2) * (rng.random(400) < 0.7)
    data = np.rint(data) if is_integer else data
    samples = rng.normal(size=300) * 100
    column = compare(data[:, None], samples[:, None]).columns[0]
    assert (column.linear_width == 1) == is_integer
    assert column.data.sum() == pytest.approx(1) and column.samples.sum() == pytest.approx(1)
    scale = np.sign(column.edges) * np.log1p(np.abs(column.edges) / column.linear_width)
    assert np.ptp(np.diff(scale)) < (1 if is_integer else 1e-6)
    display = compare(data[:, None], samples[:, None])
    assert display.axes_[0].get_xscale() == "symlog"
    low, high = column.edges[[0, -1]]
    assert 0 in display.axes_[0].get_xticks() and all(low <= tick <= high for tick in display.axes_[0].get_xticks())


def test_bins_of_huge_and_of_equal_numbers():
    for data in ([2.0**60, 2.0**61], [3.5, 3.5], [2.0**60], [4.0]):
        edges, _ = bin_edges(np.array(data), np.array(data))
        assert np.histogram(data, edges)[0].sum() == len(data)


def test_columns_without_a_value_have_no_distance():
    X = pd.DataFrame(
        {"number": [np.nan] * 4, "text": pd.Series([None] * 4, dtype=object), "full": [1.0, 2.0, 3.0, 4.0]}
    )
    display = compare(X, X)
    for column in display.columns[:2]:
        assert np.isnan(column.distance) and not column.data.any()
    assert np.isnan(display.associations[0, 2]) and display.associations[0, 0] == 1
    assert display.axes_[0].get_title(loc="right") == "no values"
    # The text has a value in the samples only.
    column = named(compare(X, X.assign(text=["a", "b", "b", None])))["text"]
    assert column.categories == ["a", "b"] and not column.data.any() and np.isnan(column.distance)
    np.testing.assert_allclose(column.samples, [1 / 3, 2 / 3])


def test_associations_of_functions_are_one_and_of_independent_columns_zero():
    a, b = (codes.ravel().astype(float) for codes in np.meshgrid(range(4), range(6)))
    columns = [a, b, np.exp(a), -(a**3), 2 * b, a % 2, (b > 2).astype(float), np.full(24, 5.0)]
    is_category = [True, True, False, False, False, True, True, True]
    matrix = associations(columns, is_category)
    expected = np.zeros((8, 8))
    for group in ([0, 2, 3], [1, 4], [0, 5], [1, 6]):
        expected[np.ix_(group, group)] = 1
    np.fill_diagonal(expected, 1)
    for i, j in np.argwhere(expected == 1):
        # A coarser category is a function of a finer one, for Cramér's V.
        assert matrix[i, j] == pytest.approx(1)
    for i, j in [(0, 1), (0, 4), (2, 4), (3, 1), (5, 6), (6, 0), (7, 0), (7, 2)]:
        assert matrix[i, j] == pytest.approx(0, abs=1e-7)
    np.testing.assert_array_equal(matrix, matrix.T)


def test_associations_equal_their_definitions_on_rows_with_both_cells():
    X = mixed_frame(n=300, gaps=True)
    display = compare(X, X)
    names = list(X.columns)
    both = X["income"].notna()
    rho = spearmanr(X["income"][both], X["age"][both]).statistic
    assert display.associations[0, 1] == pytest.approx(abs(rho))
    both = X["income"].notna() & X["city"].notna()
    ranks = X["income"][both].rank()
    between = ranks.groupby(X["city"][both]).transform("mean")
    assert display.associations[0, names.index("city")] == pytest.approx(np.sqrt(between.var() / ranks.var()))
    table = pd.crosstab(X["city"], X["grade"])
    chi2 = chi2_contingency(table, correction=False).statistic
    v = np.sqrt(chi2 / table.to_numpy().sum() / (min(table.shape) - 1))
    assert display.associations[names.index("city"), names.index("grade")] == pytest.approx(v)


def test_from_estimator_compares_as_many_samples_as_rows():
    X = mixed_frame(gaps=True)
    vae = VAETransformer(2, **TINY).fit(X)
    display = TableComparisonDisplay.from_estimator(vae, X, random_state=3)
    expected = compare(X, vae.sample(150, random_state=3))
    for column, other in zip(display.columns, expected.columns, strict=True):
        np.testing.assert_array_equal(column.samples, other.samples)
    np.testing.assert_array_equal(display.associations_sampled, expected.associations_sampled)
    few = TableComparisonDisplay.from_estimator(vae, X, n_samples=10, random_state=3)
    assert {round(share * 10, 6) % 1 for share in named(few)["member"].samples} == {0}


def test_from_estimator_of_a_pipeline_compares_data_before_steps_that_are_undone(table, classifier):
    for pipeline in (table, classifier):
        display = TableComparisonDisplay.from_estimator(pipeline, FRAME, random_state=0)
        drawn = pipeline[-1].sample(150, random_state=0)
        drawn = pipeline[0].inverse_transform(drawn[0] if isinstance(drawn, tuple) else drawn)
        expected = compare(FRAME, drawn)
        assert [column.name for column in display.columns] == list(FRAME.columns)
        for column, other in zip(display.columns, expected.columns, strict=True):
            np.testing.assert_array_equal(column.samples, other.samples)
            assert (column.edges[0], column.distance) == (other.edges[0], other.distance)


def test_from_estimator_of_a_pipeline_that_ends_in_a_table():
    X = mixed_frame()
    pipeline = make_pipeline(FunctionTransformer(lambda X: X.drop(columns="city")), VAEImputer(2, **TINY)).fit(X)
    display = TableComparisonDisplay.from_estimator(pipeline, X)
    assert [column.name for column in display.columns] == ["income", "age", "member", "grade"]


def test_columns_are_chosen_by_name_or_position():
    X = mixed_frame()
    display = compare(X, X, columns=["grade", 0, np.int64(-3)])
    assert [column.name for column in display.columns] == ["grade", "income", "member"]
    assert display.associations.shape == (3, 3)
    for wrong in ("street", 5, 1.5):
        with pytest.raises(ValueError, match="names or positions of 'income', 'age', 'member' and 2 more, got"):
            compare(X, X, columns=[wrong])
    with pytest.raises(ValueError, match="expected at least one column to compare"):
        compare(X, X, columns=[])


def test_columns_that_differ_most_are_drawn_of_many():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 25))
    display = compare(X, X + np.arange(25) % 5)
    assert len(display.columns) == 20
    assert [column.name for column in display.columns] == [f"x{i}" for i in range(25) if i % 5]
    assert display.associations.shape == (20, 20)


def test_panels_show_shares_and_histograms():
    X = adult_like(300)
    Y = adult_like(300, seed=1)
    display = compare(X, Y)
    columns, panels = named(display), dict(zip(X.columns, display.axes_, strict=True))
    bars = [bar.get_height() for bar in panels["relation"].patches]
    np.testing.assert_allclose(bars, np.r_[columns["relation"].data, columns["relation"].samples])
    assert ticks(panels["relation"].xaxis) == columns["relation"].categories
    filled, outline = panels["age"].patches
    np.testing.assert_array_equal(filled.get_data().values, columns["age"].data)
    np.testing.assert_array_equal(outline.get_data().values, columns["age"].samples)
    np.testing.assert_array_equal(filled.get_data().edges, columns["age"].edges)
    # Of 17 levels, eleven have bars, and the others one.
    labels = ticks(panels["education"].xaxis)
    bars = np.reshape([bar.get_height() for bar in panels["education"].patches], (2, 12))
    assert len(labels) == 12 and labels[-1].endswith("others")
    np.testing.assert_allclose(bars.sum(axis=1), 1)
    assert panels["age"].get_title(loc="right") == f"KS {columns['age'].distance:.2f}"
    assert panels["rich"].get_title(loc="right") == f"TV {columns['rich'].distance:.2f}"
    assert [text.get_text() for text in display.legend_.get_texts()] == ["data", "samples"]


def test_heat_maps_show_associations_and_their_difference():
    X, Y = mixed_frame(), mixed_frame(seed=1)
    display = compare(X, Y, kind="pairs", image_kwargs={"alpha": 0.9})
    data, samples, difference = (np.asarray(image.get_array()) for image in display.images_)
    np.testing.assert_array_equal(data, display.associations)
    np.testing.assert_array_equal(samples, display.associations_sampled)
    np.testing.assert_array_equal(difference, samples - data)
    assert [image.get_clim() for image in display.images_[:2]] == [(0, 1)] * 2
    low, high = display.images_[2].get_clim()
    assert low == -high and high >= np.abs(difference).max()
    assert ticks(display.images_[0].axes.yaxis) == list(X.columns)
    assert display.images_[2].axes.texts[0].get_text() == f"{np.round(difference[1, 0], 2) + 0.0:+.2f}"
    assert len(display.colorbars_) == 2 and len(display.axes_) == 0 and display.legend_ is None


@pytest.mark.parametrize("kind", ["columns", "pairs", "both"])
def test_panels_are_drawn_in_given_axes(kind):
    X = mixed_frame()
    figure, axes = plt.subplots(1, 2)
    display = compare(X, X, kind=kind, ax=axes[1], bar_kwargs={"alpha": 0.5}, stairs_kwargs={"alpha": 0.5})
    assert display.ax_ is axes[1] and display.figure_ is figure
    left = axes[1].get_position().x0
    panels = [*display.axes_, *(image.axes for image in display.images_)]
    assert len(panels) == {"columns": 5, "pairs": 3, "both": 8}[kind]
    assert all(panel.get_position().x0 >= left - 1e-9 for panel in panels)
    # Axes that are no subplot.
    ax = plt.figure().add_axes((0.3, 0.2, 0.6, 0.7))
    display = compare(X, X, kind=kind, ax=ax)
    panel = display.axes_[0] if kind != "pairs" else display.images_[0].axes
    assert panel.get_position().x0 == pytest.approx(0.3) and panel.get_position().y1 == pytest.approx(0.9)
    with pytest.raises(ValueError, match="kind to be one of .* got 'all'"):
        display.plot(kind="all")


def test_titles_and_labels_are_short():
    X = pd.DataFrame({"a name that is longer than a panel is": ["the first category", "the second category"] * 5})
    panel = compare(X, X).axes_[0]
    assert panel.get_title(loc="left") == "a name tha…a panel is"
    assert ticks(panel.xaxis) == ["the f…egory", "the s…egory"]


def test_tables_that_cannot_be_compared(autoencoder):
    X = mixed_frame()
    with pytest.raises(ValueError, match="samples with the 5 columns of the data, got 4 without 'city'"):
        compare(X, X.drop(columns="city"))
    with pytest.raises(ValueError, match="samples with the 4 columns of the data, got 3"):
        compare(FRAME, FRAME.to_numpy()[:, :3])
    with pytest.raises(ValueError, match="samples of the categories of column 'city', got an array"):
        compare(X[["city"]], np.zeros((3, 1)))
    with pytest.raises(ValueError, match="expected column 'age' to hold integers"):
        compare(X, X.assign(age="old"))
    with pytest.raises(TypeError, match="column 'day' of dtype datetime64"):
        compare(*[pd.DataFrame({"day": pd.to_datetime(["2024-01-01", "2024-01-02"])})] * 2)
    with pytest.raises(ValueError, match="got a sparse matrix; convert it with X.toarray"):
        compare(sparse.eye_array(3).tocsr(), np.eye(3))
    with pytest.raises(ValueError, match="draw images with SamplesDisplay"):
        compare(IMAGES, IMAGES)
    with pytest.raises(ValueError, match="got objective='autoencoder' without a generative model"):
        TableComparisonDisplay.from_estimator(autoencoder, FRAME.to_numpy())


def test_stored_values_give_the_same_drawing(classifier):
    display = TableComparisonDisplay.from_estimator(classifier, FRAME, random_state=0)
    stored = {name: value for name, value in vars(display).items() if not name.endswith("_")}
    again = TableComparisonDisplay(**{k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in stored.items()})
    figures = [one.figure_ for one in (display, again.plot())]
    for figure in figures:
        figure.canvas.draw()
    np.testing.assert_array_equal(*(np.asarray(figure.canvas.buffer_rgba()) for figure in figures))
