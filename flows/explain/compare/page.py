"""A report as one self-contained HTML page: no script, nothing fetched, safe for any text.

Every text goes through `_safe`; the page's own policy forbids whatever might still slip through.
It is written whole or not at all, and over nothing but a page.
"""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from flows.explain.compare.describe import Change, Section, Texts, headline, sections, sides
from flows.explain.compare.page_style import CSS
from flows.explain.compare.report import Report
from flows.explain.compare.text import visible
from flows.explain.compare.words import Kind, Piece
from storage.durable import replace_text
from storage.errors import InputError
from storage.ids import short

GENERATOR = '<meta name="generator" content="solon diff">'
HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>"""
EMPTY = '<span class="soft">(empty)</span>'
WIDE_CHARS = 40  # a longer cell is wrapped
TAGS: dict[Kind, str] = {"removed": "del", "added": "ins"}


def page(report: Report) -> str:
    """The whole page."""
    title = f"{short(report.a.name)} and {short(report.b.name)}: what differs"
    return (
        f"{HEAD}{_safe(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(_body(report))
        + "\n</body>\n</html>\n"
    )


def _body(report: Report) -> Iterator[str]:
    named = [(f"section-{n}", section) for n, section in enumerate(sections(report), 1)]
    yield '<a class="skip" href="#main">Skip to the differences</a>'
    yield f"<header>\n<h1>What differs between two {report.a.kind}s</h1>"
    yield f'<div class="sides">{"".join(_side(*side) for side in sides(report))}</div>'
    yield _list(headline(report)) + "\n</header>"
    if len(named) > 1:
        links = (f'<li><a href="#{name}">{_safe(s.title)}</a></li>' for name, s in named)
        yield f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>'
    yield '<main id="main">'
    for name, section in named:
        yield f'<section aria-labelledby="{name}">\n<h2 id="{name}">{_safe(section.title)}</h2>'
        yield from _section(name, section)
        yield "</section>"
    yield "</main>\n<footer>Written by solon diff. Words only in A are struck through, words only"
    yield "in B are underlined.</footer>"


def _side(letter: str, name: str, label: str, row_id: str) -> str:
    return (
        f'<div class="side"><span class="soft">{letter}</span><span><b>{_bdi(name)}</b></span>'
        f"<span>{_bdi(label)}</span><code>{_safe(row_id)}</code></div>"
    )


def _section(name: str, section: Section) -> Iterator[str]:
    if section.lines:
        yield _list(section.lines)
    if section.rows:
        yield _table(name, section)
    if section.note:
        yield f'<p class="soft">{_safe(section.note)}.</p>'
    for number, change in enumerate(section.changes, 1):
        yield _change(f"{name}-{number}", number, change)
    if section.ending:
        yield f'<p class="soft">{_safe(section.ending)}.</p>'


def _table(name: str, section: Section) -> str:
    """A table that scrolls within itself, reachable by keyboard."""
    head = "".join(f'<th scope="col">{_safe(column)}</th>' for column in section.columns)
    body = "".join(
        f'<tr><th scope="row">{_bdi(first)}</th>{"".join(map(_cell, others))}</tr>\n'
        for first, *others in section.rows
    )
    return (
        f'<div class="scroll" role="region" aria-labelledby="{name}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    kind = ' class="wide"' if len(text) > WIDE_CHARS else ""
    return f"<td{kind}>{_bdi(text)}</td>"


def _change(name: str, number: int, change: Change) -> str:
    facts = "".join(f'<span class="tag">{_bdi(fact)}</span>' for fact in change.facts)
    texts = "\n".join(map(_side_by_side if change.is_row else _field, change.texts))
    return (
        f'<article aria-labelledby="{name}">\n<header><h3 id="{name}" class="words prompt"'
        f' dir="auto">{number}. {_safe(change.title)}</h3>{facts}</header>{texts}</article>'
    )


def _field(text: Texts) -> str:
    return f'<div class="field"><h4>{_safe(text.name)}</h4>{_words(text.pieces)}</div>'


def _side_by_side(text: Texts) -> str:
    """What only A has marked on the left, what only B has on the right."""
    pieces = text.pieces
    left = [piece for piece in pieces if piece.kind != "added"]
    right = [piece for piece in pieces if piece.kind != "removed"]
    return (
        f'<div class="pair">{_column(f"A, {text.name}", text.a, left)}'
        f"{_column(f'B, {text.name}', text.b, right)}</div>"
    )


def _column(title: str, text: str | None, pieces: list[Piece]) -> str:
    shown = '<p class="soft">no such row</p>' if text is None else _words(pieces)
    return f"<div><h4>{_safe(title)}</h4>{shown}</div>"


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{_bdi(line)}</li>" for line in lines)
    return f'<ul class="found">{items}</ul>'


def _words(pieces: Iterable[Piece]) -> str:
    """Text with its differences marked; the sign for an empty one where there is none."""
    marked = "".join(_marked(piece) for piece in pieces)
    return f'<p class="words" dir="auto">{marked or EMPTY}</p>'


def _marked(piece: Piece) -> str:
    tag = TAGS.get(piece.kind)
    return f"<{tag}>{_safe(piece.text)}</{tag}>" if tag else _safe(piece.text)


def _bdi(text: str) -> str:
    return f'<bdi dir="auto">{_safe(text)}</bdi>'


def _safe(text: str) -> str:
    """No markup, no control or direction character."""
    return html.escape(visible(text), quote=True)


def check_target(path: Path) -> None:
    """Raise InputError unless a page may be written here: a new file, or a page of ours."""
    if not path.parent.is_dir():
        raise InputError(str(path), "its folder is not there", "make the folder first", "--html")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        rule = "its folder may not be written to"
        raise InputError(str(path), rule, "name a file in another folder", "--html")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(str(path), "is no regular file", "name a new file", "--html")
    if path.exists() and not _is_ours(path):
        rule = "the file is there, and solon diff did not write it"
        raise InputError(str(path), rule, "name a new file, or delete this one", "--html")


def write_page(path: Path, text: str) -> None:
    """Write so that a reader sees the old page or the new one; see `check_target`."""
    check_target(path)
    replace_text(path, text)


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(len(HEAD))
