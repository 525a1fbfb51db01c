"""Save and resume a PPO run; interrupted and resumed equals uninterrupted, bit for bit.

A state is a folder `update_<n>`: `tensors.safetensors` (trained weights and Adam moments, by name)
and `state.json` (counters, prompt order, KL coefficient, reward normalisation, alarms, history).
It is written beside its place, synced and renamed, so a folder of that name is whole. The
reference and reward adapters are not in it: they are read from their source again, and their
digests must be the same.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from storage.durable import sync
from tasks.training.ppo.prompts import PromptSampler
from tasks.training.ppo.score import RewardNorm
from tasks.training.ppo.trainer import PPOTrainer
from tasks.training.ppo.watch import Watch
from tasks.training.settings import require

COUNTERS = ("done", "episodes", "stopped", "kl_coef")
"""Attributes of the trainer that are plain numbers."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter; the step stays on the CPU."""
KEPT = 2
"""States kept in the folder; older ones are deleted."""


def snapshot(trainer: PPOTrainer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that a resumed trainer needs: tensors by name, and JSON values."""
    tensors = {}
    for name, parameter in _trained(trainer).items():
        tensors[f"weight/{name}"] = parameter.detach()
        for key, value in trainer.optimizer.state.get(parameter, {}).items():
            tensors[f"adam.{key}/{name}"] = value
    values = {
        **{name: getattr(trainer, name) for name in COUNTERS},
        "sampler": {"epoch": trainer.sampler.epoch, "cursor": trainer.sampler.cursor},
        "prompts": trainer.sampler.count,
        "seed": trainer.seed,
        "norm": dict(vars(trainer.norm)),
        "watch": dict(vars(trainer.watch)),
        "history": list(trainer.history),
    }
    return {k: v.cpu().contiguous().clone() for k, v in tensors.items()}, values


def restore(trainer: PPOTrainer, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Put a snapshot into a trainer built from the same inputs."""
    same = (values["prompts"], values["seed"]) == (trainer.sampler.count, trainer.seed)
    rule = "is of other prompts or another seed"
    require(same, "saved state", rule, "delete the state folder")
    for name, parameter in _trained(trainer).items():
        parameter.data.copy_(tensors[f"weight/{name}"])
        for key in MOMENTS:
            if (value := tensors.get(f"adam.{key}/{name}")) is not None:
                device = "cpu" if key == "step" else parameter.device
                trainer.optimizer.state[parameter][key] = value.to(device, copy=True)
    for name in COUNTERS:
        setattr(trainer, name, values[name])
    trainer.sampler = PromptSampler(trainer.sampler.count, trainer.seed, **values["sampler"])
    trainer.norm = RewardNorm(**values["norm"])
    trainer.watch = Watch(**values["watch"])
    trainer.history = list(values["history"])


def _trained(trainer: PPOTrainer) -> dict[str, nn.Parameter]:
    return {**trainer.roles.trainable("actor"), **trainer.roles.trainable("critic")}


def save_state(trainer: PPOTrainer, folder: Path, digests: dict[str, str]) -> Path:
    """Write the state of this update into ``folder`` and drop all but the newest two."""
    tensors, values = snapshot(trainer)
    final = folder / f"update_{trainer.done:06d}"
    partial = folder / f"tmp-{final.name}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file(tensors, partial / "tensors.safetensors")
    text = json.dumps({**values, "digests": digests})
    (partial / "state.json").write_text(text, encoding="utf-8")
    for path in (*partial.iterdir(), partial):
        sync(path)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    sync(folder)
    for old in saved_states(folder)[:-KEPT]:
        shutil.rmtree(old)
    return final


def load_state(trainer: PPOTrainer, folder: Path, digests: dict[str, str]) -> bool:
    """Resume from the newest state of ``folder``; False if there is none.

    Raises TrainingInputError if it was made with another reference or reward adapter.
    """
    states = saved_states(folder)
    if not states:
        return False
    values = json.loads((states[-1] / "state.json").read_text(encoding="utf-8"))
    rule = "was made with other sft or reward adapters"
    require(values["digests"] == digests, states[-1].name, rule, "delete the state folder")
    restore(trainer, load_file(states[-1] / "tensors.safetensors"), values)
    return True


def saved_states(folder: Path) -> list[Path]:
    """Whole states, oldest first."""
    return sorted(folder.glob("update_*"))
