"""What each kind of edit costs, planned and then done: 2,000 prompts, 16 principles.

    python tests/benchmarks/edits.py [--prompts 2000] [--data FOLDER]

Prompts come from a folder of public sets where one is given, else they are made up. The engine is
scripted, the ledger and the plan are real. Prints a Markdown table; exit code 1 where a plan is not
what happened or an edit costs more than it touches.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "flows")]

from world import World, reworded  # noqa: E402

from constitution.load import load  # noqa: E402
from constitution.schema import Constitution, Principle  # noqa: E402
from flows.plan.inputs import Inputs  # noqa: E402
from flows.plan.planner import Plan  # noqa: E402
from tasks.prompts import read_prompts  # noqa: E402

PRINCIPLES = 16
SETS = (
    *("hh_harmless-base_pairs.jsonl.gz", "hh_helpful-base_pairs.jsonl.gz"),
    *("alpaca_en_demo.json", "self_instruct_user_oriented.jsonl"),
)
NEW = Principle("say-when", "Say when", "Is it dated?", "Say when it was true.", "Which is dated?")


@dataclass(frozen=True)
class Edit:
    """One edit and what it may cost at most, in rows of the first round (None: no limit)."""

    name: str
    inputs: Inputs
    first_round: int | None
    is_exact: bool = True


@dataclass(frozen=True)
class Outcome:
    """What was planned and what was made, in calls."""

    edit: Edit
    plan: Plan
    made: Counter[str]

    @property
    def planned(self) -> tuple[int, int]:
        low, high = self.plan.cost["calls"]
        return int(low), int(high)

    @property
    def first_planned(self) -> list[int]:
        step = self.plan.steps["critiques"]
        return list(step.rounds[0]["to_generate"]) if step.rounds else [0, 0]

    @property
    def faults(self) -> list[str]:
        first, total = self.made["critiques0"], sum(self.made.values())
        found = []
        if self.first_planned != [first, first] and not self.made["drafts"]:
            found.append(f"first round: planned {self.first_planned}, made {first}")
        if not self.planned[0] <= total <= self.planned[1]:
            found.append(f"calls: planned {self.planned}, made {total}")
        limit = self.edit.first_round
        if limit is not None and (first > limit or (self.edit.is_exact and first != limit)):
            found.append(f"first round: touches {limit}, made {first}")
        return found


def write_prompts(path: Path, data: Path | None, count: int) -> None:
    """`count` prompts: of the public sets, an equal share of each; else made up."""
    with path.open("w", encoding="utf-8") as file:
        for messages in _public(data, count) if data else _made_up(count):
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def _public(data: Path, count: int) -> Iterator[list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for name in SETS:
        for prompt in read_prompts(str(data / name)).prompts:
            found[prompt.prompt_id] = list(prompt.messages)
    yield from [found[key] for key in sorted(found)][:count]


def _made_up(count: int) -> Iterator[list[dict[str, str]]]:
    for number in range(count):
        yield [{"role": "user", "content": f"Question {number}: why?"}]


def sixteen() -> Constitution:
    constitution = load(ROOT / "constitution" / "default.yaml")
    return replace(constitution, principles=constitution.principles[:PRINCIPLES])


def edits(world: World, base: Inputs) -> Iterator[Edit]:
    """Every kind of edit, with what it touches in the first round."""
    constitution, slug = base.constitution, base.constitution.principles[3].slug
    method = base.method
    touched = sum(method.principles(p)[0].slug == slug for p in base.prompts)
    share = len(base.prompts) / (PRINCIPLES + 1)
    limit = math.floor(share + 3 * math.sqrt(share * PRINCIPLES / (PRINCIPLES + 1)))

    def with_principles(*principles: Principle) -> Inputs:
        return replace(base, constitution=replace(constitution, principles=principles))

    old = constitution.principles
    words = replace(base, constitution=reworded(slug, "critique")(constitution))
    yield Edit("critique request of one principle", words, touched)
    yield Edit("undo it", base, 0)
    revision = replace(base, constitution=reworded(slug, "revision")(constitution))
    yield Edit("revision request of one principle", revision, 0)
    yield Edit("add a principle", with_principles(*old, NEW), limit, is_exact=False)
    yield Edit("remove a principle", with_principles(*[p for p in old if p.slug != slug]), touched)
    yield Edit("put them in another order", with_principles(*reversed(old)), 0)
    yield Edit("new titles and tags", with_principles(*map(_retitled, old)), 0)
    yield Edit("other indentation of the file", replace(base, constitution=_indented()), 0)
    yield Edit("`max_new_tokens` doubled", _doubled(world, base), None)
    yield Edit("undo everything", base, 0)


def _retitled(principle: Principle) -> Principle:
    return replace(principle, title=principle.title + "!", tags=("other",))


def _indented() -> Constitution:
    """The file written anew by another program, and read."""
    text = (ROOT / "constitution" / "default.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    content["principles"] = content["principles"][:PRINCIPLES]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "other.yaml"
        text = yaml.safe_dump(content, indent=6, width=60, sort_keys=False, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return load(path)


def _doubled(world: World, base: Inputs) -> Inputs:
    limits = base.recipe.generation.max_new_tokens.model_dump()
    longer = {f"generation.max_new_tokens.{k}": 2 * v for k, v in limits.items()}
    return replace(world.read(**longer), constitution=base.constitution)


def measure(home: Path, prompts: Path, rounds: int) -> Iterator[Outcome]:
    """Plan and do one edit after another in one ledger."""
    settings = {"prompts.path": str(prompts), "prompts.limit": None, "generation.rounds": rounds}
    world = World(home, **settings)
    base = replace(world.inputs, constitution=sixteen())
    fresh = Edit("(everything, at first)", base, len(base.prompts))
    yield Outcome(fresh, world.plan(base), world.run(base))
    for edit in edits(world, base):
        yield Outcome(edit, world.plan(edit.inputs), world.run(edit.inputs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--data", type=Path, help="a folder of public prompt sets")
    options = parser.parse_args()
    faults = []
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        write_prompts(prompts, options.data, options.prompts)
        print("| rounds | edit | first critiques: planned | made | calls: planned | made | s |")
        print("|---|---|---|---|---|---|---|")
        for rounds in (1, 3):
            started = time.monotonic()
            for found in measure(Path(folder) / f"home{rounds}", prompts, rounds):
                low, high = found.planned
                calls = f"{low:,}" if low == high else f"{low:,} to {high:,}"
                first = " to ".join(f"{n:,}" for n in dict.fromkeys(found.first_planned))
                took, started = time.monotonic() - started, time.monotonic()
                cells = (rounds, found.edit.name, first, f"{found.made['critiques0']:,}", calls)
                total = f"{sum(found.made.values()):,}"
                print("|", " | ".join(map(str, (*cells, total, f"{took:.1f}"))), "|", flush=True)
                faults += [f"{rounds} rounds, {found.edit.name}: {f}" for f in found.faults]
    print("\n".join(faults) or "\nevery plan was what happened")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
