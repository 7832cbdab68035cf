"""VAEClassifier in scikit-learn's tools: pipelines, searches, other meta-estimators, cross-validation, inspection."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score, learning_curve
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier
from small_estimators import CLASS, NAMES, marked
from small_estimators import small_classifier as small

from sklearn_vae import LabelledKFold


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
