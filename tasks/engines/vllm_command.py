"""How `vllm serve` is found and called. Nothing is started here."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.errors import InputError
from tasks.compute import cpu_compute_type
from tasks.machine import gpus
from tasks.process import ROOT

EXECUTABLE = "SOLON_VLLM"
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has adapters of
LOGPROBS = 200  # of the likeliest tokens: a judge's letter is rarely beyond
SHARES = {"cuda": 0.85, "cpu": 0.25}  # of the memory
READ_AT_ONCE = 4096  # tokens on a CPU, at least
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Serving:
    """How a folder is served.

    memory_share: of the GPU's memory, or of the machine's where there is none; None: see SHARES.
    max_model_len: of prompt and answer, in tokens. rank: the highest of an adapter's; 0 for no
    adapters. start_s: how long the start may take. arguments: for `vllm serve`, after ours.
    """

    memory_share: float | None = None
    max_model_len: int | None = None
    dtype: str = "auto"
    rank: int = 0
    start_s: float = 1800.0
    arguments: tuple[str, ...] = ()


def find_vllm() -> Path | None:
    """The executable: what SOLON_VLLM names, else beside the interpreter, else on PATH.

    Raises InputError where SOLON_VLLM names none.
    """
    if named := os.environ.get(EXECUTABLE):
        found = shutil.which(named)
        if found is None:
            rule = "this is no executable"
            raise InputError(named, rule, f"set {EXECUTABLE} to the path of vllm", EXECUTABLE)
        return Path(found).absolute()
    beside = shutil.which("vllm", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("vllm")
    return Path(found).absolute() if found else None


def must_find_vllm() -> Path:
    """`find_vllm`; InputError where there is none."""
    found = find_vllm()
    if found is None:
        fix = f"install vllm, set {EXECUTABLE} to its path, or take generation.engine=auto"
        raise InputError("vllm", "vLLM is not installed", fix, "generation.engine")
    return found


def device() -> str:
    return "cuda" if gpus() else "cpu"


def number_type(wanted: str) -> str:
    """The type to compute in: bfloat16 on a GPU and what the processor is fast at, where `auto`."""
    if wanted == "auto" and gpus():
        return "bfloat16"
    return cpu_compute_type(wanted).dtype


def command(executable: Path, folder: Path, name: str, port: int, serving: Serving) -> list[str]:
    """Serve `folder` on the loopback as the model `name`."""
    most, share = serving.max_model_len, serving.memory_share or SHARES[device()]
    options: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "served-model-name": name,
        "dtype": number_type(serving.dtype),
        "gpu-memory-utilization": share,
        "generation-config": "vllm",  # the recipe says how to sample, not the folder
        "max-logprobs": LOGPROBS,
    }
    switches = ["--enable-prefix-caching"]
    if most:
        options["max-model-len"] = most
    if device() == "cpu":  # a seed ends its engine where a prompt is read in parts
        switches.append("--no-enable-chunked-prefill")
        options |= {"max-num-batched-tokens": max(most, READ_AT_ONCE)} if most else {}
    if serving.rank:
        switches.append("--enable-lora")
        options["max-lora-rank"] = next((r for r in RANKS if r >= serving.rank), RANKS[-1])
    named = [text for key, value in options.items() for text in (f"--{key}", str(value))]
    return [str(executable), "serve", str(folder), *switches, *named, *serving.arguments]


def environment(key: str) -> Mapping[str, str]:
    """That of the guard and, but for the last two, of vLLM."""
    ours = {
        "VLLM_API_KEY": key,
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "SOLON_PARENT_PID": str(os.getpid()),
        "PYTHONPATH": str(ROOT),
    }
    return {**os.environ, **OFFLINE, **ours}
