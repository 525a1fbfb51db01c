"""More prompts by the model itself, from those of a recipe; off unless it is asked for."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from flows.plan.recipe import Overrides
from flows.run.ask import Asker
from flows.run.session import Session, open_session
from storage.errors import InputError
from tasks.generation.calls import Answer, CallForm, Sampling
from tasks.generation.record import record_prompts
from tasks.generation.record_sets import record_made
from tasks.generation.self_instruct import Asked, Made, chosen, requests

Wanted = Annotated[int, Field(ge=1, le=10_000)]


@flow(name="more-prompts", flow_run_name="more prompts of {recipe}")
def more_prompts(
    recipe: str = "demo", count: Wanted = 50, overrides: Overrides = None
) -> dict[str, Any]:
    """Prompts like those of a recipe, written by the model that generates. Made once: again, they
    are the same, without a call.

    Args:
        recipe: A recipe's name: one that ships, or in the workspace's folder recipes.
        count: How many at most.
        overrides: Single values of the recipe, as pairs.temperature=0.7.
    """
    with open_session(recipe, overrides, "drafts") as session:
        inputs = session.inputs
        percent = inputs.recipe.prompts.held_out_percent
        asked = requests(form_of(session), inputs.prompts, percent, count)
        if not asked:
            rule = "none of its prompts can be shown: one short turn, not held out"
            raise InputError(recipe, rule, "take more prompts", "prompts")
        answers = _answers(session, asked)
        made, left_out = chosen(asked, answers, inputs.prompts, percent, count)
        record_prompts(session.ledger, [found.prompt for found in made])
        record_made(session.ledger, made)
        counts = {"calls": len(asked), "left_out": dict(left_out)}
        return {"run_id": session.run_id, "prompts": [_row(found) for found in made], **counts}


def form_of(session: Session) -> CallForm:
    """How the model that generates is asked: as candidates are sampled."""
    pairs, limits = session.recipe.pairs, session.recipe.generation
    hand = session.inputs.hands.own
    longest = max(pairs.max_new_tokens, limits.max_new_tokens.draft)
    own = Sampling(
        pairs.temperature, 1.0, longest, limits.max_prompt_tokens, thinking=hand.thinking
    )
    return CallForm("prompts", hand.model_id, own)


def _answers(session: Session, asked: list[Asked]) -> dict[str, Answer]:
    hand = session.inputs.hands.own
    record_prompts(session.ledger, [seed for each in asked for seed in each.seeds])
    asker = Asker(session, "drafts", partial(session.workers.generator, hand.model_id))
    answers = asker.ask("more prompts", [each.call for each in asked])
    session.workers.release()
    return answers


def _row(found: Made) -> dict[str, Any]:
    """As the file of prompts has it."""
    call, seeds = found.asked.call.completion_id, found.asked.seeds
    prompt = found.prompt.messages[-1]["content"]
    return {
        "prompt": prompt,
        "category": found.prompt.category,
        "completion": call,
        "seeds": [seed.prompt_id for seed in seeds],
    }
