"""Which number type is faster on this machine, and whether that is the one that Solon chooses.

    python tests/benchmarks/compute.py [--steps 3] [--check]

One training step of each stage on the embedded model as the demo trains it (NF4, four rows of about
130 tokens a step; PPO: eight prompts, 16 new tokens), by the jobs themselves, each in a worker of
its own, in bfloat16 and in float32. Seconds are medians over the steps after the first. With
`--check` the exit code is 1 where the type that is not chosen is faster by more than a tenth over
all four. What a processor without bfloat16 instructions does can be seen on one that has them:
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from flows.plan.recipe import load
from storage.workspace import Workspace
from tasks.compute import compute_type
from tasks.machine import machine_name
from tasks.models import prepare
from tasks.process import run_job
from tasks.training.settings import StageSettings

TYPES = ("bfloat16", "float32")
STAGES = ("sft", "reward", "dpo", "ppo")
ROWS = 16
WORDS = 60  # of a response
TOLERANCE = 1.1
TEXT = "The pharmacist looks at the label, asks what else is taken, and says how much is safe. "


def rows() -> list[dict[str, Any]]:
    """Rows that every stage can read, of about one length."""
    words = (TEXT * WORDS).split()
    return [
        {
            "id": f"row-{n}",
            "messages": [{"role": "user", "content": f"Question {n}: {TEXT}"}],
            "response": " ".join(words[n : n + WORDS]),
            "chosen": " ".join(words[n : n + WORDS]),
            "rejected": " ".join(words[n + 5 : n + 5 + WORDS]),
            "preference": 1.0,
        }
        for n in range(ROWS)
    ]


def lay_out(folder: Path) -> Path:
    """Write the rows as train.jsonl, none as eval.jsonl; the demo's model, prepared there."""
    lines = "".join(json.dumps(row) + "\n" for row in rows())
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    (folder / "eval.jsonl").write_text("", encoding="utf-8")
    return prepare(load("demo").model, Workspace(folder / "home").create()).path


def settings_of(stage: str, steps: int) -> dict[str, Any]:
    demo = load("demo")
    if stage == "ppo":
        small = {"batch_size": 8, "max_new_tokens": 16, "calibration_samples": 8}
        return demo.ppo | small | {"updates": steps, "num_mini_batches": 1, "save_every": steps}
    known = StageSettings.__dataclass_fields__.keys() | getattr(demo, stage).keys()
    settings = {name: getattr(demo, stage)[name] for name in known}
    return settings | {"max_steps": steps, "save_steps": steps, "eval_steps": steps}


def measure(folder: Path, model: Path, dtype: str, steps: int) -> dict[str, float]:
    """Seconds of one step of each stage."""
    data = {"train": str(folder / "train.jsonl"), "eval": str(folder / "eval.jsonl")}
    adapters: dict[str, str] = {}
    seconds = {}
    for stage in STAGES:
        out, state = (folder / dtype / stage / name for name in ("out", "state"))
        for place in (out, state):
            place.mkdir(parents=True)
        spec = {
            **{"job": stage, "out": str(out), "state": str(state), "seed": 0, "threads": 0},
            "model": {"path": str(model), "name": "m", "quantization": "nf4", "compute": dtype},
            "adapters": dict(adapters),
            "data": data,
            "settings": settings_of(stage, steps),
        }
        moments: list[float] = []

        def hear(event: dict[str, Any], moments: list[float] = moments) -> None:
            if event["event"] == "progress":
                moments.append(time.monotonic())

        run_job(spec, folder / f"{stage}-{dtype}.log", hear)
        gaps = [after - before for before, after in pairwise(moments)]
        seconds[stage] = statistics.median(gaps)
        print(f"{stage} in {dtype}: {seconds[stage]:.2f} s a step", file=sys.stderr, flush=True)
        adapters[stage] = str(out / "adapter")
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of a training step by number type.")
    parser.add_argument("--steps", type=int, default=3, help="of each stage, at least 2")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error("--steps must be at least 2: the first is not counted")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = lay_out(folder)
        found = {dtype: measure(folder, model, dtype, options.steps) for dtype in TYPES}
    chosen = compute_type()
    print(f"{machine_name()}: {chosen}\n")
    print("| one step | bfloat16, s | float32, s | bfloat16 / float32 |\n|---|---|---|---|")
    for stage in STAGES:
        one, other = (found[dtype][stage] for dtype in TYPES)
        print(f"| {stage} | {one:.2f} | {other:.2f} | {one / other:.2f} |")
    totals = {dtype: sum(found[dtype].values()) for dtype in TYPES}
    if options.check and totals[chosen.dtype] > TOLERANCE * min(totals.values()):
        raise SystemExit(f"{chosen.dtype} is chosen, and the other type is faster: {totals}")


if __name__ == "__main__":
    main()
