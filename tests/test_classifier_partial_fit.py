"""Classifiers that are trained on one chunk after the other."""

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from small_estimators import NAMES, small_classifier

from sklearn_vae._data.labels import Labels
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._model.class_mixture import MIN_VARIANCE, ClassMixture
from sklearn_vae._semi_supervised.mixture_fit import update_class_mixture

X, Y = load_iris(return_X_y=True)
CHUNKS = [np.arange(i, 150, 5) for i in range(5)]


def in_chunks(estimator, y=Y, chunks=CHUNKS, classes=(0, 1, 2), **params):
    """Call ``partial_fit`` on each chunk."""
    for index in chunks:
        estimator.partial_fit(X[index], y[index], classes=classes, **params)
    return estimator


def same(a, b):
    """Compare the results and the state of training of two classifiers."""
    assert_array_equal(a.predict_log_proba(X), b.predict_log_proba(X))
    assert_array_equal(a.score_samples(X), b.score_samples(X))
    assert_array_equal(a.class_prior_, b.class_prior_)
    np.testing.assert_equal(a._training_state, b._training_state)


def test_chunks_teach_the_classes_of_digits():
    digits, labels = load_digits(return_X_y=True)
    clf = small_classifier(8, hidden_layer_sizes=(64,), learning_rate_init=5e-3)
    for _ in range(8):
        for start in range(0, 1400, 50):
            clf.partial_fit(digits[start : start + 50], labels[start : start + 50], classes=np.arange(10))
    assert clf.score(digits[1400:], labels[1400:]) > 0.85
    drawn, of = clf.sample(1000, random_state=0)
    assert (clf.predict(drawn) == of).mean() > 0.8
    assert clf._training_state["trainer"]["step"] == clf.n_steps_ == 8 * 28 * 2
    assert clf.n_iter_ == 8 * 28 == len(clf.loss_curve_)


def test_training_resumes_after_pickling():
    through, stored = in_chunks(small_classifier()), small_classifier()
    for index in CHUNKS:
        stored = pickle.loads(pickle.dumps(stored.partial_fit(X[index], Y[index], classes=[0, 1, 2])))
    same(through, stored)


def test_fit_is_continued():
    clf = small_classifier().fit(X, Y)
    before = clf.predict_log_proba(X)
    clf.partial_fit(X[::5], Y[::5])
    assert clf.n_iter_ == 4 + 1 and np.abs(clf.predict_log_proba(X) - before).mean() < 0.3
    total, shares = clf._training_state["statistics"]["classes"]
    assert total == 180
    assert_allclose(shares, 1 / 3)


def test_weights_are_counts():
    weight = np.random.RandomState(0).randint(0, 3, 150).astype(float)
    params = {"sample_weight": weight[CHUNKS[0]]}
    a = in_chunks(small_classifier(), chunks=CHUNKS[:1], **params)
    kept = weight[CHUNKS[0]] > 0
    b = in_chunks(small_classifier(), chunks=[CHUNKS[0][kept]], sample_weight=weight[CHUNKS[0]][kept])
    same(a, b)
    assert_allclose(a.class_prior_, np.bincount(Y[CHUNKS[0]], weight[CHUNKS[0]]) / weight[CHUNKS[0]].sum(), rtol=1e-3)


def test_unlabelled_rows_and_names():
    y = NAMES[Y].astype(object)
    y[50:] = np.where(np.arange(100) % 2, y[50:], -1)
    clf = in_chunks(small_classifier(), y, classes=NAMES)
    assert_array_equal(clf.classes_, NAMES)
    only = copy.deepcopy(clf).partial_fit(X[:20], np.full(20, -1))
    assert only.n_iter_ == 6 and set(only.predict(X)) <= set(NAMES)
    assert only._training_state["statistics"]["classes"][0] == 170


def test_a_class_that_has_not_come_yet_is_possible():
    clf = in_chunks(small_classifier(), classes=[0, 1, 2, 3])
    assert 0 < clf.class_prior_[3] < 1e-3
    rows, labels = clf.sample(20, y=3, random_state=0)
    assert rows.shape == (20, 4) and np.isfinite(rows).all() and (labels == 3).all()
    clf.partial_fit(X[CHUNKS[0]], np.where(Y[CHUNKS[0]] == 2, 3, Y[CHUNKS[0]]))
    assert_allclose(clf.class_prior_, np.array([60, 60, 50, 10]) / 180)


def test_rows_with_gaps():
    gaps = X.copy()
    gaps[::7, 1] = np.nan
    clf = small_classifier()
    for index in CHUNKS:
        clf.partial_fit(gaps[index], Y[index], classes=[0, 1, 2])
    assert np.isfinite(clf.predict_log_proba(gaps)).all()


@pytest.mark.parametrize(
    ("y", "classes", "match"),
    [
        (Y, None, "classes must be passed on the first call"),
        (Y, [0, 1], "labels among the classes of the first call, .0, 1., .* got 2; pass all classes"),
        (Y, [0, 1, 2, -1], "classes without -1, which marks unlabelled rows"),
        (np.zeros(150, int), [0], "at least two classes, got"),
        (None, [0, 1, 2], "requires y to be passed"),
        (NAMES[Y], [0, 1, 2], "labels among the classes of the first call, .* got 'ant'"),
        (np.where(Y == 0, np.nan, Y), [0, 1, 2], "expected the integer -1 for unlabelled rows, got nan"),
    ],
    ids=["no classes", "too few", "unlabelled", "one", "no labels", "names", "missing"],
)
def test_wrong_labels(y, classes, match):
    clf = small_classifier()
    with pytest.raises(ValueError, match=match):
        clf.partial_fit(X, y, classes=classes)
    with pytest.raises(NotFittedError):
        clf.predict(X)


def test_a_call_that_is_refused_changes_nothing():
    clf = in_chunks(small_classifier())
    before = copy.deepcopy(clf)
    with pytest.raises(ValueError, match="is not the same as on last call"):
        clf.partial_fit(X, Y, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="features"):
        clf.partial_fit(X[:, :2], Y)
    with pytest.raises(ValueError, match=r"got 3; pass all classes"):
        clf.partial_fit(X, Y + 1)
    same(clf, before)


def test_balanced_class_weights_are_refused():
    with pytest.raises(ValueError, match="class_weight to be None or a dictionary for partial_fit"):
        in_chunks(small_classifier(class_weight="balanced"))


@pytest.mark.parametrize("class_weight", [{0: 2.0}, {0: 0.0, 1: 1.0, 2: 1.0}])
def test_class_weights_hold_in_chunks_without_these_classes(class_weight):
    clf = small_classifier(class_weight=class_weight)
    for index in (CHUNKS[0], CHUNKS[1][:10], CHUNKS[2][10:]):
        clf.partial_fit(X[index], Y[index], classes=[0, 1, 2])
    assert clf.n_iter_ == 3
    with pytest.raises(ValueError, match="expected class_weight to be finite numbers"):
        in_chunks(small_classifier(class_weight={0: -1.0}))


def test_rows_of_weight_0_are_ignored():
    y, weight = np.where(np.arange(150) == 7, 9, Y), np.where(np.arange(150) == 7, 0.0, 1.0)
    clf = small_classifier().partial_fit(X, y, classes=[0, 1, 2], sample_weight=weight)
    kept = weight > 0
    same(clf, small_classifier().partial_fit(X[kept], Y[kept], classes=[0, 1, 2]))


def test_a_classifier_without_a_generative_model():
    clf = in_chunks(small_classifier(generative_weight=0))
    assert clf.n_iter_ == 5 and not hasattr(clf, "class_prior_")


def mixture_of_two(rng):
    """Return two classes in three dimensions, of two Gaussians and of one."""
    draws = [
        np.concatenate([rng.standard_normal((600, 3)) + 4, 0.5 * rng.standard_normal((300, 3)) @ np.tri(3)]),
        rng.standard_normal((500, 3)) * [1, 2, 3] - 1,
    ]
    return draws, ClassMixture(2, 4, 3).fit(draws, np.array([0.7, 0.3]), 0)


def test_moments_of_a_mixture():
    draws, mixture = mixture_of_two(np.random.default_rng(0))
    assert torch.isfinite(mixture.log_weight[0]).sum() > 1
    for k, (mean, covariance) in enumerate(zip(*mixture.moments(), strict=True)):
        # Those of maximum likelihood are those of the draws.
        assert_allclose(mean, draws[k].mean(0), atol=0.02)
        assert_allclose(covariance, np.cov(draws[k].T, bias=True), atol=0.05)
        z = mixture.sample(torch.full((200_000,), k), torch.Generator().manual_seed(0)).numpy()
        assert_allclose(mean, z.mean(0), atol=0.03)
        assert_allclose(covariance, np.cov(z.T), atol=0.15)


def test_gaussians_have_the_given_moments():
    _, mixture = mixture_of_two(np.random.default_rng(0))
    means, covariances = mixture.moments()
    mixture.set_gaussians(means, covariances)
    for value, expected in zip(mixture.moments(), (means, covariances), strict=True):
        assert_allclose(value, expected, atol=1e-5)
    z = torch.randn(50, 3)
    expected = torch.distributions.MultivariateNormal(torch.from_numpy(means[0]), torch.from_numpy(covariances[0]))
    assert_allclose(mixture.log_prob_classes(z)[:, 0], expected.log_prob(z.double()), rtol=1e-4)


def test_rows_that_no_class_was_fitted_to_do_not_count():
    """Unlabelled rows of which the model is not sure, and then a few labelled ones."""
    clf = small_classifier().partial_fit(X[CHUNKS[0]], np.full(30, -1), classes=[0, 1, 2])
    assert (clf.module_.class_mixture.n_rows == 0).all()
    clf.partial_fit(X[CHUNKS[1]], Y[CHUNKS[1]])
    loc = clf.module_.posterior(torch.from_numpy(X[CHUNKS[1]]).float()).loc.detach().numpy()
    means = clf.module_.class_mixture.moments()[0]
    for k in range(3):
        assert_allclose(means[k], loc[Y[CHUNKS[1]] == k].mean(0), atol=1e-4)


def test_a_new_start_forgets_the_classes_of_the_old_model():
    clf = small_classifier()
    for index in CHUNKS[:2]:
        clf.partial_fit(1e-3 * X[index], Y[index], classes=[0, 1, 2])
    with pytest.warns(UserWarning, match="a new start .* replaces the model"):
        clf.partial_fit(X[CHUNKS[2]], Y[CHUNKS[2]])
    assert_allclose(clf.module_.class_mixture.n_rows, 10)
    assert clf._training_state["statistics"]["classes"][0] == 90


def test_sure_rows_without_labels_count_and_old_rows_are_forgotten():
    clf = small_classifier(max_iter=60).fit(X, Y)
    model = copy.deepcopy(clf.module_)
    index = np.flatnonzero(clf.predict_proba(X).max(1) > 0.99)
    assert len(index) > 30
    rows = DenseRows(torch.from_numpy(np.tile(X[index], (40, 1))))
    codes = np.full(len(rows), -1)
    model.class_mixture.set_gaussians(np.full((3, 2), 7.0), np.tile(np.eye(2), (3, 1, 1)))
    model.class_mixture.n_rows.fill_(1e6)
    update_class_mixture(model, rows, Labels(codes, np.ones(len(codes)), np.ones(len(codes)), 3), None)
    loc = model.posterior(torch.from_numpy(X[index]).float()).loc.detach().numpy()
    for k, n in enumerate(np.bincount(clf.predict(X[index]), minlength=3)):
        if n:
            share = min(40 * n / 1000, 1.0)
            expected = share * loc[clf.predict(X[index]) == k].mean(0) + (1 - share) * 7.0
            assert_allclose(model.class_mixture.moments()[0][k], expected, atol=1e-3)


def test_class_moments_of_chunks_are_those_of_all_rows():
    clf = small_classifier().fit(X, Y)
    chunks = [np.arange(0, 40), np.arange(40, 110), np.arange(110, 150)]

    def update(parts):
        """Return the moments and the shares of the classes after these parts, for a model that stays the same."""
        model, statistics = copy.deepcopy(clf.module_), None
        model.class_mixture.set_gaussians(np.full((3, 2), 7.0), np.tile(np.eye(2), (3, 1, 1)))
        model.class_mixture.n_rows.zero_()
        for index in parts:
            labels = Labels(Y[index], np.ones(len(index)), np.ones(len(index)), 3)
            statistics, _ = update_class_mixture(model, DenseRows(torch.from_numpy(X[index])), labels, statistics)
        return *model.class_mixture.moments(), statistics[1]

    posterior = clf.module_.posterior(torch.from_numpy(X).float())
    loc, scale = posterior.loc.detach().numpy(), posterior.scale.detach().numpy()
    once, split = update([np.arange(150)]), update(chunks)
    for k in range(3):
        of = k == Y
        covariance = np.cov(loc[of].T, bias=True) + np.diag(np.square(scale[of]).mean(0) + MIN_VARIANCE)
        for means, covariances, shares in (once, split):
            assert_allclose(means[k], loc[of].mean(0), atol=1e-4)
            assert_allclose(covariances[k], covariance, rtol=1e-3, atol=1e-4)
            assert_allclose(shares, 1 / 3)
