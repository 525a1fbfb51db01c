"""The number type to compute in: what is asked for, else what this machine is fast at.

bfloat16 is 1.3 to 2 times as fast as float32 where the processor has instructions for its products
(AVX-512 BF16, AMX, Arm's BF16), and 6 to 40 times slower where they are emulated. The choice is
recorded beside a result and is no part of its key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")
# oneDNN, which multiplies for torch on a CPU, can be kept from using what the processor has.
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
WITHOUT_BFLOAT16 = frozenset(
    {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}
)


@dataclass(frozen=True)
class Compute:
    """A number type, "float32" or "bfloat16", and why it is this one."""

    dtype: str
    why: str

    def __str__(self) -> str:
        return f"{self.dtype}, {self.why}"


def compute_type(wanted: str = "auto") -> Compute:
    """The number type for this process's device; `wanted` itself unless it is "auto"."""
    import torch

    if wanted == "auto" and torch.cuda.is_available():
        has_it = torch.cuda.is_bf16_supported(including_emulation=False)
        return _choice(has_it, "the GPU")
    return cpu_compute_type(wanted)


def cpu_compute_type(wanted: str = "auto") -> Compute:
    """`compute_type` on a CPU."""
    if wanted != "auto":
        return Compute(wanted, "as asked for")
    for name in LIMITS:
        limit = os.environ.get(name, "").strip().upper()
        if limit in WITHOUT_BFLOAT16:
            return _choice(False, f"under {name}={limit} the processor")
    # `flags` on x86, `Features` on Arm
    flags = next((value for key, value in cpuinfo() if key in ("flags", "features")), "")
    found = sorted(set(flags.split()) & set(BFLOAT16_FLAGS))
    return _choice(bool(found), "the processor", found)


def _choice(has_it: bool, device: str, flags: list[str] | None = None) -> Compute:
    named = f" ({', '.join(flags)})" if flags else ""
    dtype, has = ("bfloat16", "has") if has_it else ("float32", "has no")
    return Compute(dtype, f"{device} {has} bfloat16 instructions{named}")


def cpuinfo() -> list[tuple[str, str]]:
    """(key, value) of every line of the kernel's description of the processors."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [(key.strip().lower(), value.strip()) for key, _, value in pairs]
