"""The PPO job of the worker process: from a spec to an artifact folder."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from tasks.report import Report
from tasks.training.base import (
    ADAPTER_WEIGHTS,
    computed_in,
    largest_change,
    load_base,
    lora_config,
    save_adapter,
    say_unchanged,
    set_up,
    trainable_parameters,
)
from tasks.training.curve import write_metrics
from tasks.training.ppo.adapters import build_roles
from tasks.training.ppo.config import PPOConfig, config_from_settings
from tasks.training.ppo.outputs import draw_curves, dump_rollout, samples, summary, write_lines
from tasks.training.ppo.prompts import encode_prompts
from tasks.training.ppo.score import RewardAdapter
from tasks.training.ppo.state import file_digest, load_state, save_state
from tasks.training.ppo.trainer import Metrics, PPOTrainer
from tasks.training.ppo.update import NonFiniteError
from tasks.training.ppo.watch import Alarm
from tasks.training.rows import read_rows
from tasks.training.settings import WEIGHT_CHANGE, TrainingInputError

PROBES = "reward_probe.json"
"""Beside the reward adapter's folder: texts and the scores the reward stage gave them."""


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train, or resume from spec["state"], and write the artifact; returns the job's result.

    Raises:
        TrainingInputError: bad settings, missing or unfit adapters, reward probes that do not
        match. NonFiniteError: a loss or gradient became NaN or infinite.
    """
    config = config_from_settings(spec["settings"])
    set_up(spec["seed"], spec.get("threads", 0))
    trainer = build_trainer(spec, config, report)
    digests = adapter_digests(spec)
    start = actor_weights(trainer)
    if load_state(trainer, Path(spec["state"]), digests):
        report.log(f"resumed after update {trainer.done}")

    def on_update(metrics: Metrics, alarms: list[Alarm]) -> None:
        ended = trainer.stopped or trainer.done == config.updates
        if ended or trainer.done % config.save_every == 0:
            save_state(trainer, Path(spec["state"]), digests)
        _report_update(report, config, metrics, alarms)

    try:
        trainer.train(on_update)
    except NonFiniteError:
        if trainer.latest is not None:
            dump_rollout(Path(spec["state"]) / "nonfinite.safetensors", trainer.latest)
        raise
    write_artifact(trainer, spec, digests)
    change = largest_change(start, actor_weights(trainer))
    say_unchanged(change, report)
    return {
        "metrics": summary(trainer) | {WEIGHT_CHANGE: change},
        "steps": trainer.done,
        "dtype": computed_in(spec["model"]),
        "trainable_parameters": trainable_parameters(trainer.roles.model)
        + trainable_parameters(trainer.roles.value_head),
    }


def build_trainer(spec: dict[str, Any], config: PPOConfig, report: Report) -> PPOTrainer:
    """Model, adapters, prompts and reward of a spec; checks the reward adapter before anything
    runs."""
    base, tokenizer = load_base(spec["model"])
    sft, reward = _folder(spec, "sft"), _folder(spec, "reward")
    if reward is None:
        raise TrainingInputError("adapters.reward", "is missing", "train the reward stage first")
    roles = build_roles(
        base,
        fresh=lora_config(config.lora_r, config.lora_alpha),
        sft=sft,
        reward=reward,
        critic_init=config.critic_init,
    )
    if not roles.fast:
        report.log("peft changed: adapters are switched by its slower public way", "warning")
    scorer = RewardAdapter(roles, tokenizer, config.micro_batch_size)
    scorer.check_probes(reward.parent / PROBES, computed_in(spec["model"]))
    rows = read_rows(spec["data"]["train"])
    prompts, long = encode_prompts(rows, tokenizer, config.max_prompt_tokens, config.long_prompts)
    if long:
        done = "dropped" if config.long_prompts == "drop" else "cut on the left"
        report.log(f"{long} prompts over {config.max_prompt_tokens} tokens were {done}", "warning")
    if config.off_policy:
        report.log("top_p or top_k make rollouts off-policy: the KL is biased", "warning")
    return PPOTrainer(roles, tokenizer, prompts, [scorer], config, seed=spec["seed"])


def actor_weights(trainer: PPOTrainer) -> dict[str, Tensor]:
    """Copies of the actor's weights, by name, on the CPU."""
    actor = trainer.roles.trainable("actor")
    return {name: weight.detach().cpu().clone() for name, weight in actor.items()}


def adapter_digests(spec: dict[str, Any]) -> dict[str, str]:
    """sha256 of the weights of the frozen adapters; "" where the reference is the base itself."""
    folders = {name: _folder(spec, name) for name in ("sft", "reward")}
    return {n: file_digest(f / ADAPTER_WEIGHTS) if f else "" for n, f in folders.items()}


def write_artifact(trainer: PPOTrainer, spec: dict[str, Any], digests: dict[str, str]) -> None:
    """The files of spec["out"]; the actor is a plain peft adapter."""
    out, roles, name = Path(spec["out"]), trainer.roles, spec["model"]["name"]
    save_adapter(roles.model, out / "adapter", name, "actor")
    save_adapter(roles.model, out / "critic", name, "critic")
    heads = {"value_head": roles.value_head, "reward_head": roles.reward_head}
    tensors = {
        f"{head}.{key}": value.cpu().clone()
        for head, module in heads.items()
        if module is not None
        for key, value in module.state_dict().items()
    }
    save_file(tensors, out / "heads.safetensors")
    _write_json(out / "ppo_config.json", _provenance(trainer, spec, digests))
    _write_json(out / "reward_norm.json", trainer.norm.as_json())
    write_metrics(out / "metrics.jsonl", trainer.history)
    draw_curves(out / "loss.png", trainer.history)
    write_lines(out / "samples.jsonl", samples(trainer))


def _provenance(
    trainer: PPOTrainer, spec: dict[str, Any], digests: dict[str, str]
) -> dict[str, Any]:
    template = str(trainer.tokenizer.chat_template).encode()
    return {
        "base_model": spec["model"]["name"],
        "quantization": spec["model"]["quantization"],
        "reference_sha256": digests["sft"],
        "reward_sha256": digests["reward"],
        "chat_template_sha256": hashlib.sha256(template).hexdigest(),
        "stop_token_ids": trainer.stops,
        "seed": spec["seed"],
        "settings": asdict(trainer.config),
    }


def _report_update(
    report: Report, config: PPOConfig, metrics: Metrics, alarms: list[Alarm]
) -> None:
    step = int(metrics["step"])
    report.progress(
        step,
        config.updates,
        "updates",
        reward=metrics["objective/scores"],
        kl=metrics["objective/kl"],
    )
    report.metric(step, **{name: value for name, value in metrics.items() if name != "step"})
    for alarm in alarms:
        report.log(f"update {step}: {alarm.message}", "warning")


def _folder(spec: dict[str, Any], name: str) -> Path | None:
    value = spec.get("adapters", {}).get(name)
    return Path(value) if value else None


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
