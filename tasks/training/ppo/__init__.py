"""PPO from a reward adapter: one frozen base, four LoRA roles, our own trainer (TRL removed PPO in
1.13).

`config` is free of torch imports, so recipes can be validated without it; `run` is the worker's
job.

Left out: several processes, vLLM, DeepSpeed, a held-out "gold" judge inside the loop.
"""

from __future__ import annotations

from typing import Any

from tasks.report import Report


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train by PPO as the spec says; see `tasks.training.ppo.job`.

    Raises:
        TrainingInputError: bad settings, missing or unfit adapters, reward probes that do not
        match. NonFiniteError: a loss or gradient became NaN or infinite.
    """
    from tasks.training.ppo.job import run_job

    return run_job(spec, report)
