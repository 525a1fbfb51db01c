"""Trials of a principle: a preview of a few rows, and the method without it."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows.explain.ablation import check_without, compared, left_out, markdown
from flows.explain.preview import Previewed, choose, compare, to_json, up_to
from flows.plan.constitutions import principle_named
from flows.plan.recipe import Overrides
from flows.run.data import DataSide, make_some
from flows.run.evaluation import answers_of, evaluate_checkpoints
from flows.run.publish import publish_markdown
from flows.run.session import Session, open_session
from flows.run.stages import reuse
from flows.run.trained import stages_of
from storage.errors import InputError
from tasks.generation.snapshots import Rows

Count = Annotated[int, Field(ge=1, le=1000)]


@flow(name="preview", flow_run_name="preview {slug}")
def preview(
    slug: str, recipe: str = "demo", count: Count = 8, overrides: Overrides = None
) -> dict[str, Any]:
    """An edited principle's critique and revision of a few of its prompts; a run reuses them.

    Args:
        slug: The principle.
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        count: How many prompts.
        overrides: Single values of the recipe, as constitution=mine.yaml.
    """
    with open_session(recipe, overrides, "revisions") as session:
        rows = try_out(session, slug, count)
        made = sum(step.generated for step in session.results.steps.values())
        return to_json(slug, rows, made)


def _check_ablation(session: Session, slug: str) -> None:
    """Raise InputError where there is no such principle, or PPO would be rewarded by it still."""
    principle = principle_named(session.inputs.constitution, slug)
    if principle.check and session.recipe.ppo["check_weight"] > 0:
        rule = "PPO is rewarded by its check, without its rows too: what it bought would not show"
        raise InputError(slug, rule, "set ppo.check_weight=0 for both", "ppo.check_weight")


def try_out(session: Session, slug: str, count: int) -> list[Previewed]:
    """Critique and revision of a few prompts that meet the principle. InputError where none do."""
    chosen = choose(session.inputs, slug, count)
    for round, prompts in chosen.items():
        make_some(session, up_to(session.inputs.method, round), prompts)
    session.workers.release()
    return compare(session.inputs, session.ledger, chosen, slug)[0]


@flow(name="ablate", flow_run_name="ablate {slug}")
def ablate(slug: str, recipe: str = "demo", overrides: Overrides = None) -> dict[str, Any]:
    """What a principle bought: train without the rows it had a hand in, compare with the original.

    The original must be there (a whole run of this recipe). Both are scored by its reward model, on
    the same held-out prompts. No ref moves but those under `ablate/`.

    Args:
        slug: The principle to leave out.
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        overrides: Single values of the recipe, as constitution=mine.yaml.
    """
    with open_session(recipe, overrides, "evaluate") as session:
        _check_ablation(session, slug)
        session.results.refs = None
        data = DataSide(session, may_ask=False)
        rows, original = stages_of(session, data, data.known(), have=reuse)
        session.results.refs = f"ablate/{slug}"
        data = DataSide(session, without=slug)
        without = data.known()
        check_without(slug, rows, without)
        without, trained = stages_of(session, data, without)
        judged = trained | {"reward": original["reward"]}
        evaluations = [evaluate_checkpoints(session, found) for found in (original, judged)]
        before, after = (answers_of(session, found) for found in evaluations)
        result = {
            "slug": slug,
            "run_id": session.run_id,
            "left_out": left_out(rows, without),
            "snapshots": {"with": _ids(rows), "without": _ids(without)},
            "checkpoints": {"with": original, "without": trained},
            "evaluations": dict(zip(("with", "without"), evaluations, strict=True)),
            "metrics": compared(session.inputs.constitution, before, after, session.recipe.seed),
        }
        shows = f"What {slug} bought"
        publish_markdown("ablation", markdown(result), shows, session.recipe.name, session.run_id)
        return result


def _ids(rows: Rows) -> dict[str, str]:
    return {"sft": rows.sft.dataset_id, "preferences": rows.preferences.dataset_id}
