"""The contract of likelihoods, tested over their registry."""

import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from component_cases import LIKELIHOOD_CASES, N_COMPONENTS, N_FEATURES, N_ROWS, binary_rows, generator, normal
from likelihood_modules import fit_optima, in_order_of_columns, started, takes_totals
from naming import shown

from sklearn_vae._data.rows import DenseRows
from sklearn_vae.likelihoods import LikelihoodModule, Observed
from sklearn_vae.likelihoods.module import SUMS_DECAY

over_likelihoods = pytest.mark.parametrize("likelihood", LIKELIHOOD_CASES, ids=shown)


@over_likelihoods
def test_likelihood_shapes(likelihood):
    X = binary_rows()
    module, start = started(likelihood, X)
    observed, raw = module.observe(torch.from_numpy(X)), normal(3, N_ROWS, module.n_outputs)
    assert observed.inputs.shape == (N_ROWS, module.n_inputs) and observed.mask is None
    assert observed.inputs.dtype == observed.cells.dtype == module.dtype == torch.float64
    assert module.log_prob(observed, raw).shape == (3, N_ROWS)
    assert module.log_prob_cells(observed, raw).shape == (3, *observed.cells.shape)
    assert module.mean(raw).shape == module.sample(raw, generator()).shape == (3, N_ROWS, N_FEATURES)
    assert module.mean(raw).dtype == module.sample(raw, generator()).dtype == torch.float64
    assert start.encoder_weight.shape == (N_COMPONENTS, module.n_inputs)
    assert start.decoder_weight.shape == (module.n_outputs, N_COMPONENTS)
    assert start.encoder_bias.shape == start.posterior_variance.shape == (N_COMPONENTS,)
    assert start.decoder_bias.shape == (module.n_outputs,)


@over_likelihoods
def test_likelihood_gradients_are_finite(likelihood):
    X = binary_rows()
    module, _ = started(likelihood, X)
    raw = normal(N_ROWS, module.n_outputs).requires_grad_()
    module.train().log_prob(module.observe(torch.from_numpy(X)), raw).sum().backward()
    for gradient in [raw.grad, *(p.grad for p in module.parameters())]:
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0


@over_likelihoods
def test_likelihood_log_prob_sums_over_columns_of_its_distribution(likelihood):
    """Up to the constant of the units, a row's log-probability is the sum of its distribution's over cells."""
    X = binary_rows()
    module, _ = started(likelihood, X)
    if takes_totals(module) or type(module).forward is LikelihoodModule.forward:
        return
    y, raw = module.observe(torch.from_numpy(X)), normal(N_ROWS, module.n_outputs)
    difference = module.log_prob(y, raw) - module(raw).log_prob(y.cells).sum(-1)
    torch.testing.assert_close(difference, difference[:1].expand(N_ROWS))


@over_likelihoods
@pytest.mark.parametrize("n_coordinates", [None, 2, N_FEATURES])
@pytest.mark.parametrize("training", [False, True])
def test_likelihood_log_prob_is_the_sum_over_cells(likelihood, n_coordinates, training):
    if n_coordinates is not None and not likelihood.isotropic:
        return
    X = binary_rows()
    module, _ = started(likelihood, X, n_coordinates)
    module.train(training)
    observed, raw = module.observe(torch.from_numpy(X)), normal(3, N_ROWS, module.n_outputs)
    total = module.log_prob(observed, raw)
    torch.testing.assert_close(total, module.log_prob_cells(observed, raw).sum(-1))


@over_likelihoods
def test_likelihood_cell_unit_is_that_of_restored_cells(likelihood):
    module, _ = started(likelihood, binary_rows())
    cells = torch.rand(N_ROWS, module.n_inputs, generator=generator(), dtype=torch.float64)
    difference = module.restore(cells + 1) - module.restore(cells)
    torch.testing.assert_close(difference, torch.full_like(difference, module.cell_unit))


@over_likelihoods
def test_likelihood_of_a_subclass_follows_its_cells(likelihood):
    """A class with other cells does not inherit a faster sum of the old ones."""
    X = binary_rows()
    module, _ = started(likelihood, X)

    class OtherCells(type(module)):
        def log_prob_cells(self, observed, raw):
            return torch.full_like(observed.cells, 2.0)

    module.__class__ = OtherCells
    observed, raw = module.observe(torch.from_numpy(X)), normal(N_ROWS, module.n_outputs)
    assert (module.log_prob(observed, raw) == 2 * X.shape[1]).all()


@over_likelihoods
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_likelihood_mask_of_ones_changes_nothing(likelihood, training, weighted):
    X = torch.from_numpy(binary_rows())
    totals, optima = [], []
    for masked in (False, True):
        module, _ = started(likelihood, X.numpy())
        observed, raw = module.observe(X), normal(3, N_ROWS, module.n_outputs)
        observed = observed._replace(mask=torch.ones_like(observed.cells, dtype=torch.bool) if masked else None)
        weight = torch.linspace(0, 2, N_ROWS, dtype=torch.float64) if weighted else None
        totals.append(module.train(training).log_prob(observed, raw, weight))
        optima.append([*module.optima()])
    torch.testing.assert_close(*totals)
    torch.testing.assert_close(*optima)


@over_likelihoods
@pytest.mark.parametrize("training", [False, True])
def test_likelihood_leaves_out_cells_that_were_not_observed(likelihood, training):
    """Their values do not matter, and they do not enter parameters with a closed form either."""
    X = torch.from_numpy(binary_rows())
    mask = torch.rand(X.shape, generator=generator()) < 0.7
    totals, optima = [], []
    for filling in (0.0, 1.0):
        module, _ = started(likelihood, X.numpy())
        observed, raw = module.observe(X.where(mask, filling)), normal(3, N_ROWS, module.n_outputs).requires_grad_()
        observed = observed._replace(mask=mask)
        total = module.train(training).log_prob(observed, raw)
        torch.testing.assert_close(total, (module.log_prob_cells(observed, raw) * mask).sum(-1))
        (gradient,) = torch.autograd.grad(total.sum(), raw)
        gradient = in_order_of_columns(module, gradient)
        # Given a total of 0, counts are known.
        has_gradient = mask & X.where(mask, 0.0).any(-1, keepdim=True)
        assert not gradient.masked_select(~mask).any() and gradient.masked_select(has_gradient).all()
        totals.append(total)
        optima.append([*module.optima()])
    torch.testing.assert_close(*totals)
    torch.testing.assert_close(*optima)


@over_likelihoods
def test_likelihood_mean_and_samples_follow_from_its_distribution(likelihood):
    n_draws = 20000
    module, _ = started(likelihood, binary_rows())
    if type(module).forward is LikelihoodModule.forward:
        return
    raw = normal(1, module.n_outputs)
    torch.testing.assert_close(LikelihoodModule.mean(module, raw), module.mean(raw), rtol=1e-5, atol=1e-5)
    draws = [
        sample(raw.expand(n_draws, -1), generator(seed)).detach()
        for seed, sample in enumerate([module.sample, partial(LikelihoodModule.sample, module)])
    ]
    for power in (1, 2):
        a, b = (values**power for values in draws)
        error = (a.mean(0) - b.mean(0)) / ((a.var(0) + b.var(0)) / n_draws).sqrt()
        assert error.abs().max() < 5


@over_likelihoods
def test_likelihood_mean_is_the_mean_of_samples(likelihood):
    n_draws = 20000
    module, _ = started(likelihood, binary_rows())
    raw = normal(1, module.n_outputs)
    draws = module.sample(raw.expand(n_draws, -1), generator(1)).detach()
    error, std = (draws.mean(0) - module.mean(raw)[0]).abs(), draws.std(0)
    # If all draws of zeros and ones are equal, the other value has a probability below 5 / n_draws.
    assert (error < torch.where(std > 0, 5 * std / math.sqrt(n_draws), 5 / n_draws)).all()


@over_likelihoods
def test_likelihood_sample_is_drawn_from_its_generator_alone(likelihood, global_random_state):
    module, _ = started(likelihood, binary_rows())
    raw, before = normal(N_ROWS, module.n_outputs), global_random_state()
    first, again, other = (module.sample(raw, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert global_random_state() == before


@over_likelihoods
def test_likelihood_state_dict_round_trip(likelihood):
    X = binary_rows() * 0.5
    module, _ = started(likelihood, X)
    restored = likelihood.for_data(DenseRows(torch.from_numpy(X))).build(N_FEATURES, None).double().eval()
    restored.load_state_dict(module.state_dict())
    y, raw = torch.from_numpy(X), normal(N_ROWS, module.n_outputs)
    assert torch.equal(restored.log_prob(restored.observe(y), raw), module.log_prob(module.observe(y), raw))
    assert torch.equal(restored.mean(raw), module.mean(raw))


def rows_of(observed, index):
    """Return the observed values of some of the rows."""
    return Observed(*(None if part is None else part[index] for part in observed))


@over_likelihoods
@pytest.mark.parametrize("weighted", [False, True])
def test_likelihood_closed_form_parameters_are_at_their_optimum(likelihood, weighted):
    """At the parameters that follow from the sums, no step up or down raises the rows' total log-probability."""
    X = torch.from_numpy(binary_rows())
    module, _ = started(likelihood, X.numpy())
    weight = torch.linspace(0, 2, N_ROWS, dtype=torch.float64) if weighted else None
    y, raw = module.observe(X), normal(N_ROWS, module.n_outputs)
    fit_optima(module, y, raw, weight)

    def total():
        return float((module.log_prob(y, raw) * (1 if weight is None else weight)).sum().detach())

    best = total()
    for sums in module.optima():
        for i, factor in itertools.product(np.ndindex(*sums.shape), [0.99, 1.01]):
            sums[i] *= factor
            assert total() < best
            sums[i] /= factor
    assert total() == pytest.approx(best)


@over_likelihoods
def test_likelihood_rows_count_by_their_weight_in_closed_form_parameters(likelihood):
    X = torch.from_numpy(binary_rows())
    module, _ = started(likelihood, X.numpy())
    y, raw, counts = module.observe(X), normal(N_ROWS, module.n_outputs), torch.arange(N_ROWS) % 4
    weighted = fit_optima(module, y, raw, counts.double())
    repeated = fit_optima(
        module, rows_of(y, torch.arange(N_ROWS).repeat_interleave(counts)), raw.repeat_interleave(counts, 0)
    )
    torch.testing.assert_close(weighted, repeated)


@over_likelihoods
def test_likelihood_batches_count_by_their_weight_in_closed_form_parameters(likelihood):
    """Sums over batches are kept, and a batch is scored with the parameters that follow from them."""
    X = torch.from_numpy(binary_rows())
    module, _ = started(likelihood, X.numpy())
    y, raw, weight = module.observe(X), normal(N_ROWS, module.n_outputs), torch.linspace(0, 30, N_ROWS).double()
    second = fit_optima(module, rows_of(y, slice(5, None)), raw[5:], weight[5:])
    first = fit_optima(module, rows_of(y, slice(5)), raw[:5], weight[:5])
    in_training = module.train().log_prob(rows_of(y, slice(5, None)), raw[5:], weight[5:])
    for sums, a, b in zip(module.optima(), first, second, strict=True):
        torch.testing.assert_close(sums, SUMS_DECAY * a + b)
    torch.testing.assert_close(module.eval().log_prob(rows_of(y, slice(5, None)), raw[5:]), in_training)


@over_likelihoods
def test_likelihood_scores_its_own_samples_higher_than_those_of_another(likelihood):
    """Gibbs' inequality: E_p log p >= E_p log q."""
    module, _ = started(likelihood, binary_rows())
    p, q = (normal(1, module.n_outputs, seed=seed).expand(2000, -1) for seed in (0, 1))
    y = module.observe(module.sample(p, generator()))
    difference = (module.log_prob(y, p) - module.log_prob(y, q)).detach()
    assert difference.mean() > 4 * difference.std() / math.sqrt(2000)


@over_likelihoods
def test_likelihood_start_posterior_is_between_zero_and_the_prior(likelihood):
    _, start = started(likelihood, binary_rows())
    assert (start.posterior_variance > 0).all() and (start.posterior_variance <= 1).all()


class Undefined(LikelihoodModule):
    """Defines nothing but what is abstract."""

    def observe(self, x, generator=None):
        return Observed(x, x)


def test_methods_that_a_likelihood_does_not_define_say_what_is_missing():
    module, raw = Undefined(N_FEATURES, N_FEATURES), torch.zeros(2, N_FEATURES)
    observed = module.observe(raw)
    for call, missing in (
        (lambda: module(raw), "expected forward, or log_prob_cells, mean and sample, to be defined"),
        (lambda: module.link(np.zeros(N_FEATURES)), "expected link, or linear_start, to be defined"),
        (lambda: module.log_prob_and_gradient(observed, raw, None), "does not declare has_gradient"),
        (lambda: module.log_prob_rows(observed, raw, None), "does not declare sums_cells"),
        (lambda: module.numpy_observer(), "does not declare observes_in_numpy"),
    ):
        with pytest.raises(NotImplementedError, match=f"Undefined.*{missing}"):
            call()
