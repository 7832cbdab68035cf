"""How a classifier is fitted: from its labels, and from what they say of the other rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.utils import gen_batches

from sklearn_vae._fit import Fitter, Run
from sklearn_vae._inference import gather
from sklearn_vae._labels import UNLABELLED
from sklearn_vae._ppca import fit_moments, fit_ppca
from sklearn_vae._rows import CHUNK_SIZE, Rows
from sklearn_vae._vae import VAE

# Columns beyond which neighbours are searched among as many principal components.
GRAPH_COMPONENTS = 32
# Shares of a row's label that come from its neighbours, of which held-out labels choose one.
ALPHAS = (0.9, 0.99)
# Held-out parts of the labelled rows; and how many where there are many of these.
SPLITS, FEW_SPLITS, MANY_LABELLED = 5, 3, 100
# Above this number of labelled rows, all rows labelled, a network's own probabilities are as good.
MAX_CALIBRATED = 5000
# What the exponents of a network, and of a network and neighbours, are shrunk to.
ALONE, TOGETHER = (1.0,), (0.5, 1.5)
# What neighbours may be wrong by.
MIN_PROBABILITY = 1e-3
# Rows predicted with more than this probability make a class's mixture, if they are more than such a share of its
# labelled ones.
CONFIDENT, TYPICAL = 0.99, 0.9
# Rows that a class's mixture is fitted to, at most; and draws from their posteriors, at least, per latent variable.
MAX_MIXED, MIN_DRAWS = 6000, 5


@dataclass(frozen=True)
class Labels:
    """The labels of rows.

    Attributes
    ----------
    codes : ndarray of shape (n_rows,)
        Class indices; -1 for unlabelled rows.
    class_weight : ndarray of shape (n_rows,)
        Of each row's cross-entropy, for its class.
    weight : ndarray of shape (n_rows,)
        Of each row in all of the loss.
    n_classes : int
    """

    codes: np.ndarray
    class_weight: np.ndarray
    weight: np.ndarray
    n_classes: int

    @property
    def labelled(self) -> np.ndarray:
        """Indices of the labelled rows."""
        return np.flatnonzero(self.codes != UNLABELLED)

    def of(self, rows: Rows) -> Rows:
        """Return the rows with these labels as targets."""
        return rows.with_classes(self.codes, self.class_weight, self.n_classes)

    def truth(self, index: np.ndarray) -> sparse.csr_array:
        """Return indicators of the classes times all weights for the labelled rows at `index`, (n_asked, n_classes)."""
        weight, n = self.class_weight[index] * self.weight[index], len(index)
        return sparse.csr_array((weight, self.codes[index], np.arange(n + 1)), shape=(n, self.n_classes))

    @property
    def log_prior(self) -> np.ndarray:
        """Logarithms of the classes' shares among the labelled rows, (n_classes,), weighted."""
        labelled = self.labelled
        weight = np.bincount(
            self.codes[labelled], self.class_weight[labelled] * self.weight[labelled], minlength=self.n_classes
        )
        # No class is impossible because its rows have next to no weight.
        return np.log((weight / weight.sum()).clip(MIN_PROBABILITY / self.n_classes))

    def folds(self, seed: int) -> list[np.ndarray]:
        """Return parts of the labelled rows, as indices, to judge by; a class's only row is in none.

        The classes are spread evenly over the parts.
        """
        codes = self.codes[self.labelled]
        several = np.bincount(codes, minlength=self.n_classes)[codes] > 1
        judges = np.random.RandomState(seed).permutation(self.labelled[several])
        judges = judges[np.argsort(self.codes[judges], kind="stable")]
        n_splits = min(len(judges), FEW_SPLITS if len(judges) >= MANY_LABELLED else SPLITS)
        return [judges[i::n_splits] for i in range(n_splits)]

    def judged(self, seed: int) -> np.ndarray:
        """Return the rows of all parts, in their order."""
        return np.concatenate([np.zeros(0, dtype=int), *self.folds(seed)])

    def without(self, index: np.ndarray) -> Labels:
        """Return these labels with those of the rows at `index` hidden."""
        codes = self.codes.copy()
        codes[index] = UNLABELLED
        return replace(self, codes=codes)


# Returns log-probabilities of the classes, (n_asked, n_classes), from labels, for the rows at given indices.
Expert = Callable[[Labels, np.ndarray], np.ndarray]


class Lesson(NamedTuple):
    """What there is to learn of the classes, and how."""

    fitter: Fitter
    rows: Rows
    target: np.ndarray | None = None  # of all rows, (n_rows, n_classes), where some are not labelled


@dataclass(frozen=True)
class ClassifierFitter:
    """Fits a classifier to rows of which some are labelled.

    Attributes
    ----------
    fitter : Fitter
        Of the result.
    clustered : Fitter
        Of the result where the classes are clusters of many rows.
    expert : Fitter
        Of networks that learn from labelled rows alone.
    n_neighbors : int
    spreads : bool
        Whether labels may be spread to the rows that have none.
    """

    fitter: Fitter
    clustered: Fitter
    expert: Fitter
    n_neighbors: int
    spreads: bool

    def fit(self, rows: Rows, labels: Labels, validation_fraction: float = 0.0, model: VAE | None = None) -> Run:
        """Train `model`, or one at its start; keep what is best on a share of the labelled rows, if any."""
        start = self.fitter.start(rows) if model is None else model
        held_out = self._hold_out(labels, validation_fraction)
        judges = labels.of(rows).select(rows.tensor(held_out)) if len(held_out) else None
        rest = rows.tensor(np.setdiff1d(np.arange(len(rows)), held_out))
        labels = labels.without(held_out)
        # Experts must not have seen the labels that they are judged by.
        network = self._network(rows, start if model is None else self.expert.start(rows))
        supervised = len(labels.labelled) == len(rest)
        self._begin(labels, supervised)
        lesson = Lesson(self.fitter, labels.of(rows)) if supervised else self._lesson(rows, labels, network)
        n_epochs = lesson.fitter.stopping.max_epochs
        run = lesson.fitter.train(lesson.rows.select(rest), n_epochs, judges, copy.deepcopy(start))
        if supervised and len(labels.labelled) <= MAX_CALIBRATED:
            # As sure as held-out labels allow.
            predicted = out_of_fold(network, labels, self.fitter.seeds.split)
            self._temper(run.model, predicted, labels.truth(labels.judged(self.fitter.seeds.split)), labels)
        elif lesson.target is not None and lesson.fitter is not self.clustered:
            # As sure as what was taught.
            unlabelled = np.flatnonzero(labels.codes == UNLABELLED)
            predicted = predict_log_proba(run.model, rows.select(rows.tensor(unlabelled)))
            self._temper(run.model, predicted, lesson.target[unlabelled], labels)
        return run

    def _begin(self, labels: Labels, supervised: bool) -> None:
        """Say of how many runs the fit consists, if of several."""
        judged = not supervised or len(labels.labelled) <= MAX_CALIBRATED
        n_experts = (len(labels.folds(self.fitter.seeds.split)) if judged else 0) + (not supervised)
        if n_experts:
            self.fitter.progress.begin(n_experts + 1)

    def _lesson(self, rows: Rows, labels: Labels, network: Expert) -> Lesson:
        """Ask experts about the unlabelled rows.

        The network and the neighbours are heard together if that makes held-out labels
        more probable. Otherwise the result learns to predict what the network does.
        """
        seed, log_prior, everywhere = self.fitter.seeds.split, labels.log_prior, np.arange(len(rows))
        truth = labels.truth(labels.judged(seed))
        held_out, said = [out_of_fold(network, labels, seed)], [network(labels, everywhere)]
        alone, loss = fit_exponents(held_out, truth, log_prior, ALONE)
        if self.spreads:
            # As many experts as there are ways to spread; the one that knows most of held-out labels is heard.
            candidates = [(neighbours, out_of_fold(neighbours, labels, seed)) for neighbours in self._neighbours(rows)]
            losses = [fit_exponents([p], truth, log_prior, ALONE)[1] for _, p in candidates]
            loss_of_neighbours, (neighbours, predicted) = losses[np.argmin(losses)], candidates[np.argmin(losses)]
            held_out.append(predicted)
            together, loss_together = fit_exponents(held_out, truth, log_prior, TOGETHER)
            if loss_together <= loss:
                fitter = self.clustered if loss_of_neighbours < loss else self.fitter
                target = pooled_targets([*said, neighbours(labels, everywhere)], together, log_prior)
                # Labelled rows come apart, more often.
                target[labels.labelled] = 0
                labelled = labels.of(rows).select(rows.tensor(labels.labelled))
                return Lesson(fitter, rows.with_target(target, labelled), target)
        objective = clone(self.fitter.architecture.objective).set_params(consistency_weight=0.0, entropy_weight=0.0)
        fitter = replace(self.fitter, architecture=replace(self.fitter.architecture, objective=objective))
        target = pooled_targets(said, alone, log_prior)
        return Lesson(fitter, rows.with_target(target), target)

    def _temper(self, model: VAE, log_p: np.ndarray, truth: np.ndarray | sparse.csr_array, labels: Labels) -> None:
        """Make predictions as sure as brings `log_p` nearest to the truth."""
        exponents, _ = fit_exponents([log_p], truth, labels.log_prior, ALONE)
        model.temper(float(exponents[0]), torch.from_numpy(labels.log_prior))

    def _network(self, rows: Rows, start: VAE) -> Expert:
        """Return a network that learns from labelled rows alone."""

        def network(labels: Labels, index: np.ndarray) -> np.ndarray:
            training = labels.of(rows).select(rows.tensor(labels.labelled))
            n_epochs = self.expert.stopping.max_epochs
            run = self.expert.train(training, n_epochs, model=copy.deepcopy(start), name="labelled rows")
            return predict_log_proba(run.model, rows.select(rows.tensor(index)))

        return network

    def _neighbours(self, rows: Rows) -> list[Expert]:
        """Return what spreads labels over a graph of the rows, nearer and farther."""
        # With the clusters and graphs of scikit-learn, which take longer to load than all of this package.
        from sklearn_vae._propagation import neighbour_graph, spread_labels

        x = principal_components(rows)
        graph = neighbour_graph(x, self.n_neighbors, self.fitter.seeds.neighbors)

        def neighbours(labels: Labels, index: np.ndarray, alpha: float) -> np.ndarray:
            prior = np.exp(labels.log_prior)
            return np.log(spread_labels(graph, labels.codes, prior, alpha)[index] + MIN_PROBABILITY)

        return [partial(neighbours, alpha=alpha) for alpha in ALPHAS]

    def _hold_out(self, labels: Labels, fraction: float) -> np.ndarray:
        """Return the indices of a share of the labelled rows of each class, of which one at least stays."""
        if not fraction:
            return np.zeros(0, dtype=int)
        rng = np.random.RandomState(self.fitter.seeds.split)
        parts = []
        for k in range(labels.n_classes):
            index = rng.permutation(np.flatnonzero(labels.codes == k))
            parts.append(index[: min(math.ceil(fraction * len(index)), len(index) - 1)])
        return np.sort(np.concatenate(parts))


def out_of_fold(expert: Expert, labels: Labels, seed: int) -> np.ndarray:
    """Return an expert's predictions for the labelled rows that `folds` judges by, each made without its label."""
    parts = [expert(labels.without(fold), fold) for fold in labels.folds(seed)]
    return np.concatenate(parts) if parts else np.zeros((0, labels.n_classes))


def pool(log_p: list[np.ndarray], exponents: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    r"""Return the log of :math:`\pi_k \prod_e (p_e(k) / \pi_k)^{a_e}`, normalised, (n_rows, n_classes).

    A logarithmic opinion pool (Genest and Zidek 1986): with exponents 1 the posterior of
    independent evidence.
    """
    return log_softmax(log_prior + sum(a * (lp - log_prior) for a, lp in zip(exponents, log_p, strict=True)), axis=-1)


def pooled_targets(log_p: list[np.ndarray], exponents: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    """Return the pool's probabilities, float32, made by the chunk."""
    target = np.empty(log_p[0].shape, dtype=np.float32)
    for part in chunks(target.shape):
        target[part] = np.exp(pool([p[part] for p in log_p], exponents, log_prior))
    return target


def chunks(shape: tuple[int, ...]) -> list[slice]:
    """Return slices of rows, each with no more than `CHUNK_SIZE` numbers, that make up all of an array's."""
    return list(gen_batches(shape[0], max(1, CHUNK_SIZE // shape[1]))) if shape[0] else []


def fit_exponents(
    log_p: list[np.ndarray], truth: np.ndarray | sparse.csr_array, log_prior: np.ndarray, center: tuple[float, ...]
) -> tuple[np.ndarray, float]:
    """Find the exponents that make the pool nearest to the truth, shrunk to `center` on a log scale.

    Parameters
    ----------
    log_p : list of ndarray of shape (n_rows, n_classes)
        Of each expert.
    truth : array or sparse array of shape (n_rows, n_classes)
        Probabilities of the classes.
    log_prior : ndarray of shape (n_classes,)
    center : tuple of float
        One for each expert.

    Returns
    -------
    exponents : ndarray of shape (n_experts,)
    loss : float
        Cross-entropy of the truth and the pool in nats, summed over rows.
    """
    middle = np.log(center)

    def surprise(log_exponents: np.ndarray) -> float:
        return float(sum(surprise_of(part, np.exp(log_exponents)) for part in chunks(truth.shape)))

    def surprise_of(part: slice, exponents: np.ndarray) -> float:
        pooled = pool([p[part] for p in log_p], exponents, log_prior)
        return -(truth[part] * pooled).sum()

    best = minimize(
        lambda e: surprise(e) + np.square(e - middle).sum(), middle, method="L-BFGS-B", bounds=[(-5, 2.5)] * len(log_p)
    ).x
    return np.exp(best), surprise(best)


def principal_components(rows: Rows) -> np.ndarray:
    """Return the columns, centred, or their leading principal components where there are many; float32 for bytes.

    Rows are converted by the chunk: unsigned bytes would wrap around, and a copy is large.
    """
    moments = fit_moments(rows)
    center = moments.center.to(rows.dtype if rows.dtype.is_floating_point else torch.float32)
    parts = (batch["x"].to(center.dtype) - center for batch in rows.chunks())
    if rows.n_features > GRAPH_COMPONENTS:
        axes = fit_ppca(rows, moments, GRAPH_COMPONENTS).axes[:, :GRAPH_COMPONENTS]
        parts = (part @ torch.from_numpy(axes).to(center) for part in parts)
    return torch.cat(list(parts)).cpu().numpy()


@torch.inference_mode()
def predict_log_proba(model: VAE, rows: Rows) -> np.ndarray:
    """Return log p(y|x) of rows, (n_rows, n_classes), float32."""
    return gather((model.log_proba(batch["x"]) for batch in rows.chunks()), len(rows), np.float32)


class Assigned(NamedTuple):
    """Posteriors of rows, and their classes."""

    loc: np.ndarray  # (n_rows, n_components)
    scale: np.ndarray  # (n_rows, n_components)
    codes: np.ndarray  # (n_rows,): the label, or the most probable class
    sure: np.ndarray  # (n_rows,): whether it is predicted with confidence
    class_prior: np.ndarray  # (n_classes,): mean probabilities, weighted


@torch.inference_mode()
def assign_classes(model: VAE, rows: Rows, labels: Labels) -> Assigned:
    """Encode and classify all rows by the chunk; labelled rows have their label's class."""
    parts, share, start = [], np.zeros(labels.n_classes), 0
    for batch in rows.chunks():
        part = slice(start, start + len(batch["x"]))
        q, p = model.posterior(batch["x"]), np.exp(model.log_proba(batch["x"]).double().cpu().numpy())
        likeliest, sure, known = p.argmax(1), p.max(1) > CONFIDENT, labels.codes[part] != UNLABELLED
        codes = np.where(known, labels.codes[part], likeliest)
        # A label that is predicted otherwise would blur the classes.
        sure &= likeliest == codes
        p[known] = 0
        p[known, codes[known]] = 1
        share += (p * labels.weight[part, None]).sum(0)
        parts.append((q.loc.double().cpu().numpy(), q.scale.double().cpu().numpy(), codes, sure))
        start = part.stop
    loc, scale, codes, sure = map(np.concatenate, zip(*parts, strict=True))
    return Assigned(loc, scale, codes, sure, share / labels.weight.sum())


def fit_class_mixture(model: VAE, rows: Rows, labels: Labels, seed: int) -> np.ndarray:
    """Fit p(y) and p(z|y) to posteriors.

    A class's rows are those that are predicted with confidence and not labelled otherwise;
    where these are few, its labelled rows come in.

    Returns
    -------
    class_prior : ndarray of shape (n_classes,)
    """
    weight = labels.weight
    loc, scale, codes, sure, class_prior = assign_classes(model, rows, labels)
    rng = np.random.RandomState(seed)
    draws = []
    for k in range(labels.n_classes):
        index, own = np.flatnonzero((codes == k) & sure), np.flatnonzero(labels.codes == k)
        if len(index) < len(own):
            index = index if len(index) > TYPICAL * len(own) else np.union1d(index, own)
        if (weight != 1).any():
            n_draws = max(len(index), MIN_DRAWS * loc.shape[1])
            index = rng.choice(index, n_draws, p=weight[index] / weight[index].sum())
        index = rng.permutation(index)[:MAX_MIXED]
        # So many draws of each row that covariances have full rank.
        index = np.repeat(index, -(-MIN_DRAWS * loc.shape[1] // len(index)))
        draws.append(loc[index] + scale[index] * rng.standard_normal((len(index), loc.shape[1])))
    assert model.class_mixture is not None
    model.class_mixture.fit(draws, class_prior, seed)
    return class_prior
