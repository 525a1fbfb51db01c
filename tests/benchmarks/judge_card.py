"""The report card of a model as a judge of gold pairs.

    python tests/benchmarks/judge_card.py GOLD [--model REF] [--zero-shot] [--principle SLUG]
        [--limit N]

GOLD: a file as `tasks/judging/gold.py` reads it. The model is the embedded one. All pairs are asked
about by one question of the default constitution, unless a row names its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import closing
from pathlib import Path

from constitution.load import load as load_constitution
from constitution.load import resolve
from flows.plan.recipe import load
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.engines.child import WorkerEngine
from tasks.judging import memo
from tasks.judging.card import report_card, row_of
from tasks.judging.card_text import markdown
from tasks.judging.comparisons import Comparison
from tasks.judging.gold import read_gold
from tasks.judging.judge import Judge
from tasks.models import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description="A judge's report card.")
    parser.add_argument("gold", type=Path)
    parser.add_argument("--model", help="a model reference, or the embedded one")
    parser.add_argument("--zero-shot", action="store_true")
    parser.add_argument("--principle", default="answer-the-question")
    parser.add_argument("--limit", type=int, help="of the pairs, from the first on")
    options = parser.parse_args()
    constitution = load_constitution(resolve("default"))
    gold = read_gold(options.gold)[: options.limit]
    with tempfile.TemporaryDirectory() as name:
        home = Workspace(Path(name) / "home").create()
        model = prepare(options.model or load("demo").model, home)
        judge = Judge(model.model_id, few_shot=not options.zero_shot)
        asked = [
            Comparison(
                judge,
                pair.prompt,
                constitution.principle(pair.principle or options.principle),
                pair.first,
                pair.second,
            )
            for pair in gold
        ]
        started = time.perf_counter()
        with closing(WorkerEngine(model.path, Path(name) / "judge.log")) as engine:
            ledger = Ledger(Path(name) / "ledger.duckdb")
            judged = memo.complete(ledger, engine, "run_card", asked)
        seconds = time.perf_counter() - started
    rows = [
        row_of(pair, comparison, judged[comparison.comparison_id])
        for pair, comparison in zip(gold, asked, strict=True)
    ]
    print(markdown(report_card(rows, judge.limits, judge.abstain)))
    print(f"{seconds:.0f} s, the model's loading included")


if __name__ == "__main__":
    main()
