"""random_state determines all results: which calls agree, which differ, and to what precision."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_vae import VAEClassifier, VAETransformer

SMALL = {"n_components": 2, "hidden_layer_sizes": (8,), "max_iter": 2}
# "random": draws are seen at once, while a start at probabilistic PCA is the same for every seed.
ESTIMATORS = {
    "transformer": lambda **params: VAETransformer(**SMALL, init="random", early_stopping=False, **params),
    "classifier": lambda **params: VAEClassifier(**SMALL, init="random", **params),
}
over_estimators = pytest.mark.parametrize("kind", ESTIMATORS)


def fit_transform(vae, X):
    return vae.fit(X, np.arange(len(X)) % 3).transform(X)


@over_estimators
def test_number_or_equal_generator_gives_equal_results(iris, kind):
    make = ESTIMATORS[kind]
    of_number = [fit_transform(make(random_state=3), iris) for _ in range(2)]
    of_generator = [fit_transform(make(random_state=np.random.RandomState(3)), iris) for _ in range(2)]
    np.testing.assert_array_equal(*of_number)
    np.testing.assert_array_equal(*of_generator)
    np.testing.assert_array_equal(of_number[0], of_generator[0])
    assert (fit_transform(make(random_state=4), iris) != of_number[0]).all()


@over_estimators
def test_repeated_fits_agree_with_a_number_and_differ_with_a_generator(iris, kind):
    """As everywhere in scikit-learn: a generator goes on from fit to fit."""
    vae = ESTIMATORS[kind](random_state=3)
    np.testing.assert_array_equal(fit_transform(vae, iris), fit_transform(vae, iris))
    vae.set_params(random_state=np.random.RandomState(3))
    assert (fit_transform(vae, iris) != fit_transform(vae, iris)).all()


@over_estimators
def test_without_random_state_fits_differ_and_read_no_global_generator(iris, kind, global_random_state):
    results = []
    for _ in range(2):
        np.random.seed(0)
        seeded = global_random_state()
        results.append(fit_transform(ESTIMATORS[kind](), iris))
        assert global_random_state() == seeded
    assert (results[0] != results[1]).all()


def test_sample_draws_the_same_rows_at_each_call_with_a_number(iris):
    vae = VAETransformer(**SMALL, random_state=3).fit(iris)
    np.testing.assert_array_equal(vae.sample(4), vae.sample(4, random_state=3))
    assert (vae.sample(4, random_state=5) != vae.sample(4)).all()
    vae.set_params(random_state=None)
    assert (vae.sample(4) != vae.sample(4)).all()


def test_candidates_of_a_search_have_the_same_seed(iris):
    """A search clones an integer into every candidate, so fits differ only by the searched parameters."""
    search = GridSearchCV(ESTIMATORS["transformer"](random_state=3), {"verbose": [False, 0]}, cv=2).fit(iris)
    scores = [search.cv_results_[f"split{fold}_test_score"] for fold in range(2)]
    for of_fold in scores:
        assert of_fold[0] == of_fold[1]


def test_rows_of_float32_get_nearly_the_results_of_float64(digits):
    vae = VAETransformer(**SMALL, random_state=0).fit(digits)
    single = digits.astype(np.float32)
    Z, Z_single = vae.transform(digits), vae.transform(single)
    assert Z.dtype == np.float64 and Z_single.dtype == np.float32
    np.testing.assert_allclose(Z_single, Z, atol=1e-5)
    np.testing.assert_allclose(vae.score_samples(single), vae.score_samples(digits), rtol=1e-4)


def test_row_by_itself_gets_what_it_gets_among_others(digits):
    vae = VAETransformer(**SMALL, random_state=0).fit(digits)
    alone = np.concatenate([vae.transform(digits[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, vae.transform(digits)[:5], rtol=0, atol=1e-13)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_same_number_of_threads_gives_equal_results(digits, n_jobs):
    results = [VAETransformer(**SMALL, random_state=0, n_jobs=n_jobs).fit_transform(digits) for _ in range(2)]
    np.testing.assert_array_equal(*results)
