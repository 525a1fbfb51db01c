"""From YAML nodes to a Constitution, noting every fault on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from constitution import fields
from constitution.errors import ConstitutionError
from constitution.parameters import check
from constitution.schema import Constitution, Example, Principle, WorkedAnswer
from constitution.source import at, compose, read_bytes

Reader = Callable[[yaml.Node], Any]


@dataclass
class Parsed:
    """What a file holds: the constitution (None if there is a fault) and every fault found."""

    constitution: Constitution | None
    errors: list[ConstitutionError] = field(default_factory=list)
    round_lines: list[int] = field(default_factory=list)  # 1-based line of each item of `rounds`


def parse(path: Path, data: bytes | None = None) -> Parsed:
    """Read the file, or its bytes. A fault of form (YAML, UTF-8) is the only one that is found."""
    try:
        root = compose(path, read_bytes(path) if data is None else data)
    except ConstitutionError as error:
        return Parsed(None, [_unquoted(error, path)])
    parser = _Parser(path)
    constitution = parser.constitution(root)
    lines = [_line(node) for node in parser.round_nodes]
    errors = [_unquoted(error, path) for error in parser.errors]
    return Parsed(None if errors else constitution, errors, lines)


def _unquoted(error: ConstitutionError, path: Path) -> ConstitutionError:
    """The fault without its value, where the file's name is none of a constitution's."""
    if path.suffix in (".yaml", ".yml"):
        return error
    return ConstitutionError("", error.rule, error.fix, error.where)


PRINCIPLE: dict[str, Reader] = {
    "slug": fields.slug,
    "title": fields.line_of_text,
    "critique": fields.text,
    "revision": fields.text,
    "comparison": fields.text,
    "tags": fields.names,
    "weight": fields.weight,
    "enabled": fields.boolean,
    "applies_to": fields.names,
    "check": check,
}
PRINCIPLE_REQUIRED = ("slug", "critique", "revision", "comparison")
EXAMPLE_TEXTS = "prompt response critique_request critique revision_request revision".split()
EXAMPLE: dict[str, Reader] = {"principle": fields.slug, **dict.fromkeys(EXAMPLE_TEXTS, fields.text)}
WORKED_ANSWER: dict[str, Reader] = {"prompt": fields.text, "response": fields.text}
MOST_ANSWERS = 8  # worked answers of a principle


class _Parser:
    """Walks one file and collects faults in `errors`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.errors: list[ConstitutionError] = []
        self.round_nodes: list[yaml.Node] = []

    def fault(self, node: yaml.Node, value: Any, rule: str, fix: str) -> None:
        where = at(self.path, _line(node))
        self.errors.append(ConstitutionError(value, rule, fix, where))

    def constitution(self, root: yaml.Node) -> Constitution:
        readers: dict[str, Reader] = {
            "name": fields.line_of_text,
            "version": fields.note,
            "rounds": self.rounds,
            "principles": self.principles,
            "examples": self.examples,
        }
        found = self.mapping(root, readers, ("principles",), "a constitution")
        constitution = Constitution(**{"name": self.path.stem, "principles": (), **found})
        self.check_tags(constitution)
        return constitution

    def rounds(self, node: yaml.Node) -> tuple[tuple[str, ...], ...]:
        if fields.is_nothing(node):
            return ()
        if not isinstance(node, yaml.SequenceNode):
            rule = "must be a list, each item the tags of one round"
            raise ConstitutionError(fields.shape(node), rule, "write it like [[harmless], any]")
        self.round_nodes = node.value
        return tuple(self.read("rounds", item, fields.tags_of_round) or () for item in node.value)

    def check_tags(self, constitution: Constitution) -> None:
        """Every tag of a round must be that of a principle that may be assigned."""
        known = {tag for p in constitution.enabled for tag in p.tags}
        for node, tags in zip(self.round_nodes, constitution.rounds, strict=False):
            for tag in tags if constitution.principles else ():
                if tag not in known:
                    rule = "rounds: no enabled principle has this tag"
                    self.fault(node, tag, rule, fields.suggest(tag, sorted(known), "tags"))

    def principles(self, node: yaml.Node) -> tuple[Principle, ...]:
        readers = PRINCIPLE | {"examples": self.worked_answers}
        rows = self.rows(node, readers, PRINCIPLE_REQUIRED, "a principle")
        lines: dict[str, int] = {}
        for child, found in rows:
            name, line = found.get("slug"), _line(child)
            if name in lines:
                rule = f"the slug is already used at line {lines[name]}"
                self.fault(child, name, rule, "give each principle its own slug")
            elif name is not None:
                lines[name] = line
        if rows and all(found.get("enabled") is False for _, found in rows):
            self.fault(node, "enabled", "every principle is disabled", "enable at least one")
        return tuple(
            Principle(
                **{"title": found["slug"].replace("-", " ").capitalize(), **found},
                line=_line(child),
            )
            for child, found in rows
            if all(key in found for key in PRINCIPLE_REQUIRED)
        )

    def worked_answers(self, node: yaml.Node) -> tuple[WorkedAnswer, ...]:
        """The examples of a principle; no two have the same prompt."""
        if fields.is_nothing(node):
            return ()
        rows = self.rows(node, WORKED_ANSWER, tuple(WORKED_ANSWER), "an example of a principle")
        if len(rows) > MOST_ANSWERS:
            rule = f"a principle has at most {MOST_ANSWERS} examples"
            self.fault(node, len(rows), rule, "keep those that differ most")
        lines: dict[str, int] = {}
        for child, found in rows:
            first = lines.setdefault(found.get("prompt", ""), _line(child))
            if "prompt" in found and first != _line(child):
                rule = f"the prompt is already answered at line {first}"
                self.fault(child, found["prompt"], rule, "keep one of the two")
        return tuple(
            WorkedAnswer(**found, line=_line(child))
            for child, found in rows
            if len(found) == len(WORKED_ANSWER)
        )

    def examples(self, node: yaml.Node) -> tuple[Example, ...]:
        if fields.is_nothing(node):
            return ()
        return tuple(
            Example(**found, line=_line(child))
            for child, found in self.rows(node, EXAMPLE, tuple(EXAMPLE), "an example")
            if len(found) == len(EXAMPLE)
        )

    def rows(
        self, node: yaml.Node, readers: dict[str, Reader], required: tuple[str, ...], what: str
    ) -> list[tuple[yaml.Node, dict[str, Any]]]:
        """Read a list of mappings; each row is its node and its valid fields."""
        if fields.is_nothing(node):
            self.fault(node, "", "the list is empty", f"add {what}")
            return []
        if not isinstance(node, yaml.SequenceNode):
            rule = f"must be a list, each item {what}"
            self.fault(node, fields.shape(node), rule, "start each with `- `")
            return []
        return [(child, self.mapping(child, readers, required, what)) for child in node.value]

    def mapping(
        self, node: yaml.Node, readers: dict[str, Reader], required: tuple[str, ...], what: str
    ) -> dict[str, Any]:
        """Read a mapping; return its valid fields and note every fault."""
        if not isinstance(node, yaml.MappingNode):
            value = "a text" if isinstance(node, yaml.ScalarNode) else fields.shape(node)
            self.fault(node, value, f"{what} must be `key: value` lines", f"add {required[0]}:")
            return {}
        found: dict[str, Any] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = fields.shape(key_node)
            if key in seen:
                self.fault(key_node, key, "the key stands here twice", "keep one of them")
            elif key not in readers:
                self.fault(key_node, key, f"{what} has no such key", fields.suggest(key, readers))
            elif (value := self.read(key, value_node, readers[key])) is not None:
                found[key] = value
            seen.add(key)
        for key in required:
            if key not in seen:
                self.fault(node, key, f"{what} needs this key", f"add `{key}: …`")
        return found

    def read(self, key: str, node: yaml.Node, reader: Reader) -> Any:
        """The value, or None where it is a fault."""
        try:
            return reader(node)
        except ConstitutionError as error:
            self.fault(node, error.value, f"{key}: {error.rule}", error.fix)
            return None


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
