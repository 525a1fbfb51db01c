"""What happens at the trainer's events: reports out, checkpoints marked, the best weights kept."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tasks.report import Report
from tasks.training.base import trained_weights
from tasks.training.resume import mark_complete

UNREPORTED = ("_runtime", "_per_second", "num_tokens")
"""Endings of logged names left out: wall-clock times, and a count that a resume starts anew."""


class Reporter(TrainerCallback):
    """Turns logged steps into events, stops at a loss that is no number, marks checkpoints."""

    def __init__(self, report: Report) -> None:
        self.report = report

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
        if state.is_world_process_zero:
            mark_complete(Path(args.output_dir or "") / f"checkpoint-{state.global_step}")


class KeepBest(TrainerCallback):
    """Keeps the trained weights of the lowest held-out loss and stops when it no longer falls.

    It remembers nothing itself: the evaluations are in the trainer's log, which a checkpoint
    restores, and each candidate's weights in `best-<step>.safetensors` of the state folder.
    """

    def __init__(self, state_folder: str | Path, patience: int) -> None:
        self.folder, self.patience = Path(state_folder), patience

    def on_evaluate(
        self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if best_step(state.log_history) == state.global_step:
            save_file(trained_weights(kwargs["model"]), self._file(state.global_step))
        control.should_training_stop |= self.has_ended(state.log_history)

    def has_ended(self, history: Iterable[dict[str, Any]]) -> bool:
        """Whether as many evaluations as patience allows were no better than the best."""
        losses = [loss for _, loss in evaluations(history)]
        return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= self.patience

    def on_save(self, args: Any, state: TrainerState, control: Any, **_: Any) -> None:
        keep = self._file(best_step(state.log_history))
        for file in self.folder.glob("best-*.safetensors"):
            if file != keep:
                file.unlink()

    def restore(self, model: torch.nn.Module, history: Iterable[dict[str, Any]]) -> int:
        """Put the best weights back into the model; return the step they are from."""
        step = best_step(history)
        weights = load_file(self._file(step))
        for name, parameter in model.named_parameters():
            if name in weights:
                parameter.data.copy_(weights[name])
        return step

    def _file(self, step: int) -> Path:
        return self.folder / f"best-{step}.safetensors"


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
