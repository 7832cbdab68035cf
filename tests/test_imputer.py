"""VAEImputer fills missing cells and leaves observed ones as they are."""

import itertools
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal as assert_polars_equal
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_estimators import small_imputer

from sklearn_vae import VAEImputer
from sklearn_vae.likelihoods import Categorical, Columns, Gaussian, Poisson


def with_gaps(X, share=0.3, seed=0):
    return np.where(np.random.default_rng(seed).random(X.shape) < share, np.nan, X)


def low_rank(n=200, p=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, p)) + 0.5 * rng.normal(size=(n, p)) + np.arange(p)


def linear_model(imputer):
    """Return mean and covariance of an imputer's model at its linear start, in the data's units."""
    model = imputer.module_
    W = imputer.module_.linear.decoder.weight.detach().double().numpy() * model.likelihood.cell_unit
    noise = np.broadcast_to(imputer.noise_variance_, len(W))
    return model.likelihood.center.numpy(), W @ W.T + np.diag(noise)


def conditional(mean, covariance, x):
    """Return mean and covariance of the missing cells of a row given the others."""
    o, m = ~np.isnan(x), np.isnan(x)
    gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    return mean[m] + gain @ (x - mean)[o], covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]


def test_start_imputes_the_conditional_mean():
    X = with_gaps(low_rank())
    imputer = small_imputer(max_iter=0, n_draws=5000).fit(X)
    mean, covariance = linear_model(imputer)
    filled = imputer.transform(X[:20])
    for x, row in zip(X[:20], filled, strict=True):
        np.testing.assert_allclose(row[np.isnan(x)], conditional(mean, covariance, x)[0], atol=0.15)


def test_draws_have_the_conditional_distribution_at_the_start():
    x = np.array([np.nan, 1.5, 2.5, np.nan, 3.0])
    imputer = small_imputer(max_iter=0, n_draws=500, sample_posterior=True).fit(with_gaps(low_rank()))
    draws = imputer.transform(np.tile(x, (4000, 1)))[:, [0, 3]]
    mean, covariance = conditional(*linear_model(imputer), x)
    np.testing.assert_allclose(draws.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.15)
    assert (
        abs(
            multivariate_normal(mean, covariance).logpdf(draws).mean()
            + 0.5 * np.log(np.linalg.det(2 * np.pi * np.e * covariance))
        )
        < 0.1
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sample_posterior", [False, True])
def test_observed_cells_are_returned_bit_for_bit(iris, dtype, sample_posterior):
    X = with_gaps(iris).astype(dtype)
    filled = small_imputer(sample_posterior=sample_posterior).fit_transform(X)
    assert filled.dtype == dtype and not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[~np.isnan(X)], X[~np.isnan(X)])


def test_means_do_not_depend_on_other_rows(iris):
    X = with_gaps(iris)
    imputer = small_imputer().fit(X)
    np.testing.assert_allclose(np.vstack([imputer.transform(x[None]) for x in X]), imputer.transform(X), atol=1e-10)


def test_draws_are_reproducible_and_differ_between_seeds(iris):
    X = with_gaps(iris)
    imputer = small_imputer(sample_posterior=True).fit(X)
    first = imputer.transform(X)
    np.testing.assert_array_equal(imputer.transform(X), first)
    assert (imputer.set_params(random_state=1).transform(X) != first)[np.isnan(X)].all()


@pytest.mark.filterwarnings("ignore:.*Early stopping criterion not reached")
@pytest.mark.parametrize(("load", "share"), [(load_breast_cancer, 0.5), (load_diabetes, 0.3)])
def test_imputed_values_are_better_than_those_of_other_imputers(load, share):
    X = StandardScaler().fit_transform(load().data[:250])
    gaps = with_gaps(X, share)
    imputers = [VAEImputer(max_iter=40, random_state=0), IterativeImputer(), KNNImputer(), SimpleImputer()]
    errors = [np.square(imputer.fit_transform(gaps) - X)[np.isnan(gaps)].mean() for imputer in imputers]
    assert errors[0] == min(errors)


# Columns


def test_columns_without_observed_cells_are_dropped_or_kept(iris):
    X = with_gaps(iris)
    X[:, 1] = np.nan
    assert small_imputer().fit(X).transform(X).shape == (150, 3)
    kept = small_imputer(keep_empty_features=True).fit(X)
    assert (kept.transform(X)[:, 1] == 0).all()
    assert kept.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3"]
    has_cells = ~np.isnan(X).all(axis=1)
    np.testing.assert_allclose(kept.missing_share_, np.isnan(X[has_cells]).mean(0))


def test_indicators_mark_missing_cells_of_columns_with_gaps_in_fit(iris):
    X = iris.copy()
    X[::3, 2] = np.nan
    imputer = small_imputer(add_indicator=True).fit(X)
    more = with_gaps(iris)
    np.testing.assert_array_equal(imputer.transform(more)[:, 4], np.isnan(more[:, 2]))
    assert imputer.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x3", "missingindicator_x2"]


def table(n=120):
    """A frame with gaps in columns of four kinds, which depend on each other, and its complete values."""
    rng = np.random.default_rng(0)
    level = rng.integers(0, 3, n)
    complete = pd.DataFrame(
        {
            "size": level + 0.1 * rng.normal(size=n),
            "count": pd.array(10 * level, dtype="Int64"),
            "kind": pd.Categorical(np.array(["a", "b", "c"])[level], categories=["c", "b", "a"], ordered=True),
            "large": pd.array(level == 2, dtype="boolean"),
        },
        index=np.arange(n) + 1000,
    )
    return complete.mask(rng.random(complete.shape) < 0.2), complete


def test_a_frame_keeps_its_dtypes_index_and_observed_cells():
    X, complete = table()
    filled = VAEImputer(max_iter=60, random_state=0).fit_transform(X)
    assert (filled.dtypes == X.dtypes).all() and filled.index.equals(X.index) and not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled.where(X.notna()), X)
    assert (filled["kind"] == complete["kind"])[X["kind"].isna()].mean() > 0.9
    assert ((filled["count"] - complete["count"]).abs() <= 2)[X["count"].isna()].mean() > 0.8


def test_a_frame_of_numbers_stays_a_frame(iris):
    X = pd.DataFrame(with_gaps(iris), columns=list("abcd"), index=np.arange(150)[::-1])
    filled = small_imputer().fit_transform(X)
    np.testing.assert_array_equal(filled.to_numpy(), small_imputer().fit_transform(X.to_numpy()))
    assert filled.index.equals(X.index)


@pytest.mark.parametrize("empty", [{"b": None}, {"b": pd.Series([np.nan] * 9, dtype=object)}], ids=["None", "NaN"])
def test_a_column_of_objects_without_a_value_is_filled(iris, empty):
    X = pd.DataFrame(iris, columns=list("abcd"))
    imputer = small_imputer().fit(X)
    filled = imputer.transform(X.head(9).assign(**empty))
    np.testing.assert_array_equal(filled["b"].astype(float), imputer.transform(X.head(9).assign(b=np.nan))["b"])


def test_polars_frames(iris):
    X = pl.from_pandas(table()[0].reset_index(drop=True))
    filled = small_imputer(add_indicator=True).fit_transform(X)
    assert isinstance(filled, pl.DataFrame) and filled.schema["count"] == X.schema["count"]
    assert filled.columns[4:] == [f"missingindicator_{name}" for name in X.columns]
    assert sum(filled.null_count().row(0)) == 0


def test_set_output_names_the_columns(iris):
    imputer = small_imputer(add_indicator=True).set_output(transform="pandas").fit(with_gaps(iris))
    assert imputer.transform(with_gaps(iris)).columns.tolist() == imputer.get_feature_names_out().tolist()


@pytest.mark.parametrize("fitted_to", ["pandas", "polars"])
@pytest.mark.parametrize("numbers", [False, True])
def test_set_output_of_the_other_library_keeps_the_dtypes(fitted_to, numbers):
    X = table()[0].reset_index(drop=True)[["size", "count"] if numbers else ["size", "count", "kind", "large"]]
    frames = {"pandas": X, "polars": pl.from_pandas(X)}
    imputer = small_imputer(add_indicator=True).fit(frames[fitted_to])
    filled = {library: imputer.transform(frame) for library, frame in frames.items()}
    imputer.set_output(transform="polars")
    assert_polars_equal(imputer.transform(X), filled["polars"])
    assert_polars_equal(imputer.transform(frames["polars"]), filled["polars"])
    imputer.set_output(transform="pandas")
    pd.testing.assert_frame_equal(imputer.transform(X), filled["pandas"])
    found = imputer.transform(frames["polars"])
    assert (
        found.dtypes.map(str).tolist() == ["float64", "int64", "category", "bool"][: X.shape[1]] + ["bool"] * X.shape[1]
    )
    assert found.astype(object).equals(filled["pandas"].astype(object))


# Probabilities of categories


def chain(n=400, library="pandas", seed=0):
    """A frame of three columns that depend on one number, with gaps."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    noisy = [z + 0.5 * rng.normal(size=n) for _ in range(3)]
    X = pd.DataFrame(
        {
            "kind": pd.Categorical.from_codes(np.digitize(noisy[0], [-0.5, 0.5]), ["low", "mid", "high"]),
            "tone": np.array(list("pqrs"))[np.digitize(noisy[1], [-0.8, 0, 0.8])],
            "large": pd.array(noisy[2] > 0, dtype="boolean"),
        }
    )
    X = X.mask(rng.random(X.shape) < 0.2).set_index(np.arange(n) + 7)
    kinds = pl.Enum(["low", "mid", "high"])
    return X if library == "pandas" else pl.from_pandas(X).with_columns(pl.col("kind").cast(kinds))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("sample_posterior", [False, True])
def test_probabilities_sum_to_1_and_transform_imputes_the_largest(library, sample_posterior):
    X = chain(library=library)
    imputer = small_imputer(sample_posterior=sample_posterior).fit(X)
    found = imputer.category_probabilities(X)
    filled = imputer.set_params(sample_posterior=False).transform(X)
    names = {"kind": ["low", "mid", "high"], "tone": list("pqrs"), "large": [False, True]}
    assert list(found) == list(names)
    for name, frame in found.items():
        expected = names[name] if library == "pandas" else [str(value) for value in names[name]]
        assert type(frame) is type(X) and list(frame.columns) == expected
        assert library == "polars" or frame.index.equals(X.index)
        p = frame.to_numpy()
        np.testing.assert_allclose(p.sum(1), 1)
        assert np.array(names[name], dtype=object)[p.argmax(1)].tolist() == filled[name].to_list()
        missing = X[name].isna() if library == "pandas" else X[name].is_null().to_numpy()
        assert set(p[~missing].ravel()) == {0.0, 1.0} and ((p[missing] > 0) & (p[missing] < 1)).all()


def patterns():
    """Every combination of cells of `chain`, observed and missing."""
    values = itertools.product(["low", "mid", "high", None], ["p", "q", "r", "s", None], [True, False, None])
    X = pd.DataFrame(list(values), columns=["kind", "tone", "large"])
    return X.astype({"kind": chain().dtypes["kind"], "large": "boolean"})


def test_probabilities_are_those_of_the_posterior():
    """Integrals over the only latent variable, for every combination of gaps."""
    imputer = small_imputer(n_components=1, max_iter=10, n_draws=1000).fit(chain())
    z = np.linspace(-7, 7, 2001)[:, None]
    p_given_z = imputer.module_.double().reconstruct(torch.from_numpy(z)).detach().numpy()
    cells = imputer._table.encode(patterns())
    # Booleans have a column for True.
    p_given_z, cells = (np.c_[values, 1 - values[:, 7:]] for values in (p_given_z, cells))
    likelihood = np.exp(np.nan_to_num(cells) @ np.log(p_given_z.T)) * np.exp(-0.5 * z[:, 0] ** 2)
    expected = likelihood @ p_given_z / likelihood.sum(1, keepdims=True)
    expected = np.where(np.isnan(cells), expected, cells)[:, [0, 1, 2, 3, 4, 5, 6, 8, 7]]
    found = np.hstack([frame.to_numpy() for frame in imputer.category_probabilities(patterns()).values()])
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_probabilities_are_the_shares_of_samples_with_the_same_observed_cells():
    imputer = small_imputer(max_iter=10, n_draws=500).fit(chain())
    drawn = imputer.sample(50_000, random_state=0)
    rows = patterns()
    rows = rows[rows.isna().sum(axis=1).between(1, 2)]
    found = imputer.category_probabilities(rows)
    n_compared = 0
    for i, row in rows.iterrows():
        alike = drawn[(drawn[row.dropna().index] == row.dropna()).all(axis=1)]
        if len(alike) > 1500:
            n_compared += 1
            for name in row.index[row.isna()]:
                shares = alike[name].value_counts(normalize=True).reindex(found[name].columns, fill_value=0)
                np.testing.assert_allclose(found[name].loc[i], shares.astype(float), atol=0.04)
    assert n_compared > 15


def test_probabilities_of_numbered_unknown_and_empty_categories():
    X = pd.DataFrame({"n": pd.Categorical([3, 1, None, 3] * 10, categories=[3, 1, 2]), "s": list("aabb") * 10})
    X = X.assign(size=np.arange(40.0), empty=pd.Categorical([None] * 40, categories=["x", "y"]), void=None)
    imputer = small_imputer(keep_empty_features=True).fit(X)
    with pytest.warns(UserWarning, match="got 'z' in column 's'; these cells count as not observed"):
        found = imputer.category_probabilities(X.assign(s="z"))
    assert list(found) == ["n", "s"] and found["n"].columns.tolist() == [3, 1, 2]
    assert (found["s"].to_numpy() % 1 > 0).all()
    np.testing.assert_array_equal(found["n"].loc[[0, 1]], [[1, 0, 0], [0, 1, 0]])
    assert imputer.transform(X)[["empty", "void"]].isna().all().all()
    assert set(imputer.transform(X.assign(empty="x"))["empty"]) == {"x"}


def test_probabilities_of_booleans_with_a_likelihood_of_numbers_lie_between_0_and_1():
    X = chain()
    imputer = small_imputer(likelihood=Columns([("large", Gaussian(), ["large"])])).fit(X)
    p = imputer.category_probabilities(X)["large"].to_numpy()
    assert p.min() >= 0 and p.max() <= 1 and (p.sum(1) == 1).all()
    assert ((p[:, 1] >= 0.5) == imputer.transform(X)["large"]).all()


def test_probabilities_of_a_frame_of_booleans_with_one_likelihood():
    X = pd.DataFrame({"large": chain()["large"], "tall": chain(seed=1)["large"]})
    imputer = small_imputer(likelihood="bernoulli").fit(X)
    found, filled = imputer.category_probabilities(X), imputer.transform(X)
    assert list(found) == ["large", "tall"] and (filled.dtypes == "boolean").all()
    for name, frame in found.items():
        assert ((frame[True] > 0.5) == filled[name]).all() and (frame.sum(axis=1) == 1).all()


def test_probabilities_need_a_frame_of_categories(iris):
    for X in (iris, pd.DataFrame(iris), pd.DataFrame(iris, columns=list("abcd"))):
        with pytest.raises(ValueError, match="frame with columns of categories or booleans in fit, got an array or"):
            small_imputer().fit(X).category_probabilities(X)
    with pytest.raises(NotFittedError):
        small_imputer().category_probabilities(chain())
    with pytest.raises(TypeError, match="expected a pandas or polars data frame, got ndarray"):
        small_imputer().fit(chain()).category_probabilities(iris)


@pytest.mark.parametrize("likelihood", [Categorical([3, 4]), "bernoulli"])
def test_arrays_of_categories_are_filled_with_probabilities(likelihood):
    X = pd.get_dummies(chain().dropna()[["kind", "tone"]]).to_numpy(dtype=float)
    X[::3, :3], X[1::4, 3:] = np.nan, np.nan
    filled = small_imputer(likelihood=likelihood).fit_transform(X)
    assert ((filled > 0) & (filled < 1))[np.isnan(X)].all()
    if likelihood != "bernoulli":
        np.testing.assert_allclose(np.c_[filled[:, :3].sum(1), filled[:, 3:].sum(1)], 1)


# As an estimator


def test_imputer_in_a_pipeline_and_a_search():
    data = load_diabetes()
    pipeline = make_pipeline(small_imputer(), StandardScaler(), Ridge())
    search = GridSearchCV(pipeline, {"vaeimputer__n_components": [1, 4]}, cv=2).fit(with_gaps(data.data), data.target)
    assert search.best_score_ > 0.1


def test_imputer_is_cloned_saved_and_continued(iris):
    X = with_gaps(iris)
    imputer = small_imputer().fit(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(imputer)).transform(X), imputer.transform(X))
    assert not hasattr(clone(imputer), "missing_share_")
    for chunk in (X[::2], X[1::2]):
        imputer.partial_fit(chunk)
    assert imputer.transform(X).shape == X.shape


@pytest.mark.parametrize("first", ["fit", "partial_fit"])
def test_missing_shares_are_those_of_all_rows_seen(iris, first):
    rows = np.random.default_rng(0).permutation(StandardScaler().fit_transform(iris))
    X = with_gaps(rows)
    X[:100, 1], X[3], X[100:, 2] = np.nan, np.nan, rows[100:, 2]
    imputer = getattr(small_imputer(keep_empty_features=True), first)(X[:100])
    assert imputer.missing_share_[1] == 1 and imputer.n_samples_seen_ == 99
    imputer.partial_fit(X[100:130]).partial_fit(X[130:], sample_weight=np.arange(20) > 3)
    seen = np.delete(X, [3, 130, 131, 132, 133], axis=0)
    assert imputer.n_samples_seen_ == len(seen)
    np.testing.assert_allclose(imputer.missing_share_, np.isnan(seen).mean(0))
    imputer.set_params(warm_start=True).fit(X[100:])
    np.testing.assert_allclose(imputer.missing_share_, np.isnan(X[100:]).mean(0))


@pytest.mark.parametrize(
    ("name", "value"), [("n_samples_seen_", 0), ("n_samples_seen_", None), ("missing_share_", None)]
)
def test_damaged_shares_are_refused(iris, name, value):
    imputer = small_imputer().fit(with_gaps(iris))
    setattr(imputer, name, value)
    with pytest.raises(ValueError, match=f"expected {name} to be .* the file is damaged or was changed"):
        pickle.loads(pickle.dumps(imputer))
    delattr(imputer, name)
    with pytest.raises(ValueError, match=f"expected {name} to be .* the file is damaged or was changed"):
        pickle.loads(pickle.dumps(imputer))


def test_an_imputer_has_a_density_and_no_latent_variables(iris):
    imputer = small_imputer().fit(with_gaps(iris))
    assert np.isfinite(imputer.score(with_gaps(iris))) and imputer.sample(3).shape == (3, 4)
    assert not hasattr(imputer, "inverse_transform") and not hasattr(imputer, "whiten")


def test_infinity_is_refused(iris):
    X = with_gaps(iris)
    X[3, 1] = np.inf
    with pytest.raises(ValueError, match="contains infinity"):
        small_imputer().fit(X)


# Hard cases


def test_imputed_integers_do_not_depend_on_other_rows():
    count = np.arange(40)
    X = pd.DataFrame({"a": pd.array(count, dtype="Int8"), "b": count + 0.1 * np.sin(count)})
    imputer, rows = VAEImputer(2, max_iter=0, random_state=0).fit(X), X.iloc[[3, 35]].copy()
    rows.iloc[1, 0] = pd.NA
    assert abs(imputer.transform(rows)["a"].iloc[1] - 35) < 5
    assert imputer.transform(rows)["a"].iloc[1] == imputer.transform(rows.iloc[[1]])["a"].iloc[0]


def test_frames_whose_columns_have_numbers_as_names():
    X = pd.DataFrame({0: np.arange(40.0), 1: list("abcd") * 10, 2: np.sin(np.arange(40))})
    X.iloc[0, 0], X.iloc[1, 1] = np.nan, None
    filled = small_imputer().fit_transform(X)
    assert filled.columns.tolist() == [0, 1, 2] and (filled.dtypes == X.dtypes).all() and not filled.isna().any().any()


@pytest.mark.parametrize("likelihood", ["multinomial", Columns([("counts", Poisson(library_size=True), [0, 1])])])
def test_likelihoods_that_take_totals_as_given_are_refused(likelihood):
    with pytest.raises(ValueError, match="expected a likelihood that models the rows' totals"):
        small_imputer(likelihood=likelihood).fit(np.ones((10, 3)))


@pytest.mark.parametrize("n_draws", [1, 64])
def test_draws_of_rows_of_gaps_have_the_spread_of_the_prior(n_draws):
    X = np.random.default_rng(0).normal(size=(100, 1)) @ np.ones((1, 4))
    imputer = VAEImputer(1, max_iter=0, n_draws=n_draws, sample_posterior=True).fit(X)
    draws = [imputer.set_params(random_state=seed).transform(np.full((1, 4), np.nan))[0, 0] for seed in range(100)]
    assert 0.7 * X.std() < np.std(draws) < 1.3 * X.std()


@pytest.mark.parametrize(
    "params", [{"sample_posterior": True}, {"init": "random"}, {"likelihood": "bernoulli"}], ids=str
)
def test_kept_columns_without_observed_cells_are_0(params):
    X = with_gaps((np.random.default_rng(0).random((60, 4)) < 0.7).astype(float))
    X[:, 1] = np.nan
    assert (small_imputer(keep_empty_features=True, **params).fit_transform(X)[:, 1] == 0).all()


@pytest.mark.parametrize("sample_posterior", [False, True])
def test_rows_that_are_very_far_away_get_finite_values(iris, sample_posterior):
    X = iris.astype(np.float32)
    imputer = small_imputer(sample_posterior=sample_posterior).fit(X)
    X[0, 0], X[0, 1] = 1e22, np.nan
    assert np.isfinite(imputer.transform(X)).all()
