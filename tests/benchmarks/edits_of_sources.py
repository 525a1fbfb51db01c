"""Every kind of edit where pairs have every source, and programs and a judge label them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edited import NEW, doubled, indented, sixteen
from world import EVERY_SOURCE, JUDGE, World, reworded

from constitution.schema import Check, Constitution, Principle, WorkedAnswer
from flows.plan.constitutions import kept_as
from flows.plan.inputs import Inputs
from flows.plan.planner import Plan
from tasks.generation.sources import Source
from tasks.judging.comparisons import Comparison
from tasks.prompts import Prompt

STEPS = ("drafts", "critiques", "revisions", "samples", "comparisons")
CHECKS: tuple[Check, ...] = (
    *(("min_words", 20), ("max_words", 30), ("no_word", "harm")),
    *(("contains", "kind"), ("max_words", 45)),
)
EDITED = 3  # the principle that is edited, by its place; it has a check and a worked answer
WORKED = WorkedAnswer("Why is it kind?", "It is kind to ask, and the answer is that you should.")
Touches = Callable[[Comparison], bool]


@dataclass(frozen=True)
class Edit:
    """One edit. `calls`: what it costs exactly, by step; None where that cannot be told beforehand,
    and a step without a number makes none. `touches`: the comparisons about pairs that it may ask.
    `card`: the most new comparisons of the judge's report card.
    """

    name: str
    inputs: Inputs
    calls: Mapping[str, int | None] = field(default_factory=dict)
    touches: Touches = lambda comparison: False
    card: int | None = 0


@dataclass(frozen=True)
class Outcome:
    """What was planned and what was made, in calls by step. `strayed`: new comparisons about pairs
    that the edit does not touch; `card`: new ones of the report card. `is_done`: a plan after it is
    empty.
    """

    edit: Edit
    plan: Plan
    made: Counter[str]
    strayed: int
    card: int
    is_done: bool

    @property
    def planned(self) -> tuple[int, int]:
        low, high = self.plan.cost["calls"]
        return int(low), int(high)

    @property
    def faults(self) -> list[str]:
        found = [] if self.is_done else ["the plan after it is not empty"]
        for step in STEPS:
            low, high = self.plan.steps[step].to_generate
            made, told = self.made[step], self.edit.calls.get(step, 0)
            if not low <= made <= high:
                found.append(f"{step}: planned {low} to {high}, made {made}")
            if told is not None and made != told:
                found.append(f"{step}: touches {told}, made {made}")
        if self.edit.calls.keys() <= {"comparisons"} and self.planned[0] != self.planned[1]:
            found.append(f"planned {self.planned}, though every answer is there")
        if self.strayed:
            found.append(f"comparisons about {self.strayed} pairs that it does not touch")
        if self.edit.card is not None and self.card > self.edit.card:
            found.append(f"report card: touches {self.edit.card}, asked {self.card}")
        return found


def checked(constitution: Constitution) -> Constitution:
    """Every third principle with a check, one of these with a worked answer."""
    checks = dict(zip(range(0, len(constitution.principles), 3), CHECKS, strict=False))
    principles = [
        replace(p, check=checks.get(place), examples=(WORKED,) if place == EDITED else ())
        for place, p in enumerate(constitution.principles)
    ]
    return replace(constitution, principles=tuple(principles))


class Edits:
    """Every kind of edit of what `world` has just run, with what it touches."""

    def __init__(self, world: World, base: Inputs) -> None:
        self.world, self.base, self.method = world, base, base.method
        self.old = base.constitution.principles
        self.slug = self.old[EDITED].slug
        self.asked = list((world.asked | world.card).values())
        self.was_open = {c.prompt.prompt_id for c in world.asked.values()}

    def __iter__(self) -> Iterator[Edit]:
        yield from self._of_requests()
        yield from self._of_what_is_shown()
        yield from self._of_the_list()
        yield from self._of_settings()
        yield Edit("undo everything", self.base)

    def _of_requests(self) -> Iterator[Edit]:
        """Of a principle's three requests."""
        revised = [p for p in self._from("revision") if self._meets(p)]
        told = len(revised) if self.method.rounds == 1 else None
        touched = self._about(revised), len(revised)
        made: dict[str, int | None] = {"revisions": told, "comparisons": None}
        critique = self._reworded("critique")
        yield Edit("critique request", critique, made | {"critiques": told}, *touched)
        yield Edit("undo it", self.base)
        if self.method.rounds > 1:  # later rounds criticise what is revised
            made["critiques"] = None
        yield Edit("revision request", self._reworded("revision"), made, *touched)
        asking = sum(c.principle.slug == self.slug for c in self.asked)
        question = self._reworded("comparison")
        made = {"comparisons": asking}
        yield Edit("comparison question", question, made, self._asks, asking)

    def _of_what_is_shown(self) -> Iterator[Edit]:
        """Of what a teacher is shown, and of what a program checks."""
        taught = [p for p in self._from("distilled") if self._meets(p)]
        touched = self._about(taught), len(taught)
        made: dict[str, int | None] = {
            "samples": self.method.samples * len(taught),
            "comparisons": None,
        }
        yield Edit("title", self._reworded("title"), made, *touched)
        other = replace(WORKED, response=WORKED.response + " Ask again.")
        yield Edit("worked answer", self._changed(examples=(other,)), made, *touched)
        check, made = self._changed(check=("max_words", 20)), {"comparisons": None}
        yield Edit("check", check, made, self._opened, None)

    def _of_the_list(self) -> Iterator[Edit]:
        """Of the file."""
        yield self._moving("add a principle", (*self.old, NEW))
        yield self._moving("remove it", tuple(p for p in self.old if p.slug != self.slug))
        tagged = [replace(p, tags=("other",)) for p in reversed(self.old)]
        written = checked(indented()).principles
        yield Edit("order and tags", self._with(*tagged))
        yield Edit("indentation of the file", self._with(*written))

    def _moving(self, name: str, principles: tuple[Principle, ...]) -> Edit:
        """A list by which some prompts meet another principle."""
        inputs = self._with(*principles)
        old, new = self.method, inputs.method
        questions = 2  # a pair; see EVERY_SOURCE
        moved = [p for p in self.base.prompts if old.principles(p) != new.principles(p)]
        judged = [
            p
            for p in self.base.prompts
            if old.principles(p, questions) != new.principles(p, questions)
        ]
        ids = {p.prompt_id for p in (*moved, *judged)}
        revised = sum(old.source(p) == "revision" for p in moved)
        first = revised if old.rounds == 1 else None
        taught = sum(old.shown_to(p) != new.shown_to(p) for p in self._from("distilled"))
        made: dict[str, int | None] = {
            "critiques": first,
            "revisions": first,
            "samples": old.samples * taught,
            "comparisons": None,
        }
        return Edit(
            name, inputs, made, lambda c: c.prompt.prompt_id in ids or self._opened(c), len(ids)
        )

    def _of_settings(self) -> Iterator[Edit]:
        """Of the recipe."""
        revised = self._from("revision")
        made: dict[str, int | None] = dict.fromkeys(STEPS) | {"samples": 0}
        longer = self._with(inputs=doubled(self.world, self.base))
        yield Edit("`max_new_tokens` doubled", longer, made, self._about(revised), len(revised))
        samples = len(self._from("candidates")) + 2 * len(self._from("distilled"))
        there = {row["id"] for row in self.world.ledger.query(COMPLETIONS)}

        def is_new(comparison: Comparison) -> bool:
            return not {comparison.one.completion_id, comparison.other.completion_id} <= there

        more, made = self._set("pairs.samples", 5), {"samples": samples, "comparisons": None}
        yield Edit("one more sample a prompt", more, made, is_new, None)
        yield Edit("the judge's margin", self._set("judge.abstain", 0.5))
        yield self._sharing("another share of the sources", "pairs.shares.distilled", 2)

    def _sharing(self, name: str, key: str, value: float) -> Edit:
        """Another share of one source: prompts that move ask what their new source asks for."""
        inputs = self._set(key, value)
        source, later = self.method.source, inputs.method.source
        moved = [p for p in self.base.prompts if source(p) != later(p)]
        revised = self.method.rounds * sum(later(p) == "revision" for p in moved)
        asked = [self._answers(later(p)) - self._answers(source(p)) for p in moved]
        made: dict[str, int | None] = {
            "critiques": revised,
            "revisions": revised,
            "samples": sum(map(len, asked)),
            "comparisons": None,
        }
        return Edit(name, inputs, made, self._about(moved), len(moved))

    def _answers(self, source: Source) -> set[tuple[str, int]]:
        """Who answers a prompt of a source, and for which time: a draft is a model's first answer,
        where it is sampled as the others are.
        """
        count = 1 if source == "revision" else self.method.samples
        who = ("model", "teacher") if source == "distilled" else ("model",)
        return {(name, number) for name in who for number in range(count)}

    def _from(self, source: Source) -> list[Prompt]:
        return [p for p in self.base.prompts if self.method.source(p) == source]

    def _meets(self, prompt: Prompt) -> bool:
        return self.slug in {p.slug for p in self._own(prompt)}

    def _own(self, prompt: Prompt) -> tuple[Principle, ...]:
        """The principles that a prompt's pair is about."""
        is_revised = self.method.source(prompt) == "revision"
        return self.method.principles(prompt) if is_revised else self.method.shown_to(prompt)

    def _about(self, prompts: list[Prompt]) -> Touches:
        ids = {prompt.prompt_id for prompt in prompts}
        return lambda comparison: comparison.prompt.prompt_id in ids

    def _asks(self, comparison: Comparison) -> bool:
        return comparison.principle.slug == self.slug

    def _opened(self, comparison: Comparison) -> bool:
        """Whether a program decided the pair that is compared, by the edited check: the prompt's
        own, or one of all where all of its own have one.
        """
        prompt = comparison.prompt
        hinges = self._meets(prompt) or all(p.check for p in self._own(prompt))
        return hinges and prompt.prompt_id not in self.was_open

    def _reworded(self, name: str) -> Inputs:
        return self._with(*reworded(self.slug, name)(self.base.constitution).principles)

    def _changed(self, **fields: Any) -> Inputs:
        return self._with(*(replace(p, **fields) if p.slug == self.slug else p for p in self.old))

    def _set(self, key: str, value: Any) -> Inputs:
        return self._with(inputs=self.world.read(**{key: value}))

    def _with(self, *principles: Principle, inputs: Inputs | None = None) -> Inputs:
        """The inputs in force, or these, with these principles, or those in force."""
        constitution = replace(self.base.constitution, principles=principles or self.old)
        known = kept_as(self.world.ledger, constitution)
        return replace(inputs or self.base, constitution=constitution, kept_as=known)


COMPLETIONS = "SELECT DISTINCT completion_id AS id FROM completions"
COMPARISONS = "SELECT comparison_id AS id FROM comparisons"


def measure(home: Path, prompts: Path, rounds: int) -> Iterator[Outcome]:
    """Plan and do one edit after another in one ledger."""
    settings = {"prompts.path": str(prompts), "prompts.limit": None, "generation.rounds": rounds}
    world = World(home, **(settings | EVERY_SOURCE | {"pairs.max_new_tokens": 48}))
    base = replace(world.inputs, constitution=checked(sixteen()))
    everything = Edit("(everything, at first)", base, dict.fromkeys(STEPS), lambda c: True, None)
    yield _done(world, everything)
    for edit in Edits(world, base):
        yield _done(world, edit)


def _done(world: World, edit: Edit) -> Outcome:
    """Plan an edit, do it, and plan again."""
    plan = world.plan(edit.inputs)
    before = {row["id"] for row in world.ledger.query(COMPARISONS)}
    by_round = world.run(edit.inputs, engine=JUDGE)
    made = Counter(
        {step: sum(n for name, n in by_round.items() if name.startswith(step)) for step in STEPS}
    )
    asked = [c for found, c in world.asked.items() if found not in before]
    strayed = sum(not edit.touches(comparison) for comparison in asked)
    card = len(world.card.keys() - world.asked.keys() - before)
    return Outcome(edit, plan, made, strayed, card, world.plan(edit.inputs).is_empty)


def spanned(low: int, high: int) -> str:
    """A range of counts, for people."""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def table(folder: Path, prompts: Path, all_rounds: Sequence[int]) -> list[str]:
    """Print the table of edits; returns the faults."""
    faults = []
    names = ("rounds", "edit", "calls: planned", "made", *STEPS, "s")
    print("|", " | ".join(names), "|")
    print("|---" * len(names) + "|")
    for rounds in all_rounds:
        started = time.monotonic()
        for found in measure(folder / f"home{rounds}", prompts, rounds):
            took, started = time.monotonic() - started, time.monotonic()
            counts = (sum(found.made.values()), *(found.made[step] for step in STEPS))
            cells = (rounds, found.edit.name, spanned(*found.planned))
            row = (*cells, *(f"{count:,}" for count in counts), f"{took:.1f}")
            print("|", " | ".join(map(str, row)), "|", flush=True)
            faults += [f"{rounds} rounds, {found.edit.name}: {f}" for f in found.faults]
    return faults
