"""From a finished walk to the rows and snapshots that training reads. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from constitution.schema import Constitution
from tasks.generation.assemble import Example, Exclusion, Pair, examples, pairs, phrases
from tasks.generation.record import Snapshot
from tasks.generation.walk import Walk
from tasks.prompts import Prompt, is_held_out


@dataclass(frozen=True)
class Rows:
    """Everything a walk gave. `examples` and `pairs` are by the revision id they come from."""

    examples: dict[str, Example]
    pairs: dict[str, Pair]
    exclusions: list[Exclusion]
    sft: Snapshot
    preferences: Snapshot


def assemble(
    walked: Walk, constitution: Constitution, held_out_percent: int, final_only: bool
) -> Rows:
    """Rows and snapshots of a walk in which no prompt waits."""
    shown = phrases(
        text for e in constitution.examples for text in (e.response, e.critique, e.revision)
    )
    kept_examples, without_example = examples(walked.steps, final_only, shown)
    kept_pairs, without_pair = pairs(walked.drafts, walked.steps, shown)
    return Rows(
        kept_examples,
        kept_pairs,
        [*walked.exclusions, *without_example, *without_pair],
        _snapshot(
            "sft",
            [(e.example_id, e.prompt_id) for e in kept_examples.values()],
            held_out_percent,
        ),
        _snapshot(
            "preferences",
            [(p.pair_id, p.prompt_id) for p in kept_pairs.values()],
            held_out_percent,
        ),
    )


def prompt_snapshot(prompts: Sequence[Prompt], held_out_percent: int) -> Snapshot:
    """The prompts PPO samples, and those every evaluation answers."""
    return _snapshot("prompts", [(p.prompt_id, p.prompt_id) for p in prompts], held_out_percent)


def _snapshot(kind: str, members: Iterable[tuple[str, str]], percent: int) -> Snapshot:
    """Rows split by the prompt they belong to, so that no prompt is on both sides."""
    sides: dict[bool, set[str]] = {False: set(), True: set()}
    for row_id, prompt_id in members:
        sides[is_held_out(prompt_id, percent)].add(row_id)
    return Snapshot(kind, tuple(sorted(sides[False])), tuple(sorted(sides[True])))
