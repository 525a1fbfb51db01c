"""What SFT, reward and DPO do alike around their TRL trainer: arguments, order, reports, resuming.

Departures from TRL's defaults: (1) no autocast, dtypes are explicit (see `base`); (2) rows arrive
tokenised, so TRL neither truncates nor shuffles; (3) no telemetry, model card or printing, as
stdout is the worker's protocol; (4) a NaN loss raises where the trainer would log an average;
(5) a warm-up leaves the last step, as its first has learning rate 0: one step is not for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import (
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainerState,
    TrainingArguments,
)

from tasks.report import Report
from tasks.training.base import (
    computed_in,
    float32_adapters,
    largest_change,
    save_adapter,
    trainable_parameters,
    trained_weights,
)
from tasks.training.callbacks import KeepBest, Reporter, evaluations, reported
from tasks.training.curve import Panels, loss_summary, write_curves, write_metrics
from tasks.training.ending import heard
from tasks.training.lora import keep_inputs_only
from tasks.training.resume import latest_complete, step_of
from tasks.training.rows import LengthGroupedOrder, Split
from tasks.training.settings import WEIGHT_CHANGE, StageSettings

TRAINER_STATE = "trainer_state.json"
"""Of a resumable checkpoint: the trainer's step and log."""


class StageTrainer(Trainer):
    """Mixed in before a TRL trainer: rows as they are, our order, nothing sent or printed."""

    title: ClassVar[str]
    """Above the loss curve."""
    columns: ClassVar[Sequence[str]]
    """Of a row, what training reads; "length" among them."""
    collate: ClassVar[Callable[..., Any] | None] = None
    """Makes a batch of rows; None: as TRL does."""
    has_head: ClassVar[bool] = False
    """Whether a head is trained and saved with the adapter."""

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
        """TRL would report model kind and hardware to the hub."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """TRL would write a card into the resumable state."""


AnyTrainer = TypeVar("AnyTrainer", bound=StageTrainer)


def make_trainer(
    kind: type[AnyTrainer],
    config: type[Any],
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    settings: StageSettings,
    spec: dict[str, Any],
    **own: Any,
) -> AnyTrainer:
    """A stage's trainer, its adapters still float32; own: arguments that only its config knows."""
    cuda = torch.cuda.is_available()
    arguments: TrainingArguments = config(
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
        bf16=False,
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        seed=spec["seed"],
        data_seed=spec["seed"],
        save_steps=settings.save_steps,
        eval_strategy="steps" if split.held_out else "no",
        eval_steps=settings.eval_steps,
        prediction_loss_only=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        disable_tqdm=True,
        report_to="none",
        max_length=None,
        **own,
    )

    def dataset(rows: list[dict[str, Any]]) -> Dataset:
        return Dataset.from_list([{name: row[name] for name in kind.columns} for row in rows])

    keep_inputs_only(model)
    with float32_adapters(model):
        return kind(
            model=model,
            args=arguments,
            data_collator=kind.collate,
            train_dataset=dataset(split.train),
            eval_dataset=dataset(split.held_out) if split.held_out else None,
            processing_class=tokenizer,
        )


def train(
    trainer: StageTrainer,
    split: Split,
    settings: StageSettings,
    spec: dict[str, Any],
    report: Report,
) -> dict[str, Any]:
    """Train, write adapter/, metrics.jsonl and loss.png into spec["out"]; return the job's result.

    Afterwards the model holds the last weights, or with patience the best. Raises
    FloatingPointError on a NaN loss.
    """
    model, out = cast(PeftModel, trainer.model), Path(spec["out"])
    start = trained_weights(model)
    resumed_from, kept_step = _fit(trainer, settings, report)
    change = largest_change(start, trained_weights(model), report)
    save_adapter(model, out / "adapter", spec["model"]["name"], head=trainer.has_head)
    history = [{**reported(r), "step": r["step"]} for r in trainer.state.log_history if reported(r)]
    write_metrics(out / "metrics.jsonl", history)
    losses = [(r["step"], r["loss"]) for r in history if "loss" in r]
    held_out = evaluations(history)
    panels: Panels = {"loss": {"train": losses, "held out": held_out}}
    write_curves(out / "loss.png", panels, "optimizer step", trainer.title)
    metrics = loss_summary([loss for _, loss in losses])
    if held_out:
        kept = dict(held_out).get(kept_step, held_out[-1][1])
        metrics |= {"eval_loss_first": held_out[0][1], "eval_loss": kept}
    steps = {"resumed_from_step": float(resumed_from), "kept_step": float(kept_step)}
    return {
        "metrics": metrics | steps | {WEIGHT_CHANGE: change} | split.metrics(),
        "steps": trainer.state.global_step,
        "dtype": computed_in(spec["model"]),
        "trainable_parameters": trainable_parameters(model),
    }


def _fit(trainer: Trainer, settings: StageSettings, report: Report) -> tuple[int, int]:
    """Train to the end, from the newest complete checkpoint in the trainer's folder if any.

    Evaluates before the first step, every eval_steps, and after the last. Returns the step it
    started from, and that of the weights the model now has: with patience it may be an earlier one.
    """
    checkpoint = latest_complete(trainer.args.output_dir or "", report)
    resumed_from = step_of(checkpoint) if checkpoint else 0
    if checkpoint:
        report.log(f"resuming from step {resumed_from}")
    evaluates = trainer.args.eval_strategy != "no"
    trainer.args.eval_on_start = evaluates and checkpoint is None
    trainer.remove_callback(PrinterCallback)
    patience = settings.patience
    keeper = KeepBest(patience, checkpoint) if patience and evaluates else None
    if keeper:
        trainer.add_callback(keeper)
    before = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE)) if checkpoint else None
    if keeper and before and keeper.has_ended(before.log_history):
        trainer.state = before  # killed after it had stopped early: no step more
    else:
        with heard() as ending:
            trainer.add_callback(Reporter(report, settings.save_minutes, ending))
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    steps, history = trainer.state.global_step, trainer.state.log_history
    if evaluates and evaluations(history)[-1][0] != steps:
        trainer.evaluate()
    model = cast(torch.nn.Module, trainer.model)
    return resumed_from, keeper.restore(model, history) if keeper else steps
