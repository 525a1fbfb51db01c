"""From walks to the rows and snapshots that training reads. Pure functions and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from constitution.schema import Constitution
from storage.ids import dataset_id
from tasks.generation.assemble import (
    Example,
    Exclusion,
    Pair,
    examples,
    faults_of,
    pairs,
)
from tasks.generation.walk import Walk
from tasks.hygiene.rows import phrases
from tasks.prompts import Prompt, is_held_out


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
    """What one window's walk gave. `examples`, `pairs`: by the revision id they come from."""

    examples: dict[str, Example]
    pairs: dict[str, Pair]
    exclusions: list[Exclusion]


@dataclass(frozen=True)
class Rows:
    """The snapshots of all windows, and how many rows were left out by (step, reason)."""

    sft: Snapshot
    preferences: Snapshot
    left_out: Counter[tuple[str, str]]


class Assembler:
    """Turns one window's walk after another into rows; keeps their ids only.

    `without`: the slug of a principle; rows in which it had a hand, in their own or an earlier
    round, are left out as "ablated".
    """

    def __init__(
        self,
        constitution: Constitution,
        held_out_percent: int,
        final_only: bool,
        without: str | None = None,
    ) -> None:
        self.final_only, self.without = final_only, without
        self._shown = phrases(
            text for e in constitution.examples for text in (e.response, e.critique, e.revision)
        )
        self._sft = _Members(held_out_percent)
        self._preferences = _Members(held_out_percent)
        self._left_out: Counter[tuple[str, str]] = Counter()

    def add(self, walked: Walk) -> WindowRows:
        """The rows of a walk in which no prompt waits."""
        faults = faults_of(walked.steps, self._shown)
        if self.without:
            owed = [step for step in walked.steps if self.without in step.slugs]
            faults |= {step.revision_id: "ablated" for step in owed}
        kept_examples, without_example = examples(walked.steps, self.final_only, faults)
        kept_pairs, without_pair = pairs(walked.drafts, walked.steps, faults)
        exclusions = [*walked.exclusions, *without_example, *without_pair]
        self._sft.add((e.example_id, e.prompt_id) for e in kept_examples.values())
        self._preferences.add((p.pair_id, p.prompt_id) for p in kept_pairs.values())
        self._left_out.update((found.step, found.reason) for found in exclusions)
        return WindowRows(kept_examples, kept_pairs, exclusions)

    def rows(self) -> Rows:
        """The snapshots of everything added so far."""
        return Rows(
            self._sft.snapshot("sft"), self._preferences.snapshot("preferences"), self._left_out
        )


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

    def add(self, members: Iterable[tuple[str, str]]) -> None:
        """Take (row id, prompt id) in."""
        for row_id, prompt_id in members:
            side = is_held_out(prompt_id, self.held_out_percent)
            (self.held_out if side else self.training).add(row_id)

    def snapshot(self, kind: str) -> Snapshot:
        return Snapshot(kind, tuple(sorted(self.training)), tuple(sorted(self.held_out)))
