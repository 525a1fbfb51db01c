"""From YAML nodes to a Constitution, noting every fault on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from constitution.errors import ConstitutionError
from constitution.fields import (
    boolean,
    check,
    is_nothing,
    line_of_text,
    names,
    note,
    shape,
    slug,
    suggest,
    tags_of_round,
    text,
    weight,
)
from constitution.schema import Constitution, Example, Principle
from constitution.source import at, compose

Reader = Callable[[yaml.Node], Any]


@dataclass
class Parsed:
    """What a file holds: the constitution (None if there is a fault) and every fault found."""

    constitution: Constitution | None
    errors: list[ConstitutionError] = field(default_factory=list)
    round_lines: list[int] = field(default_factory=list)  # 1-based line of each item of `rounds`


def parse(path: Path) -> Parsed:
    """Read the file. A fault of form (YAML, UTF-8) ends the reading, so it is then the only one."""
    try:
        root = compose(path)
    except ConstitutionError as error:
        return Parsed(None, [_unquoted(error, path)])
    parser = _Parser(path)
    constitution = parser.constitution(root)
    lines = [node.start_mark.line + 1 for node in parser.round_nodes]
    errors = [_unquoted(error, path) for error in parser.errors]
    return Parsed(None if errors else constitution, errors, lines)


def _unquoted(error: ConstitutionError, path: Path) -> ConstitutionError:
    """The fault without its value, where the file's name is none of a constitution's."""
    if path.suffix in (".yaml", ".yml"):
        return error
    return ConstitutionError("", error.rule, error.fix, error.where)


PRINCIPLE: dict[str, Reader] = {
    "slug": slug,
    "title": line_of_text,
    "critique": text,
    "revision": text,
    "comparison": text,
    "tags": names,
    "weight": weight,
    "enabled": boolean,
    "applies_to": names,
    "check": check,
}
PRINCIPLE_REQUIRED = ("slug", "critique", "revision", "comparison")
EXAMPLE: dict[str, Reader] = {
    "principle": slug,
    "prompt": text,
    "response": text,
    "critique_request": text,
    "critique": text,
    "revision_request": text,
    "revision": text,
}


class _Parser:
    """Walks one file and collects faults in `errors`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[ConstitutionError] = []
        self.round_nodes: list[yaml.Node] = []

    def fault(self, node: yaml.Node, value: Any, rule: str, fix: str) -> None:
        where = at(self.path, node.start_mark.line + 1)
        self.errors.append(ConstitutionError(value, rule, fix, where))

    def constitution(self, root: yaml.Node) -> Constitution:
        readers: dict[str, Reader] = {
            "name": line_of_text,
            "version": note,
            "rounds": self.rounds,
            "principles": self.principles,
            "examples": self.examples,
        }
        fields = self.mapping(root, readers, ("principles",), "a constitution")
        fields.setdefault("name", self.path.stem)
        constitution = Constitution(**{"principles": (), **fields})
        self.check_tags(constitution)
        return constitution

    def rounds(self, node: yaml.Node) -> tuple[tuple[str, ...], ...]:
        if is_nothing(node):
            return ()
        if not isinstance(node, yaml.SequenceNode):
            rule = "must be a list, each item the tags of one round"
            raise ConstitutionError(shape(node), rule, "write it like [[harmless], any]")
        self.round_nodes = node.value
        return tuple(self.read_item("rounds", child, tags_of_round, ()) for child in node.value)

    def check_tags(self, constitution: Constitution) -> None:
        """Every tag of a round must be that of a principle that may be assigned."""
        known = {tag for p in constitution.enabled for tag in p.tags}
        for node, tags in zip(self.round_nodes, constitution.rounds, strict=False):
            for tag in tags if constitution.principles else ():
                if tag not in known:
                    rule = "rounds: no enabled principle has this tag"
                    self.fault(node, tag, rule, suggest(tag, sorted(known), "tags"))

    def principles(self, node: yaml.Node) -> tuple[Principle, ...]:
        rows = self.rows(node, PRINCIPLE, PRINCIPLE_REQUIRED, "a principle")
        lines: dict[str, int] = {}
        for child, fields in rows:
            name, line = fields.get("slug"), child.start_mark.line + 1
            if name in lines:
                rule = f"the slug is already used at line {lines[name]}"
                self.fault(child, name, rule, "give each principle its own slug")
            elif name is not None:
                lines[name] = line
        if rows and all(fields.get("enabled") is False for _, fields in rows):
            self.fault(node, "enabled", "every principle is disabled", "enable at least one")
        return tuple(
            Principle(**{"title": _title(fields), **fields}, line=child.start_mark.line + 1)
            for child, fields in rows
            if all(key in fields for key in PRINCIPLE_REQUIRED)
        )

    def examples(self, node: yaml.Node) -> tuple[Example, ...]:
        if is_nothing(node):
            return ()
        return tuple(
            Example(**fields, line=child.start_mark.line + 1)
            for child, fields in self.rows(node, EXAMPLE, tuple(EXAMPLE), "an example")
            if len(fields) == len(EXAMPLE)
        )

    def rows(
        self, node: yaml.Node, readers: dict[str, Reader], required: tuple[str, ...], what: str
    ) -> list[tuple[yaml.Node, dict[str, Any]]]:
        """Read a list of mappings; each row is its node and its valid fields."""
        if is_nothing(node):
            self.fault(node, "", "the list is empty", f"add {what}")
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.fault(
                node, shape(node), f"must be a list, each item {what}", "start each with `- `"
            )
            return []
        return [(child, self.mapping(child, readers, required, what)) for child in node.value]

    def mapping(
        self, node: yaml.Node, readers: dict[str, Reader], required: tuple[str, ...], what: str
    ) -> dict[str, Any]:
        """Read a mapping; return its valid fields and note every fault."""
        if not isinstance(node, yaml.MappingNode):
            found = "a text" if isinstance(node, yaml.ScalarNode) else shape(node)
            self.fault(node, found, f"{what} must be `key: value` lines", f"add {required[0]}:")
            return {}
        fields: dict[str, Any] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = shape(key_node)
            if key in seen:
                self.fault(key_node, key, "the key stands here twice", "keep one of them")
            elif key not in readers:
                self.fault(key_node, key, f"{what} has no such key", suggest(key, readers))
            else:
                self.read(key, value_node, readers[key], fields)
            seen.add(key)
        for key in required:
            if key not in seen:
                self.fault(node, key, f"{what} needs this key", f"add `{key}: …`")
        return fields

    def read(self, key: str, node: yaml.Node, reader: Reader, fields: dict[str, Any]) -> None:
        try:
            fields[key] = reader(node)
        except ConstitutionError as error:
            self.fault(node, error.value, f"{key}: {error.rule}", error.fix)

    def read_item(self, key: str, node: yaml.Node, reader: Reader, instead: Any) -> Any:
        fields: dict[str, Any] = {}
        self.read(key, node, reader, fields)
        return fields.get(key, instead)


def _title(fields: dict[str, Any]) -> str:
    """The title of a principle that has none: its slug as words."""
    return str(fields.get("slug", "")).replace("-", " ").capitalize()
