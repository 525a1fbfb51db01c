"""A document as one self-contained HTML page: its Markdown, with the differences in colour.

The parser knows no links, pictures or HTML, and the page's own policy forbids whatever might still
slip through: no script, nothing fetched. Our drawings stand in the page itself. A page is written
whole or not at all, and over nothing but a page of the same command.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from flows.explain.compare.text import visible
from flows.explain.compare.words import Marks
from flows.explain.document.markdown import markdown
from flows.explain.document.parts import Document, Picture
from storage.durable import replace_text
from storage.errors import InputError
from tasks.evaluation.escape import LINE_BREAK, ZERO_WIDTH

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
%s
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>"""
CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfaf7; --ink: #22252b; --soft: #5c626d; --line: #dedbd2; --sheet: #ffffff;
  --accent: #1d5c73; --ins: #dcefdd; --ins-ink: #12491f; --del: #f7e0dc; --del-ink: #7c1d12;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16181c; --ink: #dfe1e5; --soft: #9aa0ab; --line: #33373f; --sheet: #1d2025;
    --accent: #7cc0d8; --ins: #173a22; --ins-ink: #b5e6c0; --del: #46201b; --del-ink: #f5bdb3;
  }
}
body {
  margin: 0 auto; max-width: 70rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  overflow-wrap: anywhere;
}
h1, h2, h3 { line-height: 1.25; font-weight: 600; text-wrap: balance; }
h1 { font-size: 1.6rem; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; border-top: 1px solid var(--line);
     padding-top: .75rem; }
h3 { font-size: 1rem; margin: 2rem 0 0; max-height: 12rem; overflow-y: auto; }
p { margin: .5rem 0; }
img { display: block; max-width: 100%; margin: 1rem 0; }
h3, p, li, td { white-space: pre-line; }
p, footer { color: var(--soft); font-size: .9rem; }
footer { margin-top: 2rem; }
a { color: var(--accent); text-underline-offset: .15em; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; padding: 0; list-style: none; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .9rem;
        font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .45rem 2rem .45rem 0; text-align: start; max-width: 24rem;
         border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; min-width: 3rem; }
td:first-child { min-width: 8.5rem; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
.texts { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); }
.words { white-space: pre-wrap; padding: .6rem .9rem; background: var(--sheet);
         border: 1px solid var(--line);
         font-family: Charter, "Bitstream Charter", Georgia, "Noto Serif", serif; }
.B { border-left: 0; }
.A::before, .B::before { content: "A\\a"; font: .8rem system-ui, sans-serif; color: var(--soft); }
.B::before { content: "B\\a"; }
ins, del { unicode-bidi: isolate; border-radius: 2px; padding: 0 .1em; }
ins { background: var(--ins); color: var(--ins-ink); text-underline-offset: .2em; }
del { background: var(--del); color: var(--del-ink); }
@media (max-width: 44rem) {
  .texts { grid-auto-flow: row; }
  .B { border: 1px solid var(--line); }
  body { padding: 1rem; }
  ul { padding-inline-start: 1.25rem; }
  th, td { padding-inline-end: 1rem; }
}
@media print { body { background: none; } .texts { break-inside: avoid; } nav { display: none; } }
"""
FOOT = "<footer>Written by %s. %s</footer>\n</body>\n</html>\n"
RULES = ("heading", "list", "table", "fence", "entity")
# Marks of Markdown that no text holds (see text.py), and the tags they become.
SIGNS: Marks = {"same": ("", ""), "removed": ("\ufdd0", "\ufdd1"), "added": ("\ufdd2", "\ufdd3")}
TAGS = {0xFDD0: "<del>", 0xFDD1: "</del>", 0xFDD2: "<ins>", 0xFDD3: "</ins>"}
PICTURE = re.compile("\ufdd4(\\d+)\ufdd5")  # its number in the document, between two more of them
ONLY_IN_A = re.compile("<del>.*?</del>", re.DOTALL)
ONLY_IN_B = re.compile("<ins>.*?</ins>", re.DOTALL)


class _Renderer(RendererHTML):
    """Texts as they were before `markdown_cell`, differences and pictures as tags."""

    def text(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        if found := PICTURE.fullmatch(tokens[idx].content):
            return _drawn(env["pictures"][int(found[1])])
        return escapeHtml(tokens[idx].content.replace(ZERO_WIDTH, "").replace(LINE_BREAK, "\n"))

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Side by side where both sides have words of their own."""
        text = escapeHtml(tokens[idx].content.removesuffix("\n")).translate(TAGS)
        shown = {"": text}
        if ONLY_IN_A.search(text) and ONLY_IN_B.search(text):
            shown = {"A": ONLY_IN_B.sub("", text), "B": ONLY_IN_A.sub("", text)}
        columns = (
            f'<div dir="auto" class="words {side}">{part}</div>' for side, part in shown.items()
        )
        return f'<div class="texts">{"".join(columns)}</div>\n'


def page(document: Document) -> str:
    """The whole page."""
    parser = MarkdownIt("zero", renderer_cls=_Renderer).enable(RULES)
    pictures = document.pictures
    places = {id(picture): f"\ufdd4{number}\ufdd5" for number, picture in enumerate(pictures)}
    text = markdown(document, SIGNS, None, lambda picture: places[id(picture)])
    tokens = parser.parse(text)
    links: list[str] = []
    for token, inside in pairwise(tokens):
        if token.type.endswith("_open"):
            token.attrSet("dir", "auto")
        if token.type == "heading_open" and token.tag == "h2":
            token.attrSet("id", name := f"section-{len(links) + 1}")
            links.append(f'<li><a href="#{name}">{escapeHtml(inside.content)}</a></li>')
    nav = f'<nav aria-label="Sections"><ul>{"".join(links)}</ul></nav>\n' if links else ""
    body = parser.renderer.render(tokens, parser.options, {"pictures": pictures})
    return (
        f"{_head(document.author)}{escapeHtml(visible(document.name))}</title>\n"
        f"<style>{CSS}</style>\n</head>\n<body>\n"
        f"{nav}<main>\n{body}</main>\n{FOOT % (document.author, escapeHtml(document.end))}"
    )


def _drawn(picture: Picture) -> str:
    data = b64encode(picture.svg.encode()).decode()
    return f'<img alt="{escapeHtml(picture.text)}" src="data:image/svg+xml;base64,{data}">'


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
