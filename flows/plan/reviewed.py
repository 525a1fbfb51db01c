"""What reviewers are asked about: the pools of a recipe's rows as they are, without people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from flows.plan.data_plan import DataPlanner
from flows.plan.inputs import Inputs
from flows.plan.plan import Plan
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.generation.calls import Answer
from tasks.generation.choose import Chooser
from tasks.generation.decisions import NO_EVIDENCE, Decision
from tasks.generation.labels import Contest
from tasks.generation.reviewed import subject_in
from tasks.generation.teaching import strongest
from tasks.generation.walk import Walk
from tasks.hygiene.same import is_unchanged
from tasks.judging import memo as judging
from tasks.judging.comparisons import Comparison, Judged
from tasks.judging.opinions import Case, case_of, opinions
from tasks.review.queue import Item
from tasks.review.verdicts import Reviews

Pair = tuple[Answer, Answer]


def review_items(inputs: Inputs, workspace: Workspace, ledger: Ledger) -> list[Item]:
    """Two answers of every pool that rows are made of now, as far as the ledger has its answers:
    those of its pair or, where no program or judge decided, those that are the least told apart.
    """
    planner = DataPlanner(inputs, workspace, ledger, Plan(), "pairs")
    chooser = replace(planner.assembler.chooser, reviews=Reviews())
    items: list[Item] = []

    def take(walked: Walk) -> None:
        items.extend(_items(inputs, ledger, chooser, walked))

    planner.on_walked = take
    planner.make()
    return items


def _items(inputs: Inputs, ledger: Ledger, chooser: Chooser, walked: Walk) -> list[Item]:
    pools = [pool for pool in walked.pools if pool.source != "people"]
    decisions = {pool.row_id: chooser.decide(pool) for pool in pools}
    cases, judged = _judged(inputs, ledger, chooser, list(decisions.values()))
    told = opinions([case for case in cases.values() if _is_told(case, judged)], judged)
    found = []
    for row_id, decision in decisions.items():
        case = cases.get(row_id)
        if row_id in told:
            decision = chooser.decide(decision.pool, told[row_id])
        if decision.reason in ("", NO_EVIDENCE):
            found.append(_item(decision, case, judged))
    return [item for item in found if item]


def _judged(
    inputs: Inputs, ledger: Ledger, chooser: Chooser, decisions: Sequence[Decision]
) -> tuple[dict[str, Case], dict[str, Judged]]:
    """The judge's cases by row id, and what it has said to their comparisons."""
    judge = inputs.judge
    if judge is None:
        return {}, {}
    assigner = inputs.method.assigner
    cases = {
        decision.pool.row_id: case_of(judge, assigner, decision, chooser.without)
        for decision in decisions
        if decision.is_open
    }
    asked = [comparison for case in cases.values() for comparison in case.comparisons]
    return cases, judging.look_up(ledger, asked)


def _is_told(case: Case, judged: dict[str, Judged]) -> bool:
    return all(comparison.comparison_id in judged for comparison in case.comparisons)


def _item(decision: Decision, case: Case | None, judged: dict[str, Judged]) -> Item | None:
    pool, contest = decision.pool, decision.contest
    two = (contest.chosen, contest.rejected) if contest else _least_told(decision, case, judged)
    if two is None or is_unchanged(two[0].text, two[1].text):
        return None
    subject = subject_in(pool, *two)
    chosen = subject.first == two[0].text.strip()
    return Item(
        subject,
        pool.prompt.messages,
        pool.principles,
        pool.row_id,
        ("first" if chosen else "second") if contest else None,
        strongest(label.by for label in contest.labels) if contest else "none",
        _margin(contest),
        _disagreement(_asked_of(case, two), judged),
    )


def _least_told(decision: Decision, case: Case | None, judged: dict[str, Judged]) -> Pair | None:
    """Of a pool without a pair: the two about which the judge contradicts itself the most, else the
    first two that differ.
    """
    if case is not None and case.questions:
        pairs = [(case.answers[i], case.answers[j]) for i, j in case.questions]
        return max(pairs, key=lambda pair: _disagreement(_asked_of(case, pair), judged))
    winners = (answer for answer in decision.pool.better if decision.may_win(answer))
    losers = [a for a in decision.pool.worse if a.completion_id in decision.losers]
    differing = ((x, y) for x in winners for y in losers if not is_unchanged(x.text, y.text))
    return next(differing, None)


def _margin(contest: Contest | None) -> float:
    return abs(2 * contest.preference - 1) if contest and contest.labels else 0.0


def _asked_of(case: Case | None, two: Pair) -> Sequence[Comparison]:
    """The judge's questions about these two."""
    if case is None:
        return ()
    ids = {answer.completion_id for answer in two}
    asked = (
        questions
        for (i, j), questions in case.questions.items()
        if {case.answers[i].completion_id, case.answers[j].completion_id} == ids
    )
    return next(asked, ())


def _disagreement(asked: Sequence[Comparison], judged: dict[str, Judged]) -> float:
    """How far the judge's two orders are apart where they name different answers, at most."""
    found = [0.0]
    for comparison in asked:
        orders = (
            judged[comparison.comparison_id].orders if comparison.comparison_id in judged else None
        )
        if orders and orders.forward is not None and orders.backward is not None:
            if (orders.forward - 0.5) * (orders.backward - 0.5) < 0:
                found.append(abs(orders.forward - orders.backward))
    return max(found)
