"""Settings of the PPO stage: one flat dataclass, a sentence under every field; no torch imports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tasks.training.settings import (
    ABOVE_0,
    FROM_0,
    FROM_1,
    Range,
    check_ranges,
    is_finite,
    require,
)


@dataclass(frozen=True)
class PPOConfig:
    """Defaults are those of InstructGPT-style PPO; README and recipes say where they differ."""

    updates: int = 50
    """Rollout-and-update rounds to run; the learning rate is annealed over all of them."""
    batch_size: int = 64
    """Prompts (episodes) of one update."""
    epochs: int = 4
    """Passes over each batch of rollouts."""
    num_mini_batches: int = 1
    """Optimizer steps per pass; must divide batch_size."""
    micro_batch_size: int = 4
    """Rows per forward and backward; changes memory only, never the result."""
    rollout_batch_size: int = 16
    """Rows generated at once; changes memory and speed only."""
    max_prompt_tokens: int = 512
    """Longest prompt, in tokens."""
    long_prompts: str = "drop"
    """What to do with a longer prompt: `drop` it (counted) or `truncate` its left side (the reward
    still reads all of it)."""
    max_new_tokens: int = 128
    """Longest completion, in tokens."""
    stop_token_ids: tuple[int, ...] = ()
    """Ids that end a completion, besides those of template, tokenizer and generation config."""
    temperature: float = 1.0
    """Sampling temperature; log-probabilities are divided by it as well."""
    top_p: float = 1.0
    """Nucleus sampling; anything but 1 makes rollouts off-policy."""
    top_k: int = 0
    """Sample among the k likeliest tokens only, 0 for all; anything but 0 makes rollouts
    off-policy."""
    actor_lr: float = 1e-5
    """Peak learning rate of the actor's adapter."""
    critic_lr: float = 5e-5
    """Peak learning rate of the critic's adapter and value head."""
    adam_eps: float = 1e-5
    """Epsilon of AdamW (betas 0.9 and 0.999, no weight decay)."""
    lr_schedule: str = "linear"
    """`linear` (to 0 at the last update) or `constant`."""
    warmup_updates: int = 0
    """Updates over which both learning rates rise linearly to their peak."""
    critic_warmup: int = 0
    """First updates in which only the critic is trained."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm, actor and critic apart."""
    kl_coef: float = 0.05
    """Weight of the KL penalty in the token rewards (start value of the adaptive controller)."""
    kl_estimator: str = "k1"
    """Estimator used in the rewards: `k1` (unbiased gradients) or `k3`."""
    kl_controller: str = "fixed"
    """`fixed`, or `adaptive` to steer the sequence KL to kl_target."""
    kl_target: float = 6.0
    """Sequence KL in nats that the adaptive controller aims at."""
    kl_horizon: int = 10000
    """Episodes over which the adaptive controller reacts."""
    gamma: float = 1.0
    """Discount per token."""
    lam: float = 0.95
    """Lambda of GAE."""
    cliprange: float = 0.2
    """Clip range of the policy ratio."""
    cliprange_value: float | None = 0.2
    """Clip range of the values around the old ones; None for no clipping."""
    vf_coef: float = 0.1
    """Weight of the value loss; it hardly matters under Adam, as the critic has its own weights."""
    entropy_coef: float = 0.0
    """Weight of an entropy bonus in the policy loss."""
    dual_clip: float | None = None
    """Bound, in units of -A, of the policy loss where the advantage is negative; None for none."""
    loss_aggregation: str = "token-mean"
    """`token-mean` over the optimizer step, or `seq-mean-token-mean`."""
    whiten_advantages: bool = True
    """Whiten advantages over all tokens of the batch."""
    whiten_rewards: bool = False
    """Scale token rewards to unit variance, keeping their mean."""
    check_weight: float = 0.0
    """Weight of the constitution's checks beside the reward model's 1: of an answer, the share of
    the checks that apply to its prompt which it keeps. 0 leaves them out."""
    reward_norm: str = "auto"
    """`calibrate` (mean and std of the reference policy's scores, once), `running` (divide by the
    running std), `none`, or `auto`: calibrate with a reward adapter, none with callables.
    Each reward by itself, before weights."""
    calibration_samples: int = 256
    """Completions of the reference policy that `calibrate` scores."""
    score_clip: float | None = None
    """Normalised scores are cut to +- this; None for no cut."""
    missing_eos_penalty: float | None = 1.0
    """Subtracted from the score of a completion that did not end by itself; None for none."""
    reward_position: str = "eos"
    """Where the score goes: on the last token (`eos`) or one slot later (`after_eos`, TRL 0.12 to
    1.12)."""
    critic_init: str = "auto"
    """Start of the critic: copy of the `reward` adapter and head, of the `sft` adapter (value head
    zero), `fresh`, or `auto`: the first of these that there is."""
    lora_r: int = 16
    """Rank of adapters made here (where there is no adapter to copy)."""
    lora_alpha: int = 32
    """Alpha of adapters made here."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time, the same result."""
    ratio_threshold: float = 10.0
    """A mini-batch whose mean policy ratio exceeds this is skipped and counted."""
    target_kl: float | None = None
    """Stop the epochs of an update once mean(old - new log-probability) exceeds 1.5 times this."""
    kl_warn: float = 20.0
    """Sequence KL in nats above which a warning is logged."""
    kl_stop: float = 50.0
    """Sequence KL in nats above which training stops; with the adaptive controller at most 3 *
    kl_target."""
    save_every: int = 10
    """Updates between two resumable states."""

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            require(value in allowed, f"{name}={value!r}", "not a choice", f"use one of {allowed}")
        check_ranges(self, RANGES)
        require(
            self.batch_size % self.num_mini_batches == 0,
            f"num_mini_batches={self.num_mini_batches}",
            f"must divide batch_size={self.batch_size}",
            "change one of them",
        )
        require(
            self.critic_warmup < self.updates,
            f"critic_warmup={self.critic_warmup}",
            f"must be below updates={self.updates}, or the policy is never trained",
            "change one of them",
        )

    @property
    def kl_limit(self) -> float:
        """Sequence KL in nats at which training stops."""
        adaptive = self.kl_controller == "adaptive"
        return min(self.kl_stop, 3 * self.kl_target) if adaptive else self.kl_stop

    @property
    def off_policy(self) -> bool:
        """Whether rollouts come from another distribution than the one that is scored."""
        return self.top_p < 1 or self.top_k > 0


CHOICES: dict[str, tuple[str, ...]] = {
    "long_prompts": ("drop", "truncate"),
    "lr_schedule": ("linear", "constant"),
    "kl_estimator": ("k1", "k3"),
    "kl_controller": ("fixed", "adaptive"),
    "loss_aggregation": ("token-mean", "seq-mean-token-mean"),
    "reward_norm": ("auto", "calibrate", "running", "none"),
    "reward_position": ("eos", "after_eos"),
    "critic_init": ("auto", "reward", "sft", "fresh"),
}
COUNTS = (
    *("updates", "batch_size", "epochs", "num_mini_batches", "micro_batch_size"),
    *("rollout_batch_size", "max_prompt_tokens", "max_new_tokens", "kl_horizon"),
    *("calibration_samples", "lora_r", "lora_alpha", "save_every"),
)
MEASURES = (
    *("temperature", "adam_eps", "max_grad_norm", "kl_target", "cliprange", "cliprange_value"),
    *("score_clip", "ratio_threshold", "target_kl", "kl_warn", "kl_stop"),
)
WEIGHTS = (
    *("top_k", "actor_lr", "critic_lr", "warmup_updates", "critic_warmup", "kl_coef", "vf_coef"),
    *("entropy_coef", "missing_eos_penalty", "check_weight"),
)
RANGES = {
    **dict.fromkeys(COUNTS, FROM_1),
    **dict.fromkeys(MEASURES, ABOVE_0),
    **dict.fromkeys(WEIGHTS, FROM_0),
    **dict.fromkeys(("gamma", "lam"), Range("from 0 to 1", lambda value: 0 <= value <= 1)),
    "dual_clip": Range("above 1", lambda value: value > 1),
    "top_p": Range("above 0, at most 1", lambda value: 0 < value <= 1),
}
KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "float | None": (int, float, type(None)),
    "str": (str,),
    "bool": (bool,),
    "tuple[int, ...]": (list, tuple),
}
"""A field's annotation -> the JSON types it accepts."""


def config_from_settings(settings: Mapping[str, Any]) -> PPOConfig:
    """Flat settings of the job -> config; missing keys take their defaults.

    Raises TrainingInputError for a key that is no field, a wrong type or a value out of range.
    """
    known = {field.name: str(field.type) for field in fields(PPOConfig)}
    for name, value in settings.items():
        require(name in known, name, "is no setting of ppo", f"use {', '.join(sorted(known))}")
        wrong = not isinstance(value, KINDS[known[name]])
        wrong |= isinstance(value, bool) and known[name] != "bool"
        wrong |= isinstance(value, int | float) and not is_finite(value)
        fix = "change it in the recipe or with --set"
        require(not wrong, f"{name}={value!r}", f"must be {known[name]}", fix)
    return PPOConfig(**{name: _coerce(value, known[name]) for name, value in settings.items()})


def _coerce(value: Any, kind: str) -> Any:
    """One form for equal values: keys are made of them."""
    if kind.startswith("float") and value is not None:
        return float(value)
    return tuple(value) if kind.startswith("tuple") else value
