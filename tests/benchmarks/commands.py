"""How long people wait: the light commands and the smoke recipe, beside one import of TRL.

    python tests/benchmarks/commands.py [--check]

Machines differ by a factor of four, so a command is held against work that is always the same and
of its kind: importing TRL's trainers in the same Python. Each is the best of three, in workspaces
of its own; the smoke, five workers and a server, is run once. With `--check` the exit code is 1
where a ratio is above its limit: a quarter of an import for a command that answers at once, seven
imports for the smoke, which loads the libraries five times.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORT = [sys.executable, "-c", "import trl; trl.DPOTrainer, trl.SFTTrainer, trl.RewardTrainer"]
SOLON = [sys.executable, "-m", "flows.commands.cli"]
LIGHT = (["--help"], ["plan", "--recipe", "demo"], ["why", "latest/ppo"], ["impact", "no-flattery"])
LIMITS = {"light": 0.25, "smoke": 7.0}


def seconds(command: list[str], home: Path, attempts: int = 3, code: int = 0) -> float:
    """The best of some attempts, each of which must end with that exit code."""
    best = float("inf")
    for _ in range(attempts):
        started = time.monotonic()
        environment = os.environ | {"SOLON_HOME": str(home)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != code:
            raise SystemExit(f"{command}: exit code {done.returncode}\n{done.stderr}")
        best = min(best, time.monotonic() - started)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="How long people wait.")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    slow = []
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        unit = seconds(IMPORT, home / "none")
        print("| command | seconds | imports of TRL |\n|---|---|---|")
        print(f"| (import trl) | {unit:.2f} | 1 |")
        for arguments in (*LIGHT, ["run", "--recipe", "smoke"]):
            kind = "smoke" if "smoke" in arguments else "light"
            attempts = 1 if kind == "smoke" else 3
            code = 2 if arguments[0] in ("why", "impact") else 0  # nothing is there to explain
            took = seconds([*SOLON, *arguments], home / kind, attempts, code)
            print(f"| solon {' '.join(arguments)} | {took:.2f} | {took / unit:.2f} |", flush=True)
            if took > LIMITS[kind] * unit:
                slow.append(" ".join(arguments))
    if options.check and slow:
        raise SystemExit(f"above its limit: {', '.join(slow)}")


if __name__ == "__main__":
    main()
