"""The fit procedure of classifiers: pseudo-labels for unlabelled rows, final training and calibration."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from sklearn.base import clone

from sklearn_vae._data.labels import MIN_PROBABILITY, Labels
from sklearn_vae._data.rows import Rows
from sklearn_vae._model.vae import VAE
from sklearn_vae._semi_supervised.codes import are_compared, codes
from sklearn_vae._semi_supervised.distillation import N_CROSS_FITS, Distillation
from sklearn_vae._semi_supervised.experts import (
    PAIR_CENTER,
    SINGLE_CENTER,
    Expert,
    Pool,
    fit_exponents,
    is_better,
    mean_loss,
    out_of_fold,
    predict_log_proba,
)
from sklearn_vae._training.fit import FitProcedure, TrainingResult
from sklearn_vae._training.neighbor_points import find_neighbors, with_points

# Candidates for label spreading: fraction of a row's label distribution that comes from its neighbours (`alpha`), and
# whether the mean with a partition of the graph is taken. Held-out labels select one; without them, it is the first.
SPREADINGS = ((0.99, True), (0.99, False), (0.9, False))
# Maximum number of labelled rows for calibration on held-out labels, if all rows are labelled. With more rows, the
# network's own probabilities are as well calibrated.
MAX_CALIBRATED = 5000


@dataclass(frozen=True)
class ClassifierProcedure:
    """Fit procedure of a classifier, for labelled and partly labelled rows.

    Attributes
    ----------
    final : FitProcedure
        Procedure of the final run.
    clustered : FitProcedure
        Procedure of the final run if label spreading predicts held-out labels better than the network does. If none
        can be held out: if codes are compared.
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
        rest = np.setdiff1d(np.arange(len(rows)), held_out)
        labels = labels.without(held_out)
        # A given `model` may have seen the labels that experts are evaluated on, so experts start from a new model.
        expert_start = start if model is None else self.final.start(rows)
        supervised = len(labels.labelled) == len(rest)
        calibrates = not supervised or len(labels.labelled) <= MAX_CALIBRATED
        candidates = [self] if self.rare is None else [self.rare, self]
        self._begin(labels, len(candidates), calibrates, supervised)
        chosen, predicted = self, np.zeros((0, labels.n_classes))
        if calibrates or len(candidates) > 1:
            chosen, predicted = self._choose(candidates, rows, labels, expert_start, None if calibrates else 1)
        if not supervised:
            procedures, pool = chosen._experts(rows, labels, chosen._network(rows, expert_start), predicted)
            return Distillation(rows, labels, pool, start, expert_start, rest, validation_rows).fit(procedures)
        n_epochs, training = chosen.final.stopping.max_epochs, labels.of(rows).select(rows.tensor(rest))
        run = chosen.final.train(training, n_epochs, validation_rows, copy.deepcopy(start))
        if calibrates:
            # Calibrate the model on held-out labels.
            truth = labels.truth(labels.evaluated(self.final.seeds.split))
            exponents, _ = fit_exponents([predicted], truth, labels.log_prior, SINGLE_CENTER)
            run.model.temper(float(exponents[0]), torch.from_numpy(labels.log_prior))
        return run

    def _begin(self, labels: Labels, n_candidates: int, calibrates: bool, supervised: bool) -> None:
        """Announce the largest number of training runs to callbacks, if there are several."""
        n_folds = len(labels.folds(self.final.seeds.split)) if calibrates else n_candidates > 1
        n_experts = n_candidates * n_folds + (not supervised)
        n_final = 1
        if self.spreads and not supervised:
            # A final run may be replaced twice. A calibration run trains an expert too.
            n_final = 3 + 2 * N_CROSS_FITS * self.clustered.recipe.targets_fade
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

    def _experts(
        self, rows: Rows, labels: Labels, network: Expert, predicted_by_network: np.ndarray
    ) -> tuple[list[FitProcedure], Pool]:
        """Choose procedures of the final run, of decreasing smoothness, and the experts of its pseudo-labels.

        The network and label spreading are pooled if the pool has the smaller cross-entropy on held-out labels, beyond
        chance, or if no label can be held out. Otherwise, the final model is trained on the network's predictions.
        """
        seed, log_prior = self.final.seeds.split, labels.log_prior
        truth = labels.truth(labels.evaluated(seed))
        exponents, losses = fit_exponents([predicted_by_network], truth, log_prior, SINGLE_CENTER)
        alone, rough = Pool([network], exponents, mean_loss(losses, truth)), without_smoothing(self.final)
        short = [self.final] if rough is self.final else [self.final, rough]
        if self.spreads:
            # Each of them is a candidate. The one with the smallest cross-entropy on held-out labels is used.
            candidates = [(neighbours, out_of_fold(neighbours, labels, seed)) for neighbours in self._neighbours(rows)]
            single = [fit_exponents([p], truth, log_prior, SINGLE_CENTER)[1] for _, p in candidates]
            best = int(np.argmin([values.sum() for values in single]))
            neighbours, predicted = candidates[best]
            exponents, together = fit_exponents([predicted_by_network, predicted], truth, log_prior, PAIR_CENTER)
            if not len(losses) or is_better(together, losses):
                # If no label can be held out, classes are taken for clusters of the codes.
                is_clustered = single[best].sum() < losses.sum() if len(losses) else are_compared(rows)
                procedures = [self.clustered, *short] if is_clustered else short
                return procedures, Pool([network, neighbours], exponents, mean_loss(together, truth))
        return [rough], alone

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
        """Return label-spreading experts on a neighbour graph of the rows, one for each of `SPREADINGS`."""
        # Imported here, because scikit-learn's clustering and graph modules take longer to import than this package.
        from sklearn_vae._data.neighbors import principal_components
        from sklearn_vae._semi_supervised.graph import cut_classes, neighbour_graph, spread_labels

        x = codes(self.final, rows) if are_compared(rows) else principal_components(self.final.features(rows))
        graph = neighbour_graph(x, self.n_neighbors, self.final.seeds.neighbors)

        def neighbours(labels: Labels, index: np.ndarray, alpha: float, cuts: bool) -> np.ndarray:
            """Return log-probabilities of the rows at `index`, (n_selected, n_classes)."""
            prior = np.exp(labels.log_prior)
            P = spread_labels(graph, labels.codes, prior, alpha)
            if cuts:
                # In place, because the arrays may be large.
                P += cut_classes(graph, P, labels.codes, prior)
                P /= 2
            return np.log(P[index] + MIN_PROBABILITY)

        return [partial(neighbours, alpha=alpha, cuts=cuts) for alpha, cuts in SPREADINGS]

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


def without_smoothing(procedure: FitProcedure) -> FitProcedure:
    """Return the procedure without the consistency and entropy terms of the joint objective; itself if it has none."""
    objective = procedure.architecture.objective
    if not (objective.consistency_weight or objective.entropy_weight):
        return procedure
    objective = clone(objective).set_params(consistency_weight=0.0, entropy_weight=0.0)
    return replace(procedure, architecture=replace(procedure.architecture, objective=objective))
