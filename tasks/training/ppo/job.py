"""The PPO job of the worker process: from a spec to an artifact folder."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from tasks.report import Report
from tasks.training.base import (
    ADAPTER_WEIGHTS,
    computed_in,
    largest_change,
    load_base,
    lora_config,
    save_adapter,
    set_up,
    trainable_parameters,
    trained_weights,
)
from tasks.training.curve import loss_summary, write_curves, write_lines, write_metrics
from tasks.training.ending import heard
from tasks.training.ppo.adapters import build_roles
from tasks.training.ppo.config import PPOConfig, config_from_settings
from tasks.training.ppo.prompts import encode_prompts
from tasks.training.ppo.rollout import measure
from tasks.training.ppo.score import Checks, Reward, RewardAdapter, combined, name_of
from tasks.training.ppo.state import load_state, save_state
from tasks.training.ppo.trainer import Metrics, PPOTrainer
from tasks.training.ppo.update import NonFiniteError
from tasks.training.ppo.watch import Alarm
from tasks.training.rows import read_rows
from tasks.training.settings import WEIGHT_CHANGE, require

PROBES = "reward_probe.json"
"""Beside the reward adapter's folder: texts and the scores the reward stage gave them."""

SAMPLED_PROMPTS = 4
"""Prompts of samples.jsonl: the first rows."""

PANELS = {
    "reward": ("objective/scores",),
    "sequence KL (nats)": ("objective/kl", "objective/kl_k3"),
    "loss": ("loss/policy_avg", "loss/value_avg"),
}
SUMMARY = {
    "loss": "loss/policy_avg",
    "value_loss": "loss/value_avg",
    "reward": "objective/scores",
    "kl": "objective/kl",
    "eos_rate": "eos_rate",
    "mean_length": "completions/mean_length",
}
"""Metrics of the job's result, and those of an update they come from."""


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train, or resume from spec["state"], and write the artifact; returns the job's result.

    Raises TrainingInputError for bad settings, missing or unfit adapters and reward probes that do
    not match, NonFiniteError where a loss or gradient became NaN or infinite.
    """
    config = config_from_settings(spec["settings"])
    set_up(spec["seed"], spec.get("threads", 0))
    folders = {role: Path(path) for role, path in spec.get("adapters", {}).items() if path}
    trainer = build_trainer(spec, folders, config, report)
    state, digests = Path(spec["state"]), adapter_digests(folders)
    start = actor_weights(trainer)
    if load_state(trainer, state, digests, report):
        report.log(f"resumed after update {trainer.done}")

    def on_update(metrics: Metrics, alarms: list[Alarm]) -> None:
        is_asked = ending.is_asked  # before it is saved: what comes after leaves the next one
        ended = trainer.stopped or trainer.done == config.updates or is_asked
        if ended or trainer.done % config.save_every == 0:
            save_state(trainer, state, digests)
        now = {"reward": metrics["objective/scores"], "kl": metrics["objective/kl"]}
        report.progress(trainer.done, config.updates, "updates", **now)
        report.metric(trainer.done, **{k: v for k, v in metrics.items() if k != "step"})
        for alarm in alarms:
            report.log(f"update {trainer.done}: {alarm.message}", "warning")
        if is_asked:
            ending.leave()

    try:
        with heard() as ending:
            trainer.train(on_update)
    except NonFiniteError:
        if trainer.latest is not None:
            state.mkdir(parents=True, exist_ok=True)
            tensors = {name: tensor.contiguous() for name, tensor in vars(trainer.latest).items()}
            save_file(tensors, state / "nonfinite.safetensors")
        raise
    write_artifact(trainer, spec, digests)
    change = largest_change(start, actor_weights(trainer), report)
    trained = (trainer.roles.model, trainer.roles.value_head)
    return {
        "metrics": summary(trainer) | {WEIGHT_CHANGE: change},
        "steps": trainer.done,
        "dtype": computed_in(spec["model"]),
        "trainable_parameters": sum(map(trainable_parameters, trained)),
    }


def build_trainer(
    spec: dict[str, Any], folders: dict[str, Path], config: PPOConfig, report: Report
) -> PPOTrainer:
    """Model, adapters, prompts and reward of a spec; the reward adapter is checked."""
    base, tokenizer = load_base(spec["model"])
    require("reward" in folders, "adapters.reward", "is missing", "train the reward stage first")
    sft, reward = folders.get("sft"), folders["reward"]
    fresh = lora_config(config.lora_r, config.lora_alpha)
    roles = build_roles(base, fresh=fresh, sft=sft, reward=reward, critic_init=config.critic_init)
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
    rewards: list[Reward] = [scorer]
    if config.check_weight > 0:
        rewards.append(Checks(spec["checks"]))
    weights = [1.0, config.check_weight][: len(rewards)]
    seed = spec["seed"]
    return PPOTrainer(roles, tokenizer, prompts, rewards, config, weights=weights, seed=seed)


def actor_weights(trainer: PPOTrainer) -> dict[str, Tensor]:
    """Copies of the actor's weights, by name, on the CPU."""
    weights = trained_weights(trainer.roles.model)
    return {name: weights[name] for name in trainer.roles.trainable("actor")}


def adapter_digests(folders: dict[str, Path]) -> dict[str, str]:
    """sha256 of the weights of the frozen adapters; "" where the reference is the base itself."""
    digests = {"sft": "", "reward": ""}
    for name in digests.keys() & folders.keys():
        with (folders[name] / ADAPTER_WEIGHTS).open("rb") as stream:
            digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests


def write_artifact(trainer: PPOTrainer, spec: dict[str, Any], digests: dict[str, str]) -> None:
    """The files of spec["out"]; the actor is a plain peft adapter."""
    out, roles, name = Path(spec["out"]), trainer.roles, spec["model"]["name"]
    save_adapter(roles.model, out / "adapter", name, "actor")
    save_adapter(roles.model, out / "critic", name, "critic")
    heads = nn.ModuleDict({"value_head": roles.value_head})
    if roles.reward_head is not None:
        heads["reward_head"] = roles.reward_head
    save_file(heads.state_dict(), out / "heads.safetensors")
    template = str(trainer.tokenizer.chat_template).encode()
    provenance = {
        "base_model": name,
        "quantization": spec["model"]["quantization"],
        "reference_sha256": digests["sft"],
        "reward_sha256": digests["reward"],
        "chat_template_sha256": hashlib.sha256(template).hexdigest(),
        "stop_token_ids": trainer.stops,
        "seed": spec["seed"],
        "settings": asdict(trainer.config),
    }
    _write_json(out / "ppo_config.json", provenance)
    norms = zip(trainer.rewards, trainer.weights, trainer.norms, strict=True)
    by_reward = {
        name_of(reward): {"weight": weight, **asdict(norm), "std": norm.std}
        for reward, weight, norm in norms
    }
    _write_json(out / "reward_norm.json", by_reward)
    write_metrics(out / "metrics.jsonl", trainer.history)
    panels = {
        label: {name: [(row["step"], row[name]) for row in trainer.history] for name in names}
        for label, names in PANELS.items()
    }
    write_curves(out / "loss.png", panels, "update")
    write_lines(out / "samples.jsonl", samples(trainer))


def summary(trainer: PPOTrainer) -> dict[str, float]:
    """Metrics of the job's result: means over the first and last tenth of the updates."""
    result: dict[str, float] = {}
    for short, name in SUMMARY.items():
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
        scores = combined(trainer.raw_scores(prompts, rollout), trainer.weights).tolist()
        kl = (rollout.logprobs - rollout.ref_logprobs).sum(1).tolist()
        texts = rollout.texts(trainer.tokenizer)
        rows += [
            {
                "update": trainer.done,
                "mode": mode,
                "id": prompt.id,
                "prompt": prompt.source,
                "completion": texts[i],
                "score": None if math.isnan(scores[i]) else scores[i],
                "kl": kl[i],
                "length": int(rollout.lengths[i]),
                "terminated": bool(rollout.terminated[i]),
            }
            for i, prompt in enumerate(prompts)
        ]
    return rows


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
