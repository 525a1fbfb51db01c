"""A run report in words: the document that terminal, Markdown and page all show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.explain.compare.text import one_line
from flows.explain.compare.words import Piece
from flows.explain.document.parts import Cell, Document, Entry, Mark, Picture, Section
from flows.explain.run_report import pictures
from flows.explain.run_report.report import Gate, Given, Moved, RunReport, Stage
from flows.explain.run_report.scorecard import scorecard
from storage.ids import short
from tasks.judging.card_text import NAMES

AUTHOR = "solon report"
NOT_KNOWN = "–"
TEXT_CHARS = 1200
HELD_OUT = "held-out"


def document(report: RunReport) -> Document:
    """The whole report; its title is the verdict."""
    sections = [
        *_gates(report),
        *([scorecard(report)] if report.figures else []),
        *_pictures("Pictures", pictures.of_answers(report)),
        *_moves("Largest gains", report.gains),
        *_moves("Worst regressions", report.regressions),
        *_shown(report),
        *_training(report),
        *_data(report),
        *_judge(report),
        *_left_out(report),
        _lineage(report),
        *_settings(report),
    ]
    return Document(
        name=f"{short(report.id)}: {report.recipe}",
        title=one_line(report.verdict, 400),
        lines=[*report.also, *_cautions(report), _about(report)],
        sections=sections,
        author=AUTHOR,
        end="The texts are of models and data: they may be wrong.",
    )


def _cautions(report: RunReport) -> list[str]:
    """Those that the verdict has not already given."""
    return [said for said in report.cautions if said[1:-1] not in report.verdict]


def _about(report: RunReport) -> str:
    run = f", {short(report.run_id)}" if report.run_id else ""
    return (
        f"Recipe {report.recipe}, constitution {report.constitution}, {report.model};"
        f" {report.made_at}{run}"
    )


def _gates(report: RunReport) -> Iterator[Section]:
    if report.gates:
        policies = [p for p in report.policies if any(g.policy == p for g in report.gates)]
        found = {(g.metric, g.policy): g for g in report.gates}
        rows = [
            (metric, *(_gate(found.get((metric, policy))) for policy in policies))
            for metric in dict.fromkeys(gate.metric for gate in report.gates)
        ]
        yield Section("Gate", columns=("rule on", *policies), rows=rows)


def _gate(gate: Gate | None) -> Cell:
    if gate is None:
        return Cell(NOT_KNOWN)
    mark: Mark = "better" if gate.is_passed else "worse"
    return Cell("", gate.reason, "passed" if gate.is_passed else "failed", mark)


def _pictures(title: str, drawn: Sequence[Picture]) -> Iterator[Section]:
    if drawn:
        yield Section(title, pictures=drawn)


def _moves(title: str, moves: Sequence[Moved]) -> Iterator[Section]:
    if moves:
        lines = [
            "by rules kept, and by what a probe's program says: the base beside what was trained"
        ]
        yield Section(title, lines, entries=[_moved(move) for move in moves])


def _moved(move: Moved) -> Entry:
    where = "" if move.probe == HELD_OUT else f"{move.probe}: "
    said = f"{where}{move.policy} {move.by:+.2f}"
    facts = f"{said}; {move.because}" if move.because else said
    return Entry(move.question or "(empty)", facts, _answers(move), True)


def _shown(report: RunReport) -> Iterator[Section]:
    if report.shown:
        lines = ["chosen by the hash of their ids, so that nobody picked them"]
        entries = [
            Entry(
                move.question or "(empty)",
                f"{move.category}; {short(move.prompt_id)}",
                _answers(move),
                True,
            )
            for move in report.shown
        ]
        yield Section("A few questions", lines, entries=entries)


def _answers(move: Moved) -> list[tuple[str, list[Piece]]]:
    return [_given(move.probe, given) for given in move.answers]


def _given(probe: str, given: Given) -> tuple[str, list[Piece]]:
    what = "keeps" if probe == HELD_OUT else "scores"
    facts = [
        "" if given.score is None else f"{what} {given.score:.2f}",
        f"the most typical of {given.samples}" if given.samples > 1 else "",
        "cut at the limit" if given.end == "length" else "",
    ]
    said = ", ".join(part for part in facts if part)
    text = given.text if len(given.text) <= TEXT_CHARS else given.text[:TEXT_CHARS].rstrip() + "…"
    name = f"{given.policy} ({said})" if said else given.policy
    return (name, [Piece("same", text)]) if text.strip() else (f"{name}, empty", [])


def _training(report: RunReport) -> Iterator[Section]:
    if report.stages:
        columns = (
            "stage",
            "rows",
            "steps",
            "seconds",
            "in training",
            "held-out loss",
            "checkpoint",
        )
        rows = [_stage(stage) for stage in report.stages]
        lines = ["first and last value; a loss on rows that were trained on shows no learning"]
        drawn = pictures.of_training(report)
        yield Section("Training", lines, drawn, columns, rows, narrow=len(columns))


def _stage(stage: Stage) -> tuple[str, ...]:
    score, loss = _pair("score of rollouts", stage.score), _pair("loss", stage.loss)
    return (
        stage.stage,
        _count(stage.rows),
        _count(stage.steps),
        NOT_KNOWN if stage.seconds is None else f"{stage.seconds:.0f}",
        (score or loss or NOT_KNOWN) if stage.has_changed else "no weight changed",
        _pair("", stage.held_out) or NOT_KNOWN,
        short(stage.checkpoint_id),
    )


def _pair(name: str, ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{name} {ends[0]:.3f} to {ends[1]:.3f}".strip()


def _count(value: int | None) -> str:
    return NOT_KNOWN if value is None else str(value)


def _data(report: RunReport) -> Iterator[Section]:
    data = report.data
    if data.dataset_id:
        lines = [*data.said, f"solon data report {short(data.dataset_id)} says more"]
        counts = {"source": data.by_source, "evidence": data.by_evidence}
        rows = [
            (what, name, str(count), f"{count / sum(found.values()):.0%}")
            for what, found in counts.items()
            for name, count in sorted(found.items(), key=lambda item: -item[1])
        ]
        yield Section("Data", lines, columns=("by", "", "pairs", "share"), rows=rows)


def _judge(report: RunReport) -> Iterator[Section]:
    if report.judge:
        rows = [
            (NAMES.get(name, name), Cell(f"{own.value:.2f}", _ends(own.low, own.high)), str(own.n))
            for name, own in report.judge.items()
        ]
        lines = [f"{report.judge_trust.said}."]
        drawn = pictures.of_judge(report)
        yield Section("The judge", lines, drawn, ("measure", "value", "n"), rows)


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.2f} to {high:.2f}"


def _left_out(report: RunReport) -> Iterator[Section]:
    if report.left_out:
        counts = {(step, reason): count for step, reason, count in report.left_out}
        steps = list(dict.fromkeys(step for step, _, _ in report.left_out))
        rows = [
            (reason, *(str(counts.get((step, reason), 0)) for step in steps))
            for reason in dict.fromkeys(reason for _, reason, _ in report.left_out)
        ]
        lines = ["rows that a step did not use, by reason"]
        yield Section("Left out", lines, columns=("reason", *steps), rows=rows)


def _lineage(report: RunReport) -> Section:
    ids = {
        "evaluation": report.evaluation_id,
        **report.checkpoints,
        "pairs": report.data.dataset_id,
        "constitution": report.constitution_id,
        "base model": report.model_id,
        "run": report.run_id,
    }
    rows = [
        (what, short(found), f"solon why {short(found)}") for what, found in ids.items() if found
    ]
    lines = ["every figure of the scorecard is the evaluation's: the first of these says from what"]
    return Section("Lineage", lines, columns=("what", "id", "where it is from"), rows=rows)


def _settings(report: RunReport) -> Iterator[Section]:
    if report.settings:
        rows = list(report.settings.items())
        yield Section("Settings", columns=("key", "value"), rows=rows, is_folded=True)
