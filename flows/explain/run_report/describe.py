"""A run report in words: the document that terminal, Markdown and page all show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.explain.compare.text import one_line
from flows.explain.compare.words import Piece
from flows.explain.document.parts import Cell, Document, Entry, Mark, Picture, Section
from flows.explain.run_report import pictures
from flows.explain.run_report.evidence import Evidence
from flows.explain.run_report.facts import Data, Figure, Gate, Given, Moved, Stage
from flows.explain.run_report.report import About, RunReport
from flows.explain.run_report.scorecard import scorecard
from flows.explain.run_report.standard import standard_section
from storage.ids import short
from tasks.evaluation.rows import HELD_OUT
from tasks.judging.card_text import NAMES

AUTHOR = "solon report"
NOT_KNOWN = "–"
TEXT_CHARS = 1200


def document(report: RunReport) -> Document:
    """The whole report; its title is the verdict."""
    verdict, *also = report.said
    sections = [
        *([scorecard(report.evidence)] if report.evidence.figures else []),
        *standard_section(report.standard),
        *_pictures("Pictures", pictures.of_answers(report)),
        *_moves("Largest gains", report.gains),
        *_moves("Worst regressions", report.regressions),
        *_shown(report),
        *_gates(report.evidence),
        *_training(report),
        *_data(report.data),
        *_judge(report),
        *_left_out(report),
        _lineage(report),
        *_settings(report),
    ]
    return Document(
        name=f"{short(report.about.id)}: {report.about.recipe}",
        title=one_line(verdict, 400),
        lines=[
            *also,
            *(c for c in report.cautions if c[1:-1] not in verdict),
            _about(report.about),
        ],
        sections=sections,
        author=AUTHOR,
        end="The texts are of models and data: they may be wrong.",
    )


def _about(about: About) -> str:
    run = f", {short(about.run_id)}" if about.run_id else ""
    code = f", commit {about.commit[:12]}" if about.commit else ""
    others = "".join(f", {role} by {name}" for role, name in about.others.items())
    return (
        f"Recipe {about.recipe}, constitution {about.constitution}, {about.model}{others};"
        f" {about.made_at}{run}{code}"
    )


def _gates(found: Evidence) -> Iterator[Section]:
    """What each policy misses, then every bound."""
    policies = list(dict.fromkeys(gate.policy for gate in found.gates))
    if policies:
        lines = [_missed(policy, found.gates) for policy in policies]
        yield Section("Gates", lines)
        by_cell: dict[tuple[str, str], list[Gate]] = {}
        for gate in found.gates:
            by_cell.setdefault((gate.metric, gate.policy), []).append(gate)
        rows: list[tuple[str | Cell, ...]] = [
            (metric, *(_gate(by_cell.get((metric, policy), [])) for policy in policies))
            for metric in dict.fromkeys(gate.metric for gate in found.gates)
        ]
        yield Section("Every gate", columns=("on", *policies), rows=rows, is_folded=True)


def _missed(policy: str, gates: Sequence[Gate]) -> str:
    own = [gate for gate in gates if gate.policy == policy]
    missed = [gate.reason for gate in own if not gate.is_passed]
    if not missed:
        return f"{policy} passes all {len(own)}"
    return f"{policy} misses {len(missed)} of {len(own)}: {'; '.join(missed)}"


def _gate(gates: Sequence[Gate]) -> Cell:
    """The bounds on one measure of one policy; the missed ones speak first."""
    if not gates:
        return Cell(NOT_KNOWN)
    is_passed = all(gate.is_passed for gate in gates)
    reasons = [gate.reason for gate in sorted(gates, key=lambda gate: gate.is_passed)]
    mark: Mark = "better" if is_passed else "worse"
    return Cell("", "; ".join(reasons), "passed" if is_passed else "missed", mark)


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
        columns = ("stage", "rows", "steps", "seconds", "in training", "held-out loss")
        rows = [_stage(stage) for stage in report.stages]
        lines = ["a loss on rows that were trained on shows no learning; one on held-out rows does"]
        drawn = pictures.of_training(report)
        yield Section("Training", lines, drawn, columns, rows)


def _stage(stage: Stage) -> tuple[Cell, ...]:
    in_training = _ends("score of rollouts", stage.score) or _ends("loss", stage.loss)
    return (
        Cell(stage.stage, short(stage.checkpoint_id)),
        Cell(_count(stage.rows)),
        Cell(_count(stage.steps)),
        Cell(_count(None if stage.seconds is None else round(stage.seconds))),
        Cell(stage.not_learned) if stage.not_learned else in_training or Cell(NOT_KNOWN),
        _ends("loss", stage.held_out) or Cell(NOT_KNOWN),
    )


def _ends(name: str, ends: tuple[float, float] | None) -> Cell | None:
    """Where a measure ended, and where it began."""
    return Cell(f"{ends[1]:.3f}", f"{name}, from {ends[0]:.3f}") if ends else None


def _count(value: int | None) -> str:
    return NOT_KNOWN if value is None else str(value)


def _data(data: Data) -> Iterator[Section]:
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
            (NAMES.get(name, name), Cell(f"{own.value:.2f}", _interval(own)), str(own.n))
            for name, own in report.judge.items()
        ]
        lines = [f"{report.evidence.judge.said}."]
        drawn = pictures.of_judge(report)
        yield Section("The judge", lines, drawn, ("measure", "value", "n"), rows)


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{figure.low:.2f} to {figure.high:.2f}"


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
        "evaluation": report.about.evaluation_id,
        **report.checkpoints,
        "pairs": report.data.dataset_id,
        "constitution": report.about.constitution_id,
        "base model": report.about.model_id,
    }
    rows = [(what, f"solon why {short(found)}") for what, found in ids.items() if found]
    lines = ["every figure of the scorecard is the evaluation's: the first of these says from what"]
    return Section("Lineage", lines, columns=("what", "where it is from"), rows=rows)


def _settings(report: RunReport) -> Iterator[Section]:
    if report.settings:
        rows = list(report.settings.items())
        yield Section("Settings", columns=("key", "value"), rows=rows, is_folded=True)
