"""Writes an executable that takes `vllm serve`'s arguments and serves no model.

It answers as `ScriptedServer`, and has a child that is deaf to SIGTERM, as an engine that is stuck.
What it does is said by FAKE_VLLM: "" serves, "dies" with vLLM's usual last words, "sleeps" and
never answers, "dies later" at the tenth request, with an engine's last words.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """#!{python}
import os, signal, subprocess, sys, time
sys.path.insert(0, {root!r})
given, mode = sys.argv[1:], os.environ.get("FAKE_VLLM", "")
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf, "deaf-child-of-vllm"])
print("started", os.getpid(), child.pid, flush=True)
print(" ".join(given), os.environ.get("HF_HUB_OFFLINE"), flush=True)
if mode == "dies":
    print("(EngineCore pid=7) ERROR 11-28 15:06:54 [core.py:1] ValueError: no such layer")
    sys.exit("RuntimeError: Engine core initialization failed. See root cause above. Failed: {{}}")
if mode == "sleeps":
    time.sleep(600)
from tests.tasks.scripted_server import ScriptedServer
def option(name):
    return given[given.index(name) + 1]
def before(server):
    if mode == "dies later" and sum(server.seen.values()) > 10:
        print("(EngineCore pid=7) ERROR 11-28 15:06:54 [core.py:1] MemoryError: no block left")
        sys.stdout.flush()
        os._exit(3)
names = dict(model=option("--served-model-name"), key=os.environ["VLLM_API_KEY"])
with ScriptedServer(**names, port=int(option("--port")), before=before, top_logprobs=200):
    signal.sigwait([signal.SIGTERM])
if "--deaf" not in given:
    child.kill()
"""


def write(folder: Path) -> Path:
    path = folder / "vllm"
    path.write_text(SCRIPT.format(python=sys.executable, root=str(ROOT)), encoding="utf-8")
    path.chmod(0o755)
    return path


def family(log: Path) -> list[int]:
    """The process ids of the program and its child, as its log says."""
    lines = [line.split() for line in log.read_text().splitlines() if line.startswith("started")]
    return [int(number) for number in lines[-1][1:]] if lines else []


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def command_lines() -> str:
    """Of every process, as a list of processes shows them."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
        except OSError:
            continue
    return "\n".join(found)
