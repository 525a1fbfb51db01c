"""From a file to YAML nodes that know their line. Nothing is constructed, so nothing can run.

Stricter than YAML: UTF-8 only, no tabs or other control characters, no anchors, aliases or deep
nesting (they let a small file grow without bound), one document.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from constitution.errors import ConstitutionError

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 8  # a valid file needs 6: file, principles, principle, examples, example, text

# Control characters, the line breaks only Unicode knows, and code points that are no characters.
# Newlines are allowed; a lone surrogate can come from an escape in a quoted text.
FORBIDDEN = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def at(path: Path, line: int) -> str:
    """Return "file:line" on one printable line, whatever the file is called."""
    name = str(path)
    return f"{name if name.isprintable() else repr(name)}:{line}"


def _decoded(path: Path, data: bytes) -> str:
    """Return the text of the file; raise ConstitutionError unless it is small, clean UTF-8 text."""
    _check_size(path, len(data))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = at(path, data.count(b"\n", 0, error.start) + 1)
        bad = data[error.start : error.start + 4]
        raise ConstitutionError(bad, "is not UTF-8", "save the file as UTF-8", where) from None
    if match := FORBIDDEN.search(text):
        line = text.count("\n", 0, match.start()) + 1
        raise ConstitutionError(match.group(), *forbidden_rule(match.group()), at(path, line))
    return text


def forbidden_rule(character: str) -> tuple[str, str]:
    """Return rule and fix for a character that `FORBIDDEN` matches."""
    if character == "\t":
        return "a tab is not allowed", "use spaces"
    return "a control or invisible line-break character is not allowed", "remove it"


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        rule = f"a constitution has at most {MAX_BYTES} bytes"
        raise ConstitutionError(size, rule, "split or shorten it", at(path, 1))


def _no_file(path: Path) -> ConstitutionError:
    """Of a path that is not there, the one in its folder that is meant."""
    if path.exists():
        return ConstitutionError(str(path), "is no regular file", "give a YAML file", at(path, 1))
    there = [other.name for other in path.absolute().parent.glob("*.y*ml")]
    alike = get_close_matches(path.name, there, n=1)
    fix = f"did you mean {alike[0]}?" if alike else "give a YAML file"
    return ConstitutionError(str(path), "no such file", fix, at(path, 1))


def read_bytes(path: Path) -> bytes:
    """Return what the file holds; raise ConstitutionError unless it is a small regular file."""
    try:
        if path.is_dir():
            raise ConstitutionError(str(path), "is a directory", "give a YAML file", at(path, 1))
        if not path.is_file():
            raise _no_file(path)
        _check_size(path, path.stat().st_size)
        with path.open("rb") as file:
            return file.read(MAX_BYTES)
    except ConstitutionError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        rule = f"cannot be read ({reason})"
        raise ConstitutionError(str(path), rule, "check path and rights", at(path, 1)) from None


class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses anchors, aliases and deep nesting at the first sight of one."""

    path: Path
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if anchor := getattr(event, "anchor", None):
            rule = "anchors and aliases are not allowed"
            raise ConstitutionError(anchor, rule, "write the text out", at(self.path, line))
        if self.depth >= MAX_DEPTH:
            rule = f"at most {MAX_DEPTH} levels may be nested"
            raise ConstitutionError(self.depth + 1, rule, "flatten it", at(self.path, line))
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def compose(path: Path, data: bytes) -> yaml.Node:
    """Return the root node of a file's bytes. Raises ConstitutionError on a fault of form."""
    text = _decoded(path, data)
    loader = _Loader(text)
    loader.path = path
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, text, error) from None
    finally:
        loader.dispose()
    if node is None:
        raise ConstitutionError("", "the file is empty", "add `principles:`", at(path, 1))
    return node


def _syntax_error(path: Path, text: str, error: yaml.MarkedYAMLError) -> ConstitutionError:
    mark, start = error.problem_mark or error.context_mark, error.context_mark
    line = mark.line if mark else 0
    lines = text.splitlines()
    value = lines[line].strip() if line < len(lines) else ""
    problem = " ".join((error.problem or "cannot be read").split())
    if start and start.line < line:
        problem += f", {error.context} begun at line {start.line + 1}"
    rule, fix = f"is no valid YAML ({problem})", "check indentation, colons and quotes"
    return ConstitutionError(value, rule, fix, at(path, line + 1))
