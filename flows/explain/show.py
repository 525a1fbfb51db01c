"""Results as people see them: plans, runs and trials of a principle, as lines and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from flows.explain.compare.text import one_line, visible
from flows.explain.compare.words import difference, in_terminal
from flows.explain.overview import human
from flows.explain.spans import TRAINING_COLUMNS, cost_line, span, training_rows
from flows.plan.inputs import Inputs
from flows.plan.plan import Plan
from storage.ids import is_id, short
from tasks.evaluation.escape import markdown_cell
from tasks.generation import teaching_text
from tasks.model_size import BYTES_EACH, named_parameters

PLAN_COLUMNS = ("step", "reused", "to generate", "to train", "left out")
RUN_COLUMNS = ("step", "reused", "generated", "left out", "trained", "seconds", "id")
ABLATION_COLUMNS = ("policy", "metric", "with", "without", "difference (95 %)", "prompts")
PROMPT_CHARS = 200
CELL_CHARS = 80
NOTE_CHARS = 600
DIGEST = re.compile(r"^([0-9a-f]{8})[0-9a-f]{24}$")  # of code
STAND_IN = re.compile(r"mdl_([a-z]+(?:-[a-z]+)+)(?:-[0-9a-f]{32})?")  # of a model not known yet
VALUE_CHARS = 60


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1
) -> Table:
    """For a terminal: `left` columns of words, the others of numbers."""
    made = Table(title=Text(one_line(title, CELL_CHARS)), title_justify="left")
    for number, name in enumerate(columns):
        made.add_column(name, justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*(Text(one_line(cell, CELL_CHARS)) for cell in row))
    return made


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Its lines. Cells are escaped."""
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield f"| {' | '.join(markdown_cell(cell) for cell in row)} |"


def plan_table(plan: Plan) -> Table:
    """A row a step: what is reused, what would be generated or trained."""
    return table("plan", PLAN_COLUMNS, _plan_rows(plan))


def training_tables(plan: Plan) -> list[Table]:
    """A row a stage that is trained: rows, steps, time and memory; no table where none is."""
    rows = list(training_rows(plan))
    return [table("", TRAINING_COLUMNS, rows)] if rows else []


def plan_markdown(plan: Plan) -> str:
    """The plan for a review: what falls, why, and what it costs. Values are escaped."""
    reasons = (f"- {markdown_cell(line)}" for line in plan_lines(plan))
    rows = list(training_rows(plan))
    trained = ["", *markdown_table(TRAINING_COLUMNS, rows)] if rows else []
    return "\n".join([*markdown_table(PLAN_COLUMNS, _plan_rows(plan)), *trained, "", *reasons])


def plan_head(recipe: str, inputs: Inputs) -> str:
    """What a plan is of: the recipe and the file it is from, rules, prompts, model."""
    own, prompts = inputs.recipe, inputs.prompt_snapshot
    of = "" if own.name == recipe else f" ({recipe})"
    count, held_out = len(inputs.prompts), len(prompts.held_out)
    absent = [""] if inputs.model.model_id else [to_download(own.model)]
    absent += [
        f"{hand.reference}{to_download(hand.reference)}"
        for hand in inputs.asked
        if hand.info and not hand.is_known and hand.reference != own.model
    ]
    said = (
        f"recipe {own.name}{of}: rules of {own.constitution}; {count} prompts of"
        f" {own.prompts.path}, {held_out} held out; model {own.model}{', '.join(absent)}"
    )
    return visible(said)


def to_download(reference: str) -> str:
    """That a model is not here yet, and how large it is as far as its name tells."""
    size = named_parameters(reference)
    bytes_ = f"about {human(size * BYTES_EACH)} by its name" if size else "its size is not known"
    return f", which is to be downloaded ({bytes_})"


def _plan_rows(plan: Plan) -> Iterator[Sequence[str]]:
    for step in plan.steps.values():
        ranges = span(step.to_generate), span(step.to_train)
        yield step.step, str(step.reused), *ranges, str(step.excluded)


def plan_lines(plan: Plan) -> Iterator[str]:
    yield from _notes(plan.notes)
    if plan.is_empty:
        yield "nothing to do: every row and checkpoint is there"
    else:
        yield from _reasons(plan)
    yield from (f"{step.step}: {step.note}" for step in plan.steps.values() if step.note)
    if plan.teaching:
        yield from teaching_text.lines(plan.teaching.to_json())


def moved_lines(moved: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """The refs that a run moves though nothing is made: an edit before it was taken back."""
    for name, was, to in moved:
        yield f"{name} points to {short(was)}: solon run moves it back to {short(to)}"


def _notes(notes: Iterable[str]) -> Iterator[str]:
    """They quote files and principles."""
    return (f"note: {one_line(note, NOTE_CHARS)}" for note in notes)


def _reasons(plan: Plan) -> Iterator[str]:
    """Why what is made anew, what falls, and what it costs."""
    for cause in plan.why:
        why = because(cause["component"], cause["was"], cause["is"])
        line = f"{cause['step']}: {cause['rows']} {why}"
        yield line if cause["root"] == cause["component"] else f"{line}, from {cause['root']}"
    for step in plan.steps.values():
        for model_id, count in step.by_model.items():
            if model_id in plan.models and count[1]:
                name = one_line(plan.models[model_id], VALUE_CHARS)
                known = f" ({short(model_id)})" if is_id(model_id) else ""
                yield f"{step.step}: {span(count)} asked of {name}{known}"
    for fallen in plan.falls:
        verb = "is" if fallen["certain"] else "may be"
        yield f"{fallen['stage']}: {short(fallen['id'])}, now in use, {verb} replaced"
    yield cost_line(plan.cost)


def because(component: str, was: Any, is_now: Any) -> str:
    """Why something is made: for the first time, or what changed."""
    is_first = was in ("(none)", None) and is_now == "new"
    return "for the first time" if is_first else changed(component, was, is_now)


def changed(component: str, was: Any, is_now: Any) -> str:
    """Why something is made anew, with the values of the component that changed."""
    texts = (_plain(str(text)) for text in (component, was, is_now))
    name, old, new = (one_line(text, VALUE_CHARS) for text in texts)
    return f"because {name} changed ({old} -> {new})"


def _plain(value: str) -> str:
    """A value without the digits that tell people nothing."""
    if stand_in := STAND_IN.fullmatch(value):
        return stand_in[1].replace("-", " ")
    return DIGEST.sub(r"\1", short(value))


def run_table(result: dict[str, Any]) -> Table:
    rows = (
        (
            step["step"],
            *(str(step[name]) for name in ("reused", "generated", "excluded", "trained")),
            f"{step['duration_s']:.1f}",
            short(step["id"] or ""),
        )
        for step in result["steps"]
    )
    return table(short(result["run_id"] or "no run"), RUN_COLUMNS, rows)


def run_lines(result: dict[str, Any], options: str = "", whose: str = "") -> Iterator[str]:
    """The verdict, where things are, what was left out, and what to try next.

    options: of the command, as its like needs them again: " --recipe mine.yaml". whose: what a ref
    needs before it, as "mine/".
    """
    home = Path(result["workspace"])
    for step in result["steps"]:
        if step["note"]:
            yield f"{step['step']} is not trained: {step['note']}"
    if result["verdict"]:
        yield result["verdict"]
    yield from result["equal"]
    for found in result["exclusions"]:
        yield f"left out by {found['step']}: {found['rows']} {found['reason']}"
    yield from _notes(result["notes"])
    if result["teaching"]:
        yield from teaching_text.lines(result["teaching"])
    made = {stage: found for stage, found in result["checkpoints"].items() if found}
    if result["report"]:
        yield f"report      {result['report']}"
    if made:
        yield f"checkpoint  {home / 'artifacts' / 'checkpoints' / list(made.values())[-1]}"
    yield f"ledger      {home / 'ledger.duckdb'}"
    if result["advice"]:
        yield f"what would help most: {result['advice']}"
    yield "next:"
    yield f"  solon plan{options}      (after editing a principle)"
    if result["snapshots"]["preferences"]:
        last = list(made)[-1] if made else "preferences-rows"
        yield f"  solon why {whose}latest/{last}"
        yield f"  solon export {whose}latest/preferences-rows --format trl --out pairs"


def preview_table(row: dict[str, Any]) -> Table:
    """One prompt: draft, critique and revision, before on the left and after on the right."""
    title = Text(one_line(row["prompt"], PROMPT_CHARS), style="bold")
    table = Table(title=title, title_justify="left", show_lines=True, expand=True)
    before, after = row["before"], row["after"]
    table.add_column("before" if before is None else f"before: {before['principle']}", ratio=1)
    table.add_column(f"after: {after['principle']}", ratio=1)
    draft = Text("draft: " + visible(row["response"]), style="dim")
    table.add_row(draft, draft)
    if row.get("left_out"):
        table.caption = Text(f"a run leaves this row out: {row['left_out']}", style="bold")
    for part in ("critique", "revision"):
        left, right = Text("(nothing yet)", style="dim"), Text(visible(after[part]))
        if before:
            pieces = difference(before[part], after[part])
            left = in_terminal(piece for piece in pieces if piece.kind != "added")
            right = in_terminal(piece for piece in pieces if piece.kind != "removed")
        title = Text(f"{part}: ", style="dim")
        table.add_row(title + left, title + right)
    return table


def ablation_table(result: dict[str, Any]) -> Table:
    """A row a policy and metric: with the principle's rows, without, and the difference."""
    title = f"what {result['slug']} bought"
    return table(title, ABLATION_COLUMNS, ablation_rows(result["metrics"]), left=2)


def ablation_rows(metrics: Iterable[dict[str, Any]]) -> Iterator[Sequence[str]]:
    for row in metrics:
        spread = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
        numbers = f"{row['with']:.2f}", f"{row['without']:.2f}", f"{row['difference']:+.2f}{spread}"
        yield row["policy"], row["metric"], *numbers, str(row["n"])
