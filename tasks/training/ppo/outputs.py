"""What a PPO run leaves behind besides its adapters: curves, samples, the batch that broke it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt
from safetensors.torch import save_file

from tasks.training.curve import loss_summary
from tasks.training.ppo.prompts import Prompt
from tasks.training.ppo.rollout import Rollout, measure
from tasks.training.ppo.trainer import Metrics, PPOTrainer

SAMPLED_PROMPTS = 4
"""Prompts of samples.jsonl: the first rows."""

PANELS = (
    ("reward", ("objective/scores",)),
    ("sequence KL (nats)", ("objective/kl", "objective/kl_k3")),
    ("loss", ("loss/policy_avg", "loss/value_avg")),
)


def draw_curves(path: Path, history: Sequence[Metrics]) -> None:
    """Reward, KL and losses over updates, one panel each, as a PNG."""
    figure, panels = plt.subplots(1, len(PANELS), figsize=(12, 3.5), dpi=120)
    try:
        steps = [row["step"] for row in history]
        for axes, (label, names) in zip(panels, PANELS, strict=True):
            for name in names:
                axes.plot(steps, [row[name] for row in history], label=name, marker=".")
            axes.set(xlabel="update", ylabel=label)
            axes.grid(alpha=0.3)
            axes.legend()
        figure.tight_layout()
        figure.savefig(path, metadata={"Software": None})
    finally:
        plt.close(figure)


def summary(trainer: PPOTrainer) -> dict[str, float]:
    """Metrics of the job's result: means over the first and last tenth of the updates."""
    result: dict[str, float] = {}
    for short, name in (
        ("loss", "loss/policy_avg"),
        ("value_loss", "loss/value_avg"),
        ("reward", "objective/scores"),
        ("kl", "objective/kl"),
        ("eos_rate", "eos_rate"),
        ("mean_length", "completions/mean_length"),
    ):
        ends = loss_summary([row[name] for row in trainer.history])
        result |= {key.replace("loss", short, 1): value for key, value in ends.items()}
    return {**result, "stopped": float(trainer.stopped)}


def samples(trainer: PPOTrainer) -> list[dict[str, Any]]:
    """Rows of samples.jsonl: the first prompts, completed greedily and sampled.

    kl: sequence KL in nats (k1, so a single row can be negative); length in tokens.
    """
    prompts = trainer.prompts[:SAMPLED_PROMPTS]
    rows = []
    for mode, purpose in (("greedy", ()), ("sampled", ("samples",))):
        tokens = trainer.generate(prompts, "actor", *purpose)
        rollout = measure(trainer.roles, tokens, trainer.config)
        rows += _sample_rows(trainer, prompts, rollout, mode)
    return rows


def _sample_rows(
    trainer: PPOTrainer, prompts: Sequence[Prompt], rollout: Rollout, mode: str
) -> list[dict[str, Any]]:
    scores = trainer.raw_scores(prompts, rollout).tolist()
    kl = (rollout.logprobs - rollout.ref_logprobs).sum(1).tolist()
    texts = rollout.texts(trainer.tokenizer)
    return [
        {
            "update": trainer.done,
            "mode": mode,
            "id": prompt.columns.get("id"),
            "prompt": prompt.source,
            "completion": texts[i],
            "score": scores[i] if scores[i] == scores[i] else None,
            "kl": kl[i],
            "length": int(rollout.lengths[i]),
            "terminated": bool(rollout.terminated[i]),
        }
        for i, prompt in enumerate(prompts)
    ]


def write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One JSON object per line."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")


def dump_rollout(path: Path, rollout: Rollout) -> None:
    """The tensors of a rollout, to look into a run that became non-finite."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.cpu().contiguous().clone() for name, tensor in vars(rollout).items()}
    save_file(tensors, path)
