"""What each kind of edit costs, planned and then done: 2,000 prompts, 16 principles.

    python tests/benchmarks/edits.py [--prompts 2000] [--data FOLDER] [--sources] [--rounds 1 3]

Prompts come from a folder of public sets where one is given, else they are made up. The engine is
scripted, the ledger and the plan are real. `--sources`: with pairs of every source, checks and a
judge, not of revisions alone. Prints a Markdown table; exit code 1 where a plan is not what
happened or an edit costs more than it touches.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import edits_of_sources
from edited import NEW, PRINCIPLES, doubled, indented, sixteen, write_prompts
from world import World, reworded

from constitution.schema import Principle
from flows.plan.inputs import Inputs
from flows.plan.planner import Plan


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
    yield Edit("other indentation of the file", replace(base, constitution=indented()), 0)
    yield Edit("`max_new_tokens` doubled", doubled(world, base), None)
    yield Edit("undo everything", base, 0)


def _retitled(principle: Principle) -> Principle:
    return replace(principle, title=principle.title + "!", tags=("other",))


def measure(home: Path, prompts: Path, rounds: int) -> Iterator[Outcome]:
    """Plan and do one edit after another in one ledger."""
    settings = {"prompts.path": str(prompts), "prompts.limit": None, "generation.rounds": rounds}
    world = World(home, **settings)
    base = replace(world.inputs, constitution=sixteen())
    fresh = Edit("(everything, at first)", base, len(base.prompts))
    yield Outcome(fresh, world.plan(base), world.run(base))
    for edit in edits(world, base):
        yield Outcome(edit, world.plan(edit.inputs), world.run(edit.inputs))


def table_of_revisions(folder: Path, prompts: Path, all_rounds: Sequence[int]) -> list[str]:
    """Print the table of edits where pairs are revisions over drafts; returns the faults."""
    faults = []
    print("| rounds | edit | first critiques: planned | made | calls: planned | made | s |")
    print("|---|---|---|---|---|---|---|")
    for rounds in all_rounds:
        started = time.monotonic()
        for found in measure(folder / f"home{rounds}", prompts, rounds):
            first = " to ".join(f"{n:,}" for n in dict.fromkeys(found.first_planned))
            took, started = time.monotonic() - started, time.monotonic()
            cells = (rounds, found.edit.name, first, f"{found.made['critiques0']:,}")
            total = f"{sum(found.made.values()):,}"
            row = (*cells, edits_of_sources.spanned(*found.planned), total, f"{took:.1f}")
            print("|", " | ".join(map(str, row)), "|", flush=True)
            faults += [f"{rounds} rounds, {found.edit.name}: {f}" for f in found.faults]
    return faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--data", type=Path, help="a folder of public prompt sets")
    parser.add_argument("--sources", action="store_true", help="pairs of every source, and a judge")
    parser.add_argument("--rounds", type=int, nargs="+", default=[1, 3])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        prompts = Path(folder) / "prompts.jsonl"
        write_prompts(prompts, options.data, options.prompts)
        table = edits_of_sources.table if options.sources else table_of_revisions
        faults = table(Path(folder), prompts, options.rounds)
    print("\n".join(faults) or "\nevery plan was what happened")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
