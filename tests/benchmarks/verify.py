"""How long `solon verify` takes over a ledger of a million completions.

    python tests/benchmarks/verify.py [--completions 1000000] [--keep FOLDER]

Builds a ledger of drafts, critiques and revisions with the ids that real ones would have, their
examples, pairs and a snapshot of each, then runs the real command as a process of its own. Prints
seconds and rate; exit code 1 where something is wrong, or it takes more than a minute.
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

from storage.ids import content_id
from storage.ledger import Columns, Ledger, insert, insert_columns, now
from storage.workspace import Workspace
from tasks.generation.assemble import Example, Pair, Step
from tasks.generation.calls import Answer, Call, CallForm, Sampling, Turn
from tasks.generation.record import record_model, record_prompts
from tasks.generation.record_rows import record_rows, record_snapshot
from tasks.generation.snapshots import Snapshot, WindowRows
from tasks.prompts import Prompt

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 60.0
WINDOW = 10_000  # prompts at a time
WORDS = ["slug", "Name what is wrong.", "Mend it.", "Which is better?"]
MODEL, PRINCIPLE = content_id("model", "bench"), content_id("principle", WORDS)
SAMPLING = Sampling(0.7, 1.0, 128, 1024)
SHOWN = ({"role": "user", "content": "A question."}, {"role": "assistant", "content": "Yes."})
STEPS = ("draft", "critique", "revision")
TEXT = "The answer to question {} is not known, and nobody has asked for it in this way before. "


def build(home: Path, completions: int) -> None:
    ledger = Ledger(Workspace(home).create().ledger)
    run = {"run_id": "run_bench", "recipe": "bench", "settings": "{}", "state": "completed"}
    names = ("slug", "critique", "revision", "comparison")
    words = dict(zip(names, WORDS, strict=True))
    with ledger.transaction() as con:
        insert(con, "runs", [run | {"started_at": now(), "ended_at": now()}])
        insert(con, "principles", [words | {"principle_id": PRINCIPLE, "created_at": now()}])
        few = {"few_shot_id": content_id("few_shot", list(SHOWN)), "messages": json.dumps(SHOWN)}
        insert(con, "few_shots", [few])
    record_model(ledger, MODEL, "random", "random:tiny")
    forms = [CallForm(s, MODEL, SAMPLING, SHOWN if s != "draft" else ()) for s in STEPS]
    members: dict[str, list[str]] = {"sft": [], "preferences": []}
    total = completions // len(STEPS)
    for first in range(0, total, WINDOW):
        rows = _window(ledger, forms, range(first, min(first + WINDOW, total)))
        members["sft"] += [example.example_id for example in rows.examples]
        members["preferences"] += [pair.pair_id for pair in rows.pairs]
    for kind, ids in members.items():
        record_snapshot(ledger, "run_bench", Snapshot(kind, tuple(ids), ()))


def _window(ledger: Ledger, forms: list[CallForm], numbers: range) -> WindowRows:
    prompts = [_prompt(number) for number in numbers]
    record_prompts(ledger, prompts)
    calls = [
        form.call(p.prompt_id, ({"role": "user", "content": f"{form.step} {TEXT.format(n) * 4}"},))
        for n, p in zip(numbers, prompts, strict=True)
        for form in forms
    ]
    answers = [Answer(c.completion_id, TEXT.format(n) * 3, "stop", 30) for n, c in enumerate(calls)]
    with ledger.transaction() as con:
        insert_columns(con, "completions", _columns(calls, answers))
    steps, examples, pairs = [], [], []
    for n, prompt in enumerate(prompts):
        draft, critique, revision = answers[3 * n : 3 * n + 3]
        step = Step(Turn(prompt, draft, ()), 0, PRINCIPLE, critique, revision)
        named = prompt.prompt_id, revision.completion_id, revision.text
        steps.append(step)
        examples.append(Example(*named, "revision", step.revision_id))
        pair = Pair(prompt.prompt_id, revision, draft, "revision", revision_id=step.revision_id)
        pairs.append(pair)
    rows = WindowRows(examples, pairs, [])
    record_rows(ledger, "run_bench", steps, rows, lambda label: (None, None))
    return rows


def _prompt(number: int) -> Prompt:
    turn = {"role": "user", "content": f"Question {number}? {TEXT.format(number)}"}
    return Prompt((turn,), "bench", "bench", number + 1)


def _columns(calls: list[Call], answers: list[Answer]) -> Columns:
    fixed = {
        "model_id": MODEL,
        "run_id": "run_bench",
        "finish_reason": "stop",
        "cut_at": 0,
        "temperature": SAMPLING.temperature,
        "top_p": SAMPLING.top_p,
        "sample_index": 0,
        "prompt_tokens": 90,
        "completion_tokens": 30,
        "engine": "bench",
        "device": "cpu",
        "dtype": "float32",
        "batch_rows": 32,
        "duration_s": 0.0,
        "created_at": now(),
    }
    return {name: [value] * len(calls) for name, value in fixed.items()} | {
        "completion_id": [call.completion_id for call in calls],
        "prompt_id": [call.prompt_id for call in calls],
        "few_shot_id": [call.few_shot_id for call in calls],
        "step": [call.step for call in calls],
        "request": [call.request for call in calls],
        "text": [answer.text for answer in answers],
    }


def measure(home: Path) -> tuple[float, float, str]:
    """Seconds of the clock and of the processor, and the last line that was said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "flows.commands.cli", "verify"],
        cwd=ROOT,
        env=os.environ | {"SOLON_HOME": str(home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return seconds, cpu, " ".join(done.stdout.splitlines()[-1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--completions", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="Build the workspace here, and leave it.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = asked.keep or Path(folder) / "home"
        started = time.monotonic()
        if not (home / "ledger.duckdb").exists():
            build(home, asked.completions)
        built = time.monotonic() - started
        seconds, cpu, said = measure(home)
        size = (home / "ledger.duckdb").stat().st_size / 1e6
    print(f"built in {built:.0f} s: {size:.0f} MB")
    print(f"{asked.completions} completions: {seconds:.1f} s ({cpu:.1f} s of processor)")
    print(said)
    return int(seconds > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
