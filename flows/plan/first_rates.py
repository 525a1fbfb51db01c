"""What the embedded model took where Solon was made: a first guess where nothing was measured yet.

Seconds on two cores with instructions for bfloat16, of SmolLM2-135M-Instruct in NF4, nothing else
running (tests/benchmarks/RESULTS.md, "First rates of a plan"). Another model is taken to need as
much more as it has more parameters. Machines differ by a factor of four, so a guess is a range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tasks.compute import cpu_compute_type
from tasks.machine import gpus, usable_cores

PARAMETERS = 134_515_008  # of the embedded model
START_S = 6.0  # until the first step or answer of a worker: libraries and weights
RUN_S = 12.0  # of a run beside its workers: server, ledger, report
A_TOKEN = {  # of a stage's work (flows/plan/work.py), and of what is written
    **{"sft": 0.0048, "reward": 0.0043, "dpo": 0.0068, "ppo": 0.0131},
    **{"draft": 0.003, "critique": 0.009, "revision": 0.009, "judgement": 0.009},
    **{"teacher": 0.0044, "sample": 0.0035, "answer": 0.0084},
}
A_COMPARISON, A_PASSAGE = 0.36, 0.1
CORES = 2
FLOAT32 = 1.5  # how much longer without such instructions
LEAST_SCALE = 0.02  # of a tiny model: what is not the model's takes its time too

Basis = Literal["measured", "first", "scaled"]
SPREAD: dict[Basis, tuple[float, float]] = {
    "measured": (1.0, 1.0),
    "first": (0.5, 3.0),
    "scaled": (0.2, 6.0),
}
ON_GPU = (0.005, 1.0)  # nothing was measured on one


@dataclass(frozen=True)
class Guess:
    """How many times the seconds of the table something takes, at least and at most."""

    low: float
    high: float
    basis: Basis


def guess_of(parameters: int | None, compute: str) -> Guess | None:
    """For a model of so many parameters on this machine; None where its size is not known."""
    if parameters is None:
        return None
    factor = max(parameters / PARAMETERS, LEAST_SCALE)
    basis: Basis = "first" if math.isclose(factor, 1, rel_tol=0.01) else "scaled"
    low, high = SPREAD[basis]
    if gpus():
        return Guess(factor * ON_GPU[0], factor * ON_GPU[1], "scaled")
    factor *= CORES / usable_cores()
    factor *= FLOAT32 if cpu_compute_type(compute).dtype == "float32" else 1.0
    return Guess(factor * low, factor * high, basis)
