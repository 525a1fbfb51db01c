"""From walks to the rows and snapshots that training reads. Pure functions and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from storage.ids import dataset_id
from tasks.generation.assemble import Example, Exclusion, Pair
from tasks.generation.choose import Chooser, Decision, pairs
from tasks.generation.labels import Contest
from tasks.generation.teaching import Teaching
from tasks.generation.walk import Walk
from tasks.prompts import Prompt, is_held_out

NO_OPINIONS: Mapping[str, Contest] = {}


@dataclass(frozen=True)
class Snapshot:
    """An immutable set of rows: those to train on and those held out, by id, both sorted."""

    kind: str
    training: tuple[str, ...]
    held_out: tuple[str, ...]

    @property
    def row_count(self) -> int:
        return len(self.training) + len(self.held_out)

    @property
    def dataset_id(self) -> str:
        return dataset_id(self.kind, self.training, self.held_out)


@dataclass(frozen=True)
class WindowRows:
    """What one window's walk gave."""

    examples: list[Example]
    pairs: list[Pair]
    exclusions: list[Exclusion]


@dataclass(frozen=True)
class Rows:
    """The snapshots of all windows, how many rows were left out by (step, reason), and what the
    pairs teach. `later`: prompts that have no pair yet, as their candidates are of a model that is
    not trained yet.
    """

    sft: Snapshot
    preferences: Snapshot
    left_out: Counter[tuple[str, str]]
    teaching: Teaching
    later: int = 0


class Assembler:
    """Turns one window's walk after another into rows; keeps their ids only, and in `decided` those
    that programs decided, the first `keep` by row id.
    """

    def __init__(self, chooser: Chooser, held_out_percent: int, keep: int = 0) -> None:
        self.chooser, self.held_out_percent, self.keep = chooser, held_out_percent, keep
        self.decided: list[Decision] = []
        self.later: list[Prompt] = []
        self._sft = _Members(held_out_percent)
        self._preferences = _Members(held_out_percent)
        self._left_out: Counter[tuple[str, str]] = Counter()
        self._teaching = Teaching()

    def open(self, walked: Walk) -> list[Decision]:
        """What a judge is asked about: pools that no program decides."""
        decided = (self.chooser.decide(pool) for pool in walked.pools)
        return [decision for decision in decided if decision.is_open]

    def add(self, walked: Walk, opinions: Mapping[str, Contest] = NO_OPINIONS) -> WindowRows:
        """The rows of a walk in which no prompt waits; a judge's opinions by the pools' row ids."""
        decisions = [self.chooser.decide(pool, opinions.get(pool.row_id)) for pool in walked.pools]
        decisions = [d for d in decisions if not self._is_there(d)]
        kept_examples, without_example = self.chooser.examples(walked.steps, decisions)
        kept_pairs, without_pair = pairs(decisions)
        exclusions = [*walked.exclusions, *without_example, *without_pair]
        self._sft.add((e.example_id, e.prompt_id) for e in kept_examples)
        self._preferences.add((p.pair_id, p.prompt_id) for p in kept_pairs)
        self._left_out.update((found.step, found.reason) for found in exclusions)
        self._teaching.add(d for d in decisions if not self._is_held_out(d))
        self.later += walked.later
        certain = (d for d in decisions if d.contest and d.contest.is_by_program)
        ordered = sorted([*self.decided, *certain], key=lambda d: d.pool.row_id)
        self.decided = ordered[: self.keep]
        return WindowRows(kept_examples, kept_pairs, exclusions)

    def _is_there(self, decision: Decision) -> bool:
        """Whether a pair that people brought is one that was made here as well."""
        if decision.pool.source != "people":
            return False
        return any(pair.pair_id in self._preferences for pair in pairs([decision])[0])

    def _is_held_out(self, decision: Decision) -> bool:
        return is_held_out(decision.pool.prompt.prompt_id, self.held_out_percent)

    def rows(self) -> Rows:
        """The snapshots of everything added so far."""
        sft, preferences = self._sft.snapshot("sft"), self._preferences.snapshot("preferences")
        return Rows(sft, preferences, self._left_out, self._teaching, len(self.later))


def prompt_snapshot(prompts: Sequence[Prompt], held_out_percent: int) -> Snapshot:
    """The prompts PPO samples, and those every evaluation answers."""
    members = _Members(held_out_percent)
    members.add((p.prompt_id, p.prompt_id) for p in prompts)
    return members.snapshot("prompts")


@dataclass
class _Members:
    """Rows split by the prompt they belong to, so that no prompt is on both sides."""

    held_out_percent: int
    training: set[str] = field(default_factory=set)
    held_out: set[str] = field(default_factory=set)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self.training or row_id in self.held_out

    def add(self, members: Iterable[tuple[str, str]]) -> None:
        """Take (row id, prompt id) in."""
        for row_id, prompt_id in members:
            side = is_held_out(prompt_id, self.held_out_percent)
            (self.held_out if side else self.training).add(row_id)

    def snapshot(self, kind: str) -> Snapshot:
        return Snapshot(kind, tuple(sorted(self.training)), tuple(sorted(self.held_out)))
