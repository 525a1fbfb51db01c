"""How many parameters a model has: by its files, or before they are there by its name."""

from __future__ import annotations

import math
import re
from pathlib import Path

from tasks.model_files import WEIGHTS
from tasks.model_look import header

# "135M" of SmolLM2-135M-Instruct, "0.5B" of Qwen2.5-0.5B; "8x7B" says nothing of the whole.
NAMED = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BM])(?![A-Za-z0-9])", re.IGNORECASE)
UNITS = {"B": 1_000_000_000, "M": 1_000_000}
BYTES_EACH = 2  # of a parameter, as models are published


def parameters(folder: Path | None, name: str) -> int | None:
    """Of the safetensors in a folder; without one, or where it has none, what the name says."""
    shapes = (
        tensor["shape"]
        for path in (sorted(folder.glob(WEIGHTS)) if folder else ())
        for key, tensor in header(path).items()
        if key != "__metadata__"
    )
    return sum(math.prod(shape) for shape in shapes) or named_parameters(name)


def named_parameters(name: str) -> int | None:
    """What a model's name says, as SmolLM2-135M-Instruct; None where it says nothing."""
    found = [float(n) * UNITS[unit.upper()] for n, unit in NAMED.findall(name.rpartition("/")[2])]
    return round(max(found)) if found else None
