"""What an edited principle does to a few of its prompts: what stood there before, and now.

Light: reads the ledger only. The flow `preview` generates what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flows.plan.constitutions import principle_named
from flows.plan.inputs import Inputs
from storage.errors import InputError
from storage.ledger import Columns, Ledger, Row
from tasks.generation.assemble import Step
from tasks.generation.memo import look_up
from tasks.generation.method import Method
from tasks.generation.walk import walk
from tasks.prompts import Prompt

# The revision that last stood in the place of each wanted one, under another id.
REVISION_BEFORE = """
    SELECT w.prompt_id, c.text, c.request, p.slug
    FROM wanted w
    JOIN completions c ON c.prompt_id = w.prompt_id AND c.step = 'revision'
        AND c.round = w.round AND c.completion_id <> w.completion_id
    JOIN principles p USING (principle_id)
    WHERE c.model_id = ?
    QUALIFY row_number() OVER (
        PARTITION BY w.prompt_id ORDER BY p.slug = ? DESC, c.created_at DESC) = 1"""
CRITIQUES = """
    SELECT w.prompt_id, c.text
    FROM wanted w
    JOIN completions c ON c.prompt_id = w.prompt_id AND c.step = 'critique' AND c.round = w.round
    ORDER BY c.created_at DESC"""


@dataclass(frozen=True)
class Reviewed:
    """A critique and revision; `principle` is the slug it was made under."""

    principle: str
    critique: str
    revision: str


@dataclass(frozen=True)
class Previewed:
    """One prompt of the principle. `before` is None where nothing stood there yet."""

    prompt_id: str
    prompt: str
    round: int
    response: str
    before: Reviewed | None
    after: Reviewed
    left_out: str = ""  # why a run would make no row of it; empty where it may


def choose(inputs: Inputs, slug: str, count: int) -> dict[int, list[Prompt]]:
    """The first `count` prompts that meet the principle, by the round in which they first do.

    Early rounds before late ones, by id within a round. Raises InputError where the principle is
    unknown or unused.
    """
    principle = principle_named(inputs.constitution, slug)
    rounds: dict[int, list[Prompt]] = {}
    for prompt in inputs.prompts:
        slugs = [p.slug for p in inputs.method.principles(prompt)]
        if slug in slugs:
            rounds.setdefault(slugs.index(slug), []).append(prompt)
    if not rounds:
        rule = "no prompt of this recipe meets the principle"
        fix = "take more prompts, or lint the constitution"
        raise InputError(slug, rule, fix if principle.enabled else "enable it")
    chosen = {}
    for round in sorted(rounds):
        if count > 0:
            chosen[round] = sorted(rounds[round], key=lambda p: p.prompt_id)[:count]
            count -= len(chosen[round])
    return chosen


def up_to(method: Method, round: int) -> Method:
    return replace(method, rounds=round + 1)


def compare(
    inputs: Inputs, ledger: Ledger, chosen: dict[int, list[Prompt]], slug: str
) -> tuple[list[Previewed], bool]:
    """Before and after of the chosen prompts, and whether the ledger could answer every call.

    A prompt without an answer, or with a request that is too long, has no row.
    """
    rows, is_whole = [], True
    for round, prompts in chosen.items():
        method = up_to(inputs.method, round)
        walked = walk(method, prompts, lambda level: look_up(ledger, level.calls))
        is_whole = is_whole and not walked.waiting
        steps = [step for step in walked.steps if step.round == round]
        before = _before(inputs, ledger, steps, slug) if steps else {}
        for step in steps:
            prompt, answer = step.turn.prompt, step.turn.answer.text
            said = prompt.messages[-1]["content"]
            was = before.get(prompt.prompt_id)
            after = Reviewed(slug, step.critique.text, step.revision.text)
            out = left_out(inputs, step)
            rows.append(Previewed(prompt.prompt_id, said, round, answer, was, after, out))
    return rows, is_whole


def left_out(inputs: Inputs, step: Step) -> str:
    """Why a run leaves the row out, as far as it shows: a text was cut at the limit."""
    sides = {"draft": step.turn.answer, "revision": step.revision}
    cut = [name for name, answer in sides.items() if answer.finish_reason != "stop"]
    return f"the {cut[0]} is cut at the limit" if cut and inputs.recipe.pairs.whole else ""


def _before(
    inputs: Inputs, ledger: Ledger, steps: Sequence[Step], slug: str
) -> dict[str, Reviewed]:
    """What stood there before, by prompt id: of this principle's earlier words if there is any."""
    wanted: Columns = {
        "prompt_id": [step.turn.prompt.prompt_id for step in steps],
        "round": [step.round for step in steps],
        "completion_id": [step.revision.completion_id for step in steps],
    }
    reviser = inputs.method.model_of("revision")
    critiques: dict[str, list[str]] = {}
    for row in ledger.query(CRITIQUES, wanted=wanted):
        critiques.setdefault(row["prompt_id"], []).append(row["text"])
    return {
        row["prompt_id"]: Reviewed(row["slug"], _answered(row, critiques), row["text"])
        for row in ledger.query(REVISION_BEFORE, [reviser, slug], wanted)
    }


def _answered(revision: Row, critiques: dict[str, list[str]]) -> str:
    """The critique that a revision answers: the newest of those its request contains."""
    asked = "\n".join(message["content"] for message in json.loads(revision["request"]))
    found = critiques.get(revision["prompt_id"], [])
    return next((text for text in found if text.strip() in asked), "")


def to_json(slug: str, rows: Sequence[Previewed], generated: int) -> dict[str, Any]:
    """`{"slug", "generated": calls made, "rows": [{"prompt_id", "prompt", "round", "response",
    "before": {"principle", "critique", "revision"} or null, "after": the same, "left_out"}]}`."""
    return {"slug": slug, "generated": generated, "rows": [asdict(row) for row in rows]}
