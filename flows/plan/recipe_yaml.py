"""Recipes as they are written: YAML that never guesses.

Stricter than YAML: UTF-8, no key twice, no anchors and little nesting (they let a small file grow
without bound). And `5e-5` is a number, as in every other language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from storage.errors import InputError

MAX_DEPTH = 10  # mappings and lists within one another; a recipe needs 5
DEEPEST = 6  # keys below one another whose line is told
NO_CHARACTER = re.compile("[\0\ud800-\udfff]")  # though an escape may write it
NO_TEXT = "holds a character that no text has: NUL, or half of a pair"
# What PyYAML raises where a tag (`!!bool x`) or a date is of another value.
NO_VALUE = (ValueError, LookupError, AttributeError, TypeError)
EXPONENT = re.compile(r"^[-+]?\d+[eE][-+]?\d+$")


@dataclass(frozen=True)
class Written:
    """A document's value, and the line of every key path, from 1."""

    value: Any
    lines: dict[str, int]


class _Loader(yaml.SafeLoader):
    """Refuses anchors, deep nesting and repeated keys at the first sight of one."""

    where = ""
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if anchor := getattr(event, "anchor", None):
            raise self._fault(anchor, "anchors and aliases are not read", "write it out", event)
        if self.depth >= MAX_DEPTH:
            rule = f"at most {MAX_DEPTH} levels may be nested"
            raise self._fault(self.depth + 1, rule, "flatten it", event)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        first: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in first:
                    rule = f"the key stands at line {first[key.value]} as well"
                    raise self._fault(key.value, rule, "keep one of them", key)
                first[key.value] = line
        return node

    def compose_scalar_node(self, anchor: Any) -> Any:
        node = super().compose_scalar_node(anchor)
        if not is_text(node.value):
            raise self._fault(ascii(node.value), NO_TEXT, "remove the escape", node)
        return node

    def _fault(self, value: object, rule: str, fix: str, place: Any) -> InputError:
        line = place.start_mark.line + 1
        return InputError(value, rule, fix, f"{self.where}:{line}" if self.where else "")


_Loader.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+0123456789"))


def read_yaml(data: bytes | str, where: str = "") -> Written:
    """The one document of a file's bytes, or of a text; `where` is the file's name in errors.

    Raises InputError, with the line, for what is not UTF-8, no YAML, or stands above.
    """
    text = _decoded(data, where) if isinstance(data, bytes) else data
    if found := _Loader.NON_PRINTABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        rule = "a control character, which YAML does not allow"
        fix = "remove it, or write it as an escape in double quotes"
        raise InputError(ascii(found[0]), rule, fix, f"{where}:{line}" if where else "")
    loader = _Loader(text)
    loader.where = where
    try:
        node = loader.get_single_node()
        value = loader.construct_document(node) if node else None
    except (yaml.YAMLError, *NO_VALUE) as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or "cannot be read")
        place = f"{where}:{mark.line + 1}" if mark and where else where
        raise InputError(problem, "the recipe must be YAML", "mend the file", place) from None
    finally:
        loader.dispose()
    return Written(value, dict(_lines(node)))


def is_text(value: Any) -> bool:
    """Whether every text in it could be written to a file."""
    if isinstance(value, dict):
        return all(is_text(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return all(map(is_text, value))
    return not (isinstance(value, str) and NO_CHARACTER.search(value))


def _decoded(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        bad = repr(data[error.start : error.start + 4])
        raise InputError(bad, "is not UTF-8", "save it as UTF-8", f"{where}:{line}") from None


def _lines(node: yaml.Node | None, above: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                path = f"{above}{key.value}"
                yield path, key.start_mark.line + 1
                if path.count(".") < DEEPEST:
                    yield from _lines(value, f"{path}.")
