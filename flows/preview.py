"""What an edited principle does to a few of its prompts: what stood there before, and now.

Light: reads the ledger only. The flow `preview` generates what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from flows.inputs import Inputs
from storage.errors import InputError
from storage.ledger import Columns, Ledger
from tasks.generation.assemble import Step
from tasks.generation.calls import Answer
from tasks.generation.memo import look_up
from tasks.generation.walk import Answerer, Level, Method, walk
from tasks.prompts import Prompt

# What last stood in the place of each wanted call, under another id.
BEFORE = """
    SELECT w.prompt_id, w.step, c.text, p.slug
    FROM wanted w
    JOIN completions c ON c.prompt_id = w.prompt_id AND c.step = w.step
        AND c.round = w.round AND c.completion_id <> w.completion_id
    JOIN principles p USING (principle_id)
    WHERE c.model_id = ?
    QUALIFY row_number() OVER (
        PARTITION BY w.prompt_id, w.step ORDER BY p.slug = ? DESC, c.created_at DESC) = 1"""


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


def choose(inputs: Inputs, slug: str, count: int) -> dict[int, list[Prompt]]:
    """The first `count` prompts, by id, that meet the principle, in the first round that has any.

    By round, of which there is one. Raises InputError where the principle is unknown or unused.
    """
    principle = inputs.constitution.principle(slug)
    method = inputs.method
    for round in range(method.rounds):
        found = [p for p in inputs.prompts if method.principles(p)[round].slug == slug]
        if found:
            return {round: sorted(found, key=lambda p: p.prompt_id)[:count]}
    rule = "no prompt of this recipe meets the principle"
    fix = "enable it" if not principle.enabled else "take more prompts, or lint the constitution"
    raise InputError(slug, rule, fix)


def up_to(method: Method, round: int) -> Method:
    """The method with no rounds after `round`."""
    return replace(method, rounds=round + 1)


def compare(
    inputs: Inputs, ledger: Ledger, chosen: dict[int, list[Prompt]], slug: str
) -> list[Previewed]:
    """Before and after of every chosen prompt whose calls the ledger can answer."""
    found = []
    for round, prompts in chosen.items():
        walked = walk(up_to(inputs.method, round), prompts, _known(ledger))
        steps = [step for step in walked.steps if step.round == round]
        before = _before(inputs, ledger, steps, slug)
        found += [_previewed(step, slug, before.get(step.turn.prompt.prompt_id)) for step in steps]
    return found


def _known(ledger: Ledger) -> Answerer:
    def answer(level: Level) -> dict[str, Answer]:
        return look_up(ledger, level.calls)

    return answer


def _before(
    inputs: Inputs, ledger: Ledger, steps: Sequence[Step], slug: str
) -> dict[str, Reviewed]:
    """What stood there before, by prompt id: of this principle's earlier words if there is any."""
    calls = [("critique", s, s.critique) for s in steps] + [
        ("revision", s, s.revision) for s in steps
    ]
    wanted: Columns = {
        "prompt_id": [step.turn.prompt.prompt_id for _, step, _ in calls],
        "step": [name for name, _, _ in calls],
        "round": [step.round for _, step, _ in calls],
        "completion_id": [answer.completion_id for _, _, answer in calls],
    }
    rows = ledger.query(BEFORE, [inputs.method.model_id, slug], wanted) if steps else []
    texts = {(row["prompt_id"], row["step"]): row for row in rows}
    found = {}
    for step in steps:
        prompt_id = step.turn.prompt.prompt_id
        critique, revision = texts.get((prompt_id, "critique")), texts.get((prompt_id, "revision"))
        if revision:
            said = critique["text"] if critique else step.critique.text
            found[prompt_id] = Reviewed(revision["slug"], said, revision["text"])
    return found


def _previewed(step: Step, slug: str, before: Reviewed | None) -> Previewed:
    prompt = step.turn.prompt
    after = Reviewed(slug, step.critique.text, step.revision.text)
    said = prompt.messages[-1]["content"]
    return Previewed(prompt.prompt_id, said, step.round, step.turn.answer.text, before, after)


def to_json(slug: str, rows: Sequence[Previewed], generated: int) -> dict[str, Any]:
    """`{"slug", "generated": calls made, "rows": [{"prompt_id", "prompt", "round", "response",
    "before": {"principle", "critique", "revision"} or null, "after": the same}]}`."""
    return {"slug": slug, "generated": generated, "rows": [asdict(row) for row in rows]}
