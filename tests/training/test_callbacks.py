"""scikit-learn callbacks: the events that they receive, and their effect on a fit."""

import pickle
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import make_moons
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._semi_supervised import distillation
from sklearn_vae._training import recipe

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9 has no callbacks")


def small(**params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 4, "early_stopping": False, "random_state": 0}
    return VAETransformer(2, **{**values, **params})


def small_classifier(**params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0}
    return VAEClassifier(2, **{**values, **params})


class Recorder:
    """Callback that records the path of tasks at each event and stops runs after a number of epochs."""

    def __init__(self, n_epochs=None):
        self.n_epochs = n_epochs
        self.begun, self.ended, self.data, self.is_set_up = [], [], [], None

    def setup(self, estimator, context):
        self.is_set_up = True

    def teardown(self, estimator, context):
        self.is_set_up = False

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata):
        assert self.is_set_up
        self.begun.append(path(context))
        self.data.append((X, y, metadata))

    def on_fit_task_end(self, estimator, context):
        assert self.is_set_up
        self.ended.append(path(context))
        return context.task_name == "epoch" and context.task_id + 1 == self.n_epochs


class Keeper(Recorder):
    """Keeps the estimator of each epoch as well."""

    def __init__(self):
        super().__init__()
        self.estimators = []

    def on_fit_task_end(self, estimator, context, *, fitted_estimator):
        if context.task_name == "epoch":
            self.estimators.append(fitted_estimator)
        return super().on_fit_task_end(estimator, context)


def path(context):
    names = []
    while context is not None:
        names.append((context.task_name, context.task_id))
        context = context.parent
    return tuple(reversed(names))


def n_epochs_of_runs(recorder):
    """Number of epochs under each task that has any."""
    return Counter(names[:-1] for names in recorder.ended if names[-1][0] == "epoch")


def test_a_single_run_is_the_fit(iris):
    recorder = Recorder()
    vae = small().set_callbacks(recorder).fit(iris)
    fit = (("fit", 0),)
    assert recorder.begun == [fit, *[(*fit, ("epoch", i)) for i in range(4)]]
    assert recorder.ended == [*recorder.begun[1:], fit] and recorder.is_set_up is False
    assert vae.n_iter_ == 4


def test_folds_and_the_last_run_are_parts_of_the_fit(iris):
    recorder = Recorder()
    vae = small(early_stopping=True, max_iter=30, init="random").set_callbacks(recorder).fit(iris)
    runs = [names[1] for names in recorder.begun if len(names) == 2]
    assert runs == [("fold 1 of 3", 0), ("fold 2 of 3", 1), ("fold 3 of 3", 2), ("all rows", 3)]
    assert sorted(recorder.begun) == sorted(recorder.ended)
    epochs = n_epochs_of_runs(recorder)
    assert epochs[(("fit", 0), ("all rows", 3))] == len(vae.loss_curve_) > 0
    assert max(epochs.values()) == vae.n_iter_


@pytest.mark.parametrize(("every", "n_networks", "n_fits"), [(1, 3, 1), (5, 6, 3)])
def test_networks_of_the_labelled_rows_are_parts_of_a_classifiers_fit(iris, every, n_networks, n_fits):
    """Three parts of all labels calibrate the result; five parts of few labels and all of these say what to learn.

    Three epochs are too few to learn it, so that each procedure is tried.
    """
    y = np.where(np.arange(150) % every == 0, np.repeat([0, 1, 2], 50), -1)
    recorder = Recorder()
    small_classifier().set_callbacks(recorder).fit(iris, y)
    runs = [names[1][0] for names in recorder.begun if len(names) == 2]
    assert runs == [*["labelled rows"] * n_networks, *["fit"] * n_fits]
    assert sorted(recorder.begun) == sorted(recorder.ended)


def test_all_runs_of_few_labels_are_parts_of_the_fit(monkeypatch):
    """scikit-learn refuses more runs than were announced: here all that there can be."""
    monkeypatch.setattr(recipe, "MAX_SMALL_ROWS", 500)
    monkeypatch.setattr(distillation, "has_strayed", lambda log_p, target: True)
    values = iter([0.1, 0.2, 0.3])
    monkeypatch.setattr(distillation, "disagreement", lambda log_p, target: next(values))
    X, truth = make_moons(600, noise=0.05, random_state=0)
    recorder = Recorder()
    small_classifier().set_callbacks(recorder).fit(X, np.where(np.arange(600) % 20, -1, truth))
    runs = [names[1][0] for names in recorder.begun if len(names) == 2]
    assert runs == [*["labelled rows"] * 6, *["fit"] * 3, *["labelled rows", "calibration"] * 2]
    assert sorted(recorder.begun) == sorted(recorder.ended)


@pytest.mark.parametrize("warm_start", [False, True])
def test_runs_of_few_labels_give_classifiers(monkeypatch, warm_start):
    """Only runs of classifiers are announced: of experts, of the final model, and of its calibration."""
    monkeypatch.setattr(recipe, "MAX_SMALL_ROWS", 500)
    monkeypatch.setattr(recipe, "MAX_COMPARED_COLUMNS", 1)
    X, truth = make_moons(600, noise=0.05, random_state=0)
    few, keeper = np.where(np.arange(600) % 20, -1, truth), Keeper()
    clf = small_classifier(warm_start=warm_start).set_callbacks(keeper)
    for _ in range(1 + warm_start):
        clf.fit(X, few)
    assert len(keeper.estimators) > 10
    assert all(fitted.predict_proba(X[:2]).shape == (2, 2) for fitted in keeper.estimators)


def test_callbacks_get_the_data_as_they_were_given(iris):
    frame, weight = pd.DataFrame(iris).add_prefix("x"), np.linspace(1, 2, 150)
    recorder = Recorder()
    small(max_iter=1).set_callbacks(recorder).fit(frame, sample_weight=weight)
    for X, y, metadata in recorder.data:
        assert X is frame and y is None and metadata["sample_weight"] is weight


@pytest.mark.parametrize("estimator", [small(early_stopping=True, max_iter=20), small_classifier()])
def test_callbacks_change_nothing(iris, estimator):
    y = np.repeat([0, 1, 2], 50)
    watched = clone(estimator).set_callbacks(Keeper()).fit(iris, y)
    np.testing.assert_array_equal(watched.transform(iris), estimator.fit(iris, y).transform(iris))


@pytest.mark.parametrize("n_epochs", [1, 3])
def test_a_callback_stops_training(iris, n_epochs):
    vae = small(max_iter=50).set_callbacks(Recorder(n_epochs)).fit(iris)
    assert vae.n_iter_ == vae.best_iter_ == len(vae.loss_curve_) == n_epochs


def test_a_stopped_run_is_validated(iris):
    recorder = Recorder(n_epochs=5)
    vae = small(early_stopping=True, max_iter=50).set_callbacks(recorder).fit(iris)
    assert vae.n_iter_ == 5 and vae.best_iter_ <= 5
    assert len(vae.validation_scores_) == 2 and 0 < vae.validation_iter_[1] <= 5


def test_a_callback_stops_all_runs_of_a_classifier(iris):
    y = np.where(np.arange(150) % 5, -1, np.repeat([0, 1, 2], 50))
    recorder = Recorder(n_epochs=2)
    clf = small_classifier(max_iter=20).set_callbacks(recorder).fit(iris, y)
    assert set(n_epochs_of_runs(recorder).values()) == {2} and clf.n_iter_ == 2


def test_the_estimator_of_an_epoch_is_what_so_many_epochs_give(iris):
    """The learning rate must not depend on max_iter for that."""
    keeper = Keeper()
    params = {"learning_rate_decay": 0.0, "warmup_steps": 0, "whiten": False}
    small(**params).set_callbacks(keeper).fit(iris)
    for n_epochs, vae in enumerate(keeper.estimators, start=1):
        expected = small(**params, max_iter=n_epochs).fit(iris)
        np.testing.assert_array_equal(vae.transform(iris), expected.transform(iris))
        np.testing.assert_array_equal(vae.sample(3), expected.sample(3))
        assert vae.loss_curve_ == expected.loss_curve_ and vae.n_steps_ == expected.n_steps_
        np.testing.assert_array_equal(vae.noise_variance_, expected.noise_variance_)


def test_the_estimator_of_an_epoch_has_nothing_of_an_earlier_fit(iris):
    vae = small(whiten=False, early_stopping=True).fit(iris)
    keeper = Keeper()
    vae.set_params(whiten=True, early_stopping=False).set_callbacks(keeper).fit(iris)
    np.testing.assert_array_equal(keeper.estimators[-1].transform(iris), vae.transform(iris))
    assert set(vars(keeper.estimators[-1])) - set(vars(vae)) == {"_callback_fit_ctx", "_skl_callbacks_to_teardown"}


def test_the_classifier_of_an_epoch_is_complete(iris):
    keeper = Keeper()
    y = np.repeat(["a", "b", "c"], 50)
    clf = small_classifier().set_callbacks(keeper).fit(iris, y)
    for estimator in keeper.estimators:
        assert set(estimator.predict(iris)) <= {"a", "b", "c"} and estimator.transform(iris).shape == (150, 2)
    generative = [estimator for estimator in keeper.estimators if hasattr(estimator, "sample")]
    assert len(generative) == clf.n_iter_
    assert np.isfinite(generative[0].score_samples(iris)).all() and generative[0].sample(2)[0].shape == (2, 4)


def test_scoring_monitor_logs_every_epoch(iris):
    y = np.repeat([0, 1, 2], 50)
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = small_classifier().set_callbacks(monitor).fit(pd.DataFrame(iris).add_prefix("x"), y)
    logs = monitor.get_logs().data
    assert Counter(row["task_name"] for row in logs)["epoch"] == 4 * 3
    assert next(row["accuracy"] for row in logs if row["task_name"] == "fit") == clf.score(
        pd.DataFrame(iris).add_prefix("x"), y
    )


def test_scoring_monitor_scores_a_transformer_that_gets_y(iris):
    """Nothing is logged without y, whatever the estimator (scikit-learn 1.9.1)."""
    monitor = callback.ScoringMonitor(scoring=lambda vae, X, y: {"log_likelihood": vae.score(X)})
    vae = small().set_callbacks(monitor).fit(iris, np.zeros(150))
    scores = [row["log_likelihood"] for row in monitor.get_logs().data]
    assert len(scores) == 5 and scores[0] == vae.score(iris)


def test_progress_bars_of_a_search_reach_each_model(iris, capfd):
    pytest.importorskip("rich")
    pipeline = make_pipeline(StandardScaler(), small(max_iter=2))
    search = GridSearchCV(pipeline, {"vaetransformer__n_components": [1, 2]}, cv=2, n_jobs=2, error_score="raise")
    search.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(iris)
    printed = capfd.readouterr().out
    bars = re.findall(r"^( *)Pipeline - fit-transform-vaetransf", printed, flags=re.MULTILINE)
    final = re.findall(r"^( *)Pipeline - fit-final-estimator \| VAET", printed, flags=re.MULTILINE)
    assert len(bars) + len(final) == 2 * 2 + 1, printed
    assert all(bar > " " * 2 for bar in bars + final)


def test_a_failing_fit_tears_callbacks_down(iris):
    recorder = Recorder()
    with pytest.raises(ValueError, match="training diverged"):
        small(learning_rate_init=1e25, warmup_steps=0).set_callbacks(recorder).fit(iris)
    assert recorder.is_set_up is False


def test_an_error_of_a_callback_is_the_users_to_see(iris):
    class Broken(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise KeyError("broken callback")

    vae = small().set_callbacks(Broken())
    with pytest.raises(KeyError, match="broken callback"):
        vae.fit(iris)
    assert not hasattr(vae, "module_")


def test_an_estimator_with_callbacks_pickles(iris):
    vae = small(max_iter=1).set_callbacks(Recorder()).fit(iris)
    restored = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(restored.transform(iris), vae.transform(iris))
