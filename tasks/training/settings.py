"""Hyperparameters of the SFT, reward and DPO stages: flat, frozen, and free of torch imports.

Defaults suit QLoRA on models of 0.1-8B parameters; the learning rates follow the Zephyr QLoRA
recipes (SFT 2e-4, DPO 5e-6, beta 0.1) and TRL's default for a LoRA reward model (1e-4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

from tasks.report import JobInputError

WEIGHT_CHANGE = "largest_weight_change"
"""Metric of every stage: the largest change of a trained weight; 0 where it learned nothing."""


class TrainingInputError(JobInputError):
    """Bad input to a training stage: the value, the rule it breaks and the fix, on one line."""


def require(holds: bool, value: object, rule: str, fix: str) -> None:
    """Raise TrainingInputError of a value unless its rule holds."""
    if not holds:
        raise TrainingInputError(value, rule, fix)


@dataclass(frozen=True)
class Range:
    """What a number may be: in words, and as a test."""

    words: str
    holds: Callable[[Any], bool]


ABOVE_0 = Range("above 0", lambda value: value > 0)
FROM_0 = Range("at least 0", lambda value: value >= 0)
FROM_1 = Range("at least 1", lambda value: value >= 1)


def check_ranges(settings: object, ranges: Mapping[str, Range]) -> None:
    """Raise TrainingInputError for the first field outside its range; None is in every range."""
    for name, allowed in ranges.items():
        value = getattr(settings, name, None)
        fix = "change it in the recipe or with --set"
        is_right = value is None or allowed.holds(value)
        require(is_right, f"{name}={value!r}", f"must be {allowed.words}", fix)


RANGES = {
    **dict.fromkeys(("learning_rate", "epochs", "beta"), ABOVE_0),
    **dict.fromkeys(("batch_size", "gradient_accumulation", "max_length"), FROM_1),
    **dict.fromkeys(("lora_r", "lora_alpha", "save_steps", "eval_steps"), FROM_1),
    **dict.fromkeys(("patience", "nll_weight", "save_minutes"), FROM_0),
    "label_smoothing": Range("at least 0, below 0.5", lambda value: 0 <= value < 0.5),
    "max_steps": Range("-1, or at least 1", lambda value: value == -1 or value >= 1),
    "warmup_ratio": Range("at least 0, below 1", lambda value: 0 <= value < 1),
}


@dataclass(frozen=True)
class StageSettings:
    """What all three stages share."""

    learning_rate: float
    """Peak learning rate of AdamW (no weight decay), reached after the warm-up."""
    epochs: float = 1.0
    """Passes over the training rows; ignored where max_steps is positive."""
    max_steps: int = -1
    """Optimizer steps; -1 counts by epochs."""
    batch_size: int = 8
    """Rows in one forward and backward pass (a preference row is two sequences)."""
    gradient_accumulation: int = 1
    """Passes per optimizer step; SFT weighs their tokens equally, the others their passes."""
    max_length: int = 1024
    """Tokens of prompt and response together; longer rows are dropped and counted, never cut."""
    warmup_ratio: float = 0.1
    """Share of the steps with a linearly rising learning rate, from 0 at the first; a cosine falls
    to 0 after it. The last step is never among them."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: about a third slower, far less memory."""
    save_steps: int = 50
    """Optimizer steps between resumable checkpoints; one more is written at the end."""
    save_minutes: float = 10.0
    """Minutes after which one is written though its steps are not done yet; 0: by steps alone."""
    eval_steps: int = 50
    """Optimizer steps between held-out evaluations; also one before the first step and one last."""
    patience: int = 0
    """Evaluations without a lower held-out loss before stopping early and keeping the best
    adapter; 0 never stops and keeps the last."""

    def __post_init__(self) -> None:
        check_ranges(self, RANGES)


@dataclass(frozen=True)
class AdapterSettings(StageSettings):
    """What stages share that start an adapter of their own; others train on one that is there."""

    lora_r: int = 16
    """Rank of the LoRA adapters, on all linear layers, without dropout."""
    lora_alpha: int = 16
    """LoRA scale: the update is multiplied by lora_alpha / lora_r."""


@dataclass(frozen=True)
class SftSettings(AdapterSettings):
    """Supervised fine-tuning on final revisions (SL-CAI)."""

    learning_rate: float = 2e-4


@dataclass(frozen=True)
class RewardSettings(AdapterSettings):
    """Preference model on pairs with a soft preference."""

    learning_rate: float = 1e-4
    start: Literal["base", "sft"] = "base"
    """Adapter the reward model starts from: a fresh one on the base, or a copy of the SFT adapter.
    The base is the default: the SFT adapter was fitted to the very revisions that are now chosen,
    and a reward model that does not depend on it stays valid when SFT is retrained. A copy has the
    rank of the SFT adapter."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("start", self.start, ("base", "sft"))


@dataclass(frozen=True)
class DpoSettings(StageSettings):
    """Direct preference optimisation of the SFT adapter, whose rank it keeps."""

    learning_rate: float = 5e-6
    beta: float = 0.1
    """Weight of the implicit KL to the reference (Rafailov et al. 2023, eq. 7)."""
    nll_weight: float = 0.0
    """Weight of the better response's negative log-likelihood per token, beside the loss, which
    keeps it from becoming less likely; 1 in Pang et al. 2024 (eq. 1), 0 leaves it out."""
    loss_type: Literal["sigmoid", "sigmoid_norm", "ipo"] = "sigmoid"
    """sigmoid: Rafailov et al. 2023, eq. 7. sigmoid_norm: the same of log-ratios per token, so that
    a long response weighs no more than a short one (Lambert et al. 2024, with a beta of 5).
    ipo: the squared distance to a margin of 1 / (2 beta) per token, so that a label without doubt
    does not push for ever (Azar et al. 2023, eq. 17). Names and formulas are TRL's."""
    label_smoothing: float = 0.0
    """Share s of labels taken to be wrong: p counts as p (1 - s) + (1 - p) s (Mitchell 2023)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_choice("loss_type", self.loss_type, ("sigmoid", "sigmoid_norm", "ipo"))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    words = " or ".join(map(repr, choices))
    fix = "change it in the recipe or with --set"
    require(value in choices, f"{name}={value!r}", f"must be {words}", fix)


Settings = TypeVar("Settings", bound=StageSettings)


def parse_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Check a flat mapping and build the stage's settings; missing keys take their defaults.

    Raises TrainingInputError for an unknown key, a wrong type or a value out of range.
    """
    defaults = {field.name: field.default for field in fields(kind)}
    chosen = {}
    for name, value in values.items():
        fix = f"use one of {', '.join(sorted(defaults))}"
        require(name in defaults, name, f"is no setting of {kind.__name__}", fix)
        chosen[name] = _checked(name, value, defaults[name])
    return kind(**chosen)


def is_finite(value: float) -> bool:
    """Whether it is a number that a float can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _checked(name: str, value: Any, default: object) -> Any:
    """The value in its default's type, which it must have; a whole number may stand for a float."""
    wanted: Any = type(default)
    right = type(value) is wanted or (wanted is float and type(value) is int)
    right = right and (wanted is not float or is_finite(value))
    require(right, f"{name}={value!r}", f"must be a {wanted.__name__}", f"for example {default!r}")
    return wanted(value)
