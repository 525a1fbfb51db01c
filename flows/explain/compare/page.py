"""A report as one self-contained HTML page: no script, nothing fetched, safe for any text.

Every text goes through `_safe`; the page's own policy forbids whatever might still slip through.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from flows.explain.compare import tables
from flows.explain.compare.page_style import CSS
from flows.explain.compare.report import (
    CheckpointDiff,
    ConstitutionDiff,
    FieldChange,
    PrincipleChange,
    Report,
    Side,
    SnapshotDiff,
    TextChange,
)
from flows.explain.compare.text import visible
from flows.explain.compare.words import Kind, Piece, difference

GENERATOR = '<meta name="generator" content="solon diff">'
HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>"""
TAGS: dict[Kind, str] = {"removed": "del", "added": "ins"}


def page(report: Report) -> str:
    """The whole page."""
    title = f"{report.a.name} and {report.b.name}: what differs"
    return (
        f"{HEAD}{_safe(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(_body(report))
        + "\n</body>\n</html>\n"
    )


def _body(report: Report) -> Iterator[str]:
    sections = list(_sections(report))
    yield '<a class="skip" href="#main">Skip to the differences</a>'
    yield f"<header>\n<h1>What differs between two {report.a.kind}s</h1>"
    yield f'<div class="sides">{_side("A", report.a)}{_side("B", report.b)}</div>'
    lines = (*tables.headline(report), *report.notes)
    yield _list(lines) + "\n</header>"
    if len(sections) > 1:
        links = (f'<li><a href="#{name}">{_safe(title)}</a></li>' for name, title, _ in sections)
        yield f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>'
    yield '<main id="main">'
    for name, title, parts in sections:
        yield f'<section aria-labelledby="{name}">\n<h2 id="{name}">{_safe(title)}</h2>'
        yield from parts
        yield "</section>"
    yield "</main>\n<footer>Written by solon diff. Words only in A are struck through, words only"
    yield "in B are underlined.</footer>"


def _sections(report: Report) -> Iterator[tuple[str, str, Iterator[str]]]:
    """(anchor, title, content)."""
    if report.checkpoint:
        yield "checkpoint", "Key and measures", _checkpoint(report.checkpoint)
    if report.constitution:
        yield "constitution", "Constitution", _constitution(report.constitution)
    for snapshot in report.snapshots:
        title = f"Snapshots of {snapshot.rows} rows"
        yield f"rows-{snapshot.rows}", title, _snapshot(snapshot)


def _constitution(found: ConstitutionDiff) -> Iterator[str]:
    yield _list(tables.effects(found))
    for number, principle in enumerate(found.principles, 1):
        yield _principle(number, principle)
    if found.fields:
        yield f"<article>\n<header><h3>The whole</h3></header>{_fields(found.fields)}</article>"


def _principle(number: int, found: PrincipleChange) -> str:
    name = f"principle-{number}"
    effect = tables.BRIEF_EFFECT[found.effect]
    is_whole = found.change != "changed"
    return (
        f'<article aria-labelledby="{name}">\n<header><h3 id="{name}">{_bdi(found.slug)}</h3>'
        f'<span class="tag">{found.change}</span><span class="soft">{effect}</span></header>'
        f"{_fields(found.fields, is_whole)}</article>"
    )


def _fields(fields: Iterable[FieldChange], effect_is_known: bool = False) -> str:
    return "\n".join(
        f'<div class="field"><h4>{_safe(tables.field_name(change, effect_is_known))}</h4>'
        f"{_words(change.pieces)}</div>"
        for change in fields
    )


def _snapshot(found: SnapshotDiff) -> Iterator[str]:
    if found.principles:
        yield _table("What each principle did", tables.USE_COLUMNS, tables.use_rows(found))
        yield f'<p class="soft">{_safe(tables.use_caption(found))}.</p>'
    for number, change in enumerate(found.texts, 1):
        yield _text(f"{found.rows}-{number}", change)
    if found.texts or found.left_out:
        yield f'<p class="soft">{_safe(tables.left_out_line(found))}.</p>'


def _text(name: str, change: TextChange) -> str:
    flip = '<span class="tag">flipped</span>' if change.is_flip else ""
    parts = "".join(_pair(*part) for part in tables.text_parts(change))
    return (
        f'<article aria-labelledby="{name}">\n'
        f'<header><h3 id="{name}" class="words prompt" dir="auto">{_text_of(change.prompt)}</h3>'
        f'{flip}<span class="soft">{_bdi(tables.principles_of(change))}</span></header>'
        f"{parts}</article>"
    )


def _pair(part: str, before: str | None, after: str | None) -> str:
    """Two texts side by side: what only A has marked on the left, what only B has on the right."""
    pieces = difference(before or "", after or "")
    left = [piece for piece in pieces if piece.kind != "added"]
    right = [piece for piece in pieces if piece.kind != "removed"]
    columns = (("A", before, left), ("B", after, right))
    return f'<div class="pair">{"".join(_column(part, *column) for column in columns)}</div>\n'


def _column(part: str, letter: str, text: str | None, pieces: list[Piece]) -> str:
    shown = '<p class="soft">no such row</p>' if text is None else _words(pieces)
    return f"<div><h4>{letter}, {part}</h4>{shown}</div>"


def _checkpoint(found: CheckpointDiff) -> Iterator[str]:
    columns = tables.COMPONENT_COLUMNS
    yield _table("Components of the key that differ", columns, tables.component_rows(found), True)
    if found.metrics:
        yield _table("Measures", tables.METRIC_COLUMNS, tables.metric_rows(found))


def _table(
    label: str, columns: Iterable[str], rows: Iterable[list[str]], is_wide: bool = False
) -> str:
    """A table that scrolls within itself, reachable by keyboard."""
    kind = ' class="wide"' if is_wide else ""
    first, *others = columns
    head = f'<th scope="col">{first}</th>'
    head += "".join(f'<th scope="col"{kind}>{name}</th>' for name in others)
    body = "".join(
        f'<tr><th scope="row">{_bdi(row[0])}</th>'
        + "".join(f"<td{kind}>{_bdi(cell)}</td>" for cell in row[1:])
        + "</tr>\n"
        for row in rows
    )
    return (
        f'<div class="scroll" role="region" aria-label="{label}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _side(letter: str, side: Side) -> str:
    return (
        f'<div class="side"><span class="soft">{letter}</span><span><b>{_bdi(side.name)}</b></span>'
        f"<span>{_bdi(side.label)}</span><code>{_safe(side.id)}</code></div>"
    )


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_bdi(line)}</li>" for line in lines)
    return f'<ul class="found">{items}</ul>'


def _words(pieces: Iterable[Piece]) -> str:
    """Text with its differences marked; the sign for an empty one where there is none."""
    marked = "".join(_marked(piece) for piece in pieces)
    return f'<p class="words" dir="auto">{marked or _text_of("")}</p>'


def _marked(piece: Piece) -> str:
    tag = TAGS.get(piece.kind)
    return f"<{tag}>{_safe(piece.text)}</{tag}>" if tag else _safe(piece.text)


def _text_of(text: str) -> str:
    return _safe(text) or '<span class="soft">(empty)</span>'


def _bdi(text: str) -> str:
    return f'<bdi dir="auto">{_safe(text)}</bdi>'


def _safe(text: str) -> str:
    """No markup, no control or direction character."""
    return html.escape(visible(text), quote=True)
