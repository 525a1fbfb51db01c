"""Amend the constitution: plan, show, ask, then regenerate, retrain, measure and promote.

Nothing is changed before somebody agreed, but for the few samples that the question shows.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any, Literal

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from constitution.schema import Principle
from flows.align import method
from flows.explain.show import plan_markdown
from flows.plan import recipe as recipes
from flows.plan.plan import Plan
from flows.plan.planner import make_plan
from flows.plan.recipe import Overrides
from flows.run.gate import conclude
from flows.run.publish import publish_markdown
from flows.run.results import nothing_done
from flows.run.session import open_session
from flows.serve.approval import WAIT_HOURS, ask, rejected
from flows.serve.ending import named, plainly
from flows.serve.forms import PrincipleEdit
from flows.serve.proposal import (
    Proposal,
    kept_until_settled,
    propose,
    reworded,
    samples_markdown,
    words_markdown,
)
from flows.serve.reach import check_form, check_unasked
from flows.trials import try_out
from storage.errors import InputError
from storage.ledger import Ledger
from storage.workspace import Workspace

MAX_PRINCIPLES = 3


@flow(name="amend", flow_run_name=named("amend"))
@plainly
def amend(
    recipe: str = "demo",
    constitution: str | None = None,
    edit: PrincipleEdit | None = None,
    samples: Annotated[int, Field(ge=0, le=20)] = 3,
    approve: Literal["ask", "yes"] = "ask",
    promote: bool = True,
    wait_hours: Annotated[int, Field(ge=1, le=8760)] = WAIT_HOURS,
    overrides: Overrides = None,
) -> dict[str, Any]:
    """Change a principle and bring the model in step: plan, approval, rows, training, gate.

    Args:
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        constitution: One that ships, or ref:constitution; empty for the recipe's own.
        edit: New words for one principle, written into the file once approved; empty to take the
            file as it was edited.
        samples: Prompts of each changed principle to show before and after; 0 for none.
        approve: ask waits for a person; yes goes on by itself.
        promote: Whether a checkpoint that passes the gate becomes the champion.
        wait_hours: How long an answer may take, in hours.
        overrides: Single values of the recipe, as prompts.limit=64.
    """
    check_form(recipe, overrides, constitution)
    workspace, run = Workspace.open().create(), str(flow_run.get_id())
    chosen = recipes.load(recipe, overrides)
    ledger = Ledger(workspace.ledger, recipe=chosen.name)
    name = constitution or chosen.constitution
    with kept_until_settled(workspace, run):
        proposal = propose(workspace, run, name, edit)
        if approve == "yes" and proposal.is_edit:
            check_unasked(proposal.path)
        tried = (overrides or {}) | {"constitution": proposal.planned}
        made, inputs = make_plan(recipe, tried, None)
        if made.is_empty and not proposal.is_edit:
            text = "Nothing to do: every row and checkpoint is there."
            publish_markdown("plan", text, "Nothing to do", chosen.name)
            return nothing_done(made, inputs, workspace)
        before = proposal.words_before(ledger)
        text, run_id = _question(recipe, tried, made, reworded(inputs, before), samples)
        publish_markdown("plan", text, "What the amendment changes and costs", chosen.name, run_id)
        author = ""
        if approve == "ask":
            decision = ask(ledger, inputs.constitution_id, made, text, wait_hours, run_id)
            if not decision.approve:
                return rejected(decision)  # type: ignore[no-any-return]
            author = decision.by
        return _carry_out(recipe, overrides, proposal, promote, author)


def _carry_out(
    recipe: str, overrides: Overrides, proposal: Proposal, is_wanted: bool, author: str
) -> dict[str, Any]:
    """Write the edit, then the whole method under it, and the gate."""
    proposal.carry_out()
    with open_session(recipe, (overrides or {}) | {"constitution": proposal.name}, None) as session:
        result = method(session)
        return result | conclude(session, result, is_wanted, author)


def _question(
    recipe: str,
    tried: dict[str, Any],
    made: Plan,
    changed: list[tuple[Principle, Principle]],
    samples: int,
) -> tuple[str, str | None]:
    """What is asked, as Markdown, and the run that made its samples, if there are any."""
    lines = ["# Plan", "", plan_markdown(made), *words_markdown(changed)]
    slugs = [now.slug for _, now in changed][:MAX_PRINCIPLES]
    if not (samples and slugs):
        return "\n".join(lines) + "\n", None
    with open_session(recipe, tried, "revisions") as session:
        for slug in slugs:
            rows = []
            with suppress(InputError):  # no prompt meets the principle
                rows = try_out(session, slug, samples)
            lines += samples_markdown(slug, rows)
        return "\n".join(lines) + "\n", session.run_id
