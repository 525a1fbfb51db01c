"""How fast rows go through Solon itself: `solon refresh` with an engine that costs nothing.

    python tests/benchmarks/data_path.py [--prompts 10000] [--skip-distilabel] [--check]
    python tests/benchmarks/data_path.py --large [--check]

Whole runs of the command, as a user would start them: a fresh one, one with nothing to do, one
after a principle's critique request was edited, and `solon plan` before the second and the third.
Then distilabel does draft, critique and revision of as many prompts, in an environment of its own,
at its default batch size and at larger ones. `--large`: 100,000 prompts, without distilabel.

Of both tools two rates: of the whole command, and of the data path alone, which for Solon is the
sum of the steps' `duration_s` (start of Prefect's server left out, writing left in) and for
distilabel is what `distilabel_path` says. Peak MB: the largest process with the pages it shares,
and all processes together, shared pages counted once (`measured`). Prints Markdown; with
`--check`, exit code 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from distilabel_env import prepare
from measured import Finished, run

ROOT = Path(__file__).resolve().parents[2]
CONSTITUTION = ROOT / "constitution" / "default.yaml"
WORDS = "stars rivers taxes bread sleep memory maps fear kindness engines".split()
DEFAULT_BATCH = 50  # distilabel's

TIMES_DISTILABEL = 20  # data path, against distilabel's default batch size
NOTHING_TO_DO_S = 5  # whole command, up to 10,000 prompts
PLAN_S = 20
MEMORY_MB = 1024  # all processes together, Prefect's server among them


class Report:
    """Prints the rows as they come and keeps what missed its target."""

    def __init__(self) -> None:
        self.missed: list[str] = []
        print("| run | seconds | calls | prompts/s, command | prompts/s, data path | peak MB |")
        print("|---|---|---|---|---|---|")

    def row(self, name: str, done: Finished, calls: int, rates: tuple[float, float | None]) -> None:
        command, path = rates
        alone = "" if path is None else f"{path:,.0f}"
        memory = f"{done.largest_mb:.0f}, all {done.all_mb:.0f}"
        print(f"| {name} | {done.seconds:.1f} | {calls} | {command:,.0f} | {alone} | {memory} |")
        sys.stdout.flush()

    def target(self, name: str, value: float, most: float) -> None:
        if value > most:
            self.missed.append(f"{name}: {value:.1f}, target at most {most:g}")


class Solon:
    """The command line on one workspace, prompts and settings the same each time."""

    def __init__(self, folder: Path, prompts: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.env = {"SOLON_HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
        self.settings = {
            "generation.engine": "scripted",
            "prompts.path": prompts,
            "prompts.limit": "null",
            "generation.batch_rows": 256,
            "generation.chunk_rows": 2048,
        }

    def command(self, *words: str, constitution: Path) -> tuple[dict[str, Any], Finished]:
        values = self.settings | {"constitution": constitution}
        overrides = [part for k, v in values.items() for part in ("--set", f"{k}={v}")]
        base = [sys.executable, "-m", "flows.commands.cli", *words, "--recipe", "smoke", "--json"]
        done = run([*base, *overrides], self.env, f"solon {words[0]}")
        return json.loads(done.output), done

    def refresh(self, report: Report, name: str, constitution: Path) -> tuple[int, Finished, float]:
        """Calls made, the finished command, and seconds of the data path."""
        made, done = self.command("refresh", constitution=constitution)
        steps = made["steps"]
        calls = sum(step["generated"] for step in steps if step["step"] != "pairs")
        path_s = sum(step["duration_s"] for step in steps)
        rate = self.count / path_s if calls else None
        report.row(f"solon, {name}", done, calls, (self.count / done.seconds, rate))
        report.target(f"{name}: peak MB", max(done.all_mb, done.largest_mb), MEMORY_MB)
        return calls, done, path_s

    def plan(self, report: Report, name: str, constitution: Path) -> int:
        """Calls it announces."""
        found, done = self.command("plan", "--until", "pairs", constitution=constitution)
        calls = int(found["cost"]["calls"][1])
        report.row(f"solon plan, {name}", done, calls, (self.count / done.seconds, None))
        report.target(f"plan, {name}: peak MB", max(done.all_mb, done.largest_mb), MEMORY_MB)
        report.target(f"plan, {name}: seconds", done.seconds, PLAN_S)
        return calls


def write_prompts(path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for n in range(count):
            text = f"Question {n}: how do {WORDS[n % 10]} relate to {WORDS[n // 10 % 10]}?"
            file.write(json.dumps({"prompt": text}) + "\n")


def write_edited(target: Path) -> None:
    """The constitution with a word more in the first principle's critique request."""
    text = CONSTITUTION.read_text(encoding="utf-8")
    target.write_text(text.replace("critique: ", "critique: Please. ", 1), encoding="utf-8")


def measure_solon(report: Report, folder: Path, prompts: Path, count: int) -> float:
    """Prompts/s of a fresh run's data path. Ends the program where a run made other calls."""
    solon, edited = Solon(folder, prompts, count), folder / "edited.yaml"
    write_edited(edited)
    calls, _, path_s = solon.refresh(report, "fresh", CONSTITUTION)
    expect("fresh", calls, 3 * count)
    expect("plan", solon.plan(report, "nothing to do", CONSTITUTION), 0)
    calls, done, _ = solon.refresh(report, "nothing to do", CONSTITUTION)
    expect("nothing to do", calls, 0)
    if count <= 10_000:
        report.target("nothing to do: seconds", done.seconds, NOTHING_TO_DO_S)
    planned = solon.plan(report, "one principle edited", edited)
    expect("edited", solon.refresh(report, "one principle edited", edited)[0], planned)
    return count / path_s


def expect(name: str, calls: int, wanted: int) -> None:
    if calls != wanted:
        raise SystemExit(f"{name}: {calls} calls, expected {wanted}: nothing was measured")


def measure_distilabel(
    report: Report, python: Path, prompts: Path, count: int
) -> Iterator[tuple[int, float, dict[str, str]]]:
    """Batch size, prompts/s of the data path, and versions; distilabel's own batch size first."""
    program = Path(__file__).parent / "distilabel_path.py"
    for batch in sorted({size for size in (DEFAULT_BATCH, 500, 2000, count) if size <= count}):
        with tempfile.TemporaryDirectory() as folder:
            command = [str(python), str(program), str(prompts), str(CONSTITUTION), folder]
            env = {"HF_HUB_OFFLINE": "1", "HF_HOME": folder}
            name = f"distilabel, batches of {batch}"
            done = run([*command, "--batch", str(batch)], env, name)
        found = json.loads(done.output.strip().splitlines()[-1])
        path = count / found["path_s"]
        report.row(name, done, 3 * count, (count / done.seconds, path))
        yield batch, path, found["versions"]


def compare(report: Report, ours: float, theirs: list[tuple[int, float, dict[str, str]]]) -> None:
    print("\nData path, Solon's rate over distilabel's:", end=" ")
    print(", ".join(f"{ours / rate:.1f} (batches of {batch})" for batch, rate, _ in theirs) + ".")
    if (times := ours / theirs[0][1]) < TIMES_DISTILABEL:
        wanted = f"target at least {TIMES_DISTILABEL}"
        report.missed.append(f"times distilabel's default: {times:.1f}, {wanted}")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--large", action="store_true", help="100,000 prompts, no distilabel")
    parser.add_argument("--skip-distilabel", action="store_true")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="for its environment")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a target is missed")
    given = parser.parse_args()
    if given.large:
        given.prompts, given.skip_distilabel = 100_000, True
    return given


def main() -> None:
    given = read_arguments()
    python = None if given.skip_distilabel else prepare(given.cache)
    versions = {name: version(name) for name in ("duckdb", "prefect")}
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        write_prompts(prompts, given.prompts)
        report = Report()
        ours = measure_solon(report, Path(folder), prompts, given.prompts)
        if python is not None:
            theirs = list(measure_distilabel(report, python, prompts, given.prompts))
            compare(report, ours, theirs)
            versions |= theirs[0][2]
    used = ", ".join(f"{name} {number}" for name, number in versions.items())
    print(f"\n{given.prompts} prompts. Python {platform.python_version()}, {used}.")
    print("\n".join(f"MISSED {line}" for line in report.missed) or "Every target measured was met.")
    sys.exit(1 if given.check and report.missed else 0)


if __name__ == "__main__":
    main()
