"""The fit procedure of classifiers: pseudo-labels for unlabelled rows, final training and calibration."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.base import clone

from sklearn_vae._data.labels import MIN_PROBABILITY, UNLABELLED, Labels
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._semi_supervised.experts import (
    PAIR_CENTER,
    SINGLE_CENTER,
    Expert,
    disagreement,
    fit_exponents,
    has_strayed,
    is_better,
    out_of_fold,
    pooled_targets,
    predict_log_proba,
)
from sklearn_vae._training.fit import FitProcedure, TrainingResult
from sklearn_vae._training.neighbor_points import find_neighbors, with_points

# Candidate fractions of a row's label distribution that come from its neighbours (`alpha` of label spreading).
# Held-out labels select one.
ALPHAS = (0.9, 0.99)
# Maximum number of labelled rows for calibration on held-out labels, if all rows are labelled. With more rows, the
# network's own probabilities are as well calibrated.
MAX_CALIBRATED = 5000


class FinalTraining(NamedTuple):
    """Procedure, rows and pseudo-labels of the final training run."""

    procedure: FitProcedure
    rows: Rows
    target: np.ndarray | None = None  # pseudo-labels, (n_rows, n_classes); None if all rows are labelled


@dataclass(frozen=True)
class ClassifierProcedure:
    """Fit procedure of a classifier, for labelled and partly labelled rows.

    Attributes
    ----------
    final : FitProcedure
        Procedure of the final run.
    clustered : FitProcedure
        Procedure of the final run if label spreading predicts held-out labels better than the network does.
    expert : FitProcedure
        Procedure of networks that are trained on the labelled rows only.
    n_neighbors : int
        Number of neighbours in the graph for label spreading.
    spreads : bool
        Whether label spreading may be used.
    rare : ClassifierProcedure or None
        The same with the rules for a rare class, if there is one. It is used unless held-out labels prefer the others.
    """

    final: FitProcedure
    clustered: FitProcedure
    expert: FitProcedure
    n_neighbors: int
    spreads: bool
    rare: ClassifierProcedure | None = None

    @property
    def trains_long(self) -> bool:
        """Whether the procedure `clustered` has more epochs than `final`."""
        return self.clustered.stopping.max_epochs > self.final.stopping.max_epochs

    def fit(
        self, rows: Rows, labels: Labels, validation_fraction: float = 0.0, model: VAE | None = None
    ) -> TrainingResult:
        """Train `model`, or a new model.

        With a `validation_fraction` above 0, this fraction of each class's labelled rows is held out, and the model
        with the best score on these rows is kept.
        """
        rows = with_points(self.final, rows, find_neighbors(self.final, rows)[1], model)
        start = self.final.start(rows) if model is None else model
        held_out = self._hold_out(labels, validation_fraction)
        validation_rows = labels.of(rows).select(rows.tensor(held_out)) if len(held_out) else None
        rest = rows.tensor(np.setdiff1d(np.arange(len(rows)), held_out))
        labels = labels.without(held_out)
        # A given `model` may have seen the labels that experts are evaluated on, so experts start from a new model.
        expert_start = start if model is None else self.expert.start(rows)
        supervised = len(labels.labelled) == len(rest)
        calibrates = not supervised or len(labels.labelled) <= MAX_CALIBRATED
        candidates = [self] if self.rare is None else [self.rare, self]
        self._begin(labels, len(candidates), calibrates, supervised)
        chosen, predicted = self, np.zeros((0, labels.n_classes))
        if calibrates or len(candidates) > 1:
            chosen, predicted = self._choose(candidates, rows, labels, expert_start, None if calibrates else 1)
        final = FinalTraining(chosen.final, labels.of(rows))
        if not supervised:
            final = chosen._final_training(rows, labels, chosen._network(rows, expert_start), predicted)

        def train(procedure: FitProcedure) -> TrainingResult:
            """Train a copy of the start on the rows that are not held out."""
            n_epochs = procedure.stopping.max_epochs
            return procedure.train(final.rows.select(rest), n_epochs, validation_rows, copy.deepcopy(start))

        run = train(final.procedure)
        if final.target is None:
            if calibrates:
                # Calibrate the model on held-out labels.
                self._temper(run.model, predicted, labels.truth(labels.evaluated(self.final.seeds.split)), labels)
            return run
        unlabelled = np.flatnonzero(labels.codes == UNLABELLED)
        target, unlabelled_rows = final.target[unlabelled], rows.select(rows.tensor(unlabelled))
        is_clustered = final.procedure is chosen.clustered
        if is_clustered and not chosen.trains_long:
            return run
        predicted = predict_log_proba(run.model, unlabelled_rows)
        if is_clustered:
            if not has_strayed(predicted, target):
                return run
            short = train(chosen.final)
            predicted_by_short = predict_log_proba(short.model, unlabelled_rows)
            if disagreement(predicted_by_short, target) >= disagreement(predicted, target):
                return run
            run, predicted = short, predicted_by_short
        # Calibrate the model to the confidence of the pseudo-labels.
        self._temper(run.model, predicted, target, labels)
        return run

    def _begin(self, labels: Labels, n_candidates: int, calibrates: bool, supervised: bool) -> None:
        """Announce the largest number of training runs to callbacks, if there are several."""
        n_folds = len(labels.folds(self.final.seeds.split)) if calibrates else n_candidates > 1
        n_experts = n_candidates * n_folds + (not supervised)
        # A long final run may have to be replaced by a short one.
        n_final = 2 if self.spreads and self.trains_long and not supervised else 1
        if n_experts:
            self.final.progress.begin(n_experts + n_final)

    def _choose(
        self, candidates: list[ClassifierProcedure], rows: Rows, labels: Labels, start: VAE, n_folds: int | None
    ) -> tuple[ClassifierProcedure, np.ndarray]:
        """Return the first candidate, or a later one that predicts held-out labels better, and its predictions."""
        seed = self.final.seeds.split
        predictions = [out_of_fold(c._network(rows, start), labels, seed, n_folds) for c in candidates]
        if len(candidates) == 1:
            return candidates[0], predictions[0]
        truth = labels.truth(labels.evaluated(seed)[: len(predictions[0])])
        losses = [fit_exponents([p], truth, labels.log_prior, SINGLE_CENTER)[1] for p in predictions]
        best = int(is_better(losses[1], losses[0]))
        return candidates[best], predictions[best]

    def _final_training(
        self, rows: Rows, labels: Labels, network: Expert, predicted_by_network: np.ndarray
    ) -> FinalTraining:
        """Predict pseudo-labels with the experts, and choose the procedure of the final run.

        The network and label spreading are pooled if the pool has the smaller cross-entropy on held-out labels, beyond
        chance. Otherwise, the final model is trained on the network's predictions.
        """
        seed, log_prior, everywhere = self.final.seeds.split, labels.log_prior, np.arange(len(rows))
        truth = labels.truth(labels.evaluated(seed))
        held_out, predictions = [predicted_by_network], [network(labels, everywhere)]
        alone, losses = fit_exponents(held_out, truth, log_prior, SINGLE_CENTER)
        if self.spreads:
            # Each alpha gives a candidate expert. The one with the smallest cross-entropy on held-out labels is used.
            candidates = [(neighbours, out_of_fold(neighbours, labels, seed)) for neighbours in self._neighbours(rows)]
            single = [fit_exponents([p], truth, log_prior, SINGLE_CENTER)[1] for _, p in candidates]
            best = int(np.argmin([values.sum() for values in single]))
            neighbours, predicted = candidates[best]
            held_out.append(predicted)
            together, losses_together = fit_exponents(held_out, truth, log_prior, PAIR_CENTER)
            if not len(losses) or is_better(losses_together, losses):
                is_clustered = single[best].sum() < losses.sum()
                procedure = self.clustered if is_clustered else self.final
                target = pooled_targets([*predictions, neighbours(labels, everywhere)], together, log_prior)
                # Labelled rows are added to each batch separately, and more often.
                target[labels.labelled] = 0
                labelled = labels.of(rows).select(rows.tensor(labels.labelled))
                return FinalTraining(procedure, rows.with_target(target, labelled), target)
        procedure = _with(self.final, consistency_weight=0.0, entropy_weight=0.0)
        target = pooled_targets(predictions, alone, log_prior)
        return FinalTraining(procedure, rows.with_target(target), target)

    def _temper(self, model: VAE, log_p: np.ndarray, truth: np.ndarray | sparse.csr_array, labels: Labels) -> None:
        """Temper the model with the exponent that best fits the predictions `log_p` to `truth`."""
        exponents, _ = fit_exponents([log_p], truth, labels.log_prior, SINGLE_CENTER)
        model.temper(float(exponents[0]), torch.from_numpy(labels.log_prior))

    def _network(self, rows: Rows, start: VAE) -> Expert:
        """Return an expert that trains a network on the labelled rows only."""

        def network(labels: Labels, index: np.ndarray) -> np.ndarray:
            """Return log-probabilities of the rows at `index`, (n_selected, n_classes)."""
            training = labels.of(rows).select(rows.tensor(labels.labelled))
            n_epochs = self.expert.stopping.max_epochs
            run = self.expert.train(training, n_epochs, model=copy.deepcopy(start), name="labelled rows")
            return predict_log_proba(run.model, rows.select(rows.tensor(index)))

        return network

    def _neighbours(self, rows: Rows) -> list[Expert]:
        """Return label-spreading experts on the neighbour graph of the rows, one for each of `ALPHAS`."""
        # Imported here, because scikit-learn's clustering and graph modules take longer to import than this package.
        from sklearn_vae._data.neighbors import principal_components
        from sklearn_vae._semi_supervised.graph import neighbour_graph, spread_labels

        x = principal_components(self.final.features(rows))
        graph = neighbour_graph(x, self.n_neighbors, self.final.seeds.neighbors)

        def neighbours(labels: Labels, index: np.ndarray, alpha: float) -> np.ndarray:
            """Return log-probabilities of the rows at `index`, (n_selected, n_classes)."""
            prior = np.exp(labels.log_prior)
            return np.log(spread_labels(graph, labels.codes, prior, alpha)[index] + MIN_PROBABILITY)

        return [partial(neighbours, alpha=alpha) for alpha in ALPHAS]

    def _hold_out(self, labels: Labels, fraction: float) -> np.ndarray:
        """Return the indices of the held-out rows: a fraction of each class's labelled rows, leaving at least one."""
        if not fraction:
            return np.zeros(0, dtype=int)
        rng = np.random.RandomState(self.final.seeds.split)
        parts = []
        for k in range(labels.n_classes):
            index = rng.permutation(np.flatnonzero(labels.codes == k))
            parts.append(index[: min(math.ceil(fraction * len(index)), len(index) - 1)])
        return np.sort(np.concatenate(parts))


def _with(procedure: FitProcedure, **params: float) -> FitProcedure:
    """Return the procedure with other parameters of the joint objective."""
    objective = clone(procedure.architecture.objective).set_params(**params)
    return replace(procedure, architecture=replace(procedure.architecture, objective=objective))
