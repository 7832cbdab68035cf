"""The bars that it draws."""

import numpy as np
import pytest
from drawn import FRAME, ticks

from sklearn_vae.displays import (
    KLDisplay,
    LatentSpaceDisplay,
    SamplesDisplay,
)


def test_kl_draws_the_largest_first_and_inactive_ones_grey(vae):
    display = KLDisplay.from_estimator(vae)
    heights = [bar.get_height() for bar in display.bars_]
    np.testing.assert_array_equal(heights, np.sort(vae.kl_per_component_)[::-1])
    np.testing.assert_array_equal(vae.kl_per_component_[display.components_], heights)
    display = KLDisplay(kl=[0.001, 2.0, 0.3], threshold=0.5).plot()
    assert ticks(display.ax_.xaxis) == ["1", "2", "0"]
    assert display.n_active_ == 1 and display.ax_.get_title() == "1 of 3 components active (above 0.5 nats)"
    colors = [bar.get_facecolor() for bar in display.bars_]
    assert colors[0] != colors[1] == colors[2]
    assert set(display.line_.get_ydata()) == {0.5}


def test_kl_in_the_order_of_components_when_asked():
    display = KLDisplay(kl=[0.1, 2.0, 0.3]).plot(sort=False, bar_kwargs={"color": "red"})
    assert [bar.get_height() for bar in display.bars_] == [0.1, 2.0, 0.3]
    assert {bar.get_facecolor() for bar in display.bars_} == {(1.0, 0.0, 0.0, 1.0)}


def test_displays_of_an_autoencoder(autoencoder):
    X = FRAME.to_numpy()
    with pytest.raises(ValueError, match="a model with a KL term, got objective='autoencoder'"):
        KLDisplay.from_estimator(autoencoder)
    with pytest.raises(ValueError, match="a model that draws samples, got objective='autoencoder'"):
        SamplesDisplay.from_estimator(autoencoder, X)
    order = np.argsort(-autoencoder.transform(X).var(axis=0))
    np.testing.assert_array_equal(LatentSpaceDisplay.from_estimator(autoencoder, X).components, order)
