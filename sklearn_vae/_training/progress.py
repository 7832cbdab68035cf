"""Progress reports during a fit: verbose output and scikit-learn's callbacks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

from sklearn_vae.objectives.base import TermSums

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Placeholder for scikit-learn before 1.9, which has no callbacks."""


# Returns the estimator's fitted attributes for the current model; called only when a callback requests them.
Attributes = Callable[[], dict[str, Any]]
# Columns of the verbose output and their widths in characters. Six significant digits take up to twelve characters.
COLUMNS = {
    "epoch": 6,
    "step": 8,
    "loss": 12,
    "reconstruction": 14,
    "KL": 12,
    "validation": 12,
    "seconds": 8,
}
# Width of the run's name in characters.
NAME_WIDTH = 14


class Progress:
    """Progress of one fit, which consists of one or more training runs.

    Parameters
    ----------
    estimator : estimator
        Its callbacks, if any, are called with the user's data.
    X, y : array-like
    sample_weight : array-like or None
    attributes : callable
        (FitProcedure, TrainingResult) -> dict of the fitted attributes; called only for callbacks.
    """

    def __init__(self, estimator, X=None, y=None, sample_weight=None, attributes: Callable[..., dict[str, Any]] = dict):
        self.attributes = attributes
        self._estimator = estimator
        self._data = {
            "X": X,
            "y": y,
            "metadata": None if sample_weight is None else {"sample_weight": sample_weight},
        }
        self._root: Any = None
        self._has_callbacks = bool(getattr(estimator, "_skl_callbacks", None))
        self._table = _Table(int(estimator.verbose)) if estimator.verbose else None

    def without_callbacks(self) -> Progress:
        """Return the progress of a run of another model than the estimator's: it only prints."""
        progress = copy.copy(self)
        progress._root, progress._has_callbacks = None, False
        return progress

    def begin(self, n_subtasks: int) -> Any:
        """Begin a fit, unless it has begun, and return its callback context.

        `n_subtasks` is its number of runs, or of epochs in one run.
        """
        if self._root is None and self._has_callbacks:
            self._root = self._begin(self._estimator._init_callback_context(max_subtasks=n_subtasks))
        return self._root

    def begin_run(self, name: str, n_epochs: int) -> RunProgress:
        """Begin a run of at most `n_epochs` epochs. If no fit has begun, the run is the whole fit."""
        if self._root is None:
            return RunProgress(self, name, self.begin(n_epochs), is_part=False)
        return RunProgress(self, name, self.begin_task(self._root, name, n_epochs), is_part=True)

    def end(self, attributes: Attributes) -> None:
        """End the fit."""
        self.end_task(self._root, attributes)

    def begin_task(self, parent: Any, name: str, n_subtasks: int = 0) -> Any:
        """Begin a subtask of the context `parent`; return its context, or None without callbacks."""
        if parent is None:
            return None
        return self._begin(parent.subcontext(task_name=name, max_subtasks=n_subtasks))

    def end_task(self, context: Any, attributes: Attributes) -> bool:
        """End a task; return whether a callback requests a stop."""
        if context is None:
            return False
        return context.call_on_fit_task_end(
            estimator=self._estimator, **self._data, reconstruction_attributes=attributes
        )

    def print(self, name: str, epoch: int, step: int, parts: TermSums, score: float | None, is_due: bool) -> None:
        """Print a line if it is due, or after every epoch if `verbose` is above 1."""
        if self._table is not None and (is_due or self._table.verbose > 1):
            self._table.print(name, (epoch, step, *parts, score))

    def _begin(self, context: Any) -> Any:
        return context.call_on_fit_task_begin(estimator=self._estimator, **self._data)


class RunProgress:
    """Progress of one training run.

    Parameters
    ----------
    progress : Progress
    name : str
    context : CallbackContext or None
    is_part : bool
        Whether the fit has other runs.
    """

    def __init__(self, progress: Progress, name: str, context: Any, is_part: bool):
        self._progress, self._name, self._context, self._is_part = progress, name, context, is_part
        self._epoch: Any = None

    def begin_epoch(self) -> None:
        """Begin an epoch."""
        self._epoch = self._progress.begin_task(self._context, "epoch")

    def end_epoch(
        self, epoch: int, step: int, parts: TermSums, score: float | None, is_due: bool, attributes: Attributes
    ) -> bool:
        """End an epoch and print its line if `is_due`; return whether a callback requests a stop."""
        self._progress.print(self._name, epoch, step, parts, score, is_due)
        return self._progress.end_task(self._epoch, attributes)

    def end(self, attributes: Attributes) -> None:
        """End the run."""
        if self._is_part:
            self._progress.end_task(self._context, attributes)


class _Table:
    """Table of aligned columns with a header. Its last column is the time in seconds since its creation."""

    def __init__(self, verbose: int):
        self.verbose = verbose
        self._start = perf_counter()
        self._has_head = False

    def print(self, name: str, values: tuple) -> None:
        """Print a line, in which None leaves its cell empty."""
        if not self._has_head:
            self._print_cells("", COLUMNS)
            self._has_head = True
        numbers = [
            "" if value is None else str(value) if isinstance(value, int) else f"{value:.6g}" for value in values
        ]
        self._print_cells(name, [*numbers, f"{perf_counter() - self._start:.1f}"])

    def _print_cells(self, name: str, cells: Iterable[str]) -> None:
        aligned = (f"{cell:>{width}}" for cell, width in zip(cells, COLUMNS.values(), strict=True))
        print(f"{name:<{NAME_WIDTH}}", *aligned)
