"""The one thing that would help a run most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from flows.plan.inputs import Inputs
from flows.plan.sizes import LEAST_ROWS
from storage.ledger import Columns, Ledger
from tasks.generation.decisions import NO_EVIDENCE

MANY_CUT = 1 / 3  # of a step's answers
LIMITS = {
    **{step: f"generation.max_new_tokens.{step}" for step in ("draft", "critique", "revision")},
    **dict.fromkeys(("teacher", "sample"), "pairs.max_new_tokens"),
}
CUT = """
    SELECT step, count(*) FILTER (WHERE cut_at > 0) AS cut, count(*) AS n FROM completions
    WHERE run_id = ? GROUP BY step ORDER BY cut / n DESC"""
LEAST_KEPT = 0.5  # of the answers, by every rule
WEAKEST = """
    SELECT slug, value FROM metrics JOIN wanted USING (name)
    WHERE subject_id = ? AND value < ? ORDER BY value, slug LIMIT 1"""


def advice(
    inputs: Inputs,
    left_out: Counter[tuple[str, str]],
    rows: Mapping[str, int],
    ledger: Ledger,
    run_id: str | None,
    evaluation_id: str | None = None,
) -> str:
    """What to do next, in a sentence; empty where nothing stands out.

    rows: those each stage was trained on, of the stages that were made.
    """
    found = (
        _cut(inputs, ledger, run_id),
        _without_evidence(inputs, left_out),
        _few_rows(inputs, rows),
        _few_held_out(inputs),
        _weakest_rule(inputs, ledger, evaluation_id),
    )
    return next(filter(None, found), "")


def _cut(inputs: Inputs, ledger: Ledger, run_id: str | None) -> str:
    pairs = inputs.recipe.pairs
    may_be_cut = set() if pairs.whole or pairs.shares.candidates else {"sample"}  # only to lose
    for row in ledger.query(CUT, [run_id]):
        limit = LIMITS.get(row["step"])
        if limit and row["step"] not in may_be_cut and row["cut"] > MANY_CUT * row["n"]:
            what = _answers(row["step"])
            return f"{row['cut']} of {row['n']} {what} were cut at the limit: raise {limit}"
    return ""


def _answers(step: str) -> str:
    return {"teacher": "answers of the teacher", "sample": "answers"}.get(step, f"{step}s")


def _without_evidence(inputs: Inputs, left_out: Counter[tuple[str, str]]) -> str:
    count, of = left_out["pairs", NO_EVIDENCE], len(inputs.prompts)
    if 2 * count <= of:
        return ""
    asked = "raise pairs.samples" if inputs.judge else "raise pairs.samples or set judge.use=true"
    return f"of {count} of {of} prompts nothing tells which answer is better: {asked}"


def _few_rows(inputs: Inputs, rows: Mapping[str, int]) -> str:
    few = [(n, stage) for stage, n in rows.items() if 0 < n < LEAST_ROWS]
    if not few:
        return ""
    count, stage = min(few)
    return f"more prompts: {len(inputs.prompts)} gave {count} rows for {stage} to learn from"


def _few_held_out(inputs: Inputs) -> str:
    count, least = len(inputs.evaluation_prompts), inputs.recipe.gate.questions
    if count >= least:
        return ""
    if len(inputs.prompt_snapshot.held_out) >= least:
        return f"a verdict needs {least} held-out prompts: raise evaluation.prompts from {count}"
    return f"more prompts: {count} are held out, and a verdict needs {least} (gate.questions)"


def _weakest_rule(inputs: Inputs, ledger: Ledger, evaluation_id: str | None) -> str:
    policy = inputs.recipe.gate.candidate
    slugs = [principle.slug for principle in inputs.constitution.enabled]
    wanted: Columns = {"slug": slugs, "name": [f"{policy}/rule:{slug}" for slug in slugs]}
    for row in ledger.query(WEAKEST, [evaluation_id, LEAST_KEPT], wanted):
        kept = f"{policy.upper()} keeps {row['slug']} in {row['value']:.2f} of its answers"
        return f"{kept}, the least of all rules: give it plainer words and more worked answers"
    return ""
