"""VAEOutlierDetector: scores, threshold, explanations, tables, wrong input, and scikit-learn's checks."""

import pickle

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy import sparse, stats
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_vae import VAEOutlierDetector, VAETransformer
from sklearn_vae._model.outlier_scores import Space, TailProbabilities

BRIEF = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=3)


def brief(**params):
    return VAEOutlierDetector(vae_estimator=clone(BRIEF), random_state=0, **params)


def gaussian_rows(n_rows, seed=0):
    """Rows of five correlated normal columns."""
    rng = np.random.RandomState(seed)
    mixing = np.random.RandomState(9).normal(size=(3, 5))
    return rng.normal(size=(n_rows, 3)) @ mixing + 0.3 * rng.normal(size=(n_rows, 5))


@parametrize_with_checks([VAEOutlierDetector(vae_estimator=BRIEF, random_state=0)])
def test_scikit_learn_check(estimator, check):
    check(estimator)


@pytest.mark.parametrize("contamination", [0.05, 0.2])
def test_share_of_new_rows_below_the_threshold_is_the_nominal_one(contamination):
    detector = brief(contamination=contamination).fit(gaussian_rows(600))
    n_new = 4000
    share = np.mean(detector.predict(gaussian_rows(n_new, seed=1)) == -1)
    # Both the threshold, from 600 rows, and the share are binomial.
    error = np.sqrt(contamination * (1 - contamination) * (1 / 600 + 1 / n_new))
    assert abs(share - contamination) < 4 * error


def test_auto_flags_one_percent_of_clean_rows_and_leaves_next_to_none_out():
    detector = brief().fit(gaussian_rows(600))
    share = np.mean(detector.predict(gaussian_rows(4000, seed=1)) == -1)
    assert detector.contamination_ <= 0.01
    assert 0 < share < 0.01 + 4 * np.sqrt(0.01 * (1 / 600 + 1 / 4000))


def test_auto_leaves_gross_outliers_out():
    X = gaussian_rows(300)
    X[:6] += 50 * np.random.RandomState(1).normal(size=(6, 5))
    detector = brief().fit(X)
    assert detector.contamination_ >= 6 / 300
    assert (detector.predict(X[:6]) == -1).all()
    # The model does not know them: its noise is that of the other rows.
    clean = brief().fit(X[6:])
    assert np.max(detector.vae_.noise_variance_) < 2 * np.max(clean.vae_.noise_variance_)


def test_a_cluster_of_outliers_in_training_is_found_if_its_share_is_given():
    X = gaussian_rows(400)
    cluster = X[:20] * 0.05 + [4, -4, 4, -4, 4]
    rows = np.vstack([X, cluster])
    found = brief(contamination=20 / 420).fit(rows).predict(rows[400:]) == -1
    assert found.mean() > 0.9


def test_scores_rank_malignant_cells_below_benign_ones():
    X, y = load_breast_cancer(return_X_y=True)
    train, benign, malignant = X[y == 1][:250], X[y == 1][250:], X[y == 0]
    detector = make_pipeline(StandardScaler(), VAEOutlierDetector(random_state=0)).fit(train)
    scores = detector.score_samples(np.vstack([benign, malignant]))
    assert roc_auc_score(np.arange(len(scores)) < len(benign), scores) > 0.93


@pytest.mark.parametrize("contamination", [0.07, 0.29, 0.5])
def test_share_of_training_rows_that_are_left_out_is_the_given_one(contamination):
    assert brief(contamination=contamination).fit(gaussian_rows(100)).contamination_ == contamination


def test_training_rows_have_scores_of_models_that_have_not_seen_them():
    X = gaussian_rows(200)
    assert np.mean(brief(contamination=0.1).fit_predict(X) == -1) == 0.1
    detector = brief().fit(X)
    # A row next to a training row has a near neighbour. A training row does not count as its own.
    assert detector.score_samples(X + 1e-9).mean() > detector.score_samples(X).mean() + 0.5


def test_densities_of_held_out_rows_are_those_of_new_rows():
    rows, noise = gaussian_rows(2200), np.random.RandomState(1).normal(size=2200)
    rows[:, :4] *= 0.05
    rows[:, 4] = 2 * noise
    X, new, detector = rows[:200], rows[200:], brief()
    fitted = detector._compare(detector._new_vae(X), X, np.array([], int))
    # The folds' models have the noise scale of each column, as the model of all rows has.
    log_p = fitted.vae.score_samples(new)
    error = log_p.std() / np.sqrt(200)
    assert -fitted.tails.ordered[:, 0].mean() == pytest.approx(log_p.mean(), abs=4 * error)


def test_above_5000_rows_the_threshold_is_that_of_held_out_rows():
    detector = brief(contamination=0.05).fit(gaussian_rows(6000))
    share = np.mean(detector.predict(gaussian_rows(6000, seed=1)) == -1)
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 * (1 / 600 + 1 / 6000))


def test_scores_do_not_depend_on_units_and_positions_of_all_columns():
    X = gaussian_rows(150)
    new = gaussian_rows(20, seed=1)
    detector, scaled = brief().fit(X), brief().fit(1000 * X + 5)
    np.testing.assert_allclose(scaled.score_samples(1000 * new + 5), detector.score_samples(new), rtol=2e-2, atol=2e-2)


def test_explain_sums_to_the_score_and_finds_the_column():
    X = gaussian_rows(300)
    detector = brief().fit(X)
    new = gaussian_rows(50, seed=1)
    new[np.arange(50), np.arange(50) % 5] += 6
    parts = detector.explain(new)
    assert parts.shape == new.shape and (parts <= 0).all()
    np.testing.assert_allclose(parts.sum(1), detector.score_samples(new))
    assert np.mean(parts.argmin(1) == np.arange(50) % 5) > 0.9
    np.testing.assert_allclose(detector.explain(X).sum(1), detector.score_samples(X))


@pytest.mark.parametrize("distance", [1e6, 1e19, 1e30])
def test_rows_very_far_away_have_finite_scores(distance):
    # log p(x) of float32 rows overflows from 1e19 on.
    X = gaussian_rows(100).astype(np.float32)
    far = X[:2] * np.float32(distance)
    detector = brief().fit(X)
    parts = detector.explain(far)
    assert (detector.predict(far) == -1).all() and np.isfinite(parts).all()
    np.testing.assert_allclose(parts.sum(1), detector.score_samples(far))


def mixed_frame(n_rows, seed=0):
    """A frame of floats, integers, categories and booleans, with gaps."""
    rng = np.random.RandomState(seed)
    size = rng.normal(size=n_rows)
    frame = pd.DataFrame(
        {
            "size": size,
            "count": rng.poisson(np.exp(size)),
            "kind": pd.Categorical(np.where(size + 0.3 * rng.normal(size=n_rows) > 0, "large", "small")),
            "flag": rng.uniform(size=n_rows) < 0.5,
        }
    )
    frame.loc[rng.uniform(size=n_rows) < 0.1, "size"] = np.nan
    return frame


def test_mixed_frames_with_gaps():
    detector = VAEOutlierDetector(vae_estimator=VAETransformer(2, max_iter=40), random_state=0).fit(mixed_frame(300))
    new = mixed_frame(100, seed=1)
    new.loc[0, ["size", "count", "kind"]] = [2.5, 12, "small"]
    parts = detector.explain(new)
    assert parts.shape == (100, 4) and list(detector.feature_names_in_) == ["size", "count", "kind", "flag"]
    np.testing.assert_allclose(parts.sum(1), detector.score_samples(new))
    assert detector.score_samples(new).argmin() == 0 and parts[0].argmin() == 2
    assert (parts[1:, 2].sum() / parts[1:].sum()) < 0.5


@pytest.mark.parametrize("convert", [np.asarray, sparse.csr_array])
def test_rows_without_an_observed_cell_are_neither_held_out_nor_neighbours(convert):
    gaps = [0, 71, 152]
    rows = convert(np.insert(gaussian_rows(150), [0, 70, 150], np.nan, axis=0))
    detector = brief()
    fitted = detector._compare(detector._new_vae(rows), rows, np.array([], int))
    for is_used in (fitted.is_held_out, fitted.is_reference):
        np.testing.assert_array_equal(np.flatnonzero(~is_used), gaps)
    assert (detector.fit_predict(rows)[gaps] == 1).all()


@pytest.mark.parametrize("convert", [sparse.csr_array, sparse.csr_matrix, np.float32, pd.DataFrame, np.ndarray.tolist])
def test_forms_of_rows(convert):
    X = load_iris().data.round(1)
    detector = brief().fit(X)
    other = brief().fit(convert(X))
    np.testing.assert_allclose(other.score_samples(convert(X)), detector.score_samples(X), atol=0.05)


def by_pickle(detector, X):
    return pickle.loads(pickle.dumps(detector))


def by_skops(detector, X):
    saved = skops.io.dumps(detector)
    return skops.io.loads(saved, trusted=skops.io.get_untrusted_types(data=saved))


def by_clone(detector, X):
    return clone(detector).fit(X)


@pytest.mark.parametrize("form", [np.asarray, np.float32, sparse.csr_array])
@pytest.mark.parametrize("copied", [by_pickle, by_skops, by_clone])
def test_saved_and_cloned_detectors_agree(copied, form):
    X, new = form(gaussian_rows(100)), form(gaussian_rows(20, seed=1))
    detector = brief(contamination=0.1).fit(X)
    copy = copied(detector, X)
    np.testing.assert_array_equal(copy.score_samples(new), detector.score_samples(new))
    np.testing.assert_array_equal(copy.explain(X), detector.explain(X))


def test_saved_detectors_keep_the_numbers_of_neighbours_of_the_fit():
    X, new = gaussian_rows(100), gaussian_rows(20, seed=1)
    detector = brief().fit(X).set_params(n_neighbors=1, contamination=0.5)
    np.testing.assert_array_equal(by_pickle(detector, X).score_samples(new), detector.score_samples(new))


def test_training_rows_are_recognised_in_other_bits():
    X = np.round(gaussian_rows(100))
    X[:20, 0] = np.nan
    other = np.where(X == 0, -X, X)
    other[:10, 0] = -np.nan
    assert other.tobytes() != X.tobytes()
    detector = brief().fit(X)
    for rows in (other, X.astype(np.float32), sparse.csr_array(X)):
        np.testing.assert_array_equal(detector.score_samples(rows), detector.score_samples(X))


def test_explain_warns_once():
    detector = brief().fit(pd.DataFrame(gaussian_rows(100), columns=list("abcde")))
    with pytest.warns(UserWarning, match="valid feature names") as warned:
        detector.explain(gaussian_rows(3, seed=1))
    assert len(warned) == 1


def test_file_without_code_has_the_detector():
    detector = brief().fit(gaussian_rows(100))
    stream = skops.io.dumps(detector)
    loaded = skops.io.loads(stream, trusted=skops.io.get_untrusted_types(data=stream))
    new = gaussian_rows(20, seed=1)
    np.testing.assert_array_equal(loaded.score_samples(new), detector.score_samples(new))


def test_callbacks_of_the_model_are_torn_down():
    calls = []

    class Recorder:
        def setup(self, estimator, context):
            calls.append("setup")

        def teardown(self, estimator, context):
            calls.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            calls.append("end")

    vae = clone(BRIEF).set_callbacks(Recorder())
    VAEOutlierDetector(vae_estimator=vae, random_state=0).fit(gaussian_rows(50))
    assert calls.count("setup") == calls.count("teardown") > 0
    assert calls[0] == "setup" and calls[-1] == "teardown" and "end" in calls


def test_equal_rows_and_constant_columns():
    X = np.repeat(gaussian_rows(30), 4, axis=0)
    X[:, 2] = 1.0
    detector = brief().fit(X)
    assert np.isfinite(detector.score_samples(X)).all() and np.isfinite(detector.explain(X)).all()
    new = X[:1].copy()
    new[0, 2] = 2.0
    assert detector.predict(new)[0] == -1 and detector.explain(new)[0].argmin() == 2


def test_default_model_has_fewer_components_than_columns():
    assert VAEOutlierDetector()._new_vae(np.zeros((9, 3))).n_components == 2
    assert VAEOutlierDetector()._new_vae(np.zeros((9, 1))).n_components == 1
    assert VAEOutlierDetector()._new_vae(np.zeros((9, 50))).n_components == 8


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"contamination": 0.7}, "contamination"),
        ({"contamination": "none"}, "contamination"),
        ({"n_neighbors": 0}, "n_neighbors"),
        ({"vae_estimator": VAETransformer}, "vae_estimator"),
        ({"vae_estimator": VAETransformer(-3)}, "'n_components' parameter of VAETransformer"),
        ({"vae_estimator": VAETransformer(n_jobs="two")}, "'n_jobs' parameter of VAETransformer"),
        ({"vae_estimator": VAETransformer(early_stopping=False)}, "early_stopping=True, got False"),
        ({"vae_estimator": VAETransformer(objective="autoencoder")}, "without log p"),
        ({"vae_estimator": VAETransformer(max_iter=0)}, "max_iter above 0"),
    ],
)
def test_wrong_parameters(params, message):
    with pytest.raises(ValueError, match=message):
        VAEOutlierDetector(**params).fit(gaussian_rows(20))


def test_an_empty_list_is_refused_by_the_checks_of_the_model():
    with pytest.raises(ValueError, match="Expected 2D array"):
        VAEOutlierDetector().fit([])


@pytest.mark.parametrize("contamination", ["auto", 0.5])
@pytest.mark.parametrize("n_rows", [5, 6, 8])
def test_few_rows_are_enough(n_rows, contamination):
    detector = brief(contamination=contamination).fit(gaussian_rows(n_rows))
    assert (1 - detector.contamination_) * n_rows >= 5
    assert np.isfinite(detector.explain(gaussian_rows(3, seed=1))).all()


def test_too_few_rows():
    with pytest.raises(ValueError, match="at least 5 rows"):
        brief().fit(gaussian_rows(4))


def test_tail_probabilities_are_shares_and_then_exponential():
    values = stats.expon.rvs(size=20000, random_state=0)
    tails = TailProbabilities.of(values[:, None])
    at = np.array([0.1, 0.7, 2.0, 5.0, 30.0])
    # The tail of the exponential distribution is exp(-x) throughout.
    np.testing.assert_allclose(tails.log(at[:, None])[:, 0], -at, rtol=0.03, atol=0.01)
    ordered = tails.log(np.linspace(-1, 40, 500)[:, None])[:, 0]
    assert (np.diff(ordered) <= 0).all() and ordered[0] < 0


def test_neighbours_of_members_leave_them_out():
    coordinates = np.array([[0.0], [1.0], [3.0], [7.0]])
    space = Space(coordinates, 2, 0)
    members = space.search(coordinates, np.ones(4, bool))
    np.testing.assert_array_equal(members.rows, [[1, 2], [0, 2], [1, 0], [2, 1]])
    np.testing.assert_allclose(members.log_distance, np.log([[1, 3], [1, 2], [2, 3], [4, 6]]).mean(1))
    new = space.search(coordinates + 0.25, np.zeros(4, bool))
    np.testing.assert_array_equal(new.rows[:, 0], [0, 1, 2, 3])
    skipping = Space(coordinates, 1, 1).search(coordinates, np.ones(4, bool))
    np.testing.assert_array_equal(skipping.rows[:, 0], [2, 2, 0, 1])


@pytest.mark.parametrize("n_columns", [2, 30])
def test_skipped_neighbours_are_the_nearest_ones(n_columns):
    coordinates = np.random.RandomState(0).normal(size=(200, n_columns))
    # Equal rows are at distance 0, not at a rounding error of their squares.
    coordinates[:40] = coordinates[0]
    for is_member in (np.ones(200, bool), np.zeros(200, bool)):
        near = Space(coordinates, 29, 0).search(coordinates, is_member)
        space = Space(coordinates, 4, 25)
        after = space.search(coordinates, is_member)
        distances = np.linalg.norm(coordinates[:, None] - coordinates[near.rows], axis=2)[:, 25:]
        np.testing.assert_allclose(after.log_distance, np.log(distances.clip(space.min_distance)).mean(1))
        assert (after.log_distance[:40] == np.log(space.min_distance)).all()
