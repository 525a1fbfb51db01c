"""Evaluation of every checkpoint on what it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from flows.plan.answers import (
    POLICIES,
    REWARD,
    answer_calls,
    answer_count,
    policies_of,
)
from flows.plan.duels import duels_of
from flows.plan.needs import Need, evaluation_now
from flows.plan.questions import passages_of
from flows.run.ask import Asker
from flows.run.judge_card import judging_asker
from flows.run.policies import record_policies
from flows.run.session import Session
from flows.run.stages import ensure
from flows.run.verdicts import judge_policies
from storage.artifacts import artifact_path
from storage.ledger import insert
from tasks.evaluation.answers import REFERENCE, Answered, Policy, row_of, wanted_scores
from tasks.evaluation.measures import demanded, rules
from tasks.evaluation.metrics import summarise
from tasks.evaluation.ordinary import Passage
from tasks.evaluation.probes import Scored, score
from tasks.evaluation.rows import (
    ANSWERS,
    BASE,
    CHAMPION,
    NLLS,
    WINS,
    read_answers,
    read_nlls,
    write_rows,
)
from tasks.evaluation.scores import Key, Wanted
from tasks.evaluation.wins import Win, read_wins
from tasks.generation.record import record_prompts
from tasks.generation.record_rows import record_snapshot
from tasks.model_files import Digests


def evaluate_checkpoints(session: Session, checkpoints: Mapping[str, str]) -> str:
    """Base, SFT, DPO, PPO and the champion answer what is asked; returns the evaluation's id."""
    inputs, workspace, ledger = session.inputs, session.workspace, session.ledger
    need = evaluation_now(inputs, workspace, ledger, checkpoints)
    record_snapshot(ledger, session.run_id, need.snapshot)
    if ensure(session, need, partial(_evaluate, session, need)):
        session.results.of("evaluate").reused += answer_count(inputs, need.parents)
    _record_metrics(session, need.id)
    judge_policies(session.ledger, need.id, session.recipe.gate)
    return need.id


def _evaluate(session: Session, need: Need, out: Path) -> dict[str, Any]:
    """Have every policy's answers made and scored, as far as the ledger has not got them."""
    digests = Digests(session.workspace)
    policies = policies_of(session.inputs, session.workspace, need.parents, digests)
    digests.save()
    record_policies(session, policies.values())
    record_prompts(session.ledger, [question.prompt for question in session.inputs.questions])
    asker = Asker(session, "evaluate", lambda: session.workers.evaluator(list(policies.values())))
    asked = [policies[name] for name in (BASE, *POLICIES, CHAMPION) if name in policies]
    answered = [found for policy in asked for found in _answered(session, asker, policy)]
    judges = policies[REFERENCE], policies[REWARD]
    passages = passages_of(session.inputs)
    nlls = [passage.wanted(policy.model_id) for policy in asked for passage in passages]
    wanted = sorted([*wanted_scores(answered, *judges), *nlls], key=_engines_order)
    scores = asker.score("scores of the answers", wanted)
    found = [
        row_of(made, *judges, lambda wanted: scores[wanted.key], _verdict(made))
        for made in answered
    ]
    write_rows(out / ANSWERS, found)
    write_rows(out / NLLS, _nlls(asked, passages, scores))
    _record_answers(session, need.id, answered)
    engine = asker.engine()
    made = {"device": engine.device or None, "dtype": engine.dtype or None}
    write_rows(out / WINS, map(asdict, _wins(session, policies[BASE], asker, answered)))
    return {"answers": len(found), **made}


def _nlls(
    policies: Sequence[Policy], passages: Sequence[Passage], scores: Mapping[Key, float]
) -> Iterator[dict[str, Any]]:
    for policy in policies:
        for passage in passages:
            nll = scores[passage.wanted(policy.model_id).key]
            yield {"policy": policy.name, "passage_id": passage.passage_id, "nll": nll}


def _wins(session: Session, base: Policy, asker: Asker, answered: Sequence[Answered]) -> list[Win]:
    """What the judge says of the answers; asked of the engine that is there, where it is of the
    judge's model.
    """
    judge, duels = session.inputs.judge, duels_of(session.inputs, answered)
    if judge is None:
        return []
    is_there = judge.model_id == base.model_id
    judging = Asker(session, "comparisons", asker.engine) if is_there else judging_asker(session)
    asked = [comparison for duel in duels for comparison in duel.comparisons]
    judged = judging.compare("comparisons of policies", asked)
    return [duel.win(judged) for duel in duels]


def _engines_order(wanted: Wanted) -> tuple[str, str]:
    """Those together that one model gives in one way: they share batches."""
    return wanted.measure, wanted.model_id


def _answered(session: Session, asker: Asker, policy: Policy) -> list[Answered]:
    """A policy's answers to every question, in their order."""
    asked = answer_calls(session.inputs, policy)
    answers = asker.ask(f"answers of {policy.name}", [call for _, call in asked])
    return [Answered(policy, q, call, answers[call.completion_id]) for q, call in asked]


def _verdict(found: Answered) -> Scored | None:
    """What the program of a probe says of an answer."""
    question, answer = found.question, found.answer
    return score(question, answer.text, answer.finish_reason == "length") if found.is_made else None


def _record_answers(session: Session, evaluation_id: str, answered: Sequence[Answered]) -> None:
    values = [
        {
            "evaluation_id": evaluation_id,
            "policy": found.policy.name,
            "completion_id": found.answer.completion_id,
            "cut_at": found.answer.cut_at,
        }
        for found in answered
    ]
    with session.ledger.transaction() as con:
        insert(con, "answers", values)


def answers_of(session: Session, evaluation_id: str) -> list[dict[str, Any]]:
    """What every policy answered: rows of answers.jsonl."""
    return read_answers(artifact_path(session.workspace, evaluation_id))


def _record_metrics(session: Session, evaluation_id: str) -> None:
    values = [
        {
            "subject_id": evaluation_id,
            "name": f"{row['policy']}/{row['metric']}",
            "step": -1,
            "value": row["value"],
            "low": row["low"],
            "high": row["high"],
            "sample_count": row["n"],
        }
        for row in figures(session, evaluation_id)
    ]
    with session.ledger.transaction() as con:
        insert(con, "metrics", values, replace=True)


def figures(session: Session, evaluation_id: str) -> list[dict[str, Any]]:
    """Every metric of an evaluation, as `summarise` gives them."""
    folder = artifact_path(session.workspace, evaluation_id)
    constitution = session.inputs.constitution
    read = read_answers(folder), rules(constitution), session.recipe.seed, read_nlls(folder)
    return summarise(*read, read_wins(folder), demanded(constitution))
