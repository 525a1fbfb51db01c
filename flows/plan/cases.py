"""What the judge is asked of a walk: the same for a plan, which counts, and a run, which asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from constitution.schema import Constitution, Principle
from flows.plan.inputs import Inputs
from tasks.generation.calls import Answer
from tasks.generation.snapshots import Assembler
from tasks.generation.sources import Source
from tasks.generation.walk import Walk
from tasks.judging.comparisons import Comparison, questions
from tasks.judging.gold import GoldPair, graded
from tasks.judging.opinions import Case, case_of
from tasks.prompts import Prompt


def cases_of(inputs: Inputs, assembler: Assembler, walked: Walk) -> list[Case]:
    """The pools that no program decides, with the judge's questions; none without a judge."""
    judge, assigner = inputs.judge, inputs.method.assigner
    if judge is None:
        return []
    without = assembler.chooser.without
    return [case_of(judge, assigner, decision, without) for decision in assembler.open(walked)]


def most_comparisons(inputs: Inputs, source: Source) -> int:
    """How many comparisons a prompt of this source may ask for at most."""
    if inputs.judge is None:
        return 0
    answers = inputs.method.samples if source == "candidates" else 2
    return inputs.judge.n_principles * answers * (answers - 1) // 2


@dataclass(frozen=True)
class Gold:
    """Two responses of which the better one is known, and what the judge is asked about them."""

    pair: GoldPair
    questions: Sequence[Comparison]


def gold_of(inputs: Inputs, assembler: Assembler) -> list[Gold]:
    """What the judge's report card is made of: the recipe's file of gold pairs, and some of those
    that programs decided.
    """
    judge = inputs.judge
    if judge is None:
        return []
    by_slug = {principle.slug: principle for principle in inputs.constitution.principles}
    found = []
    for pair in (*inputs.gold, *graded(_decided(inputs.constitution, assembler))):
        if pair.principle in by_slug:
            principle = by_slug[pair.principle]
            asked = [Comparison(judge, pair.prompt, principle, pair.first, pair.second)]
        else:
            own = pair.prompt, pair.first, pair.second
            asked = questions(judge, inputs.method.assigner, *own)
        found.append(Gold(pair, asked))
    return found


def _decided(
    constitution: Constitution, assembler: Assembler
) -> Iterator[tuple[Prompt, Principle, Answer, Answer]]:
    for decision in assembler.decided:
        contest = decision.contest
        if contest is None:
            continue
        principle = constitution.principle(contest.labels[0].slug)
        yield decision.pool.prompt, principle, contest.chosen, contest.rejected


def most_gold(inputs: Inputs) -> int:
    """How many comparisons the judge's report card may ask for at most."""
    if inputs.judge is None:
        return 0
    return inputs.recipe.judge.card_pairs + len(inputs.gold) * inputs.judge.n_principles
