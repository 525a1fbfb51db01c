"""How fast rows go through Solon itself: `solon refresh` with an engine that costs nothing.

    python tests/benchmarks/data_path.py [--prompts 2000]

Three whole runs of the command, as a user would start them: a fresh one, one with nothing to do,
and one after a principle's critique request was edited. Seconds include the start of Prefect's
server. Peak memory is that of the largest process. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORDS = "stars rivers taxes bread sleep memory maps fear kindness engines".split()


def write_prompts(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            text = f"Question {n}: how do {WORDS[n % 10]} relate to {WORDS[n // 10 % 10]}?"
            file.write(json.dumps({"prompt": text}) + "\n")


def edit(source: Path, target: Path) -> None:
    text = source.read_text(encoding="utf-8")
    before = "    critique: "
    target.write_text(text.replace(before, before + "Please: ", 1).replace("Please: ", "Please "))


def refresh(home: Path, prompts: Path, constitution: Path) -> tuple[dict[str, Any], float]:
    """The command's JSON and its seconds."""
    settings = {
        "generation.engine": "scripted",
        "prompts.path": prompts,
        "prompts.limit": "null",
        "constitution": constitution,
        "generation.batch_rows": 256,
        "generation.chunk_rows": 2048,
    }
    overrides = [part for k, v in settings.items() for part in ("--set", f"{k}={v}")]
    command = [sys.executable, "-m", "flows.cli", "refresh", "--recipe", "smoke", "--json"]
    env = os.environ | {"SOLON_HOME": str(home), "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    done = subprocess.run([*command, *overrides], env=env, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout), time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2000)
    count = parser.parse_args().prompts
    original = ROOT / "constitution" / "default.yaml"
    with tempfile.TemporaryDirectory() as folder:
        home, prompts, edited = (Path(folder) / n for n in ("home", "prompts.jsonl", "edited.yaml"))
        write_prompts(prompts, count)
        edit(original, edited)
        print("| run | seconds | calls | prompts/s |\n|---|---|---|---|")
        for name, words in (("fresh", original), ("nothing to do", original), ("edited", edited)):
            result, seconds = refresh(home, prompts, words)
            steps = [s for s in result["steps"] if s["step"] != "pairs"]
            calls = sum(step["generated"] for step in steps)
            print(f"| {name} | {seconds:.1f} | {calls} | {count / seconds:.0f} |", flush=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\n{count} prompts; peak memory {peak:.0f} MB")


if __name__ == "__main__":
    main()
