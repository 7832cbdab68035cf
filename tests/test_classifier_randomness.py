"""Randomness of VAEClassifier: random_state decides the results, and global generators are left alone."""

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from small_estimators import CLASS, SEVERAL, marked
from small_estimators import small_classifier as small


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
