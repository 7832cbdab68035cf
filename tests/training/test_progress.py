"""Progress output of a fit, and the records that are kept."""

import importlib.util
import re
import sys

import numpy as np
import pytest

from sklearn_vae import VAETransformer
from sklearn_vae._training import progress as _progress
from sklearn_vae.objectives import Autoencoder


def small(**params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 4, "early_stopping": False, "random_state": 0}
    return VAETransformer(2, **{**values, **params})


def test_older_scikit_learn_has_no_callbacks(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("without_callbacks", _progress.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert not hasattr(module.CallbackSupportMixin, "set_callbacks")


def lines(capsys):
    head, *rows = capsys.readouterr().out.splitlines()
    return head, rows


def test_fit_is_silent_by_default(iris, capfd):
    small().fit(iris)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_written(iris, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    small(early_stopping=True, max_iter=3).fit(iris).score(iris)
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("early_stopping", [False, True])
def test_verbose_prints_aligned_lines(iris, capsys, early_stopping):
    small(verbose=1, max_iter=30, early_stopping=early_stopping).fit(iris * 1e8)
    head, rows = lines(capsys)
    assert head.split() == ["epoch", "step", "loss", "reconstruction", "KL", "validation", "seconds"]
    ends = [match.end() for match in re.finditer(r"\S+", head)]
    assert rows
    for row in rows:
        cells = [row[start:end] for start, end in zip([14, *ends], ends, strict=False)]
        *numbers, validation, seconds = (cell.strip() for cell in cells)
        assert bool(validation) == row.startswith("fold") and len(row) == len(head)
        assert all(cell[0] == " " and cell[-1] != " " for cell in cells if cell.strip())
        assert np.isfinite([float(number) for number in (*numbers, validation or 0, seconds)]).all()


def test_verbose_2_prints_what_the_curves_say(iris, capsys):
    vae = small(verbose=2).fit(iris)
    _, rows = lines(capsys)
    cells = np.array([row.split()[1:6] for row in rows], dtype=float)
    assert cells[:, 0].tolist() == [1, 2, 3, 4] and cells[-1, 1] == vae.n_steps_
    curves = np.transpose([vae.loss_curve_, vae.reconstruction_curve_, vae.kl_curve_])
    np.testing.assert_allclose(cells[:, 2:], curves, rtol=1e-5)


def test_verbose_1_prints_at_the_validations(iris, capsys):
    small(verbose=1, max_iter=30).fit(iris)
    _, rows = lines(capsys)
    assert [int(row.split()[1]) for row in rows] == [8, 16, 24, 30]


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_parts_make_the_loss(iris, beta):
    vae = small(beta=beta).fit(iris)
    whole = np.add(vae.reconstruction_curve_, np.multiply(beta, vae.kl_curve_))
    np.testing.assert_allclose(vae.loss_curve_, whole, rtol=1e-5, atol=1e-5)
    assert (np.array(vae.kl_curve_) > 0).all()


def test_an_autoencoders_loss_is_its_reconstruction(iris):
    vae = small(objective=Autoencoder()).fit(iris)
    assert vae.reconstruction_curve_ == vae.loss_curve_ and vae.kl_curve_ == [0.0] * 4


def test_validations_are_placed_on_the_epochs_of_all_rows(iris):
    vae = small(early_stopping=True, max_iter=60).fit(iris)
    assert len(vae.validation_iter_) == len(vae.validation_scores_) and vae.validation_iter_[0] == 0
    best = vae.validation_iter_[int(np.argmax(vae.validation_scores_))]
    assert abs(best - vae.best_iter_) <= 0.5


def test_curves_go_on_in_partial_fit(iris):
    vae = small().partial_fit(iris).partial_fit(iris)
    assert len(vae.loss_curve_) == len(vae.reconstruction_curve_) == len(vae.kl_curve_) == 2
    assert not hasattr(vae, "validation_iter_")
