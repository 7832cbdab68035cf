"""Labels, and the combination of experts' predictions."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from sklearn_vae import VAEClassifier
from sklearn_vae._data.labels import Labels
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._semi_supervised.classifier_fit import ClassifierProcedure
from sklearn_vae._semi_supervised.experts import fit_exponents, has_strayed, is_better, pool
from sklearn_vae._training.fit import Seeds


def labels_of(codes, class_weight=None, weight=None):
    codes, ones = np.array(codes), np.ones(len(codes))
    class_weight, weight = (ones if w is None else np.array(w, dtype=float) for w in (class_weight, weight))
    return Labels(codes, class_weight, weight, codes.max() + 1)


def many(n_rows=300, seed=0):
    """Three classes among as many unlabelled rows; one class is rare, and one has a single row."""
    codes = np.random.default_rng(seed).choice([-1, 0, 1, 2], n_rows, p=[0.5, 0.3, 0.15, 0.05])
    codes[17] = 3
    return labels_of(codes)


def opinions(quality, codes, n_classes, seed=0):
    """Log-probabilities of an expert: noise plus the truth times the expert's quality."""
    noise = np.random.default_rng(seed).normal(size=(len(codes), n_classes))
    return log_softmax(noise + quality * np.eye(n_classes)[codes], axis=-1)


# Labels


def test_labels_target_has_the_class_weights_of_labelled_rows():
    labels = labels_of([1, -1, 0, 1], [2.0, 5.0, 1.0, 0.5], [1.0, 1.0, 3.0, 4.0])
    rows = labels.of(DenseRows(torch.zeros(4, 1)))
    np.testing.assert_array_equal(rows[torch.arange(4)]["target"], [[0, 2], [0, 0], [1, 0], [0, 0.5]])
    np.testing.assert_array_equal(labels.truth(np.array([3, 2])).toarray(), [[0, 2], [3, 0]])


def test_labels_prior_is_of_labelled_rows_and_weighted_by_rows_and_classes():
    labels = labels_of([1, -1, 0, 1], [2.0, 5.0, 1.0, 0.5], [1.0, 1.0, 3.0, 4.0])
    np.testing.assert_allclose(np.exp(labels.log_prior), [3 / 7, 4 / 7])
    np.testing.assert_allclose(np.exp(labels_of([0, 1, -1, 1, 1]).log_prior), [0.25, 0.75])


def test_labels_without_some_are_unlabelled_there():
    labels = labels_of([1, -1, 0, 1])
    hidden = labels.without(np.array([0, 2]))
    assert hidden.codes.tolist() == [-1, -1, -1, 1] and hidden.labelled.tolist() == [3]
    assert labels.codes.tolist() == [1, -1, 0, 1] and hidden.n_classes == 2


@pytest.mark.parametrize("seed", [0, 1])
def test_labels_folds_part_the_rows_of_classes_with_several(seed):
    labels = many(seed=seed)
    expected = np.flatnonzero((labels.codes >= 0) & (labels.codes < 3))
    np.testing.assert_array_equal(np.sort(np.concatenate(labels.folds(seed))), expected)


def test_labels_folds_spread_classes_evenly():
    labels = many()
    counts = np.array([np.bincount(labels.codes[fold], minlength=4) for fold in labels.folds(0)])
    assert (counts.max(0) - counts.min(0)).max() <= 1 and counts[:, 3].sum() == 0
    sizes = counts.sum(1)
    assert sizes.max() - sizes.min() <= 1 and len(sizes) >= 2


@pytest.mark.parametrize("codes", [[0, 0, 1, 1], [0, 0, 1, -1], [0, 0, 0, 0, 0, 1, 1], [0, 1, 2, 2, 2, -1]], ids=str)
def test_labels_folds_leave_each_class_a_row_to_learn_from(codes):
    labels = labels_of(codes)
    folds = labels.folds(0)
    assert folds
    for fold in folds:
        assert set(labels.without(fold).codes) >= set(range(labels.n_classes)) and len(fold)


@pytest.mark.parametrize(("n_per_class", "n_folds"), [(2, 2), (3, 3), (5, 5), (9, 5), (50, 3)])
def test_labels_folds_take_as_many_rows_of_each_class(n_per_class, n_folds):
    """With more folds than rows per class, the classes of a fold would have fewer labels left than the others."""
    labels = labels_of([*np.repeat([0, 1, 2], n_per_class), *[-1] * 20])
    counts = np.array([np.bincount(labels.codes[fold], minlength=3) for fold in labels.folds(0)])
    assert len(counts) == n_folds and (np.ptp(counts, axis=1) <= 1).all()


def test_labels_folds_of_single_rows_are_none():
    assert not any(len(fold) for fold in labels_of([0, -1, 1, 2]).folds(0))


def test_labels_folds_follow_their_seed():
    first, again, other = (np.concatenate(many().folds(seed)).tolist() for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.5, 0.9])
def test_hold_out_leaves_each_class_a_row_to_learn_from(fraction):
    """And a class's only row is never held out; larger classes give their share."""
    labels = many()
    held_out = ClassifierProcedure._hold_out(
        SimpleNamespace(final=SimpleNamespace(seeds=Seeds.spawn(0))), labels, fraction
    )
    assert len(set(held_out)) == len(held_out) and (labels.codes[held_out] >= 0).all()
    assert 17 not in held_out
    total, counts = (np.bincount(codes[codes >= 0], minlength=4) for codes in (labels.codes, labels.codes[held_out]))
    assert (counts < total).all() and (np.abs(counts - fraction * total) <= 1).all()


# Experts


@pytest.mark.parametrize("prior", [(0.5, 0.5), (0.2, 0.8), (0.1, 0.2, 0.7)])
def test_pool_of_independent_evidence_is_bayes_rule(prior):
    """p(k|a, b) goes as p(k) p(a|k) p(b|k), where p(k|a) goes as p(k) p(a|k)."""
    rng, prior = np.random.default_rng(0), np.array(prior)
    a, b = rng.random((2, 20, len(prior)))
    joint = prior * a * b
    experts = [np.log(prior * evidence / (prior * evidence).sum(1, keepdims=True)) for evidence in (a, b)]
    pooled = pool(experts, np.ones(2), np.log(prior))
    np.testing.assert_allclose(np.exp(pooled), joint / joint.sum(1, keepdims=True))


def test_pool_without_exponents_is_the_prior():
    log_p = [opinions(2, np.arange(12) % 3, 3, seed) for seed in (0, 1)]
    log_prior = np.log([0.2, 0.3, 0.5])
    np.testing.assert_allclose(pool(log_p, np.zeros(2), log_prior), np.tile(log_prior, (12, 1)))


def test_pool_of_one_expert_alone_is_its_opinion():
    log_p = [opinions(2, np.arange(12) % 3, 3, seed) for seed in (0, 1)]
    np.testing.assert_allclose(pool(log_p, np.array([1.0, 0.0]), np.log([0.2, 0.3, 0.5])), log_p[0])


def test_fit_exponents_silences_noise_and_hears_the_truth():
    codes = np.random.default_rng(1).integers(0, 3, 400)
    log_p = [opinions(0, codes, 3), log_softmax(0.5 * np.eye(3)[codes], axis=-1)]
    (noise, perfect), _ = fit_exponents(log_p, np.eye(3)[codes], np.log(np.full(3, 1 / 3)), (1.0, 1.0))
    assert noise < 0.6 and perfect > 4 and noise < perfect / 8


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_fit_exponents_calibrates_an_expert_alone(temperature):
    """If classes are drawn from an expert's probabilities raised to a power, the fit finds this power."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(2000, 3))
    p = softmax(logits / temperature, axis=-1)
    codes = (p.cumsum(1) < rng.random((2000, 1))).sum(1)
    (exponent,), _ = fit_exponents([log_softmax(logits, axis=-1)], np.eye(3)[codes], np.log(np.full(3, 1 / 3)), (1.0,))
    assert exponent == pytest.approx(1 / temperature, rel=0.15)


@pytest.mark.parametrize("center", [(0.5, 1.5), (2.0, 0.1)])
def test_fit_exponents_are_shrunk_to_their_center_where_nothing_is_known(center):
    empty = np.zeros((0, 3))
    exponents, losses = fit_exponents([empty, empty], empty, np.log(np.full(3, 1 / 3)), center)
    np.testing.assert_allclose(exponents, center, rtol=1e-3)
    assert losses.shape == (0,)


def test_fit_exponents_are_the_best_of_all_that_were_tried():
    truth, log_prior = np.eye(3)[np.arange(30) % 3], np.log([0.2, 0.3, 0.5])
    log_p = [opinions(1, np.arange(30) % 3, 3, seed) for seed in (0, 1)]

    def loss_of(exponents):
        return -(truth * pool(log_p, np.array(exponents), log_prior)).sum(1)

    exponents, losses = fit_exponents(log_p, truth, log_prior, (1.0, 1.0))
    np.testing.assert_allclose(losses, loss_of(exponents))
    for other in [(1.0, 1.0), (0.1, 0.1), (3.0, 3.0), 1.1 * exponents, exponents / 1.1]:
        penalties = [np.square(np.log(values)).sum() for values in (exponents, other)]
        assert losses.sum() + penalties[0] < loss_of(other).sum() + penalties[1]


def test_fit_exponents_weigh_rows_by_their_truth():
    """A row with weight 5 counts as five rows."""
    codes, weight = np.arange(40) % 3, np.where(np.arange(40) < 10, 5, 1)
    log_p, log_prior = opinions(1, codes, 3), np.log(np.full(3, 1 / 3))
    weighted, losses = fit_exponents([log_p], np.eye(3)[codes] * weight[:, None], log_prior, (1.0,))
    rows = np.repeat(np.arange(40), weight)
    repeated, same = fit_exponents([log_p[rows]], np.eye(3)[codes[rows]], log_prior, (1.0,))
    assert weighted == pytest.approx(repeated, rel=1e-3) and losses.sum() == pytest.approx(same.sum(), rel=1e-3)


def test_better_expert_is_one_whose_gain_is_not_by_chance():
    for n_rows in (2, 40, 100, 400):
        noise = np.where(np.arange(n_rows) % 2, 1.0, -1.0)
        others = noise / noise.std(ddof=1)
        smallest = min(2, n_rows / 100) / np.sqrt(n_rows)
        assert is_better(np.zeros(n_rows) - 1.01 * smallest, others)
        assert not is_better(np.zeros(n_rows) - 0.99 * smallest, others)
        assert not is_better(others, others)
    assert not is_better(np.zeros(1), np.ones(1)) and not is_better(np.zeros(0), np.zeros(0))


def test_predictions_stray_if_they_differ_from_twice_the_expected_errors():
    """Pseudo-labels of probability .9 are wrong in a tenth of the rows."""
    target = np.tile([0.9, 0.1], (100, 1))
    for n_differing, strayed in ((19, False), (21, True)):
        log_p = np.log(np.tile([0.6, 0.4], (100, 1)))
        log_p[:n_differing] = log_p[:n_differing, ::-1]
        assert has_strayed(log_p, target) is strayed


# The tempered model


@pytest.mark.parametrize("exponent", [0.3, 1.0, 2.5])
def test_temper_raises_evidence_to_a_power(iris, exponent):
    """log p(y|x) - log p(y) is multiplied, up to a constant of each row."""
    vae = VAEClassifier(2, hidden_layer_sizes=(6,), max_iter=3, random_state=0).fit(iris, np.arange(150) // 50)
    model, x = vae.module_.double(), torch.tensor(iris)
    log_prior = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()
    before, latents = model.log_proba(x).detach(), model.embed(x).detach()
    model.temper(exponent, log_prior)
    expected = (exponent * (before - log_prior) + log_prior).log_softmax(-1)
    torch.testing.assert_close(model.log_proba(x).detach(), expected)
    torch.testing.assert_close(model.embed(x).detach(), latents)
