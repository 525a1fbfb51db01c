"""SFT, reward model and DPO beside plain TRL scripts: seconds and tokens a step, and most memory.

    python -m tests.benchmarks.stages [--steps 5] [--repeats 1] [--check]

The embedded model in NF4 with LoRA of rank 16 on every linear layer, four rows of about 130 tokens
a step (DPO and reward: four pairs), no gradient checkpointing; Solon's job in its worker, and the
script below, which says what TRL's documentation says, each in a fresh process, the same rows, one
after another in turns. Seconds are medians over the steps after the first, the least of the
repeats. `--check`: exit code 1 where Solon is slower than 0.98 of TRL (DPO: than twice TRL), or
takes more memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from tasks.compute import compute_type
from tasks.machine import machine_name
from tasks.process import run_job
from tests.benchmarks.compute import lay_out, rows, settings_of

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("sft", "reward", "dpo")
WANTED = {"sft": 0.98, "reward": 0.98, "dpo": 2.0}  # TRL's seconds over ours, at least
Found = dict[str, float]


def ours(stage: str, folder: Path, model: Path, steps: int) -> Found:
    """A stage as a run trains it."""
    place = Path(tempfile.mkdtemp(dir=folder))
    spec = {
        **{"job": stage, "out": str(place / "out"), "state": str(place / "state"), "seed": 0},
        "model": {"path": str(model), "name": "m", "quantization": "nf4", "compute": "auto"},
        **{"threads": 0, "adapters": {}},
        "data": {name: str(folder / f"{name}.jsonl") for name in ("train", "eval")},
        "settings": settings_of(stage, steps) | {"batch_size": 4},
    }
    for name in ("out", "state"):
        (place / name).mkdir()
    moments: list[float] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            moments.append(time.monotonic())

    result = run_job(spec, place / "log", hear)
    return {"seconds": middle(moments), "memory": float(result["peak_memory"])}


def theirs(stage: str, folder: Path, model: Path, steps: int) -> Found:
    """A plain TRL script in a process of its own."""
    asked = ["--plain", stage, str(folder), str(model), str(steps)]
    command = [sys.executable, "-m", "tests.benchmarks.stages", *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found: Found = json.loads(done.stdout.splitlines()[-1])
    return found


def plain(stage: str, folder: Path, model: Path, steps: int) -> None:
    """The script: prints its figures as JSON."""
    import torch
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        BitsAndBytesConfig,
        TrainerCallback,
    )

    dtype = getattr(torch, compute_type().dtype)
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    is_reward = stage == "reward"
    kind: Any = AutoModelForSequenceClassification if is_reward else AutoModelForCausalLM
    head = {"num_labels": 1} if is_reward else {}
    base = kind.from_pretrained(model, quantization_config=four_bits, dtype=dtype, **head)
    tokenizer = AutoTokenizer.from_pretrained(model)
    base.config.pad_token_id = tokenizer.pad_token_id
    lora = LoraConfig(
        r=16,
        lora_alpha=16,
        target_modules="all-linear",
        task_type="SEQ_CLS" if is_reward else "CAUSAL_LM",
        modules_to_save=["score"] if is_reward else None,
    )
    moments: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            moments.append(time.monotonic())

    config, trainer = {
        "sft": (trl.SFTConfig, trl.SFTTrainer),
        "reward": (trl.RewardConfig, trl.RewardTrainer),
        "dpo": (trl.DPOConfig, trl.DPOTrainer),
    }[stage]
    arguments: Any = config(
        output_dir=str(folder / f"plain-{stage}-{time.monotonic_ns()}"),
        max_steps=steps,
        per_device_train_batch_size=4,
        learning_rate=1e-4,
        gradient_checkpointing=False,
        bf16=dtype == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer(
        model=base,
        args=arguments,
        train_dataset=Dataset.from_list([_row(stage, row) for row in rows()]),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[Clock()],
    ).train()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated()
    print(json.dumps({"seconds": middle(moments), "memory": memory}))


def _row(stage: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row in TRL's conversational form."""

    def said(name: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": row[name]}]

    if stage == "sft":
        return {"prompt": row["messages"], "completion": said("response")}
    sides = {name: said(name) for name in ("chosen", "rejected")}
    return {"prompt": row["messages"], **sides}


def middle(moments: list[float]) -> float:
    """Median seconds of a step, the first left out."""
    return statistics.median(after - before for before, after in pairwise(moments))


def measured(repeats: int, steps: int) -> dict[str, dict[str, Found]]:
    """By stage and side, the least seconds and the least memory of the repeats."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = lay_out(folder)
        found: dict[str, dict[str, list[Found]]] = {s: {"ours": [], "theirs": []} for s in STAGES}
        for stage in STAGES * repeats:
            for side, run in (("ours", ours), ("theirs", theirs)):
                found[stage][side].append(run(stage, folder, model, steps))
                print(f"{stage} {side}: {found[stage][side][-1]}", file=sys.stderr, flush=True)
    return {
        stage: {
            side: {key: min(one[key] for one in figures) for key in figures[0]}
            for side, figures in sides.items()
        }
        for stage, sides in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step beside plain TRL's.")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--plain", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        stage, folder, model, steps = options.plain
        plain(stage, Path(folder), Path(model), int(steps))
        return
    if options.steps < 2:
        parser.error("--steps must be at least 2: the first is not counted")
    found = measured(options.repeats, options.steps)
    print(f"{machine_name()}: {compute_type()}\n")
    print("| a step | Solon, s | TRL, s | TRL / Solon | Solon, GB | TRL, GB | Solon / TRL |")
    print("|---|---|---|---|---|---|---|")
    missed = []
    for stage, sides in found.items():
        one, other = sides["ours"], sides["theirs"]
        speed, memory = other["seconds"] / one["seconds"], one["memory"] / other["memory"]
        print(
            f"| {stage} | {one['seconds']:.2f} | {other['seconds']:.2f} | {speed:.2f}"
            f" | {one['memory'] / 1e9:.2f} | {other['memory'] / 1e9:.2f} | {memory:.2f} |"
        )
        if speed < WANTED[stage] or memory > 1.0:
            missed.append(f"{stage}: {speed:.2f} of TRL's speed, {memory:.2f} of its memory")
    if options.check and missed:
        raise SystemExit("; ".join(missed))


if __name__ == "__main__":
    main()
