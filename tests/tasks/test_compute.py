"""Which number type is chosen on which processor; the processor's description is a file here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tasks import compute, machine
from tasks.compute import compute_type, cpu_compute_type
from tasks.training.base import computed_in

EPYC_7003 = "model name\t: AMD EPYC 7003\nflags\t\t: fpu sse2 avx avx2 fma\n"
EPYC_9005 = "model name\t: AMD EPYC 9005\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
XEON_4 = "model name\t: Intel Xeon\nflags\t\t: fpu avx512f amx_tile amx_bf16\n"
GRAVITON_2 = "BogoMIPS\t: 243.75\nFeatures\t: fp asimd atomics\n"
GRAVITON_3 = "BogoMIPS\t: 2100.00\nFeatures\t: fp asimd sve bf16 i8mm\n"


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that describes the processor, of this test alone."""
    for name in compute.LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(compute, "CPUINFO", tmp_path / "cpuinfo")
    return tmp_path / "cpuinfo"


@pytest.mark.parametrize(
    ("cpuinfo", "dtype"),
    [
        (EPYC_7003, "float32"),
        (EPYC_9005, "bfloat16"),
        (XEON_4, "bfloat16"),
        (GRAVITON_2, "float32"),
        (GRAVITON_3, "bfloat16"),
        (None, "float32"),
        ("", "float32"),
        ("flags\t\t: fpu not_avx512_bf16_at_all\n", "float32"),
    ],
)
def test_bfloat16_where_there_are_instructions(
    processor: Path, cpuinfo: str | None, dtype: str
) -> None:
    if cpuinfo is not None:
        processor.write_text(cpuinfo)
    assert cpu_compute_type().dtype == compute_type().dtype == dtype
    for asked in ("float32", "bfloat16"):
        assert cpu_compute_type(asked).dtype == asked


def test_why_names_the_instructions(processor: Path) -> None:
    processor.write_text(EPYC_9005)
    assert str(cpu_compute_type()) == (
        "bfloat16, the processor has bfloat16 instructions (avx512_bf16)"
    )
    processor.write_text(EPYC_7003)
    assert str(cpu_compute_type()) == "float32, the processor has no bfloat16 instructions"


@pytest.mark.parametrize(
    ("limit", "dtype"),
    [("AVX2", "float32"), ("avx512_core", "float32"), ("AVX512_CORE_BF16", "bfloat16")],
)
def test_a_limit_on_the_instructions_counts(
    processor: Path, monkeypatch: pytest.MonkeyPatch, limit: str, dtype: str
) -> None:
    processor.write_text(EPYC_9005)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert cpu_compute_type().dtype == dtype


@pytest.mark.parametrize(("has_it", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_a_gpu_is_asked_what_it_has_itself(
    processor: Path, monkeypatch: pytest.MonkeyPatch, has_it: bool, dtype: str
) -> None:
    """Torch says yes of every GPU unless it is told that emulation does not count."""
    processor.write_text(EPYC_7003 if has_it else EPYC_9005)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or has_it,
    )
    assert compute_type().dtype == dtype
    assert compute_type("float32").dtype == "float32"


def test_without_quantization_a_cpu_keeps_the_weights_as_they_are(processor: Path) -> None:
    processor.write_text(EPYC_9005)
    assert computed_in({"quantization": "nf4"}) == "bfloat16"
    assert computed_in({"quantization": "none"}) == "float32"
    assert computed_in({"quantization": "none", "compute": "bfloat16"}) == "bfloat16"
    processor.write_text(EPYC_7003)
    assert computed_in({"quantization": "nf4"}) == "float32"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_a_containers_quota_limits_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_allowed_cores", lambda: 64)
    assert machine.granted_cores() == cores
    assert machine.usable_cores() == (cores or 64)
    assert machine.default_threads() == (cores or 0)
    monkeypatch.setattr(machine, "_allowed_cores", lambda: 1)
    assert machine.usable_cores() == 1
    assert machine.default_threads() == 0


def test_a_machine_is_named_by_what_decides_its_speed(
    processor: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor.write_text(EPYC_7003)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_allowed_cores", lambda: 2)
    monkeypatch.setattr(machine, "GPUS", tmp_path / "gpus")
    name = machine.machine_name.__wrapped__
    assert name() == "AMD EPYC 7003, 2 cores"
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus" / "0000:01:00.0" / "information").write_text(
        "Model: \t NVIDIA H100\nIRQ: 1\n"
    )
    monkeypatch.setattr(machine, "_allowed_cores", lambda: 1)
    assert name() == "AMD EPYC 7003, 1 core, NVIDIA H100"
