"""The Markdown report of a run: what was run, what came out, how sure we are, and samples.

`write_report` writes report.md and its PNG figures into one folder with relative links, so the
folder can be moved. All text from models, data and settings goes through `markdown_cell`. Leaves
out every number's origin beyond ids: `solon why ID` answers that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.ids import short
from tasks.evaluation.escape import markdown_cell
from tasks.evaluation.plots import plot_kl, plot_rewards, plot_training, read_curves
from tasks.evaluation.rows import HELD_OUT, PARENTS

Row = Mapping[str, Any]
TEXT_LIMIT = 1200  # characters of one text that are shown


@dataclass(frozen=True)
class StageResult:
    """One trained stage. `metrics_path`: its metrics.jsonl, or None; losses None where unknown.

    `measure` is what shows whether it learned, with its first and last value: the held-out loss,
    and for PPO the mean score of its rollouts.
    """

    stage: str
    checkpoint_id: str
    is_reused: bool
    rows: int
    steps: int
    loss_first: float | None
    loss_last: float | None
    metrics_path: Path | None = None
    measure: tuple[str, float, float] | None = None
    has_changed: bool = True
    """Whether the training changed a weight at all."""


@dataclass(frozen=True)
class ReportData:
    """Everything the report shows; plain values, so any caller can fill it in."""

    run_id: str
    recipe: str
    constitution_name: str
    constitution_id: str
    model_name: str
    model_id: str
    counts: Mapping[str, int] = field(default_factory=dict)
    """Rows by kind, such as {"prompts": 64, "revisions": 128}, in the order to show."""
    exclusions: Sequence[tuple[str, str, int]] = ()
    """(step, reason, rows) of everything that was not used."""
    stages: Sequence[StageResult] = ()
    evaluation: Sequence[Row] = ()
    """Rows of `metrics.summarise`."""
    answers: Sequence[Row] = ()
    """Rows of answers.jsonl, of which `samples` prompts are shown."""
    samples: int = 4


def write_report(out: Path, data: ReportData) -> Path:
    """Write report.md and its figures into `out` (made if need be); return report.md's path."""
    out.mkdir(parents=True, exist_ok=True)
    sections = [
        _what_was_run(data),
        _rows_and_exclusions(data),
        _stages(out, data),
        _evaluation(out, data),
        _samples(data),
        _tracing(data),
    ]
    path = out / "report.md"
    path.write_text("\n\n".join(section for section in sections if section) + "\n", "utf-8")
    return path


def _what_was_run(data: ReportData) -> str:
    facts = [
        ("recipe", data.recipe),
        ("run", short(data.run_id)),
        ("constitution", f"{data.constitution_name} ({short(data.constitution_id)})"),
        ("base model", f"{data.model_name} ({short(data.model_id)})"),
    ]
    return f"# Report: {markdown_cell(data.recipe)}\n\n## What was run\n\n" + _table(
        ("what", "value"), facts
    )


def _rows_and_exclusions(data: ReportData) -> str:
    text = "## Rows\n\n" + _table(("rows", "count"), list(data.counts.items()), right=1)
    if not data.exclusions:
        return f"{text}\n\nNo row was left out."
    left_out = sum(count for _, _, count in data.exclusions)
    shown = sorted(data.exclusions, key=lambda row: (row[0], -row[2], row[1]))
    table = _table(("step", "reason", "rows"), shown, right=1)
    return f"{text}\n\n{left_out} rows were left out:\n\n{table}"


def _stages(out: Path, data: ReportData) -> str:
    if not data.stages:
        return ""
    rows = [
        (
            stage.stage,
            "reused" if stage.is_reused else "trained" if stage.has_changed else "unchanged",
            stage.rows,
            stage.steps,
            f"{_number(stage.loss_first)} → {_number(stage.loss_last)}",
            _measure(stage),
            short(stage.checkpoint_id),
        )
        for stage in data.stages
    ]
    headings = ("stage", "now", "rows", "steps", "loss, first → last", "learned?", "checkpoint")
    text = f"## Training\n\n{_table(headings, rows)}"
    curves = {s.stage: read_curves(s.metrics_path) for s in data.stages if s.metrics_path}
    curves = {stage: lines for stage, lines in curves.items() if lines}
    if curves:
        plot_training(out / "training.png", curves)
        text += "\n\n![Training curves of each stage](training.png)"
    return text


def _measure(stage: StageResult) -> str:
    if not stage.has_changed:
        return "no: no weight changed"
    if stage.measure is None:
        return "–"
    name, first, last = stage.measure
    return f"{name} {_number(first)} → {_number(last)}"


def _evaluation(out: Path, data: ReportData) -> str:
    if not data.evaluation:
        return ""
    policies = list(dict.fromkeys(row["policy"] for row in data.evaluation))
    metrics = list(dict.fromkeys(row["metric"] for row in data.evaluation))
    cells = {(row["policy"], row["metric"]): row for row in data.evaluation}
    rows = [
        (metric, *(_with_interval(cells.get((policy, metric))) for policy in policies))
        for metric in metrics
    ]
    parts = [
        "## Evaluation",
        "Means over held-out prompts with 95 % intervals and the number of answers.",
        _table(("metric", *policies), rows),
        *(f"* {sentence}" for sentence in conclusions(data.evaluation)),
        *_evaluation_figures(out, policies, cells),
    ]
    return "\n\n".join(parts)


def _evaluation_figures(
    out: Path, policies: Sequence[str], cells: Mapping[tuple[str, str], Row]
) -> list[str]:
    rewards = [cells[policy, "reward"] for policy in policies if (policy, "reward") in cells]
    pairs = [(cells[row["policy"], "kl"], row) for row in rewards if (row["policy"], "kl") in cells]
    links = []
    if rewards:
        plot_rewards(out / "rewards.png", rewards)
        links.append("![Mean reward of each policy with its interval](rewards.png)")
    if pairs:
        plot_kl(out / "kl.png", pairs)
        links.append("![Mean reward over KL to sft](kl.png)")
    return links


def conclusions(evaluation: Sequence[Row]) -> list[str]:
    """One sentence per policy on its paired reward difference to its parent, as far as known."""
    sentences = []
    for row in evaluation:
        if row["metric"] != "reward_minus_parent":
            continue
        name, gap = markdown_cell(row["policy"]), _with_interval(row)
        parent = PARENTS[row["policy"]]
        if row["low"] is None:
            verdict = "one prompt says nothing about the difference"
        elif row["low"] <= 0 <= row["high"]:
            verdict = f"no clear difference from {parent}: the interval holds 0"
        else:
            word = "higher" if row["low"] > 0 else "lower"
            verdict = f"{word} reward than {parent} on the same prompts"
        sentences.append(f"**{name}**: {verdict} (reward difference {gap}).")
    return sentences


def _samples(data: ReportData) -> str:
    """Every policy's answer to a few prompts, chosen by the hash of their ids: not hand-picked."""
    by_prompt: dict[str, list[Row]] = {}
    shown = (a for a in data.answers if a["probe"] == HELD_OUT and a["sample"] == 0)
    for answer in shown:
        by_prompt.setdefault(answer["prompt_id"], []).append(answer)
    chosen = sorted(by_prompt, key=lambda name: hashlib.blake2b(name.encode()).digest())
    parts = []
    for number, prompt_id in enumerate(chosen[: data.samples], 1):
        answers = by_prompt[prompt_id]
        rows = [
            (row["policy"], row["text"], _number(row["reward"]), row["finish_reason"])
            for row in answers
        ]
        category = markdown_cell(answers[0]["category"], 80)
        asked = markdown_cell(answers[0]["prompt"], TEXT_LIMIT)
        parts += [
            f"### Sample {number} ({category})",
            f"Prompt {markdown_cell(short(prompt_id))}: {asked}",
            _table(("policy", "answer", "reward", "ended by"), rows),
        ]
    if not parts:
        return ""
    note = "Prompts are chosen by the hash of their ids. ⏎ stands for a line break."
    return "\n\n".join(["## Samples", note, *parts])


def _tracing(data: ReportData) -> str:
    ids = [stage.checkpoint_id for stage in data.stages] or [data.run_id]
    return (
        "## Tracing\n\n`solon why ID` shows what made a row or checkpoint, "
        "`solon impact ID` what it made. Try:\n\n    solon why " + _code(short(ids[-1]))
    )


def _code(text: str) -> str:
    """An id within a code block: what is no letter, digit, dot or hyphen is replaced."""
    return "".join(c if c.isalnum() or c in "_.-" else "?" for c in text)


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]], right: int = 0) -> str:
    """A Markdown table of escaped cells, cut at TEXT_LIMIT; `right`: last columns aligned right."""
    marks = ["---"] * (len(headings) - right) + ["---:"] * right

    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(markdown_cell(str(cell), TEXT_LIMIT) for cell in cells) + " |"

    return "\n".join([line(headings), "| " + " | ".join(marks) + " |", *map(line, rows)])


def _with_interval(row: Row | None) -> str:
    if row is None:
        return "–"
    if row["low"] is None:
        return f"{_number(row['value'])} (n={row['n']})"
    return (
        f"{_number(row['value'])} ({_number(row['low'])} to {_number(row['high'])}, n={row['n']})"
    )


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
