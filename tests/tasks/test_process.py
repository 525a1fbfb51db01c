"""The worker process: what it says, how it ends, what its parent learns of it."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from storage.errors import InputError
from tasks import worker
from tasks.process import ROOT, Worker, WorkerError, environment, run_job, warm_up
from tasks.report import JobInputError, Report
from tests.tasks.fake_vllm import is_alive

RANDOM = {"kind": "random"}


def convert_spec(out: Path, **changes: Any) -> dict[str, Any]:
    out.mkdir(parents=True, exist_ok=True)
    return {"job": "convert", "source": RANDOM, "out": str(out), "threads": 1, **changes}


def wait_until(condition: Any, seconds: float = 240.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_a_worker_hears_nothing_from_a_launcher_or_another_librarys_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("WORLD_SIZE", "LOCAL_RANK", "ACCELERATE_MIXED_PRECISION", "TRANSFORMERS_X"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("HF_HOME", "/models")
    monkeypatch.setenv("PYTHONPATH", "/libraries")
    found = environment()
    assert found["HF_HOME"] == "/models"
    assert found["PYTHONPATH"] == os.pathsep.join([str(ROOT), "/libraries"])
    assert not {name for name, value in found.items() if value == "2"} & {
        *("WORLD_SIZE", "LOCAL_RANK", "ACCELERATE_MIXED_PRECISION", "TRANSFORMERS_X")
    }


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tasks.convert import random_tiny

    folder = tmp_path_factory.mktemp("tiny")
    random_tiny(folder)
    return folder


LIGHT = """
import sys, types

def run(spec, report):
    report.event("ready")
    sys.stdin.read()
    return {}

serve = types.ModuleType("tasks.engines.serve")
serve.run = run
sys.modules[serve.__name__] = serve
"""


@pytest.fixture
def light(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A job that lives until it is ended, and loads no torch: children find it at their start."""
    (tmp_path / "light").mkdir()
    (tmp_path / "light" / "sitecustomize.py").write_text(LIGHT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "light"))
    return {"job": "generate", "threads": 1}


@pytest.fixture
def sleeper(tmp_path: Path, tiny_model: Path) -> dict[str, Any]:
    """A real job that waits for calls: it lives until it is ended."""
    return {
        "job": "generate",
        "model": {"path": str(tiny_model), "adapter": None, "dtype": "float32"},
        "batch_tokens": 4096,
        "batch_rows": 8,
        "threads": 1,
    }


def test_report_writes_one_json_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with path.open("w") as stream:
        report = Report(stream)
        report.progress(1, 3, tokens=5)
        report.metric(2, loss=0.5)
        report.log("two\nlines \ud800")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert events[0] == {"event": "progress", "done": 1, "total": 3, "unit": "steps", "tokens": 5}
    assert events[1] == {"event": "metric", "step": 2, "loss": 0.5}
    assert events[2] == {"event": "log", "level": "info", "message": "two\nlines \ud800"}


def test_report_is_safe_between_threads(tmp_path: Path) -> None:
    path = tmp_path / "events"
    with path.open("w") as stream:
        report = Report(stream)

        def say() -> None:
            for _ in range(200):
                report.log("x" * 300)

        threads = [threading.Thread(target=say) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 800


def test_a_job_gives_events_and_a_result(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    result = run_job(convert_spec(tmp_path / "out"), tmp_path / "log", events.append)
    assert "model.safetensors" in result["files"]
    assert [(event["event"], event["done"]) for event in events] == [
        ("progress", 0),
        ("progress", 1),
    ]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"job": "bake"}, "unknown job"),
        ({"job": "convert", "source": {"kind": "onnx"}, "out": "."}, "use gguf, hub or random"),
    ],
)
def test_bad_input_comes_back_as_an_input_error(
    tmp_path: Path, spec: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        run_job(spec, tmp_path / "log")
    assert caught.value.exit_code == 2


def test_a_failed_job_names_its_exception_and_logs_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"convert failed: KeyError: 'source'"):
        run_job({"job": "convert", "out": str(tmp_path)}, tmp_path / "log")
    assert "Traceback" in (tmp_path / "log").read_text()


def test_an_unreadable_spec_is_bad_input_with_exit_code_2(tmp_path: Path) -> None:
    spec = tmp_path / "spec.json"
    spec.write_text("{")
    ran = subprocess.run(
        [sys.executable, "-m", "tasks.worker", str(spec)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 2
    assert json.loads(ran.stdout)["rule"].startswith("not a readable JSON file")


def test_every_job_has_a_module_name_of_ours() -> None:
    assert all(module.startswith("tasks.") for module in worker.JOBS.values())


def test_only_errors_with_exit_code_2_count_as_input() -> None:
    assert worker.error_fields(JobInputError(3, "rule", "fix"))["input"]
    assert not worker.error_fields(ValueError("x"))["input"]


def test_workers_are_offline_unless_the_spec_says_online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*worker.OFFLINE, "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "0")
    worker.set_environment({"online": True, "threads": 0})
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["OMP_NUM_THREADS"] == "0"
    worker.set_environment({"threads": 3})
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_killed_worker_is_reported_with_its_signal_and_log(
    tmp_path: Path, light: dict[str, Any]
) -> None:
    log = tmp_path / "log"
    log.write_text("a line of an earlier run\n")
    with Worker(light, log) as child:
        assert next(child.events())["event"] == "ready"
        with log.open("a") as file:
            file.write("the last words\n")
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"SIGKILL .*memory.* the last words") as caught:
            list(child.events())
        assert "earlier run" not in str(caught.value)
        with pytest.raises(WorkerError, match="SIGKILL"):
            child.send({"call": 1, "requests": []})


def test_leaving_the_context_ends_the_child(tmp_path: Path, light: dict[str, Any]) -> None:
    with Worker(light, tmp_path / "log") as child:
        next(child.events())
        pid = child.pid
        assert is_alive(pid)
    assert not is_alive(pid)
    child.close()


def test_an_interrupt_in_the_listener_ends_the_child(tmp_path: Path, light: dict[str, Any]) -> None:
    def interrupt(_event: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    before = set(os.listdir("/proc"))
    with pytest.raises(KeyboardInterrupt):
        run_job(light, tmp_path / "log", interrupt)
    spec = str(tmp_path / "log.spec.json").encode()
    left = [pid for pid in set(os.listdir("/proc")) - before if pid.isdigit()]
    assert not [pid for pid in left if spec in _command_line(pid)]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_the_child_outlives_the_thread_that_asked_for_it(
    tmp_path: Path, light: dict[str, Any]
) -> None:
    made: list[Worker] = []
    thread = threading.Thread(target=lambda: made.append(Worker(light, tmp_path / "log").start()))
    thread.start()
    thread.join()
    child = made[0]
    try:
        assert next(child.events())["event"] == "ready"
        assert is_alive(child.pid)
    finally:
        child.close()


def test_killing_the_parent_kills_the_child(tmp_path: Path, light: dict[str, Any]) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import json, sys
        from pathlib import Path
        from tasks.process import Worker
        child = Worker(json.loads(sys.argv[1]), Path(sys.argv[2])).start()
        for event in child.events():
            print(child.pid, flush=True)
        """)
    )
    parent = subprocess.Popen(
        [sys.executable, str(script), json.dumps(light), str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{os.environ['PYTHONPATH']}"},
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    os.kill(pid, signal.SIGSTOP)  # so that it cannot end by itself when its input ends
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until(lambda: not is_alive(pid))


def test_ctrl_c_in_the_group_is_left_to_the_parent(tmp_path: Path, sleeper: dict[str, Any]) -> None:
    with Worker(sleeper, tmp_path / "log") as child:
        next(child.events())
        os.kill(child.pid, signal.SIGINT)
        assert not wait_until(lambda: not is_alive(child.pid), 0.5)


def test_a_warm_worker_does_the_job_it_is_given(tmp_path: Path) -> None:
    with warm_up("convert", tmp_path / "log", threads=1) as child:
        result = run_job(convert_spec(tmp_path / "out"), tmp_path / "log", warm=child)
    assert "model.safetensors" in result["files"]
    assert json.loads((tmp_path / "log.spec.json").read_text())["out"] == str(tmp_path / "out")


def test_a_warm_worker_nobody_needs_ends_quietly(tmp_path: Path) -> None:
    child = warm_up("convert", tmp_path / "log", threads=1)
    assert is_alive(child.pid)
    child.close()
    assert not is_alive(child.pid)
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_worker_keeps_the_memory_it_frees() -> None:
    """A second block of 64 MiB takes the pages of the first, without a fault for each."""
    code = (
        "import resource; from tasks.worker import keep_freed_memory; {}\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    bytes(range(256)) * (64 << 12)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "print(faults(), faults())"
    )

    def run(prepare: str) -> list[int]:
        command = [sys.executable, "-c", code.format(prepare)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        return [int(number) for number in done.stdout.split()]

    first, second = run("keep_freed_memory()")
    assert second < first / 10
    first, second = run("pass")
    assert second > first / 2  # what is prevented; where it is not so, there is nothing to do
