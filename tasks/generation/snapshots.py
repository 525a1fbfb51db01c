"""From walks to the rows and snapshots that training reads. Pure functions and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass

from storage.ids import dataset_id
from tasks.generation.assemble import Example, Exclusion, Pair
from tasks.generation.choose import Chooser
from tasks.generation.decisions import Decision, pairs
from tasks.generation.labels import Contest
from tasks.generation.mixing import Members, Shared, mixed
from tasks.generation.teaching import Teaching
from tasks.generation.walk import Walk
from tasks.prompts import Prompt, is_held_out

NO_OPINIONS: Mapping[str, Contest] = {}
OVER = "over_ratio"


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
    not trained yet. `over`: rows of sets that are more than their ratio.
    """

    sft: Snapshot
    preferences: Snapshot
    left_out: Counter[tuple[str, str]]
    teaching: Teaching
    later: int = 0
    over: tuple[Exclusion, ...] = ()


class Assembler:
    """Turns one window's walk after another into rows; keeps their ids only, and in `decided` those
    that programs decided, the first `keep` by row id.
    """

    def __init__(self, chooser: Chooser, held_out_percent: int, keep: int = 0) -> None:
        self.chooser, self.held_out_percent, self.keep = chooser, held_out_percent, keep
        self.decided: list[Decision] = []
        self.later: list[Prompt] = []
        self._sft = Members(held_out_percent)
        self._preferences = Members(held_out_percent)
        self._shared: dict[str, list[Shared]] = {"sft": [], "preferences": []}
        self._theirs: dict[str, Decision] = {}  # of shared pairs, by pair
        self._left_out: Counter[tuple[str, str]] = Counter()
        self._teaching = Teaching()

    def open(self, walked: Walk) -> list[Decision]:
        """What a judge is asked about: pools that no program decides."""
        decided = (self.chooser.decide(pool) for pool in walked.pools)
        return [decision for decision in decided if decision.is_open]

    def add(
        self,
        walked: Walk,
        opinions: Mapping[str, Contest] = NO_OPINIONS,
        ratio: float | None = None,
    ) -> WindowRows:
        """The rows of a walk in which no prompt waits; a judge's opinions by the pools' row ids.

        ratio: of a set of people's, as in mixing.py.
        """
        decisions = [self.chooser.decide(pool, opinions.get(pool.row_id)) for pool in walked.pools]
        decisions = [d for d in decisions if not self._is_there(d)]
        kept_examples, without_example = self.chooser.examples(walked.steps, decisions)
        kept_pairs, without_pair = pairs(decisions)
        exclusions = [*walked.exclusions, *without_example, *without_pair]
        self._take("sft", {e.example_id: e.prompt_id for e in kept_examples}, ratio)
        self._take("preferences", {p.pair_id: p.prompt_id for p in kept_pairs}, ratio)
        self._left_out.update((found.step, found.reason) for found in exclusions)
        if ratio is None:
            self._teaching.add(d for d in decisions if not self._is_held_out(d))
        else:
            made = (decision for decision in decisions if decision.contest)
            self._theirs |= dict(zip((p.pair_id for p in kept_pairs), made, strict=True))
        self.later += walked.later
        certain = (d for d in decisions if d.contest and d.contest.is_by_program)
        ordered = sorted([*self.decided, *certain], key=lambda d: d.pool.row_id)
        self.decided = ordered[: self.keep]
        return WindowRows(kept_examples, kept_pairs, exclusions)

    def demonstrate(
        self, examples: list[Example], left_out: list[Exclusion], ratio: float | None
    ) -> WindowRows:
        """Take in demonstrations that people brought."""
        self._take("sft", {e.example_id: e.prompt_id for e in examples}, ratio)
        self._left_out.update((found.step, found.reason) for found in left_out)
        return WindowRows(examples, [], left_out)

    def _take(self, kind: str, prompts: Mapping[str, str], ratio: float | None) -> None:
        if ratio is None:
            (self._sft if kind == "sft" else self._preferences).add(prompts)
        elif prompts:
            self._shared[kind].append(Shared(ratio, prompts))

    def _is_there(self, decision: Decision) -> bool:
        """Whether a pair that people brought is one that was made here as well."""
        if decision.pool.source != "people":
            return False
        return any(pair.pair_id in self._preferences for pair in pairs([decision])[0])

    def _is_held_out(self, decision: Decision) -> bool:
        return is_held_out(decision.pool.prompt.prompt_id, self.held_out_percent)

    def rows(self) -> Rows:
        """The snapshots of everything added so far."""
        sft, over_sft = mixed(self._sft, self._shared["sft"])
        preferences, over_pairs = mixed(self._preferences, self._shared["preferences"])
        over = (
            *(Exclusion(row_id, "examples", OVER) for row_id in over_sft),
            *(Exclusion(row_id, "pairs", OVER) for row_id in over_pairs),
        )
        left_out = self._left_out + Counter((found.step, found.reason) for found in over)
        snapshots = _snapshot("sft", sft), _snapshot("preferences", preferences)
        return Rows(*snapshots, left_out, self._taught(preferences), len(self.later), over)

    def _taught(self, preferences: Members) -> Teaching:
        """What the pairs teach, those of sets among them that were taken."""
        theirs = [d for pair_id, d in self._theirs.items() if pair_id in preferences.training]
        if not theirs:
            return self._teaching
        teaching = deepcopy(self._teaching)
        teaching.add(theirs)
        return teaching


def prompt_snapshot(prompts: Sequence[Prompt], held_out_percent: int) -> Snapshot:
    """The prompts PPO samples, and those every evaluation answers."""
    members = Members(held_out_percent)
    members.add({p.prompt_id: p.prompt_id for p in prompts})
    return _snapshot("prompts", members)


def _snapshot(kind: str, members: Members) -> Snapshot:
    return Snapshot(kind, tuple(sorted(members.training)), tuple(sorted(members.held_out)))
