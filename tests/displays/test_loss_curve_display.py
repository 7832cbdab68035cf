"""The curves that it draws."""

import numpy as np
import pytest
from drawn import FRAME, TINY, legend

from sklearn_vae import VAETransformer
from sklearn_vae.displays import (
    LossCurveDisplay,
)


def test_loss_curve_draws_training_and_validation(table):
    display = LossCurveDisplay.from_estimator(table)
    vae = table[-1]
    np.testing.assert_array_equal(display.lines_["loss"].get_xdata(), range(1, len(vae.loss_curve_) + 1))
    np.testing.assert_array_equal(display.lines_["loss"].get_ydata(), vae.loss_curve_)
    np.testing.assert_array_equal(display.lines_["validation"].get_xdata(), vae.validation_iter_)
    np.testing.assert_array_equal(display.lines_["validation"].get_ydata(), -np.array(vae.validation_scores_))
    assert set(display.lines_["best_iter"].get_xdata()) == {vae.best_iter_}
    assert legend(display.ax_) == ["training rows", "held-out rows", "weights kept"]
    assert display.ax_.get_xlabel() == "epoch"


def test_loss_curve_draws_parts_in_panels_over_the_same_epochs(classifier):
    display = LossCurveDisplay.from_estimator(classifier, parts=True, line_kwargs={"lw": 3})
    vae = classifier[-1]
    for panel, name, curve in zip(
        display.axes_,
        ["loss", "reconstruction", "kl"],
        [vae.loss_curve_, vae.reconstruction_curve_, vae.kl_curve_],
        strict=True,
    ):
        assert display.lines_[name].axes is panel
        np.testing.assert_array_equal(display.lines_[name].get_ydata(), curve)
        assert display.lines_[name].get_linewidth() == 3
    assert len({panel.get_xlim() for panel in display.axes_}) == 1
    assert [panel.get_ylabel() for panel in display.axes_] == ["loss", "reconstruction", "KL"]
    assert legend(display.axes_[0]) == ["training rows"]


def test_loss_curve_of_partial_fit_and_of_no_training():
    vae = VAETransformer(2, **TINY).partial_fit(FRAME.to_numpy())
    assert list(LossCurveDisplay.from_estimator(vae).lines_) == ["loss"]
    start = VAETransformer(2, max_iter=0).fit(FRAME.to_numpy())
    with pytest.raises(ValueError, match=r"has made an epoch, got an empty loss_curve_"):
        LossCurveDisplay.from_estimator(start)


def test_loss_curve_of_validations_alone():
    display = LossCurveDisplay(loss=[], reconstruction=[], kl=[], validation=[2.0, 3.0], validation_iter=[0, 5])
    assert list(display.plot(parts=True).lines_) == ["validation", "reconstruction", "kl"]
    with pytest.raises(ValueError, match="expected reconstruction and kl for parts=True"):
        LossCurveDisplay(loss=[1.0]).plot(parts=True)


def test_loss_axis_ends_below_a_huge_first_loss_and_holds_all_others():
    losses = np.concatenate([[1e6], np.linspace(50, 40, 30)])
    low, high = LossCurveDisplay(loss=losses).plot().ax_.get_ylim()
    assert low < 40 and 50 < high < 200
    low, high = LossCurveDisplay(loss=losses[1:]).plot().ax_.get_ylim()
    assert low < 40 and 50 < high < 51
