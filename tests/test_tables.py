"""Data frames of mixed columns, in every method of the estimators."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import skops.io
import torch
from pandas.testing import assert_frame_equal
from polars.testing import assert_frame_equal as assert_polars_equal
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from small_estimators import small_classifier, small_imputer, small_transformer
from tables import adult_like, mixed_frame

from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Categorical, Columns, Gaussian, Poisson

over_libraries = pytest.mark.parametrize("library", ["pandas", "polars"])
over_gaps = pytest.mark.parametrize("gaps", [False, True])
NAMES = ["income", "age", "member", "city", "grade"]


@pytest.fixture(scope="module")
def fitted():
    return small_transformer(max_iter=5).fit(mixed_frame())


def labels(n=150):
    return np.array(["poor", "rich"])[(mixed_frame(n=n)["income"] > 1000).astype(int)]


def assert_same_columns(actual, expected):
    """Compare library, names and dtypes."""
    assert type(actual) is type(expected) and list(actual.columns) == list(expected.columns)
    assert list(actual.dtypes) == list(expected.dtypes)


# Every method takes frames, and what comes out is what went in


@over_libraries
@over_gaps
def test_methods_take_frames_and_return_frames(library, gaps):
    X = mixed_frame(library, gaps=gaps)
    vae = small_transformer(max_iter=3).fit(X)
    Z, scores = vae.transform(X), vae.score_samples(X)
    assert Z.shape == (150, 2) and scores.shape == (150,) and vae.score(X) == scores.mean()
    assert vae.n_features_in_ == 5 and vae.feature_names_in_.tolist() == NAMES
    for frame in (vae.inverse_transform(Z), vae.sample(7, random_state=0), vae.sample(1)):
        assert_same_columns(frame, X)
    assert len(vae.sample(7)) == 7 and len(vae.inverse_transform(Z)) == 150


@over_libraries
@over_gaps
def test_classifier_takes_frames_and_returns_frames(library, gaps):
    X, y = mixed_frame(library, gaps=gaps), labels()
    vae = small_classifier(max_iter=20).fit(X, y)
    assert vae.score(X, y) > 0.8 and vae.predict_proba(X).shape == (150, 2)
    drawn, classes = vae.sample(4, y="rich", random_state=0)
    assert_same_columns(drawn, X)
    assert classes.tolist() == ["rich"] * 4
    assert np.isfinite(vae.score_samples(X)).all()


def test_classifier_spreads_labels_over_a_frame():
    X, y = mixed_frame(n=300), labels(300).astype(object)
    y[20:] = -1
    vae = small_classifier(max_iter=20).fit(X, y)
    assert vae.score(X, labels(300)) > 0.8


@over_libraries
def test_drawn_values_can_be_ones_of_the_data(library):
    X = mixed_frame(library)
    drawn = small_transformer(max_iter=3).fit(X).sample(500, random_state=0)
    assert set(drawn["city"]) == {"Bonn", "Oslo", "Rome"} and set(drawn["member"]) == {True, False}
    assert X["age"].min() <= drawn["age"].min() and drawn["age"].max() <= X["age"].max()
    assert (drawn["grade"] == "top").mean() < 0.05


def test_reconstructions_are_close():
    X = mixed_frame()
    vae = small_transformer(4, max_iter=30, early_stopping=True).fit(X)
    decoded = vae.inverse_transform(vae.transform(X))
    assert (decoded["city"] == X["city"]).mean() > 0.7 and (decoded["member"] == X["member"]).mean() > 0.8
    assert np.corrcoef(decoded["age"], X["age"])[0, 1] > 0.9


def test_same_frame_of_both_libraries_gives_the_same_model():
    pandas, polars = (small_transformer().fit(mixed_frame(library, gaps=True)) for library in ("pandas", "polars"))
    frames = (mixed_frame(library, gaps=True) for library in ("pandas", "polars"))
    np.testing.assert_array_equal(*(vae.transform(X) for vae, X in zip((pandas, polars), frames, strict=True)))


def test_partial_fit_and_warm_start_continue_on_frames():
    X = mixed_frame()
    vae = small_transformer().partial_fit(X[:100]).partial_fit(X[100:]).partial_fit(X[:1])
    assert_same_columns(vae.sample(), X)
    vae = small_transformer(warm_start=True).fit(X)
    assert_same_columns(vae.fit(X).sample(), X)
    with pytest.raises(ValueError, match="feature names should match"):
        vae.fit(X[NAMES[:3]])
    assert_same_columns(vae.sample(), X)


def test_a_refit_on_an_array_forgets_the_frame():
    vae = small_transformer().fit(mixed_frame())
    assert isinstance(vae.fit(np.random.default_rng(0).normal(size=(20, 3))).sample(), np.ndarray)
    with pytest.raises(ValueError):
        vae.fit(mixed_frame().assign(income=np.inf))
    assert not hasattr(vae, "module_") and vae._table is None


def test_score_samples_is_a_density_times_probabilities(fitted):
    """It changes with the units of real columns, and sums to that of the other columns over all categories."""
    X = mixed_frame()[:1]
    vae = clone(fitted).set_params(n_draws=5000).fit(mixed_frame())
    scores = [vae.score_samples(X.assign(city=city))[0] for city in ("Bonn", "Oslo", "Rome")]
    without = vae.score_samples(X.assign(city=None))[0]
    np.testing.assert_allclose(np.logaddexp.reduce(scores), without, atol=0.1)
    scaled = mixed_frame().assign(income=lambda df: df["income"] / 1000)
    change = clone(fitted).fit(scaled).score(scaled) - fitted.score(mixed_frame())
    np.testing.assert_allclose(change, np.log(1000), atol=1e-2)


# The rest of scikit-learn


def test_scikit_learns_tools_take_frames(fitted):
    X, y = mixed_frame(), labels()
    assert cross_val_score(clone(fitted), X, cv=2).shape == (2,)
    assert make_pipeline(clone(fitted), LogisticRegression()).fit(X, y).score(X, y) > 0.8
    names = clone(fitted).set_output(transform="pandas").fit_transform(X)
    assert isinstance(names, pd.DataFrame) and names.columns.tolist() == ["vaetransformer0", "vaetransformer1"]


def test_parameters_of_groups_are_searched_by_name():
    likelihood = Columns([("age", Poisson(), ["age"]), ("income", Gaussian(), "income")])
    grid = {"likelihood__income__scale": ["optimal", 50.0], "likelihood__age__library_size": [False]}
    search = GridSearchCV(small_transformer(likelihood=likelihood), grid, cv=2).fit(mixed_frame())
    assert search.best_params_.keys() == grid.keys()
    assert_same_columns(search.best_estimator_.sample(), mixed_frame())


@over_libraries
@pytest.mark.parametrize("make", [small_transformer, small_classifier])
def test_saved_estimators_return_frames(library, make):
    X = mixed_frame(library, gaps=True)
    vae = make(likelihood="from_dtype").fit(X, labels())
    loaded = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(loaded.transform(X), vae.transform(X))
    frames = [v.inverse_transform(v.transform(X)) for v in (vae, loaded)]
    (assert_frame_equal if library == "pandas" else assert_polars_equal)(*frames)


@pytest.mark.parametrize(
    "damage",
    [
        {"_table": None},
        {"n_features_in_": 9},
        {"library": "numpy"},
        {"columns": ()},
        {"kind": "date"},
        {"start": 1},
        {"categories": ["a"]},
        {"categories": ["Bonn", "Bonn", "Rome"]},
        {"limits": (0.5, 1)},
        {"by_quantiles": 1},
        {"dtype": None},
    ],
    ids=str,
)
def test_damaged_tables_are_refused(fitted, damage):
    vae = pickle.loads(pickle.dumps(fitted))
    ((name, value),) = damage.items()
    table = vae._table
    owner = vae if name in vars(vae) else table if name in vars(table) else table.columns[3]
    vars(owner)[name] = value
    with pytest.raises(ValueError, match="the file is damaged or was changed"):
        pickle.loads(pickle.dumps(vae))


# Which likelihood


def test_frames_of_numbers_are_fitted_as_arrays():
    X = np.random.default_rng(0).normal(size=(50, 3))
    expected = small_transformer(likelihood="gaussian").fit(X)
    for rows in (X, pd.DataFrame(X, columns=list("abc")), pl.DataFrame(X, schema=list("abc"))):
        vae = small_transformer().fit(rows)
        np.testing.assert_array_equal(vae.transform(rows), expected.transform(X))
        assert isinstance(vae.sample(), np.ndarray)


def test_groups_follow_from_the_dtypes(fitted):
    groups = fitted._architecture.likelihood.likelihoods
    found = {name: (type(likelihood).__name__, columns) for name, likelihood, columns in groups}
    assert found == {
        "numbers": ("Gaussian", [0]),
        "quantiles": ("QuantileGaussian", [1]),
        "booleans": ("Bernoulli", [2]),
        "categories": ("Categorical", [3, 4, 5, 6, 7, 8, 9]),
    }


def test_columns_of_a_frame_have_likelihoods_of_their_own():
    X = mixed_frame()
    likelihood = Columns([("numbers", Poisson(), ["age"]), ("place", Categorical(), 3)])
    vae = small_transformer(likelihood=likelihood).fit(X)
    groups = {name: columns for name, _, columns in vae._architecture.likelihood.likelihoods}
    assert groups == {"numbers": [1], "place": [3, 4, 5], "numbers_": [0], "booleans": [2], "categories": [6, 7, 8, 9]}
    assert_same_columns(vae.sample(), X)


def test_columns_take_a_frame_of_numbers_by_name():
    X = mixed_frame()[["income", "age"]]
    vae = small_transformer(likelihood=Columns([("age", Poisson(), "age")], remainder=Gaussian())).fit(X)
    assert_same_columns(vae.sample(), X)
    with pytest.raises(ValueError, match=r"got none for \['income'\]"):
        small_transformer(likelihood=Columns([("age", Poisson(), "age")], remainder="refuse")).fit(X)
    with pytest.raises(ValueError, match="expected columns of the frame, .'income', 'age'., got 'size'"):
        small_transformer(likelihood=Columns([("age", Poisson(), "size")])).fit(X)


def test_a_frame_of_categories_may_be_categorical():
    X = mixed_frame()[["city", "grade"]]
    vae = small_transformer(likelihood=Categorical()).fit(X)
    assert_same_columns(vae.sample(), X)
    with pytest.raises(ValueError, match="got floats in column 'income'; convert it"):
        small_transformer(likelihood=Categorical()).fit(mixed_frame())


def test_other_likelihoods_refuse_categories_and_take_booleans():
    with pytest.raises(ValueError, match="column 'city'; use likelihood='from_dtype'"):
        small_transformer(likelihood="gaussian").fit(mixed_frame())
    X = mixed_frame()[["income", "member"]]
    assert isinstance(small_transformer(likelihood="gaussian").fit(X).sample(), np.ndarray)


# Unknown categories and wrong frames


@pytest.mark.parametrize("method", ["transform", "score_samples", "score", "predict", "predict_proba"])
def test_unknown_categories_are_not_observed(method):
    X, y = mixed_frame(), labels()
    vae = (small_transformer if method.startswith(("t", "score")) else small_classifier)().fit(X, y)
    unknown = X.assign(city=X["city"].where(X.index > 0, "Paris"))
    with pytest.warns(UserWarning, match="got 'Paris' in column 'city'; these cells count as not observed") as caught:
        actual = getattr(vae, method)(unknown)
    assert {warning.filename for warning in caught} == {__file__}
    np.testing.assert_array_equal(actual, getattr(vae, method)(X.assign(city=X["city"].where(X.index > 0, None))))


REFUSES = Columns([], handle_unknown="error")


def by_pickle(vae):
    return pickle.loads(pickle.dumps(vae))


def by_skops(vae):
    saved = skops.io.dumps(vae)
    return skops.io.loads(saved, trusted=skops.io.get_untrusted_types(data=saved))


@pytest.mark.parametrize("copy", [by_pickle, by_skops])
@pytest.mark.parametrize("make", [small_transformer, small_classifier, small_imputer])
def test_unknown_categories_may_be_refused(make, copy):
    X, y = mixed_frame(), labels()
    vae = copy(clone(make(likelihood=REFUSES)).fit(X, y))
    np.testing.assert_array_equal(vae.score_samples(X), make(likelihood="from_dtype").fit(X, y).score_samples(X))
    unknown = X.assign(city=X["city"].where(X.index > 0, "Paris"))
    for method in ("transform", "score_samples"):
        with pytest.raises(ValueError, match="got 'Paris' in column 'city'; replace them, or fit on rows that have"):
            getattr(vae, method)(unknown)
    with pytest.warns(UserWarning, match="got 'Paris' in column 'city'; these cells count as not observed"):
        vae.set_params(likelihood__handle_unknown="warn").transform(unknown)


def test_refusal_of_unknown_categories_may_change_while_training_continues():
    X = mixed_frame()
    unknown = X.assign(city="Paris")
    vae = small_transformer(likelihood=Columns([])).partial_fit(X)
    vae.set_params(likelihood__handle_unknown="error").partial_fit(X)
    with pytest.raises(ValueError, match="got 'Paris' in column 'city'"):
        vae.partial_fit(unknown)
    assert vae.n_iter_ == 2 and vae.transform(X).shape == (150, 2)


@pytest.mark.parametrize("value", ["ignore", None])
def test_wrong_handle_unknown_is_refused(value):
    with pytest.raises(ValueError, match="'handle_unknown' parameter of Columns must be a str among"):
        small_transformer(likelihood=Columns([], handle_unknown=value)).fit(mixed_frame())
    vae = small_transformer(likelihood=Columns([])).fit(mixed_frame())
    with pytest.raises(ValueError, match="expected handle_unknown to be one of"):
        vae.set_params(likelihood__handle_unknown=value).transform(mixed_frame())


def test_known_frames_do_not_warn(fitted):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted.score(mixed_frame(gaps=True))


@pytest.mark.parametrize("columns", [NAMES[::-1], NAMES[:3]])
def test_frames_with_other_columns_are_refused(fitted, columns):
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        fitted.transform(mixed_frame()[columns])


def test_other_rows_are_refused(fitted):
    with pytest.raises(TypeError, match="expected a pandas or polars data frame, got ndarray"):
        fitted.transform(mixed_frame().to_numpy())
    with pytest.raises(ValueError, match="expected column 'age' to hold integers, as in fit"):
        fitted.transform(mixed_frame().assign(age="old"))


WRONG = {
    "infinity in column 'income', row 7": {"income": lambda df: df["income"].where(df.index != 7, np.inf)},
    "column 'born' of dtype datetime64": {"born": pd.Timestamp("2000-01-01")},
    "object column 'mixed' to hold only strings, only numbers or only booleans": {"mixed": [1, "a"] * 75},
    "at most 1000 categories in a column, got 1500": {"name": [f"name {i}" for i in range(1500)]},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_columns_are_refused(message):
    X = mixed_frame(n=1500 if "1000" in message else 150)
    with pytest.raises((TypeError, ValueError), match=message):
        small_transformer().fit(X.assign(**WRONG[message]))


def test_duplicate_names_are_refused():
    with pytest.raises(ValueError, match="columns with different names, got 'income'"):
        small_transformer().fit(pd.concat([mixed_frame(), mixed_frame()[["income"]]], axis=1))


def test_columns_of_one_category_and_columns_without_values():
    X = mixed_frame().assign(constant="same", empty=None, hollow=np.nan, one=1)
    vae = small_transformer().fit(X)
    drawn = vae.sample(5, random_state=0)
    assert_same_columns(drawn, X)
    assert (drawn["constant"] == "same").all() and drawn["empty"].isna().all() and (drawn["one"] == 1).all()
    np.testing.assert_allclose(vae.score_samples(X), vae.score_samples(X.assign(hollow=None)))
    with pytest.raises(ValueError, match="expected a data frame with an observed cell"):
        small_transformer().fit(X[["empty"]])


def test_columns_that_are_functions_of_others_do_not_starve_categories():
    X = mixed_frame(n=400)
    frame = X.assign(monthly=X["income"] / 12, negative=-X["income"], missing=5000 - X["income"])
    vae = VAETransformer(3, hidden_layer_sizes=(16,), max_iter=40, random_state=0).fit(frame)
    decoded = vae.inverse_transform(vae.transform(frame))
    assert (decoded["city"] == X["city"]).mean() > 0.75 and (decoded["member"] == X["member"]).mean() > 0.8
    part = vae.module_.likelihood.parts[0]
    # The floor of a noise scale is a thousandth of the column's standard deviation.
    assert (part.variance.sqrt() / part.scale).min() > 0.999e-3


# A table like those that users have


def test_every_column_of_a_census_is_explained():
    X = adult_like()
    training, test = X[:1500], X[1500:]
    vae = VAETransformer(6, hidden_layer_sizes=(32,), max_iter=15, random_state=0).fit(training)
    table, model = vae._table, vae.module_.double()
    x = vae._validate(test, "no_validation", False)
    observed = model.observe(torch.from_numpy(x))
    cells = model.likelihood.log_prob_cells(observed, model.decode(model.encode(observed).mean)).detach().numpy()
    encoded = table.encode(training)
    for column in table.columns:
        own, c = cells[:, column.slice].sum(1).mean(), column.slice
        if column.kind in ("float", "integer"):
            mean, std = encoded[:, c].mean(), encoded[:, c].std()
            alone = (-0.5 * np.square((x[:, c] - mean) / std) - np.log(std * np.sqrt(2 * np.pi))).mean()
        else:
            p = encoded[:, c].mean(0).clip(1e-3, 1 - 1e-3)
            other = (1 - x[:, c]) @ np.log(1 - p) if column.kind == "boolean" else 0
            alone = (x[:, c] @ np.log(p) + other).mean()
        assert own > alone - 0.02, column.name
    drawn = vae.sample(500, random_state=0)
    assert (drawn["country"] == "US").mean() > 0.8 and set(drawn["relation"]) == set(X["relation"])


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_whole_and_rounded_floats_are_modelled_by_their_quantiles(library):
    """Pandas stores integers with missing cells as floats."""
    rooms = np.where(np.arange(120) % 9, np.arange(120) % 5 + 1.0, np.nan)
    price = np.round(rooms**2 / 10, 1)
    columns = {"rooms": rooms, "price": price, "size": np.linspace(0, 1, 120), "empty": np.full(120, np.nan)}
    columns["town"] = list("ab") * 60
    X = pd.DataFrame(columns) if library == "pandas" else pl.DataFrame(columns)
    vae = small_transformer().fit(X)
    groups = {name: columns for name, _, columns in vae._architecture.likelihood.likelihoods}
    assert groups == {"quantiles": [0, 1], "numbers": [2, 3], "categories": [4, 5]}
    drawn = vae.sample(200, random_state=0)
    rooms, price = (np.asarray(drawn[name]) for name in ("rooms", "price"))
    assert set(rooms) <= {1.0, 2.0, 3.0, 4.0, 5.0} and rooms.dtype == float
    # The prices are 0.1, 0.4, 0.9, 1.6 and 2.5, so that the smallest difference is 0.3.
    assert set(price.round(9)) <= {0.1, 0.4, 0.7, 0.9, 1.0, 1.2, 1.3, 1.5, 1.6, 1.9, 2.2, 2.5}


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_copies_of_rows_do_not_make_numbers_rounded(library):
    """In a bootstrap sample of many rows, 63% of the rows have a copy."""
    X = mixed_frame(library, gaps=True)
    rows = np.random.default_rng(0).integers(len(X), size=2 * len(X))
    copies = X.iloc[rows] if library == "pandas" else X[rows]
    groups, of_copies = (small_transformer().fit(frame)._architecture.likelihood.likelihoods for frame in (X, copies))
    assert [group[::2] for group in groups] == [group[::2] for group in of_copies]


def test_numbers_in_clusters_that_are_far_apart_are_gaussian():
    """Their distance is lost among quantiles."""
    rng = np.random.default_rng(0)
    kind = rng.integers(2, size=400)
    wing, tail = np.rint((200 + 150 * kind, 100 + 20 * kind) + 15 * rng.normal(size=(2, 400)))
    X = pd.DataFrame({"wing": wing.astype(int), "tail": tail, "kind": np.array(["a", "b"])[kind]})
    likelihood = small_transformer().fit(X)._architecture.likelihood
    groups = {name: columns for name, _, columns in likelihood.likelihoods}
    assert groups == {"numbers": [0], "quantiles": [1], "categories": [2, 3]}
