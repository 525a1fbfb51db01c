"""Save and resume a PPO run; interrupted and resumed equals uninterrupted, bit for bit.

A state is a checkpoint of the stage (`tasks/training/resume.py`), its step the updates done:
`tensors.safetensors` (trained weights and Adam moments, by name) and `state.json` (counters, prompt
order, KL coefficient, reward normalisation, alarms, history). The reference and reward adapters are
not in it: they are read from their source again, and their digests must be the same.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tasks.report import Report
from tasks.training.ppo.prompts import PromptSampler
from tasks.training.ppo.score import RewardNorm
from tasks.training.ppo.trainer import PPOTrainer
from tasks.training.ppo.watch import Watch
from tasks.training.resume import latest_complete, mark_complete, place_of
from tasks.training.settings import require

COUNTERS = ("done", "episodes", "stopped", "kl_coef")
"""Attributes of the trainer that are plain numbers."""
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a parameter; the step stays on the CPU."""


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
        "norms": [dict(vars(norm)) for norm in trainer.norms],
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
    trainer.norms = [RewardNorm(**norm) for norm in values["norms"]]
    trainer.watch = Watch(**values["watch"])
    trainer.history = list(values["history"])


def _trained(trainer: PPOTrainer) -> dict[str, nn.Parameter]:
    return {**trainer.roles.trainable("actor"), **trainer.roles.trainable("critic")}


def save_state(trainer: PPOTrainer, folder: Path, digests: dict[str, str]) -> None:
    """Write the state of this update into ``folder``, as the newest checkpoint."""
    tensors, values = snapshot(trainer)
    checkpoint = place_of(folder, trainer.done)
    shutil.rmtree(checkpoint, ignore_errors=True)
    checkpoint.mkdir(parents=True)
    save_file(tensors, checkpoint / "tensors.safetensors")
    text = json.dumps({**values, "digests": digests})
    (checkpoint / "state.json").write_text(text, encoding="utf-8")
    mark_complete(checkpoint)


def load_state(trainer: PPOTrainer, folder: Path, digests: dict[str, str], report: Report) -> bool:
    """Resume from the newest state of ``folder``; False if there is none.

    Raises TrainingInputError if it was made with another reference or reward adapter.
    """
    checkpoint = latest_complete(folder, report)
    if checkpoint is None:
        return False
    values = json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))
    rule = "was made with other sft or reward adapters"
    require(values["digests"] == digests, checkpoint.name, rule, "delete the state folder")
    restore(trainer, load_file(checkpoint / "tensors.safetensors"), values)
    return True
