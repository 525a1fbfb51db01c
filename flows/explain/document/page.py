"""A document as one self-contained HTML page, with the differences in colour.

Every text is escaped where it is put in, and the page's own policy forbids what might still slip
through: no script, nothing fetched. Our drawings stand in the page itself. A page is written whole
or not at all, and over nothing but a page of the same command.
"""

from __future__ import annotations

import html
import os
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flows.explain.compare.text import visible
from flows.explain.compare.words import Piece
from flows.explain.document.parts import Cell, Document, Entry, Picture, Section
from flows.explain.document.style import CHART, CSS
from storage.durable import replace_text
from storage.errors import InputError

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
%s
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>"""
TAGS = {"same": ("", ""), "removed": ("<del>", "</del>"), "added": ("<ins>", "</ins>")}


def page(document: Document) -> str:
    """The whole page."""
    sections = list(enumerate(document.sections, 1))
    links = (f'<li><a href="#section-{n}">{_text(s.title)}</a></li>' for n, s in sections)
    nav = f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>\n' if sections else ""
    return (
        f"{_head(document.author)}{_text(document.name)}</title>\n"
        f"<style>{CSS}{CHART}</style>\n</head>\n<body>\n{nav}<main>\n"
        f"{_tag('h1', document.title)}{_list(document.lines)}"
        f"{''.join(_section(number, section) for number, section in sections)}"
        f"</main>\n<footer>Written by {document.author}. {_text(document.end)}</footer>\n"
        "</body>\n</html>\n"
    )


def _text(text: str) -> str:
    return html.escape(visible(text).strip(), quote=False)


def _tag(name: str, text: str) -> str:
    return f'<{name} dir="auto">{_text(text)}</{name}>\n'


def _list(lines: Sequence[str]) -> str:
    return f"<ul>\n{''.join(_tag('li', line) for line in lines)}</ul>\n" if lines else ""


def _section(number: int, section: Section) -> str:
    name, inside = f"section-{number}", "".join(_inside(section))
    if section.is_folded:
        title = f'<summary id="{name}">{_text(section.title)}</summary>'
        return f"<details>{title}\n{inside}</details>\n"
    return f'<h2 id="{name}" dir="auto">{_text(section.title)}</h2>\n{inside}'


def _inside(section: Section) -> Iterator[str]:
    yield _list(section.lines)
    if section.pictures:
        yield f'<div class="charts">{"".join(map(_drawn, section.pictures))}</div>\n'
    if section.rows:
        yield _table(section)
    for number, entry in enumerate(section.entries, 1):
        yield f'<h3 dir="auto">{number}. {_text(entry.title)}</h3>\n'
        yield from _entry(entry)


def _drawn(picture: Picture) -> str:
    if picture.is_chart:
        return f"<figure>{picture.svg}<figcaption>{_text(picture.text)}</figcaption></figure>\n"
    data = b64encode(picture.svg.encode()).decode()
    alt = html.escape(visible(picture.text))
    return f'<figure><img alt="{alt}" src="data:image/svg+xml;base64,{data}"></figure>\n'


def _table(section: Section) -> str:
    has_figures = any(isinstance(cell, Cell) for row in section.rows for cell in row)
    head = "".join(f"<th>{_text(name)}</th>" for name in section.columns)
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>\n" for row in section.rows)
    start = '<table class="figures">' if has_figures else "<table>"
    return f"{start}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return f'<td dir="auto">{_text(cell)}</td>'
    spread = f"<small>{_text(cell.spread)}</small>" if cell.spread else ""
    value = f"<b>{_text(cell.text)}</b>" if cell.text else ""
    change = f"<span>{_text(cell.change)}</span>" if cell.change else ""
    return f'<td class="figure {cell.mark}">{value}{spread}{change}</td>'


def _entry(entry: Entry) -> Iterator[str]:
    if entry.facts:
        yield _tag("p", entry.facts)
    texts = (f"{_tag('p', f'{name}:')}{_words(pieces)}" for name, pieces in entry.texts)
    if entry.is_beside:
        inside = "".join(f"<div>{text}</div>\n" for text in texts)
        yield f'<div class="beside">{inside}</div>\n'
    else:
        yield from texts


def _words(pieces: Sequence[Piece]) -> str:
    """Side by side where both sides have words of their own."""
    kinds = {piece.kind for piece in pieces}
    shown = {"": pieces}
    if {"removed", "added"} <= kinds:
        shown = {"A": [piece for piece in pieces if piece.kind != "added"]}
        shown["B"] = [piece for piece in pieces if piece.kind != "removed"]
    columns = (
        f'<div dir="auto" class="words {side}">{_marked(part)}</div>'
        for side, part in shown.items()
    )
    return f'<div class="texts">{"".join(columns)}</div>\n'


def _marked(pieces: Iterable[Piece]) -> str:
    return "".join(
        html.escape(visible(piece.text), quote=False).join(TAGS[piece.kind]) for piece in pieces
    )


def _head(author: str) -> str:
    return HEAD % generator(author)


def generator(author: str) -> str:
    """By which a page is known to be one of this command."""
    return f'<meta name="generator" content="{author}">'


def check_target(path: Path, author: str, option: str) -> None:
    """Raise InputError unless a page may be written here: a new file, or a page of its author."""
    if not path.parent.is_dir():
        raise InputError(str(path), "its folder is not there", "make the folder first", option)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        rule = "its folder may not be written to"
        raise InputError(str(path), rule, "name a file in another folder", option)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise InputError(str(path), "is no regular file", "name a new file", option)
    if path.exists() and not _is_by(path, author):
        rule = f"the file is there, and {author} did not write it"
        raise InputError(str(path), rule, "name a new file, or delete this one", option)


def write_page(path: Path, document: Document, option: str) -> None:
    """Write so that a reader sees the old page or the new one; see `check_target`."""
    check_target(path, document.author, option)
    replace_text(path, page(document))


def _is_by(path: Path, author: str) -> bool:
    with path.open("rb") as file:
        return generator(author).encode() in file.read(len(HEAD) + len(author))
