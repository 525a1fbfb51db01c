"""What happens at the trainer's events: reports out, checkpoints marked, the best weights kept."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tasks.report import Report
from tasks.training.base import trained_weights
from tasks.training.ending import Ending
from tasks.training.resume import mark_complete, place_of

UNREPORTED = ("_runtime", "_per_second", "num_tokens")
"""Endings of logged names left out: wall-clock times, and a count that a resume starts anew."""
BEST = "best.safetensors"
"""Of a checkpoint: the trained weights of the lowest held-out loss up to its step."""


class Reporter(TrainerCallback):
    """Turns logged steps into events, stops at a loss that is no number, marks checkpoints and
    asks for one where the last is long ago (in minutes; 0: never), or where the process is to end.
    """

    def __init__(self, report: Report, save_minutes: float, ending: Ending) -> None:
        self.report, self.save_s, self.ending = report, save_minutes * 60, ending
        self.saved_at = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        is_due = self.save_s and time.monotonic() - self.saved_at >= self.save_s
        if is_due or self.ending.is_asked:
            control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: TrainerControl, **_: Any) -> None:
        """An evaluation may be long, and the last thing that a training does."""
        if self.ending.is_asked:
            control.should_save = True

    def on_log(
        self, args: Any, state: TrainerState, control: Any, logs: Any = None, **_: Any
    ) -> None:
        values = reported(logs or {})
        for name, told in (("loss", "loss"), ("eval_loss", "held-out loss")):
            if not math.isfinite(values.get(name, 0)):
                where = f"at step {state.global_step}; lower learning_rate"
                raise FloatingPointError(f"{told} is {values[name]} {where}")
        if "loss" in values:
            done, loss = state.global_step, values["loss"]
            self.report.progress(done, state.max_steps, unit="steps", loss=loss)
        if values:
            self.report.metric(state.global_step, **values)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        self.saved_at = time.monotonic()
        if state.is_world_process_zero:
            mark_complete(place_of(args.output_dir or "", state.global_step))
        self.ending.leave()


class KeepBest(TrainerCallback):
    """Keeps the trained weights of the lowest held-out loss and stops when it no longer falls.

    The evaluations are in the trainer's log, the best weights in memory; a checkpoint has both, so
    this must hear of it before it is marked complete.
    """

    def __init__(self, patience: int, checkpoint: Path | None) -> None:
        self.patience = patience
        self.best = load_file(checkpoint / BEST) if checkpoint else {}

    def on_evaluate(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if best_step(state.log_history) == state.global_step:
            self.best = trained_weights(kwargs["model"])
        control.should_training_stop |= self.has_ended(state.log_history)

    def has_ended(self, history: Iterable[dict[str, Any]]) -> bool:
        """Whether as many evaluations as patience allows were no better than the best."""
        losses = [loss for _, loss in evaluations(history)]
        return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= self.patience

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            save_file(self.best, place_of(args.output_dir or "", state.global_step) / BEST)

    def restore(self, model: torch.nn.Module, history: Iterable[dict[str, Any]]) -> int:
        """Put the best weights back into the model; return the step they are from."""
        for name, parameter in model.named_parameters():
            if name in self.best:
                parameter.data.copy_(self.best[name])
        return best_step(history)


def evaluations(history: Iterable[dict[str, Any]]) -> list[tuple[int, float]]:
    """(step, held-out loss) of every evaluation in the trainer's log, in order."""
    return [(r["step"], r["eval_loss"]) for r in history if "eval_loss" in r]


def best_step(history: Iterable[dict[str, Any]]) -> int:
    """The earliest step of the lowest held-out loss; 0 without evaluations."""
    return min(evaluations(history), key=lambda pair: (pair[1], pair[0]), default=(0, 0.0))[0]


def reported(logs: dict[str, Any]) -> dict[str, float]:
    """The numbers of a log record that describe training, without wall-clock times."""
    if "train_runtime" in logs:
        return {}
    return {
        k: float(v)
        for k, v in logs.items()
        if isinstance(v, int | float) and not k.endswith(UNREPORTED)
    }
