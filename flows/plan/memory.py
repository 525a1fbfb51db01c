"""How much memory a stage takes: what this machine measured, else an estimate by sizes.

The estimate is that of one worker: libraries, weights, and what a pass keeps of every token of a
batch for its way back, which grows with the root of the parameters (layers times width). Fitted on
the embedded model (tests/benchmarks/RESULTS.md, "First rates of a plan"); of others it is a guess.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from flows.plan.first_rates import PARAMETERS
from flows.plan.work import SEQUENCES
from tasks.machine import gpus

LIBRARIES = 1.9e9  # of a worker on a CPU, with what it keeps of freed memory
A_PARAMETER = {"nf4": 1.5, "none": 4.5}  # weights, those that are trained, and their optimizer's
A_TOKEN = 0.7e6  # of the embedded model: SFT 0.5, DPO 0.9
LONGEST = 1.3  # a batch's longest row over the mean one
SPREAD = 0.7, 1.4


def memory_of(
    settings: Mapping[str, Any], stage: str, row_tokens: float, parameters: int, quantization: str
) -> tuple[float, float]:
    """Bytes at least and at most. row_tokens: as in `work_of`."""
    if stage == "ppo":
        batch = settings["micro_batch_size"] * (row_tokens + settings["max_new_tokens"])
    else:
        longest = min(LONGEST * row_tokens, SEQUENCES[stage] * settings["max_length"])
        batch = settings["batch_size"] * longest
    kept = batch * A_TOKEN * math.sqrt(parameters / PARAMETERS)
    whole = parameters * A_PARAMETER[quantization] + kept + (0 if gpus() else LIBRARIES)
    return whole * SPREAD[0], whole * SPREAD[1]
