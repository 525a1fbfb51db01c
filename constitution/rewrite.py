"""Put new words into a constitution's file: everything else stays as it was, byte for byte.

Only the text of the fields that change is replaced, at the place where the YAML parser found it.
Comments, order, indentation, quotes and line ends around it are not written anew, so they cannot
change. What comes out is read again and must be the constitution with those fields and no others.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from constitution import fields
from constitution.errors import ConstitutionError
from constitution.load import load
from constitution.schema import Constitution
from constitution.source import compose

Reader = Callable[[yaml.Node], str]
WORDS: dict[str, Reader] = {
    "title": fields.line_of_text,
    "critique": fields.text,
    "revision": fields.text,
    "comparison": fields.text,
}
TEXT = Path("constitution.yaml")  # what a text without a file is called
BOM = "\ufeff"
INDENT = 2  # spaces by which a block's lines stand deeper than their key
BLOCKS = ("|", ">")
NOTE = re.compile(r"[ \t]+#[^\r\n]*")  # after a block's sign, it is no part of the text


def rewritten(text: str, slug: str, changes: Mapping[str, str]) -> str:
    """The file's text with `changes` (title, critique, revision, comparison) of one principle.

    `text` is the whole file as it is on disk, line ends and byte-order mark included. Raises
    ConstitutionError for an unknown slug or field, for words that may not stand there, and where
    the file cannot be changed in these fields only.
    """
    wanted = {name: _checked(name, value) for name, value in changes.items()}
    mark, body = (BOM, text[1:]) if text.startswith(BOM) else ("", text)
    aim = read_text(body)
    aim.principle(slug)  # raises where there is none
    for name, value in wanted.items():
        words: dict[str, Any] = {name: value}
        principles = (replace(p, **words) if p.slug == slug else p for p in aim.principles)
        aim = replace(aim, principles=tuple(principles))
        body = next((draft for draft in _drafts(body, slug, name, value) if _is(draft, aim)), "")
        if not body:
            rule = f"{name} of {slug} cannot be replaced without touching the rest of the file"
            raise ConstitutionError(value, rule, "edit the file by hand")
    return mark + body


def write_back(path: Path, before: str, after: str) -> None:
    """Replace the file's text `before` by `after`, whole or not at all; the mode stays.

    Raises ConstitutionError, with nothing written, where the file is no longer `before`.
    """
    path = path.resolve()  # of a link, the file it points to
    check_unchanged(path, before)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        beside = Path(folder, path.name)
        beside.write_bytes(after.encode("utf-8"))
        beside.chmod(path.stat().st_mode & 0o7777)
        _fsync(beside)
        check_unchanged(path, before)  # as late as can be
        os.replace(beside, path)
    _fsync(path.parent)


def check_unchanged(path: Path, before: str) -> None:
    """Raise ConstitutionError where the file's text is not `before` (any more)."""
    if read_exactly(path) != before:
        rule = "the file was changed meanwhile"
        raise ConstitutionError(str(path), rule, "start again from the file as it is now")


def read_exactly(path: Path) -> str:
    """The text of a valid constitution's file with its own line ends and byte-order mark."""
    load(path)  # raises ConstitutionError for what is no constitution
    return path.read_bytes().decode("utf-8")


def _checked(name: str, value: str) -> str:
    """The words as the file's reader would give them back."""
    if name not in WORDS:
        rule = "no words of a principle have this name"
        raise ConstitutionError(name, rule, f"use one of: {', '.join(WORDS)}")
    value = value.replace("\r\n", "\n")
    try:
        return WORDS[name](yaml.ScalarNode("tag:yaml.org,2002:str", value))
    except ConstitutionError as error:
        raise ConstitutionError(error.value, f"{name}: {error.rule}", error.fix) from None


def _is(draft: str, aim: Constitution) -> bool:
    try:
        return read_text(draft) == aim
    except ConstitutionError:
        return False


def read_text(text: str) -> Constitution:
    """The constitution that a file of this text holds. Raises ConstitutionError where it is none.

    Its name is that in the text; without one it is `constitution`.
    """
    return load(TEXT, text.encode("utf-8"))


def _drafts(text: str, slug: str, name: str, value: str) -> Iterator[str]:
    """The text with the new value, in the old one's style first; not yet known to be right."""
    principle = _principle(text, slug)
    found = {key.value: (key, node) for key, node in principle.value}
    line_end = "\r\n" if "\r\n" in text else "\n"
    if name in found:
        key, node = found[name]
        start, end, before = node.start_mark.index, node.end_mark.index, ""
        end -= len(text[start:end]) - len(text[start:end].rstrip())  # a block's has blank lines
        column, style = key.start_mark.column, node.style
        note = NOTE.search(text[start:end].partition("\n")[0]) if style in BLOCKS else None
    else:  # only a title may be missing: put after the slug
        start = end = found["slug"][1].end_mark.index
        before = f", {name}: "
        column, style, note = principle.value[0][0].start_mark.column, None, None
        if not principle.flow_style:
            before = f"{line_end}{' ' * column}{name}: "
            rest = text.find("\n", end)  # after a comment that follows the slug
            start = end = rest - (line_end == "\r\n") if rest >= 0 else len(text)
    for scalar in _scalars(value, style, column + INDENT, line_end, note[0] if note else ""):
        yield text[:start] + before + scalar + text[end:]


def _scalars(value: str, style: str | None, column: int, line_end: str, note: str) -> Iterator[str]:
    """Ways to write a text in YAML, the given style's first.

    note: the comment in the line in which the old text began, with the spaces before it.
    """
    lines = value.split("\n")
    indent = line_end + " " * column
    block = "|-" + note + "".join(indent + line if line else line_end for line in lines)
    double = json.dumps(value, ensure_ascii=False)
    single = "'" + value.replace("'", "''") + "'"
    if style in BLOCKS or (style is None and len(lines) > 1):
        yield block
    elif style == "'" and len(lines) == 1:
        yield single
    elif style is None:
        yield value
    yield double + note


def _principle(text: str, slug: str) -> yaml.MappingNode:
    root = compose(TEXT, text.encode("utf-8"))
    for key, rows in root.value:
        for row in rows.value if key.value == "principles" else ():
            if any(k.value == "slug" and v.value.strip() == slug for k, v in row.value):
                return row  # type: ignore[no-any-return]
    raise ConstitutionError(slug, "no principle has this slug", "see the file")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
