"""How fast a judge compares: options after one pass of each prompt, worked comparisons read once.

    python tests/benchmarks/judge.py [--comparisons 32] [--model DIR] [--check]

The embedded model answers comparison requests in both orders behind the worked comparisons, twice
in one run: one text at a time (a batch of one, the whole prompt anew for each option), then as the
engine does it. With `--check` the exit code is 1 where that is less than five times as fast, or,
with `--dtype float32`, where the figures are not the same; bfloat16 rounds them, by 0.06 here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from constitution.load import load as load_constitution
from constitution.load import resolve
from constitution.render import COMPARISON_ANSWERS, comparison_messages, few_shot_comparison
from flows.plan.recipe import load
from storage.workspace import Workspace
from tasks.engines.engine import Continuation
from tasks.engines.load import AdaptedModel
from tasks.engines.passes import score_texts
from tasks.engines.score import Scorer
from tasks.judging.figures import normalised
from tasks.machine import machine_name
from tasks.models import prepare

WORDS = 40  # of a response
LEAST = 5.0
CLOSE = 1e-4  # figures of the same question, in float32
SAID = (
    "The pharmacist looks at the label, asks what else is taken, and says how much is safe. Then "
    "she writes it down, so that nobody has to remember it at night, and counts the tablets. "
).split()


def questions(count: int) -> list[dict[str, Any]]:
    """Two options for each of `count` comparisons in both orders."""
    principles = load_constitution(resolve("default")).principles
    asked = []
    for n in range(count):
        talk = [{"role": "user", "content": f"Question {n}: what does a pharmacist do at night?"}]
        texts = [" ".join((SAID * 3)[start : start + WORDS]) for start in (n % 9, n % 9 + 11)]
        for first, second in (texts, texts[::-1]):
            request = comparison_messages(principles[n % len(principles)], talk, first, second)
            messages = [*few_shot_comparison(), *request]
            asked += [asdict(Continuation(messages, o, False)) for o in COMPARISON_ANSWERS]
    return asked


def one_by_one(scorer: Scorer, asked: Sequence[dict[str, Any]]) -> list[float]:
    """The log-probabilities without anything shared."""
    with scorer.model.use(None) as model:
        split = [q for n, a in enumerate(asked) for q in scorer._questions([(n, a)])]
        return [score_texts(model, None, [question])[0]["value"] for question in split]


def together(scorer: Scorer, asked: Sequence[dict[str, Any]]) -> list[float]:
    items = [item for batch, _ in scorer.score(asked) for item in batch]
    return [item["value"] for item in sorted(items, key=lambda item: item["index"])]


def main() -> None:
    parser = argparse.ArgumentParser(description="Comparisons per second.")
    parser.add_argument("--comparisons", type=int, default=32, help="each is asked in both orders")
    parser.add_argument("--model", type=Path, help="folder of a model (the embedded one)")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Workspace(Path(name) / "home").create()
        path = options.model or prepare(load("demo").model, home).path
        scorer = Scorer(AdaptedModel({"path": str(path), "dtype": options.dtype}))
        asked = questions(options.comparisons)
        together(scorer, asked[:8])  # what is loaded late is loaded
        found, seconds = [], []
        for way in (one_by_one, together):
            started = time.perf_counter()
            found.append(way(scorer, asked))
            seconds.append(time.perf_counter() - started)
    dtype = str(scorer.model.base.dtype).removeprefix("torch.")
    figures = [[normalised(*way[n : n + 2]) for n in range(0, len(way), 2)] for way in found]
    apart = max(abs(one - other) for one, other in zip(*figures, strict=True))
    rates = [options.comparisons / spent for spent in seconds]
    print(f"{machine_name()}, {dtype}, {len(asked) // 2} prompts, {len(asked)} options\n")
    print("| | seconds | comparisons/s, both orders |\n|---|---|---|")
    for label, spent, rate in zip(("one by one", "together"), seconds, rates, strict=True):
        print(f"| {label} | {spent:.1f} | {rate:.2f} |")
    print(f"\nratio {rates[1] / rates[0]:.1f}; figures differ by at most {apart:.1e}")
    differ = dtype == "float32" and apart > CLOSE
    if options.check and (rates[1] < LEAST * rates[0] or differ):
        raise SystemExit(f"less than {LEAST:g} times as fast, or not the same figures")


if __name__ == "__main__":
    main()
