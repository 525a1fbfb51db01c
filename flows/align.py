"""The method, one call an arrow. `align` is the whole; the other flows are its parts.

prompts -+-> drafts -> (critique -> revision) x rounds -+
         +-> answers of a teacher, and of a student ----+-> labels -> pairs -+-> SFT -+-> DPO -+
         +-> candidates, ranked ------------------------+                    |        +-> PPO -+
                                                                             +-> RM --+        |
                                                                               evaluation <----+

A prompt takes one of the three ways. Labels are a program's, else a judge's. Candidates are SFT's
own where the recipe says so: RM, DPO and PPO then wait for the pairs that are made after SFT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from prefect import flow

from flows.explain.lineage_text import origin_table
from flows.explain.run_report.build import write_report
from flows.plan import gates
from flows.plan.recipe import Overrides
from flows.plan.steps import Stage, Step, at_most
from flows.run.data import DataSide
from flows.run.evaluation import evaluate_checkpoints
from flows.run.publish import publish_run
from flows.run.results import run_result
from flows.run.session import Session, open_session
from flows.run.stages import reuse
from flows.run.trained import stages_of
from flows.serve.approval import ask_above_budget
from flows.serve.ending import named, plainly
from flows.serve.reach import check_form
from tasks.generation.snapshots import Rows


@flow(name="align", flow_run_name=named("align"))
@plainly
def align(
    recipe: str = "demo", overrides: Overrides = None, until: Step | None = None
) -> dict[str, Any]:
    """The whole method: generate what is missing, train what that reaches, measure, report.

    Args:
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        overrides: Single values of the recipe, as prompts.limit=64.
        until: The step to stop after; empty for all.
    """
    check_form(recipe, overrides)
    refused = ask_above_budget(recipe, overrides, until)
    if refused is not None:
        return refused  # type: ignore[no-any-return]
    with open_session(recipe, overrides, until) as session:
        return method(session, until)


def method(session: Session, until: Step | None = None) -> dict[str, Any]:
    """The method itself, one call an arrow; returns the run in short."""
    data = DataSide(session, until)
    rows = data.make()
    checkpoints: dict[str, str] = {}
    if rows:
        rows, checkpoints = stages_of(session, data, rows, until)
    evaluation = None
    if at_most("evaluate", until):
        evaluation = evaluate_checkpoints(session, checkpoints)
    return _finish(session, rows, checkpoints, evaluation)


@flow(name="refresh", flow_run_name=named("refresh"))
@plainly
def refresh(recipe: str = "demo", overrides: Overrides = None) -> dict[str, Any]:
    """The data side: drafts, critiques, revisions, pairs. Trains nothing.

    Args:
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        overrides: Single values of the recipe, as prompts.limit=64.
    """
    check_form(recipe, overrides)
    with open_session(recipe, overrides, "pairs") as session:
        rows = DataSide(session, "pairs").make()
        return _finish(session, rows)


@flow(name="train", flow_run_name=named("train"))
@plainly
def train(
    recipe: str = "demo", overrides: Overrides = None, until: Stage = "ppo"
) -> dict[str, Any]:
    """SFT, reward model, DPO and PPO on rows that are there.

    Args:
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        overrides: Single values of the recipe, as dpo.beta=0.2.
        until: The stage to stop after.
    """
    check_form(recipe, overrides)
    with open_session(recipe, overrides, until) as session:
        data = DataSide(session)
        rows, checkpoints = stages_of(session, data, data.known(), until)
        return _finish(session, rows, checkpoints)


@flow(name="evaluate", flow_run_name=named("evaluate"))
@plainly
def evaluate(recipe: str = "demo", overrides: Overrides = None) -> dict[str, Any]:
    """Measure checkpoints that are there on the held-out prompts.

    Args:
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        overrides: Single values of the recipe, as evaluation.prompts=32.
    """
    check_form(recipe, overrides)
    with open_session(recipe, overrides, "evaluate") as session:
        data = DataSide(session, may_ask=False)
        rows, checkpoints = stages_of(session, data, data.known(), have=reuse)
        evaluation = evaluate_checkpoints(session, checkpoints)
        return _finish(session, rows, checkpoints, evaluation)


def _finish(
    session: Session,
    rows: Rows | None,
    checkpoints: Mapping[str, str] | None = None,
    evaluation: str | None = None,
) -> dict[str, Any]:
    """Write the report, where there are rows, and publish the run; returns it in short."""
    made = checkpoints or {}
    report = None
    if rows:
        report = write_report(session.ledger, session.workspace, session.run_id, evaluation)
    result = run_result(
        session.inputs,
        session.workspace,
        session.run_id,
        session.results.steps,
        rows.left_out if rows else Counter(),
        rows.sft.dataset_id if rows else None,
        rows.teaching if rows else None,
        report,
        gates.told(session.ledger, evaluation, session.recipe.gate.candidate),
    )
    origins = origin_table(session.ledger, list(made.values())[-1]) if made else None
    publish_run(session, result["steps"], made, report, origins)
    return result
