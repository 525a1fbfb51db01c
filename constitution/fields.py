"""Readers: each turns one YAML node into a value or raises ConstitutionError (without `where`)."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import yaml

from constitution.errors import ConstitutionError
from constitution.source import FORBIDDEN, forbidden_rule

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SLUG_LENGTH = 64
WEIGHTS = (1e-6, 1e6)  # range of a weight


def text(node: yaml.Node) -> str:
    """Read text without its outer white space; empty text is a fault."""
    if is_empty(node):
        raise ConstitutionError("", "is empty", "write a text")
    if not isinstance(node, yaml.ScalarNode) or node.tag != "tag:yaml.org,2002:str":
        raise ConstitutionError(shape(node), "is no text", "put a text in quotes")
    if match := (FORBIDDEN.search(node.value) or re.search("\r", node.value)):
        raise ConstitutionError(match.group(), *forbidden_rule(match.group()))
    return node.value.strip()


def line_of_text(node: yaml.Node) -> str:
    """Read text that stands on one line (a name, a title, a category)."""
    value = text(node)
    if "\n" in value:
        raise ConstitutionError(value, "must stand on one line", "shorten it")
    return value


def slug(node: yaml.Node) -> str:
    """Read a slug: lower-case words of letters and digits joined by single hyphens."""
    value = text(node)
    if len(value) > SLUG_LENGTH or not SLUG.fullmatch(value):
        rule = f"a slug is lower-case letters, digits and single hyphens, at most {SLUG_LENGTH}"
        raise ConstitutionError(value, rule, "write it like be-concise")
    return value


def weight(node: yaml.Node) -> float:
    """Read a weight: an unquoted finite number within `WEIGHTS`."""
    number = math.nan
    if isinstance(node, yaml.ScalarNode) and node.style is None:
        with suppress(ValueError):
            number = float(node.value)
    if not WEIGHTS[0] <= number <= WEIGHTS[1]:  # also refuses nan
        rule = f"a weight is a number above 0, from {WEIGHTS[0]:f} to {WEIGHTS[1]:.0f}"
        raise ConstitutionError(shape(node), rule, "write a plain number such as 1.5")
    return number


def boolean(node: yaml.Node) -> bool:
    if node.tag != "tag:yaml.org,2002:bool":
        raise ConstitutionError(shape(node), "is neither true nor false", "write true or false")
    return node.value.lower() in ("true", "yes", "on")


def note(node: yaml.Node) -> str:
    """Read a free note: a text, or a number or date as it is written."""
    is_text = is_empty(node) or node.tag == "tag:yaml.org,2002:str"
    return text(node) if is_text or not isinstance(node, yaml.ScalarNode) else node.value


def names(node: yaml.Node) -> tuple[str, ...]:
    """Read a list of different one-line texts."""
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise ConstitutionError(shape(node), "is no list of names", "write it like [one, two]")
    values = tuple(line_of_text(item) for item in node.value)
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ConstitutionError(value, "is named twice", "name it once")
    return values


def tags_of_round(node: yaml.Node) -> tuple[str, ...]:
    """Read an item of the rounds' policy: a list of tags; `any` or an empty list means all."""
    if isinstance(node, yaml.SequenceNode):
        return names(node) if node.value else ()
    if shape(node) != "any":
        raise ConstitutionError(shape(node), "is no list of tags", "write it like [honest], or any")
    return ()


def suggest(name: str, known: Iterable[str], what: str = "keys") -> str:
    """Return the fix for an unknown name: the known one that looks like it, or all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"known {what}: {', '.join(names) or 'none'}"


def is_empty(node: yaml.Node) -> bool:
    """True for nothing, `~`, `""` and white space."""
    scalar = isinstance(node, yaml.ScalarNode)
    return scalar and (node.tag == "tag:yaml.org,2002:null" or not node.value.strip())


def is_nothing(node: yaml.Node) -> bool:
    """True for an empty value and for an empty list."""
    return is_empty(node) or (isinstance(node, yaml.SequenceNode) and not node.value)


def shape(node: yaml.Node) -> Any:
    """What an error shows of a node: the text as written, or what stands in its place."""
    if isinstance(node, yaml.ScalarNode):
        return node.value
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
