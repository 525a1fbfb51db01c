"""What SFT, reward and DPO do alike around their TRL trainer: arguments, order, reports, resuming.

Departures from TRL's defaults: (1) no autocast, dtypes are explicit (see `base`); (2) rows arrive
tokenised, so TRL neither truncates nor shuffles; (3) no telemetry, model card or printing, as
stdout is the worker's protocol; (4) a NaN loss raises where the trainer would log an average;
(5) a warm-up leaves the last step, as its first has learning rate 0: one step is not for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from tasks.report import Report
from tasks.training.base import largest_change, say_unchanged, trained_weights
from tasks.training.callbacks import Checkpoints, KeepBest, Reporter, evaluations, reported
from tasks.training.curve import loss_summary, write_curve, write_metrics
from tasks.training.resume import latest_complete
from tasks.training.rows import LengthGroupedOrder
from tasks.training.settings import WEIGHT_CHANGE, StageSettings

Config = TypeVar("Config", bound=TrainingArguments)


def arguments(
    kind: type[Config], settings: StageSettings, spec: dict[str, Any], held_out: int, **extra: Any
) -> Config:
    """TRL's arguments for a stage; extra holds what only its config class knows."""
    cuda = torch.cuda.is_available()
    return kind(
        output_dir=spec["state"],
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_ratio,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        gradient_checkpointing=settings.gradient_checkpointing,
        optim="adamw_torch",
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=False,
        fp16=False,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        seed=spec["seed"],
        data_seed=spec["seed"],
        save_strategy="steps",
        save_steps=settings.save_steps,
        eval_strategy="steps" if held_out else "no",
        eval_steps=settings.eval_steps,
        prediction_loss_only=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        **extra,
    )


class StageTrainer(Trainer):
    """Mixed in before a TRL trainer: rows as they are, our order, nothing sent or printed."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any, **kwargs: Any) -> Dataset:
        return dataset

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> LengthGroupedOrder:
        lengths = cast(Dataset, self.train_dataset)["length"]
        size = self.args.per_device_train_batch_size
        return LengthGroupedOrder(lengths, size, self.args.seed)

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The schedule of the arguments, its warm-up shorter than the training."""
        wanted = self.args.get_warmup_steps(num_training_steps)
        self.args.warmup_steps = min(wanted, num_training_steps - 1)
        return super().create_scheduler(num_training_steps, optimizer)

    def _send_telemetry(self) -> None:
        """Send nothing: TRL would report model kind and hardware to the hub."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write no card into the resumable state; cards are made from lineage."""


@dataclass(frozen=True)
class Course:
    """How a training went."""

    steps: int
    """Optimizer steps in total, earlier attempts included."""
    resumed_from_step: int
    """0 for a fresh start."""
    kept_step: int
    """Step of the weights the model now has; less than steps where patience kept earlier ones."""
    history: list[dict[str, Any]]
    """One record per logged step, {"step", …}, earlier attempts included."""
    largest_change: float
    """Of a trained weight, since before the first step."""


def train(trainer: Trainer, settings: StageSettings, report: Report) -> Course:
    """Train to the end, from the newest complete checkpoint in the trainer's folder if any.

    Evaluates before the first step, every eval_steps, and after the last. Afterwards the model
    holds the last weights, or with patience the best; that they are those of the start is said.
    Raises FloatingPointError on a NaN loss.
    """
    model = cast(torch.nn.Module, trainer.model)
    start = trained_weights(model)
    folder = Path(trainer.args.output_dir or "")
    checkpoint = latest_complete(folder)
    resumed_from = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    if checkpoint:
        report.log(f"resuming from step {resumed_from}")
    evaluates = trainer.args.eval_strategy != "no"
    trainer.args.eval_on_start = evaluates and checkpoint is None
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Reporter(report))
    trainer.add_callback(Checkpoints())
    keeper = KeepBest(folder, settings.patience) if settings.patience and evaluates else None
    if keeper:
        trainer.add_callback(keeper)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    steps = trainer.state.global_step
    if evaluates and evaluations(trainer.state.log_history)[-1][0] != steps:
        trainer.evaluate()
    kept = keeper.restore(model, trainer.state.log_history) if keeper else steps
    change = largest_change(start, trained_weights(model))
    say_unchanged(change, report)
    history = [{**reported(r), "step": r["step"]} for r in trainer.state.log_history if reported(r)]
    return Course(steps, resumed_from, kept, history, change)


def write_course(course: Course, out: str | Path, title: str) -> dict[str, float]:
    """Write metrics.jsonl and loss.png into out; return the metrics every stage reports."""
    write_metrics(Path(out) / "metrics.jsonl", course.history)
    losses = [(r["step"], r["loss"]) for r in course.history if "loss" in r]
    held_out = evaluations(course.history)
    write_curve(Path(out) / "loss.png", {"train": losses, "held out": held_out}, title=title)
    metrics = loss_summary([loss for _, loss in losses])
    if held_out:
        kept = dict(held_out).get(course.kept_step, held_out[-1][1])
        metrics |= {"eval_loss_first": held_out[0][1], "eval_loss": kept}
    return metrics | {
        "resumed_from_step": float(course.resumed_from_step),
        "kept_step": float(course.kept_step),
        WEIGHT_CHANGE: course.largest_change,
    }
