"""A data report in words: the document that terminal, Markdown and page all show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flows.explain.compare.text import one_line
from flows.explain.compare.words import Piece
from flows.explain.data_report.evidence import evidence_of
from flows.explain.data_report.pictures import pictures
from flows.explain.data_report.report import Check, DataReport, DataRow, LeftOut, Verdict
from flows.explain.document.parts import Document, Entry, Picture, Section
from storage.ids import short
from tasks.generation import teaching_text
from tasks.generation.teaching import AUTHORITY, NONE
from tasks.judging.card_text import NAMES

AUTHOR = "solon data report"
NOT_KNOWN = "–"
TEXT_CHARS = 600
START_CHARS = 240  # of what is left out
RULES = {
    "near_duplicates": "near duplicates",
    "overlap": "overlap with held-out prompts",
    "overused": "overused phrases",
    "length": "length",
    "openings": "boilerplate openings",
    "cut": "truncated",
    "refusals": "refusals",
    "language": "language switch",
    "control_tokens": "spelt control tokens",
}


def document(report: DataReport) -> Document:
    """The whole report; its title is the one number that matters."""
    drawn = pictures(report)
    sections = [
        _sources(report),
        *_principles(report, drawn.get("evidence", [])),
        *_judge(report),
        *_left_out(report),
        *_hygiene(report),
        *_drawn(drawn.get("lengths", []) + drawn.get("preferences", [])),
        *_shown(report),
    ]
    return Document(
        name=f"{short(report.id)}: what these {report.kind} rows teach",
        title=one_line(_headline(report), 200),
        lines=[f"{short(report.id)}: {_size(report)}, made by {short(report.run_id)}"],
        sections=sections,
        author=AUTHOR,
        end="The texts are of models and data: they may be wrong.",
    )


def _headline(report: DataReport) -> str:
    if report.teaching:
        line = teaching_text.headline(report.teaching.to_json())
        return line[0].upper() + line[1:]
    return f"{report.training} examples to learn" if report.training else "no examples to learn"


def _size(report: DataReport) -> str:
    rows = "pairs" if report.teaching else "examples"
    return f"{report.training} {rows} to train on, {report.held_out} held out"


def _sources(report: DataReport) -> Section:
    counts = {"SFT examples": report.examples_by_source}
    if report.teaching:
        counts = {"pairs": dict(report.teaching.by_source)} | counts
    rows = [
        (source, what, str(count), f"{count / sum(found.values()):.0%}")
        for what, found in counts.items()
        for source, count in sorted(found.items(), key=lambda item: -item[1])
    ]
    return Section("Sources", columns=("source", "rows", "count", "share"), rows=rows)


def _principles(report: DataReport, drawn: Sequence[Picture]) -> Iterator[Section]:
    teaching = report.teaching
    if not teaching or not report.principles:
        return
    kinds = [by for by in (*AUTHORITY, NONE) if any(by in p.by for p in report.principles)]
    rows = [
        (
            facts.slug,
            NOT_KNOWN if facts.prompts is None else str(facts.prompts),
            str(teaching.lessons[facts.slug].pairs),
            *(str(facts.by.get(kind, 0)) for kind in kinds),
            _percent(facts.agreement),
            NOT_KNOWN if facts.preference is None else f"{facts.preference:.2f}",
        )
        for facts in report.principles
    ]
    note = (
        "prompts, pairs: those it was assigned to; people, program, judge: pairs with a label on"
        " it, of any prompt, by the strongest; none: its pairs without any label; agreed: of"
        " revisions and distilled pairs with one, the share that was not turned round; preference:"
        " mean of the labels"
    )
    columns = ("principle", "prompts", "pairs", *kinds, "agreed", "preference")
    yield Section("Principles", [note], drawn, columns, rows, narrow=len(columns))
    yield from _nothing_to_learn(report)


def _judge(report: DataReport) -> Iterator[Section]:
    """How far the judge's word can be trusted."""
    if report.judge:
        rows = [
            (
                NAMES.get(measure.name, measure.name),
                f"{measure.value:.3f}",
                NOT_KNOWN if measure.low is None else f"{measure.low:.3f} to {measure.high:.3f}",
                str(measure.n),
            )
            for measure in report.judge
        ]
        lines = ["on pairs of which the better response is known"]
        yield Section("The judge", lines, columns=("measure", "value", "95 %", "n"), rows=rows)
    elif report.teaching and report.teaching.by_evidence["judge"]:
        lines = [
            "it was not examined: no program decided a pair, and the recipe names no judge.gold;"
            " what its word is worth is not known"
        ]
        yield Section("The judge", lines)


def _nothing_to_learn(report: DataReport) -> Iterator[Section]:
    teaching = report.teaching
    assert teaching
    rows = [
        (slug, *(str(n) for n in (lesson.prompts, lesson.all_keep, lesson.all_break)))
        for slug, lesson in teaching.lessons.items()
        if lesson.all_keep or lesson.all_break
    ]
    if rows:
        columns = ("principle", "prompts", "all keep it", "all break it")
        lines = [
            "prompts all of whose answers keep a principle, or break it: they give no pair on it",
            *teaching_text.hints(teaching.to_json()),
        ]
        yield Section("Nothing to learn", lines, columns=columns, rows=rows)


def _left_out(report: DataReport) -> Iterator[Section]:
    """A row a reason and step; texts once a reason, as steps leave out the same rows."""
    if report.left_out:
        rows = [(x.reason, x.step, str(x.rows)) for x in report.left_out]
        first = {x.reason: x for x in reversed(report.left_out)}
        entries = [_left_out_entry(x) for x in report.left_out if first[x.reason] is x]
        yield Section("Left out", columns=("reason", "step", "rows"), rows=rows, entries=entries)


def _left_out_entry(found: LeftOut) -> Entry:
    texts = [_text(f"example {n}", text, START_CHARS) for n, text in enumerate(found.texts, 1)]
    return Entry(found.reason, "", texts)


def _hygiene(report: DataReport) -> Iterator[Section]:
    if report.hygiene:
        yield Section(
            "Hygiene",
            [f"{RULES[check.finding.rule]}: {check.said}" for check in report.hygiene],
            columns=("rule", "verdict", "count", "threshold"),
            rows=[_check_row(check) for check in report.hygiene],
            entries=[_check_entry(check) for check in report.hygiene if check.finding.examples],
        )


def _check_row(check: Check) -> tuple[str, ...]:
    verdict = "look" if check.is_odd else "fine"
    return RULES[check.finding.rule], verdict, _count(check), f"{check.finding.threshold:g}"


def _count(check: Check) -> str:
    count = str(check.finding.count)
    return count if check.finding.rule == "overused" else f"{count} of {check.of}"


def _check_entry(check: Check) -> Entry:
    examples = "\n".join(f"• {text}" for text in check.finding.examples)
    texts = [("examples", [Piece("same", examples)])]
    return Entry(f"{RULES[check.finding.rule]}: {_count(check)}", "", texts)


def _drawn(drawn: Sequence[Picture]) -> Iterator[Section]:
    if drawn:
        yield Section("Lengths and preferences", [picture.text for picture in drawn], drawn)


def _shown(report: DataReport) -> Iterator[Section]:
    if report.shown:
        rows = "pairs" if report.teaching else "examples"
        lines = [f"the first {rows} by id, so that nobody picked them"]
        yield Section(f"A few {rows}", lines, entries=[_row(row) for row in report.shown])


def _row(row: DataRow) -> Entry:
    if row.rejected is None:
        return Entry(row.prompt or "(empty)", row.source, [_text("response", row.chosen)])
    texts = [_text("chosen", row.chosen), _text("rejected", row.rejected)]
    return Entry(row.prompt or "(empty)", f"{row.source}; {_who(row)}; {short(row.id)}", texts)


def _who(row: DataRow) -> str:
    """Who said that the chosen one is better."""
    if evidence_of(row.labels) == NONE:
        return "no evidence: its source presumes it"
    return ", ".join(map(_verdict, row.labels))


def _verdict(label: Verdict) -> str:
    about = f" on {label.slug}" if label.slug else ""
    turned = ", turned round" if label.is_turned else ""
    return f"{label.by}{about} ({label.preference:.2f}{turned})"


def _text(name: str, text: str, limit: int = TEXT_CHARS) -> tuple[str, list[Piece]]:
    cut = text if len(text) <= limit else text[:limit].rstrip() + "…"
    return (name, [Piece("same", cut)]) if cut else (f"{name} (empty)", [])


def _percent(share: float | None) -> str:
    return NOT_KNOWN if share is None else f"{share:.0%}"
