"""Fits of VAEClassifier: warm starts, early stopping, few or constant rows, divergence and output."""

import numpy as np
import pytest
from sklearn.metrics import log_loss
from small_estimators import CLASS, NAMES, SEVERAL, marked
from small_estimators import small_classifier as small


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
