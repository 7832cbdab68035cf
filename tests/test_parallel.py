"""Searches in processes and threads give the serial results and do not change torch's number of threads."""

import warnings

import joblib
import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_vae import VAETransformer
from sklearn_vae.networks import Modules


def small(**params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return VAETransformer(2, **{**values, **params})


def encoder(n_features):
    return torch.nn.Linear(n_features, 5)


def decoder(n_components, n_features):
    return torch.nn.Linear(n_components, n_features)


@pytest.fixture
def threads():
    """A number of threads that nothing in the package would set."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


def split_scores(search):
    return np.array([values for name, values in search.cv_results_.items() if name.endswith("_test_score")])


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("init", ["ppca", "random"])
def test_parallel_search_equals_serial(digits, backend, init):
    y = np.arange(len(digits)) % 3
    search = GridSearchCV(
        make_pipeline(small(init=init), LogisticRegression(max_iter=30)),
        {"vaetransformer__n_components": [1, 3], "vaetransformer__beta": [0.5, 2.0]},
        cv=2,
        error_score="raise",
    )
    serial = clone(search).fit(digits[:100], y[:100])
    with parallel_config(backend=backend, n_jobs=2):
        parallel = clone(search).fit(digits[:100], y[:100])
    np.testing.assert_array_equal(split_scores(parallel), split_scores(serial))
    np.testing.assert_array_equal(
        parallel.best_estimator_[0].transform(digits), serial.best_estimator_[0].transform(digits)
    )


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_likelihood_scores_equal_serial(iris, backend):
    search = GridSearchCV(small(), {"n_components": [1, 2], "learning_rate_init": [1e-3, 1e-2]}, cv=2)
    serial = clone(search).fit(iris)
    with parallel_config(backend=backend, n_jobs=2):
        parallel = clone(search).fit(iris)
    np.testing.assert_array_equal(split_scores(parallel), split_scores(serial))


def test_threads_building_user_networks_do_not_mix_their_weights(iris):
    """User code draws from torch's global generator, which is seeded for each fit in turn."""
    seeds = range(6)
    network = Modules(encoder, decoder)

    def fit(seed):
        vae = small(network=network, init="random", early_stopping=False, max_iter=1, random_state=seed)
        return vae.fit_transform(iris)

    serial = [fit(seed) for seed in seeds]
    parallel = joblib.Parallel(n_jobs=4, backend="threading")(joblib.delayed(fit)(seed) for seed in seeds)
    for one, two in zip(serial, parallel, strict=True):
        np.testing.assert_array_equal(one, two)


def test_threads_can_share_a_fitted_estimator(fitted, iris):
    expected = fitted.transform(iris), fitted.score_samples(iris)
    with parallel_config(backend="threading", n_jobs=4):
        results = joblib.Parallel()(
            joblib.delayed(lambda: (fitted.transform(iris), fitted.score_samples(iris)))() for _ in range(12)
        )
    for transformed, scores in results:
        np.testing.assert_array_equal(transformed, expected[0])
        np.testing.assert_array_equal(scores, expected[1])


def test_global_random_state_survives_threads(iris, global_random_state):
    before = global_random_state()
    joblib.Parallel(n_jobs=3, backend="threading")(
        joblib.delayed(small(random_state=seed).fit)(iris) for seed in range(6)
    )
    assert global_random_state() == before


def test_read_only_memory_maps_are_taken_without_a_warning(iris, tmp_path):
    joblib.dump(np.array(iris), tmp_path / "x")
    X = joblib.load(tmp_path / "x", mmap_mode="r")
    assert not X.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae = small().fit(X, sample_weight=np.arange(150.0))
        Z = vae.transform(X)
        vae.inverse_transform(Z), vae.score(X), vae.partial_fit(X)
    np.testing.assert_array_equal(Z, small().fit(iris, sample_weight=np.arange(150.0)).transform(iris))


def test_estimators_loaded_as_memory_maps_work_without_a_warning(iris, tmp_path):
    expected = small().partial_fit(iris).partial_fit(iris).transform(iris)
    joblib.dump(small().partial_fit(iris), tmp_path / "vae")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vae = joblib.load(tmp_path / "vae", mmap_mode="r").partial_fit(iris)
    np.testing.assert_array_equal(vae.transform(iris), expected)


@pytest.mark.parametrize("n_jobs", [None, 1, 2, -1])
def test_number_of_threads_is_left_as_it_was(iris, threads, n_jobs):
    vae = small(n_jobs=n_jobs).fit(iris)
    vae.inverse_transform(vae.transform(iris)), vae.score(iris), vae.sample(2), vae.partial_fit(iris)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_number_of_threads_is_left_as_it_was_by_a_search(iris, threads, backend):
    with parallel_config(backend=backend, n_jobs=2):
        GridSearchCV(small(), {"n_components": [1, 2, 3]}, cv=2).fit(iris)
    assert torch.get_num_threads() == threads


def test_number_of_threads_is_left_as_it_was_by_a_failure(iris, threads):
    with pytest.raises(ValueError, match="diverged"):
        small(learning_rate_init=1e30, warmup_steps=0, early_stopping=False, max_iter=20).fit(iris)
    assert torch.get_num_threads() == threads


def threads_of_a_fit(X, n_jobs=None):
    """The numbers of threads that torch has while it trains."""
    seen = []

    def beta(step):
        seen.append(torch.get_num_threads())
        return 1.0

    small(beta=beta, n_jobs=n_jobs, early_stopping=False).fit(X)
    # The first call is before training starts.
    return set(seen[1:])


@pytest.mark.parametrize(("n_jobs", "expected"), [(None, 1), (1, 1), (2, min(2, joblib.cpu_count()))])
def test_n_jobs_is_the_number_of_threads(iris, threads, n_jobs, expected):
    assert threads_of_a_fit(iris, n_jobs) == {expected}


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_fits_in_parallel_have_one_thread_each_or_n_jobs(iris, backend):
    with parallel_config(backend=backend, n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(threads_of_a_fit)(iris, n_jobs) for n_jobs in (None, None, 2))
    assert found == [{1}, {1}, {min(2, joblib.cpu_count())}]


def test_parallel_config_sets_the_threads_of_a_fit_that_is_alone(iris):
    with parallel_config(n_jobs=2):
        assert threads_of_a_fit(iris) == {min(2, joblib.cpu_count())}
    assert threads_of_a_fit(iris) == {1}


def test_n_jobs_does_not_change_the_result_much(iris):
    one, two = (small(n_jobs=n_jobs).fit_transform(iris) for n_jobs in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-4)
