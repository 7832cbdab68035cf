"""Fits that end in divergence or an interrupt."""

import pytest
from sklearn.exceptions import NotFittedError
from small_estimators import small_transformer as small


def test_divergence_says_what_to_do(iris):
    vae = small(learning_rate_init=1e30, warmup_steps=0, max_iter=20)
    with pytest.raises(ValueError, match=r"diverged: the loss is (nan|inf).*smaller learning_rate_init, or scale"):
        vae.fit(iris)


def test_divergence_leaves_no_earlier_model_in_use(iris):
    vae = small().fit(iris)
    with pytest.raises(ValueError, match="diverged"):
        vae.set_params(learning_rate_init=1e30, warmup_steps=0, max_iter=20).fit(iris)
    with pytest.raises(NotFittedError):
        vae.transform(iris)


def test_interrupt_stops_at_once(iris):
    calls = []

    def beta(step):
        calls.append(step)
        if step == 3:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        small(beta=beta, max_iter=50, batch_size=10).fit(iris)
    assert max(calls[1:]) == 3
