"""Modules of likelihoods at their start, and their closed-form parameters."""

import torch
from component_cases import N_COMPONENTS

from sklearn_vae._data.ppca import fit_moments, fit_ppca
from sklearn_vae._data.rows import DenseRows
from sklearn_vae.likelihoods.columns_module import ColumnsModule


def started(likelihood, X, n_coordinates=None, n_components=N_COMPONENTS):
    """The likelihood's module in the units of `X`, at its start, in float64 and eval mode."""
    X = torch.from_numpy(X)
    rows = DenseRows(X)
    moments = fit_moments(rows)
    module = likelihood.for_data(rows).build(X.shape[1], n_coordinates)
    features = module.features(rows, moments)
    feature_moments = moments if features is rows else fit_moments(features)
    ppca = fit_ppca(features, feature_moments, n_components, n_coordinates or 0)
    module.set_units(moments, ppca.axes[:, :n_coordinates] if n_coordinates else None)
    start = module.linear_start(ppca)
    return module.double().eval(), start


def fit_optima(module, y, raw, weight=None):
    """Reset the sums of closed-form parameters to those of these rows alone, and return them."""
    for sums in module.optima():
        sums.zero_()
    module.train().log_prob(y, raw, weight)
    module.eval()
    return [sums.clone() for sums in module.optima()]


def takes_totals(module):
    """Whether the probabilities of a row's cells depend on the row's total, which `forward` does not get."""
    return getattr(module, "shares_total", False)


def in_order_of_columns(module, raw):
    """Raw outputs, one for each column, in the order of the columns."""
    return raw[..., module.order] if isinstance(module, ColumnsModule) else raw
