"""What the tests of few labels share."""

from typing import Any, NamedTuple

import pytest

from sklearn_vae._training.fit import FitProcedure


class Run(NamedTuple):
    """A training run: its procedure, rows, name and result."""

    procedure: Any
    rows: Any
    name: str
    result: Any


@pytest.fixture
def runs(monkeypatch):
    """Each training run, in their order."""
    runs, train = [], FitProcedure.train

    def spy(self, rows, *args, name="fit", **kwargs):
        result = train(self, rows, *args, name=name, **kwargs)
        runs.append(Run(self, rows, name, result))
        return result

    monkeypatch.setattr(FitProcedure, "train", spy)
    return runs
