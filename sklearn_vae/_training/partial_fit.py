"""Training on one chunk of rows after the other (``partial_fit``)."""

from __future__ import annotations

from typing import Any

from sklearn_vae._data.rows import Rows
from sklearn_vae._training.fit import FitProcedure, TrainingResult
from sklearn_vae._training.neighbor_points import find_neighbors, with_points
from sklearn_vae._training.restart import SeenRows, new_start, seen_in


def train_epoch(
    procedure: FitProcedure, rows: Rows, before: TrainingResult | None, state: dict[str, Any]
) -> tuple[TrainingResult, dict[str, Any]]:
    """Train a new model, or that of `before`, for one epoch on these rows.

    Parameters
    ----------
    procedure : FitProcedure
    rows : Rows
    before : TrainingResult or None
        Result of the earlier calls, with a model that may be changed; None in the first call.
    state : dict
        State of training after the earlier calls; without entries in the first one.

    Returns
    -------
    run : TrainingResult
    state : dict
        State of the trainer, summary of the rows seen, and input noise, for later calls.

    Warns
    -----
    UserWarning
        As `new_start`.
    """
    seen = seen_in(rows, state.get("seen") and SeenRows(**state["seen"]))
    if state.get("input_noise") is not None:
        procedure = procedure.with_input_noise(state["input_noise"])
    procedure, neighbors = find_neighbors(procedure, rows)
    if before is None:
        rows, before = with_points(procedure, rows, neighbors), TrainingResult(procedure.start(rows))
    else:
        before.model, seen = new_start(procedure, before.model, rows, seen, seen.is_due) or (before.model, seen)
        rows = with_points(procedure, rows, neighbors, before.model)
    trainer = procedure.trainer(before.model, rows.device, procedure.n_steps(rows, 1))
    if state.get("trainer") is not None:
        trainer.load_state_dict(state["trainer"])
    n_steps_before, sums = trainer.step, trainer.run_epoch(rows)
    run = TrainingResult(
        trainer.average,
        before.n_epochs + 1,
        before.n_steps + trainer.step - n_steps_before,
        before.n_epochs_run + 1,
        [*before.curve, sums],
    )
    noise = procedure.recipe.input_noise
    return run, {"trainer": trainer.state_dict(), "seen": seen._asdict(), "input_noise": noise}
