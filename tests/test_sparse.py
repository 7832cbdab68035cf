"""Sparse matrices as rows: results equal those of the same array."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from small_estimators import small_classifier, small_imputer, small_transformer

from sklearn_vae import LabelledKFold, VAEClassifier, VAETransformer
from sklearn_vae.likelihoods import Categorical

TEXTS = [f"word{i % 7} word{i % 5} word{i % 3} word{(i * i) % 11}" for i in range(60)]


@pytest.fixture(scope="module")
def counts():
    """300 x 40 counts of two classes, most of them 0."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, size=(2, 40))
    return sparse.csr_array(rng.poisson(rates[np.arange(300) % 2]).astype(float))


CLASS = np.arange(300) % 2


def assert_same(first, second):
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("container", [sparse.csr_matrix, sparse.csc_array, sparse.coo_array, sparse.lil_matrix])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8, bool])
def test_results_equal_those_of_an_array(counts, container, dtype):
    X = container(counts.astype(dtype))
    vae, dense = small_transformer(max_iter=3).fit(X), small_transformer(max_iter=3).fit(X.toarray())
    for method in ("transform", "score_samples"):
        found, expected = getattr(vae, method)(X), getattr(dense, method)(X.toarray())
        assert found.dtype == expected.dtype
        assert_same(found, expected)
        # The estimator takes arrays too, and few rows.
        assert_same(getattr(vae, method)(X.toarray()), found)
        assert_same(getattr(vae, method)(container(X.tocsr()[:5])), found[:5])
    assert vae.score(X) == pytest.approx(dense.score(X.toarray()), rel=1e-4)


@pytest.mark.parametrize("likelihood", ["poisson", "negative_binomial", "multinomial", "bernoulli"])
def test_likelihoods(counts, likelihood):
    X = (counts > 0).astype(float) if likelihood == "bernoulli" else counts
    params = {"likelihood": likelihood, "max_iter": 2}
    vae, dense = small_transformer(**params).fit(X), small_transformer(**params).fit(X.toarray())
    assert_same(vae.transform(X), dense.transform(X.toarray()))
    np.testing.assert_allclose(vae.score_samples(X), dense.score_samples(X.toarray()), rtol=1e-3)


def test_more_columns_than_the_covariance_is_formed_for():
    X = sparse.random(600, 2100, density=0.02, random_state=0, format="csr")
    vae, dense = small_transformer(max_iter=1).fit(X), small_transformer(max_iter=1).fit(X.toarray())
    assert_same(vae.transform(X), dense.transform(X.toarray()))


def test_few_rows_of_many_columns_are_made_dense_in_chunks(counts, monkeypatch):
    vae = small_transformer().fit(counts)
    expected = vae.transform(counts[:10])
    monkeypatch.setattr("sklearn_vae._model.inference.CHUNK_SIZE", 100)
    assert_same(vae.transform(counts[:10]), expected)


def test_weights_and_chunks(counts):
    weight = np.arange(300) % 3
    results = []
    for X in (counts, counts.toarray()):
        vae = small_transformer().fit(X, sample_weight=weight)
        chunked = small_transformer().partial_fit(X[:100]).partial_fit(X[100:101]).partial_fit(X[101:])
        results.append((vae.transform(X), chunked.transform(X), chunked.score_samples(X)))
    for found, expected in zip(*results, strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_classifier_with_few_labels(counts, weighted):
    y = np.where(np.arange(300) % 10 < 2, CLASS, -1)
    weight = (np.arange(300) % 4 > 0).astype(float) if weighted else None
    results = []
    for X in (counts, counts.toarray()):
        vae = small_classifier().fit(X, y, sample_weight=weight)
        results.append((vae.predict_proba(X), vae.transform(X), vae.score_samples(X)))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-2)
    assert vae.score(counts, CLASS) > 0.8 and set(vae.predict(counts)) <= {0, 1}


def test_missing_cells(counts):
    """NaN among the stored cells are missing, also whole rows of them."""
    X = counts.toarray()
    X[::7, :20] = np.nan
    X[5] = np.nan
    vae, dense = small_transformer().fit(sparse.csr_array(X)), small_transformer().fit(X)
    for method in ("transform", "score_samples"):
        assert_same(getattr(vae, method)(sparse.csr_array(X)), getattr(dense, method)(X))
    assert vae.score_samples(sparse.csr_array(X))[5] == 0


def test_duplicated_and_unsorted_cells_are_summed(counts):
    X = sparse.csr_array((np.ones(6), [2, 0, 2, 1, 1, 0], [0, 3, 4, 6]), shape=(3, 3))
    vae = small_transformer(1).fit(X)
    assert len(X.data) == 6
    assert_same(vae.transform(X), vae.transform([[1, 0, 2], [0, 1, 0], [1, 1, 0]]))


def test_searches_and_cross_validation(counts):
    pipeline = make_pipeline(small_transformer(), LogisticRegression())
    assert np.isfinite(cross_val_score(pipeline, counts, CLASS, cv=3)).all()
    search = GridSearchCV(small_transformer(), {"n_components": [1, 2]}, cv=2).fit(counts)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    y = np.where(np.arange(300) % 3 == 0, CLASS, -1)
    scores = cross_val_score(small_classifier(), counts, y, cv=LabelledKFold(2))
    assert (scores > 0.5).all()


@pytest.mark.parametrize(
    ("step", "X", "params"),
    [
        (CountVectorizer(), TEXTS, {"likelihood": "multinomial"}),
        (CountVectorizer(), TEXTS, {}),
        (TfidfVectorizer(), TEXTS, {}),
        (OneHotEncoder(), [[text[4:5], text[10:11]] for text in TEXTS], {}),
    ],
    ids=["multinomial", "counts", "tf-idf", "one-hot"],
)
def test_steps_that_return_sparse_rows(step, X, params):
    pipeline = make_pipeline(step, small_transformer(max_iter=5, early_stopping=True, **params)).fit(X)
    assert pipeline.transform(X).shape == (60, 2) and np.isfinite(pipeline.score_samples(X)).all()
    assert sparse.issparse(step.transform(X))


# Wrong input


@pytest.mark.parametrize("method", ["fit", "transform", "score_samples", "partial_fit"])
@pytest.mark.parametrize("container", [sparse.csr_array, sparse.coo_matrix])
def test_the_imputer_refuses_sparse_rows(counts, method, container):
    imputer = small_imputer().fit(counts.toarray())
    message = rf"VAEImputer: expected an array .*, got a sparse {container.__name__}, whose absent .* X.toarray\(\) if"
    with pytest.raises(TypeError, match=message):
        getattr(imputer, method)(container(counts))


def test_the_message_says_how_to_mark_absent_cells_as_missing(counts):
    with pytest.raises(TypeError) as caught:
        small_imputer().fit(counts)
    names = {"np": np, "X": counts}
    exec(str(caught.value).split("array of NaN: ")[1].rstrip("."), names)
    np.testing.assert_array_equal(np.nan_to_num(names["full"]), counts.toarray())
    assert np.isnan(names["full"]).sum() == 300 * 40 - counts.nnz


@pytest.mark.parametrize("fill_value", [0.0, np.nan])
@pytest.mark.parametrize("has_dense_column", [False, True])
def test_the_imputer_refuses_sparse_columns(counts, fill_value, has_dense_column):
    pd = pytest.importorskip("pandas")
    values = np.where(counts[:, :3].toarray() == 0, fill_value, counts[:, :3].toarray())
    X = pd.DataFrame({name: pd.arrays.SparseArray(values[:, i], fill_value=fill_value) for i, name in enumerate("abc")})
    X = X.assign(d=np.arange(300.0)) if has_dense_column else X
    with pytest.raises(TypeError, match=r"got sparse ones, 'a', 'b', 'c'; convert each with .sparse.to_dense\(\)"):
        small_imputer().fit(X)
    dense = X.assign(**{name: X[name].sparse.to_dense() for name in "abc"})
    assert not small_imputer().fit_transform(dense).isna().any().any()


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_infinite_cells(counts, method):
    vae, wrong = small_transformer().fit(counts), counts.copy()
    wrong.data[3] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        getattr(vae, method)(wrong)


@pytest.mark.parametrize("value", [0.5, -1.0])
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_values_that_are_no_counts_are_named(counts, method, value):
    vae, wrong = small_transformer(likelihood="poisson").fit(counts), counts.toarray()
    wrong[200, 30] = value
    with pytest.raises(ValueError, match=rf"expected counts .*, got {value:g} in row 200, column 30; pass the counts"):
        getattr(vae, method)(sparse.csr_array(wrong))


def test_values_outside_the_support(counts, monkeypatch):
    monkeypatch.setattr("sklearn_vae.likelihoods.base.CHUNK_SIZE", 4000)
    with pytest.raises(ValueError, match=r"Bernoulli: expected values in \[0, 1\], got values from 0 to \d+"):
        small_transformer(likelihood="bernoulli").fit(counts)
    wrong = sparse.csr_array(np.eye(40)[np.arange(300) % 40])
    vae = small_transformer(likelihood=Categorical()).fit(wrong)
    wrong = wrong.tolil()
    wrong[203, 7] = 1
    with pytest.raises(ValueError, match=r"single 1 .* in row 3; .* counted from row 200 of the sparse matrix"):
        vae.transform(wrong)


def test_float32_rows_whose_results_overflow(counts):
    wrong = counts.astype(np.float32)
    wrong.data[0] = 3e38
    with pytest.raises(ValueError, match="expected float32 values of at most .* for 40 columns"):
        small_transformer().fit(wrong)


def test_shapes_and_weights(counts):
    vae = small_transformer().fit(counts)
    with pytest.raises(ValueError, match="X has 39 features, but VAETransformer is expecting 40"):
        vae.transform(counts[:, :39])
    with pytest.raises(ValueError, match=r"Found array with 1 sample\(s\)"):
        vae.fit(counts[:1])
    with pytest.raises(ValueError, match="at least two rows with a positive sample_weight, got 1 of 300"):
        small_transformer().fit(counts, sample_weight=np.eye(300)[0])
    with pytest.raises(ValueError, match=r"at least two rows with a positive sample_weight, got 0 of 4"):
        small_transformer().fit(sparse.csr_array(np.full((4, 2), np.nan)))


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_tables_are_no_sparse_rows(cls, counts):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": list("xyxy") * 5, "b": np.arange(20.0)})
    vae = cls(2, hidden_layer_sizes=(8,), max_iter=1, random_state=0).fit(frame, np.arange(20) % 2)
    with pytest.raises((ValueError, TypeError), match="data frame"):
        vae.transform(counts[:, :2])
