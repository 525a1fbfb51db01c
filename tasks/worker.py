"""The child process in which torch lives: `python -m tasks.worker SPEC.json`.

It runs one job, named by SPEC["job"], and reports through the pipe whose number is in
SOLON_EVENT_FD (standard output when run by hand). Events, one JSON object a line:

    progress {done, total, unit, ...}   metric {step, ...}   log {level, message}
    items {...}, ready {...}, done {...}                     (job "generate")
    result {result}                     error {kind, message, input, value, rule, fix, where}

A SPEC of {"job", "threads", "is_warm_up": true} loads the job's libraries and then waits for the
real one, a line on standard input.

Exit code 0 after a result, 2 after bad input, 1 after any other error, with its traceback on
standard error. The process dies with its parent, even one that is killed. Leaves out several
processes per job: a multi-GPU launcher would stand between it and its parent.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import importlib
import json
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from tasks.machine import default_threads
from tasks.neighbours import waiting
from tasks.report import JobInputError, Report

JOBS = {
    "generate": "tasks.engines.serve",
    "convert": "tasks.convert",
    "merge": "tasks.merge",
    "sft": "tasks.training.sft",
    "reward": "tasks.training.reward",
    "dpo": "tasks.training.dpo",
    "ppo": "tasks.training.ppo.job",
}

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
PR_SET_PDEATHSIG = 1
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when the thread that forked it ends; `parent` 0 asks nothing.

    A parent that died before the request took effect is noticed by its changed process id.
    """
    if not parent:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next tensor, up to 2 GiB.

    Left alone it gives everything over 32 MB back at once, and a step pays for every page anew.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def set_environment(spec: dict[str, Any]) -> None:
    """Threads, no telemetry, and no network unless SPEC["online"]; before torch is imported."""
    os.environ.update(HF_HUB_DISABLE_TELEMETRY="1", DO_NOT_TRACK="1")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # Nothing is compiled: without the compiler the libraries load in three quarters of the time.
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    os.environ.update(waiting(os.getppid()))
    if not spec.get("online", False):
        os.environ.update(dict.fromkeys(OFFLINE, "1"))
    threads = int(spec.get("threads", 0))
    if not threads and "OMP_NUM_THREADS" not in os.environ:
        threads = default_threads()
    if threads > 0:
        os.environ.update(OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))


def read_spec(path: str) -> dict[str, Any]:
    try:
        spec = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        rule = f"not a readable JSON file ({error})"
        raise JobInputError(path, rule, "give a job file") from error
    job = spec.get("job") if isinstance(spec, dict) else spec
    if not isinstance(spec, dict) or job not in JOBS:
        raise JobInputError(str(job), "unknown job", f"use one of {', '.join(JOBS)}", where=path)
    return spec


def error_fields(error: BaseException) -> dict[str, Any]:
    """What the parent needs to raise `error` again: its name, its words, whose fault it is."""
    parts = {name: str(getattr(error, name, "")) for name in ("value", "rule", "fix", "where")}
    is_input = getattr(error, "exit_code", 1) == 2
    return {"kind": type(error).__name__, "message": str(error), "input": is_input, **parts}


def open_report() -> Report:
    """The event pipe; its number is taken out of the environment so that no grandchild uses it."""
    number = os.environ.pop("SOLON_EVENT_FD", "")
    if not number:
        return Report(sys.stdout)
    os.set_inheritable(int(number), False)
    return Report(os.fdopen(int(number), "w", encoding="utf-8"))


def peak_memory() -> int:
    """The most bytes this process held: of the GPU's memory where it computed on one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts kilobytes


def main(arguments: list[str]) -> int:
    die_with_parent(int(os.environ.pop("SOLON_PARENT_PID", "0")))
    # Ctrl-C reaches the whole group: the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    report = open_report()
    try:
        if len(arguments) != 1:
            rule, fix = "one job file is needed", "python -m tasks.worker SPEC.json"
            raise JobInputError(" ".join(arguments), rule, fix)
        spec = read_spec(arguments[0])
        set_environment(spec)
        keep_freed_memory()
        gc.disable()  # libraries load in a tenth less
        job = importlib.import_module(JOBS[spec["job"]])
        gc.freeze()  # and are never looked through again: 2 s of a short job
        gc.enable()
        if spec.get("is_warm_up"):
            spec = json.loads(sys.stdin.readline() or "null")
            if spec is None:  # the parent had no need of it
                return 0
        device, torch = "cpu", sys.modules.get("torch")  # asked only where the job has loaded it
        if torch is not None and torch.cuda.is_available():
            device = torch.cuda.get_device_name()
        result = {"device": device, **job.run(spec, report)}
        report.event("result", result={**result, "peak_memory": peak_memory()})
    except Exception as error:
        traceback.print_exc()
        fields = error_fields(error)
        report.event("error", **fields)
        return 2 if fields["input"] else 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
