"""VAEClassifier: labels of any kind, many or few; probabilities, latents, samples; scikit-learn's tools around it."""

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, make_blobs, make_classification, make_moons
from sklearn.ensemble import StackingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss, recall_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, learning_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from sklearn_vae import LabelledKFold, VAEClassifier
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import Modules

NAMES = np.array(["ant", "bee", "cat"])
CLASS = np.arange(150) // 50
SEVERAL = np.arange(150) % 5 == 0
METHODS = ["predict_proba", "predict_log_proba", "transform", "score_samples"]


def small(n_components=2, **params):
    values = {
        "hidden_layer_sizes": (8,),
        "max_iter": 4,
        "batch_size": 32,
        "learning_rate_init": 0.02,
        "alpha": 1e-4,
        "n_draws": 8,
        "random_state": 0,
    }
    return VAEClassifier(n_components, **{**values, **params})


def marked(labels, labelled=SEVERAL, dtype=None):
    """Return labels with -1 for unlabelled rows, as an object array unless a dtype is given."""
    y = np.array(list(labels), dtype=dtype or object)
    y[~labelled] = -1
    return y


@pytest.fixture(scope="module")
def trained(iris):
    """Trained on all of iris, with strings as labels; not to be changed."""
    return small(max_iter=30, n_draws=64).fit(iris, NAMES[CLASS])


@pytest.fixture(scope="module")
def few(iris):
    """Trained on iris with every fifth label; not to be changed."""
    return small(max_iter=30, n_draws=64).fit(iris, marked(CLASS, dtype=int))


# Labels


@pytest.mark.parametrize(
    "y",
    [
        NAMES[CLASS],
        NAMES[CLASS].astype(object),
        NAMES[CLASS].tolist(),
        pd.Series(NAMES[CLASS]),
        pd.Series(NAMES[CLASS], index=np.arange(150)[::-1]),
        pd.Series(NAMES[CLASS], dtype="category"),
        pd.Categorical(NAMES[CLASS], categories=["cat", "bee", "ant", "dog"]),
        CLASS.astype(np.uint8),
        CLASS.astype(float),
        CLASS.astype(object),
        pd.Series(CLASS, dtype="Int64"),
        10 * CLASS - 7,
    ],
    ids=lambda y: f"{type(y).__name__}-{getattr(y, 'dtype', '')}",
)
def test_classifier_takes_labels_of_any_kind(iris, y):
    vae = small().fit(iris, y)
    classes = np.unique(np.asarray(y))
    np.testing.assert_array_equal(vae.classes_, classes)
    np.testing.assert_array_equal(vae.predict_proba(iris), small().fit(iris, CLASS).predict_proba(iris))
    assert set(vae.predict(iris)) <= set(classes) and vae.predict(iris).dtype == vae.classes_.dtype


@pytest.mark.parametrize(
    "y",
    [
        marked(CLASS, dtype=int),
        marked(CLASS, dtype=np.int8),
        marked(CLASS, dtype=float),
        marked(CLASS),
        marked(CLASS.astype(float)),
        marked(NAMES[CLASS]),
        pd.Series(marked(NAMES[CLASS])),
        pd.Series(marked(NAMES[CLASS])).astype("category"),
        pd.Series(marked(CLASS, dtype=int), dtype="Int64"),
        marked(5 * CLASS + 7, dtype=int),
    ],
    ids=lambda y: f"{type(y).__name__}-{getattr(y, 'dtype', '')}",
)
def test_classifier_takes_minus_one_as_no_label(iris, y):
    vae = small().fit(iris, y)
    assert len(vae.classes_) == 3 and -1 not in vae.classes_.tolist()
    expected = small().fit(iris, marked(CLASS, dtype=int)).predict_proba(iris)
    np.testing.assert_array_equal(vae.predict_proba(iris), expected)
    assert -1 not in vae.predict(iris).tolist()
    assert -1 not in vae.sample(50)[1].tolist()


@pytest.mark.parametrize("y", [CLASS > 0, (CLASS > 0).astype(object), marked((CLASS > 0).tolist())], ids=str)
def test_classifier_takes_booleans(iris, y):
    vae = small().fit(iris, y)
    assert vae.classes_.tolist() == [False, True] and vae.classes_.dtype == bool
    assert vae.predict(iris).dtype == bool and vae.sample(3, y=True)[1].tolist() == [True] * 3


def test_classifier_classes_are_sorted_and_columns_follow(iris):
    y = np.array(["zebra", "ant", "mole"])[CLASS]
    vae = small(max_iter=30).fit(iris, y)
    assert vae.classes_.tolist() == ["ant", "mole", "zebra"]
    assert (vae.classes_[vae.predict_proba(iris).argmax(1)] == y).mean() > 0.9
    assert vae.score(iris, y) > 0.9


@pytest.mark.parametrize("n_classes", [2, 7])
def test_classifier_learns_any_number_of_classes(n_classes):
    X, y = make_blobs(40 * n_classes, 4, centers=n_classes, cluster_std=0.5, random_state=0)
    vae = small(max_iter=40, hidden_layer_sizes=(32,)).fit(X[::2], y[::2])
    assert vae.predict_proba(X).shape == (len(X), n_classes)
    assert vae.score(X[1::2], y[1::2]) > 0.95


def test_classifier_score_warns_of_unlabelled_rows_and_counts_them_as_errors(few, iris):
    y = marked(CLASS, dtype=int)
    accuracy = few.score(iris[SEVERAL], y[SEVERAL])
    assert accuracy > 0.8
    with pytest.warns(UserWarning, match=r"^120 of 150 rows are unlabelled .* an error; score X\[y") as record:
        assert few.score(iris, y) == pytest.approx(accuracy * SEVERAL.mean())
    assert len(record) == 1 and record[0].filename == __file__
    with pytest.warns(UserWarning, match="2 of 2 rows are unlabelled"):
        assert few.score(iris[:2], [-1, -1]) == 0


LABELS = {
    "integers": [0, 1, 2],
    "numpy integers": list(np.arange(3)),
    "floats": [0.0, 1.0, 2.0],
    "booleans": [False, True, True],
    "numpy booleans": list(np.array([False, True, True])),
    "strings": ["a", "b", "c"],
}


@pytest.mark.parametrize("unlabelled", [False, True])
@pytest.mark.parametrize("values", LABELS.values(), ids=LABELS)
def test_classifier_scores_labels_that_fit_takes(iris, values, unlabelled):
    """Object arrays work too; fit requires them if labels and -1 have different types."""
    y = np.empty(3, dtype=object)
    y[:] = values
    y = marked(y[CLASS]) if unlabelled else y[CLASS]
    vae = small(max_iter=5).fit(iris, y)
    known = np.array([label != -1 for label in y])
    expected = np.mean(vae.predict(iris)[known] == np.array(y[known].tolist()))
    weight = np.arange(150) + 1.0
    for rows in (y[known], y[known].tolist(), pd.Series(y[known])):
        assert vae.score(iris[known], rows) == pytest.approx(expected)
    if unlabelled:
        with pytest.warns(UserWarning, match="rows are unlabelled"):
            score = vae.score(iris, y, sample_weight=weight)
        right = vae.predict(iris)[known] == np.array(y[known].tolist())
        assert score == pytest.approx((weight[known] * right).sum() / weight.sum())


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (NAMES[CLASS][:9], ValueError, "inconsistent numbers of samples"),
        (np.where(CLASS, NAMES[CLASS], "-1"), ValueError, "got the string '-1'"),
        (np.where(CLASS, NAMES[CLASS].astype(object), None), ValueError, "expected the integer -1 .* got None"),
        (np.c_[CLASS, CLASS], ValueError, "1d array"),
    ],
    ids=["length", "-1", "None", "shape"],
)
def test_classifier_score_of_wrong_labels(trained, iris, y, error, message):
    with pytest.raises(error, match=message):
        trained.score(iris, y)


# Probabilities and latents


@pytest.mark.parametrize("name", ["trained", "few"])
def test_classifier_probabilities_agree(request, iris, name):
    vae = request.getfixturevalue(name)
    p = vae.predict_proba(iris)
    assert p.shape == (150, 3) and (p >= 0).all()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.log(p), vae.predict_log_proba(iris), atol=1e-12)
    np.testing.assert_array_equal(vae.predict(iris), vae.classes_[p.argmax(1)])
    assert p.max(0).min() > 0.5


def test_classifier_log_probabilities_are_finite_where_probabilities_are_not(trained, iris):
    log_p = trained.predict_log_proba(1e4 * iris)
    assert np.isfinite(log_p).all() and log_p.min() < -1000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", METHODS)
def test_classifier_preserves_precision(trained, iris, method, dtype):
    result = getattr(trained, method)(iris.astype(dtype))
    assert result.dtype == dtype
    np.testing.assert_allclose(result, getattr(trained, method)(iris), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_classifier_rows_do_not_depend_on_their_companions(digits, method):
    vae = small(8, hidden_layer_sizes=(512, 512), max_iter=1, learning_rate_init=1e-3)
    vae.fit(digits[:80], np.arange(80) % 3)
    whole, order = getattr(vae, method)(digits[:30]), np.random.default_rng(0).permutation(30)
    one_by_one = np.concatenate([getattr(vae, method)(row[None]) for row in digits[:30]])
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(getattr(vae, method)(digits[:30][order]), whole[order], rtol=1e-7, atol=1e-9)


def test_classifier_transform_is_the_mean_of_the_posterior(trained, iris):
    Z = trained.transform(iris)
    assert Z.shape == (150, 2) and Z.std(0).min() > 0.1
    q = trained.module_.posterior(torch.tensor(iris, dtype=torch.float32))
    np.testing.assert_allclose(Z, trained.latent_scale_ * q.loc.detach().numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("n_components", [1, 4, 6])
def test_classifier_latents_have_any_width(iris, n_components):
    vae = small(n_components).fit(iris, CLASS)
    Z = vae.transform(iris)
    assert Z.shape == (150, n_components) and vae.inverse_transform(Z[:7]).shape == (7, 4)
    np.testing.assert_array_equal(small(n_components).fit_transform(iris, CLASS), Z)


def test_classifier_inverse_transform_reconstructs(trained, iris):
    X = trained.inverse_transform(trained.transform(iris))
    assert np.square(X - iris).mean() < 0.1 * iris.var(0).mean()


def test_classifier_unwhitened_latents_are_scaled(iris):
    white, scaled = (small(whiten=flag).fit(iris, CLASS) for flag in (True, False))
    np.testing.assert_allclose(scaled.transform(iris), white.transform(iris) * scaled.latent_scale_)
    np.testing.assert_allclose(scaled.predict_proba(iris), white.predict_proba(iris))


def test_classifier_score_samples_finds_outliers(trained, iris):
    scores = trained.score_samples(iris)
    assert scores.shape == (150,) and np.isfinite(scores).all()
    assert trained.score_samples(iris + np.array([0, 10, -10, 0])).max() < scores.min()


def test_classifier_feature_names(iris):
    X = pd.DataFrame(iris, columns=list("abcd"))
    vae = small().fit(X, CLASS)
    assert vae.feature_names_in_.tolist() == list("abcd") and vae.n_features_in_ == 4
    assert vae.get_feature_names_out().tolist() == ["vaeclassifier0", "vaeclassifier1"]
    frame = vae.set_output(transform="pandas").transform(X)
    assert list(frame.columns) == ["vaeclassifier0", "vaeclassifier1"] and frame.index.equals(X.index)
    assert isinstance(vae.predict_proba(X), np.ndarray)


def test_classifier_clone_has_equal_parameters_and_no_model(trained):
    copied = clone(trained)
    assert repr(copied) == repr(trained) and not hasattr(copied, "classes_")
    params = copied.get_params()
    assert {"generative_weight", "consistency_weight", "unlabelled", "class_weight"} <= params.keys()
    assert VAEClassifier(**params).get_params() == params


def test_classifier_leaves_its_input_alone(iris):
    X, y, weight = np.array(iris), marked(CLASS, dtype=int), np.linspace(0, 1, 150)
    copies = X.copy(), y.copy(), weight.copy()
    small(likelihood=Gaussian()).fit(X, y, sample_weight=weight).predict(X)
    for before, after in zip(copies, (X, y, weight), strict=True):
        np.testing.assert_array_equal(before, after)


# Samples


def test_classifier_sample_gives_rows_and_labels(trained):
    X, y = trained.sample(40)
    assert X.shape == (40, 4) and np.isfinite(X).all()
    assert y.shape == (40,) and set(y) == set(NAMES) and y.dtype == trained.classes_.dtype
    X, y = trained.sample()
    assert X.shape == (1, 4) and y.shape == (1,)


@pytest.mark.parametrize("label", NAMES)
def test_classifier_sample_of_a_class(trained, iris, label):
    X, y = trained.sample(300, y=label)
    assert y.tolist() == [label] * 300
    assert (trained.predict(X) == label).mean() > 0.75
    np.testing.assert_allclose(X.mean(0), iris[NAMES.tolist().index(label) == CLASS].mean(0), atol=0.6)


@pytest.mark.parametrize("container", [list, np.array, pd.Series, lambda y: np.array(y, dtype=object)])
@pytest.mark.parametrize("n_samples", [1, 6])
def test_classifier_sample_of_each_label(trained, container, n_samples):
    wanted = ["cat", "ant", "ant", "bee", "cat", "ant"]
    X, y = trained.sample(n_samples, y=container(wanted))
    assert X.shape == (6, 4) and y.tolist() == wanted


def test_classifier_sample_of_each_label_is_in_order(trained, iris):
    X, y = trained.sample(y=NAMES[CLASS])
    assert (y == NAMES[CLASS]).all()
    assert np.corrcoef(X[:, 2], iris[:, 2])[0, 1] > 0.8


def test_classifier_sample_follows_its_random_state(trained):
    first, again, other = (trained.sample(20, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.allclose(first[0], other[0])
    np.testing.assert_array_equal(trained.sample(5)[0], trained.sample(5)[0])


def test_classifier_samples_classes_by_their_prior(iris):
    """The shares are those of all rows, labelled or not: 100 of class 0, 25 of each other class."""
    rows = np.r_[0:50, 0:50, 50:75, 100:125]
    vae = small(max_iter=30).fit(iris[rows], CLASS[rows])
    np.testing.assert_allclose(vae.class_prior_, [4 / 6, 1 / 6, 1 / 6])
    _, y = vae.sample(6000, random_state=0)
    np.testing.assert_allclose(np.bincount(y) / 6000, vae.class_prior_, atol=0.03)


def test_classifier_prior_of_classes_is_weighted(iris):
    vae = small().fit(iris, CLASS, sample_weight=np.array([4.0, 1.0, 1.0])[CLASS])
    np.testing.assert_allclose(vae.class_prior_, [4 / 6, 1 / 6, 1 / 6], atol=1e-6)


# Weights


def test_classifier_rows_of_weight_zero_are_as_good_as_removed(iris):
    kept = np.random.default_rng(0).random(150) < 0.7
    y = marked(CLASS, dtype=int)
    zero, removed = small().fit(iris, y, sample_weight=kept), small().fit(iris[kept], y[kept])
    for method in METHODS:
        np.testing.assert_allclose(
            getattr(zero, method)(iris), getattr(removed, method)(iris), rtol=1e-4, atol=1e-5, err_msg=method
        )


def test_classifier_classes_of_weight_zero_are_no_classes(iris):
    vae = small().fit(iris, NAMES[CLASS], sample_weight=CLASS < 2)
    assert vae.classes_.tolist() == ["ant", "bee"]


def test_classifier_equal_weights_change_nothing(iris):
    plain, weighted = small().fit(iris, CLASS), small().fit(iris, CLASS, sample_weight=np.full(150, 3.0))
    np.testing.assert_array_equal(plain.predict_proba(iris), weighted.predict_proba(iris))


@pytest.fixture(scope="module")
def rare():
    """Two classes that overlap; one row in ten is of class 1. Training rows, then others."""
    rng = np.random.default_rng(0)
    y = (np.arange(1000) % 10 == 0).astype(int)
    X = rng.normal(size=(1000, 3)) + 1.2 * y[:, None]
    return X[:300], y[:300], X[300:], y[300:]


@pytest.mark.parametrize("weigh", ["balanced", "dict", "sample_weight"])
def test_classifier_weights_raise_the_recall_of_a_rare_class(rare, weigh):
    X, y, X_test, y_test = rare
    vae = small(max_iter=12)
    plain = recall_score(y_test, clone(vae).fit(X, y).predict(X_test))
    weight = np.where(y == 1, 9.0, 1.0) if weigh == "sample_weight" else None
    if weight is None:
        vae.set_params(class_weight="balanced" if weigh == "balanced" else {1: 9.0})
    assert recall_score(y_test, vae.fit(X, y, sample_weight=weight).predict(X_test)) > plain + 0.15


def test_classifier_sample_weights_of_classes_are_class_weights(rare):
    X, y, X_test, _ = rare
    by_class = small(class_weight={1: 4.0}).fit(X, y).predict_proba(X_test)
    by_row = small().fit(X, y, sample_weight=np.where(y == 1, 4.0, 1.0)).predict_proba(X_test)
    assert np.abs(by_class - by_row).mean() < 0.05


def test_classifier_class_weights_take_labels_of_strings(rare):
    X, y, X_test, _ = rare
    by_code = small(class_weight={0: 1.0, 1: 5.0}).fit(X, y).predict_proba(X_test)
    by_name = small(class_weight={"no": 1.0, "yes": 5.0}).fit(X, np.array(["no", "yes"])[y]).predict_proba(X_test)
    np.testing.assert_array_equal(by_code, by_name)


def test_classifier_class_weights_count_labelled_rows_alone(iris):
    """Classes with equally many labels are balanced, however many rows are unlabelled."""
    y = marked(CLASS, dtype=int)
    plain, balanced = (small(class_weight=weight).fit(iris, y) for weight in (None, "balanced"))
    np.testing.assert_allclose(plain.predict_proba(iris), balanced.predict_proba(iris), atol=1e-6)


# Ways to train


def test_classifier_warm_start_goes_on(iris):
    y = marked(CLASS, dtype=int)
    vae = small(warm_start=True).fit(iris, y)
    np.testing.assert_array_equal(vae.predict_proba(iris), small().fit(iris, y).predict_proba(iris))
    first = log_loss(CLASS, vae.predict_proba(iris))
    for _ in range(4):
        vae.fit(iris, y)
    assert log_loss(CLASS, vae.predict_proba(iris)) < first
    assert vae.classes_.tolist() == [0, 1, 2]


def test_classifier_refit_forgets_an_earlier_fit(iris):
    vae = small(early_stopping=True).fit(iris, NAMES[CLASS]).set_params(early_stopping=False)
    vae.fit(iris[:100], CLASS[:100])
    assert vae.classes_.tolist() == [0, 1] and not hasattr(vae, "validation_scores_")
    np.testing.assert_array_equal(vae.predict_proba(iris), small().fit(iris[:100], CLASS[:100]).predict_proba(iris))


@pytest.mark.parametrize("labelled", [SEVERAL, np.ones(150, dtype=bool), np.arange(150) % 25 == 0], ids=np.sum)
def test_classifier_early_stopping_keeps_the_best_validation(iris, labelled):
    y = marked(CLASS, labelled, dtype=int)
    vae = small(early_stopping=True, max_iter=30, n_iter_no_change=2).fit(iris, y)
    assert vae.best_validation_score_ == max(vae.validation_scores_) > vae.validation_scores_[0]
    assert np.isfinite(vae.validation_scores_).all() and vae.best_iter_ <= vae.n_iter_
    assert vae.score(iris, CLASS) > 0.6


def test_classifier_early_stopping_ends_a_fit(iris):
    """Random labels contain nothing that generalises to other rows."""
    y = np.random.default_rng(0).integers(0, 3, 150)
    vae = small(early_stopping=True, max_iter=100, n_iter_no_change=1, learning_rate_init=0.05)
    assert vae.set_params(unlabelled="ignore").fit(iris, y).n_iter_ < 100


def test_classifier_early_stopping_takes_a_class_with_one_labelled_row(iris):
    labelled = SEVERAL & (CLASS < 2)
    labelled[149] = True
    vae = small(early_stopping=True).fit(iris, marked(CLASS, labelled, dtype=int))
    assert vae.classes_.tolist() == [0, 1, 2] and np.isfinite(vae.validation_scores_).all()


@pytest.mark.parametrize("params", [{"generative_weight": 0}, {"objective": "autoencoder"}], ids=str)
def test_classifier_without_a_model_of_the_rows_has_nothing_to_sample(iris, params):
    vae = small(max_iter=20, **params)
    assert not hasattr(vae, "sample") and not hasattr(vae, "score_samples")
    with pytest.raises(AttributeError, match="has no attribute 'sample'") as error:
        vae.sample(3)
    assert "samples and densities need a model of the rows" in str(error.value.__cause__)
    vae.fit(iris, CLASS)
    assert not hasattr(vae, "sample") and not hasattr(vae, "score_samples") and not hasattr(vae, "class_prior_")
    assert vae.score(iris, CLASS) > 0.8 and vae.transform(iris).shape == (150, 2)
    vae.set_params(generative_weight=1e-3, objective="elbo").fit(iris, CLASS)
    assert vae.sample(3)[0].shape == (3, 4) and np.isfinite(vae.score_samples(iris)).all()


@pytest.mark.parametrize("partly", [False, True])
def test_classifier_takes_the_bernoulli_likelihood(digits, partly):
    X, y = (digits > 8).astype(float)[:150], np.arange(150) % 2
    X = np.where(y[:, None], X, 1 - X)
    y[1::3] = -1 if partly else y[1::3]
    vae = small(likelihood="bernoulli", max_iter=20).fit(X, y)
    assert vae.score(X[y >= 0], y[y >= 0]) > 0.9
    assert set(np.unique(vae.sample(20)[0])) == {0.0, 1.0}
    assert np.isfinite(vae.score_samples(X)).all() and vae.score_samples(X).max() < 0


def test_classifier_takes_user_networks(iris):
    def encoder(n_features):
        return torch.nn.Sequential(torch.nn.Linear(n_features, 16), torch.nn.Dropout(0.1), torch.nn.Tanh())

    def decoder(n_components, n_features):
        return torch.nn.Linear(n_components, n_features)

    first, again = (small(max_iter=30, network=Modules(encoder, decoder)).fit(iris, CLASS) for _ in range(2))
    assert first.score(iris, CLASS) > 0.8 and first.sample(3)[0].shape == (3, 4)
    np.testing.assert_array_equal(first.predict_proba(iris), again.predict_proba(iris))


@pytest.mark.parametrize("n_rows", [2, 3, 5])
def test_classifier_takes_as_few_as_two_rows(iris, n_rows):
    X = iris[[0, 60, 120, 10, 70][:n_rows]]
    vae = small().fit(X, [0, 1, 0, -1, -1][:n_rows])
    np.testing.assert_allclose(vae.predict_proba(X).sum(1), 1)
    assert np.isfinite(vae.score_samples(X)).all() and vae.sample(3)[0].shape == (3, 4)


@pytest.mark.parametrize("labelled", [np.ones(150, dtype=bool), SEVERAL], ids=np.sum)
def test_classifier_takes_repeated_rows_and_constant_columns(iris, labelled):
    X = np.repeat(iris[::25], 25, axis=0)
    X = np.column_stack([X, np.ones(150)])
    vae = small(max_iter=20).fit(X, marked(CLASS, labelled, dtype=int))
    assert np.isfinite(vae.predict_proba(X)).all() and np.isfinite(vae.score_samples(X)).all()


def test_classifier_divergence_leaves_no_earlier_model_in_use(iris):
    vae = small().fit(iris, CLASS)
    with pytest.raises(ValueError, match="diverged"):
        vae.set_params(learning_rate_init=1e30, warmup_steps=0, max_iter=20).fit(iris, CLASS)
    assert not hasattr(vae, "module_")


def test_classifier_max_iter_zero_knows_the_shares_of_classes_at_most(iris):
    p = small(max_iter=0).fit(iris, CLASS).predict_proba(iris)
    np.testing.assert_allclose(p, p[:1].repeat(150, 0))


def test_classifier_is_silent(iris, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    small().fit(iris, marked(CLASS, dtype=int)).sample(3)
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")
    small(verbose=True).fit(iris, CLASS)
    assert "loss" in capfd.readouterr().out


# Few labels


@pytest.mark.parametrize("rows", [[0, 50, 100], [0, 1, 2, 3, 50, 51, 100], [0, 50, 51, 52, 100, 101]], ids=str)
def test_classifier_takes_classes_with_one_labelled_row(iris, rows):
    vae = small(max_iter=30).fit(iris, marked(CLASS, np.isin(np.arange(150), rows), dtype=int))
    assert vae.classes_.tolist() == [0, 1, 2]
    assert balanced_accuracy_score(CLASS, vae.predict(iris)) > 0.6
    assert (vae.class_prior_ > 0).all() and set(vae.sample(200)[1]) == {0, 1, 2}


def test_classifier_learns_digits_from_ten_labels():
    X, digit = load_digits(return_X_y=True)
    X, digit = X[:600], digit[:600]
    y = np.full(600, -1)
    first = [np.flatnonzero(digit == k)[0] for k in range(10)]
    y[first] = digit[first]
    vae = small(8, hidden_layer_sizes=(64,), max_iter=15, learning_rate_init=5e-3).fit(X, y)
    unseen = y < 0
    assert vae.score(X[unseen], digit[unseen]) > 0.55


def test_classifier_with_all_rows_labelled_has_nothing_to_spread(iris):
    p = small().fit(iris, CLASS).predict_proba(iris)
    for params in ({"unlabelled": "ignore"}, {"n_neighbors": 3}):
        np.testing.assert_array_equal(small(**params).fit(iris, CLASS).predict_proba(iris), p)


def test_classifier_that_ignores_unlabelled_rows_asks_no_neighbours(iris):
    y = marked(CLASS, dtype=int)
    p, q, r = (
        small(unlabelled=value, n_neighbors=n).fit(iris, y).predict_proba(iris)
        for value, n in (("ignore", 10), ("ignore", 3), ("auto", 3))
    )
    np.testing.assert_array_equal(p, q)
    assert not np.allclose(p, r)


def test_classifier_learns_moons_from_unlabelled_rows():
    """Five labels per moon; a network trained on these labels alone cannot find the moons."""
    with_rows, without = [], []
    for seed in range(2):
        X, y = make_moons(200, noise=0.05, random_state=seed)
        known = np.concatenate([np.random.default_rng(seed).permutation(np.flatnonzero(y == k))[:5] for k in (0, 1)])
        labels = np.full(200, -1)
        labels[known] = y[known]
        vae = small(hidden_layer_sizes=(32,), max_iter=60)
        with_rows.append(clone(vae).fit(X, labels).score(X, y))
        without.append(clone(vae).fit(X[known], y[known]).score(X, y))
    assert np.mean(with_rows) > np.mean(without) + 0.04 and np.mean(with_rows) > 0.9


def test_classifier_is_not_hurt_by_unlabelled_rows_that_say_nothing():
    """A row's neighbours belong to its class no more often than other rows do."""
    differences = []
    for seed in range(2):
        X, y = make_classification(
            300,
            20,
            n_informative=2,
            n_redundant=0,
            class_sep=0.8,
            flip_y=0.1,
            n_clusters_per_class=1,
            random_state=seed,
        )
        labels = np.where(np.arange(300) < 60, y, -1)
        vae = small(hidden_layer_sizes=(16,), max_iter=20)
        with_rows, without = clone(vae).fit(X, labels), clone(vae).fit(X[:60], y[:60])
        differences.append(with_rows.score(X[60:], y[60:]) - without.score(X[60:], y[60:]))
    assert np.mean(differences) > -0.03


# scikit-learn's tools


def meta_estimators():
    return [
        make_pipeline(StandardScaler(), small(max_iter=20)),
        GridSearchCV(small(max_iter=20), {"n_components": [1, 2]}, cv=2, error_score="raise"),
        CalibratedClassifierCV(small(max_iter=20), cv=2),
        CalibratedClassifierCV(small(max_iter=20), cv=2, method="isotonic", ensemble=False),
        StackingClassifier([("vae", small(max_iter=20))], LogisticRegression(max_iter=300), cv=2),
        OneVsRestClassifier(small(max_iter=20)),
        SelfTrainingClassifier(small(max_iter=20), max_iter=2),
    ]


@pytest.mark.parametrize("meta", meta_estimators(), ids=lambda meta: type(meta).__name__)
def test_classifier_works_inside_other_estimators(iris, meta):
    y = marked(CLASS, dtype=int) if isinstance(meta, SelfTrainingClassifier) else NAMES[CLASS]
    truth = CLASS if isinstance(meta, SelfTrainingClassifier) else NAMES[CLASS]
    p = meta.fit(iris, y).predict_proba(iris)
    assert p.shape == (150, 3) and np.isfinite(p).all()
    assert meta.score(iris, truth) > 0.75


def test_classifier_pipeline_passes_unlabelled_rows_and_weights(iris):
    y, weight = marked(NAMES[CLASS]), np.linspace(1, 2, 150)
    pipe = make_pipeline(StandardScaler(), small()).fit(iris, y, vaeclassifier__sample_weight=weight)
    expected = small().fit(StandardScaler().fit_transform(iris), y, sample_weight=weight)
    np.testing.assert_array_equal(pipe.predict_proba(iris), expected.predict_proba(pipe[0].transform(iris)))
    assert pipe[-1].sample(2, y="bee")[1].tolist() == ["bee", "bee"]


def test_classifier_as_a_transformer_in_a_pipeline(iris):
    pipe = make_pipeline(small(max_iter=20), LogisticRegression(max_iter=300)).fit(iris, CLASS)
    assert pipe.score(iris, CLASS) > 0.8


def test_classifier_cross_val_predict(iris):
    p = cross_val_predict(small(max_iter=20), iris, NAMES[CLASS], cv=2, method="predict_proba")
    np.testing.assert_allclose(p.sum(1), 1)
    assert (NAMES[p.argmax(1)] == NAMES[CLASS]).mean() > 0.8


def test_classifier_permutation_importance_finds_the_column_that_matters():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 3))
    y = (X[:, 1] > 0).astype(int)
    vae = small(max_iter=20).fit(X, y)
    assert permutation_importance(vae, X, y, n_repeats=3, random_state=0).importances_mean.argmax() == 1


def test_classifier_learning_curve(iris):
    _, _, scores = learning_curve(
        small(max_iter=15), iris, CLASS, train_sizes=[0.3, 1.0], cv=2, shuffle=True, random_state=0, error_score="raise"
    )
    assert scores.shape == (2, 2) and scores[1].mean() > 0.8


def test_classifier_cross_validates_with_labelled_folds(iris):
    """Scores use labelled rows only, so that they can reach 1; unlabelled rows are used in training."""
    scores = cross_val_score(
        small(max_iter=15), iris, marked(CLASS, dtype=int), cv=LabelledKFold(2), error_score="raise"
    )
    assert len(scores) == 2 and scores.mean() > 0.6


def test_classifier_grid_search_with_labelled_folds(iris):
    search = GridSearchCV(small(max_iter=15), {"n_components": [1, 2]}, cv=LabelledKFold(2), error_score="raise")
    search.fit(iris, marked(NAMES[CLASS]))
    assert search.best_score_ > 0.6 and search.best_estimator_.classes_.tolist() == NAMES.tolist()


# Randomness


def work(vae, X, y):
    """Call every method that may draw random numbers, and return the results."""
    vae = clone(vae).fit(X, y)
    return vae.predict_proba(X), vae.transform(X), vae.score_samples(X), *vae.sample(4), vae.sample(4, y=1)[0]


@pytest.mark.parametrize("early_stopping", [True, False])
@pytest.mark.parametrize("random_state", [0, None])
def test_classifier_leaves_global_random_state_alone(iris, global_random_state, early_stopping, random_state):
    before = global_random_state()
    work(small(early_stopping=early_stopping, random_state=random_state), iris, marked(CLASS, dtype=int))
    assert global_random_state() == before


@pytest.mark.parametrize("labelled", [SEVERAL, np.ones(150, dtype=bool)], ids=np.sum)
def test_classifier_random_state_decides_the_result(iris, labelled):
    y = marked(CLASS, labelled, dtype=int)
    first, again, other = (work(small(random_state=seed, init="random"), iris, y) for seed in (0, 0, 1))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.allclose(first[0], other[0]) and not np.allclose(first[5], other[5])


def test_classifier_in_threads_equals_serial(iris):
    y, seeds = marked(CLASS, dtype=int), range(3)
    serial = [work(small(random_state=seed), iris, y) for seed in seeds]
    with joblib.parallel_config(backend="threading", n_jobs=2):
        parallel = joblib.Parallel()(joblib.delayed(work)(small(random_state=seed), iris, y) for seed in seeds)
    for results, expected in zip(parallel, serial, strict=True):
        for one, two in zip(results, expected, strict=True):
            np.testing.assert_array_equal(one, two)
