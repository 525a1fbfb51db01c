"""Readers: each turns one YAML node into a value or raises ConstitutionError (without `where`)."""

from __future__ import annotations

import math
import re
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
    try:
        plain = isinstance(node, yaml.ScalarNode) and node.style is None
        number = float(node.value) if plain else math.nan
    except ValueError:
        number = math.nan
    if not WEIGHTS[0] <= number <= WEIGHTS[1]:  # also refuses nan
        rule = f"a weight is a number above 0, from {WEIGHTS[0]:f} to {WEIGHTS[1]:.0f}"
        raise ConstitutionError(shape(node), rule, "write a plain number such as 1.5")
    return number


def boolean(node: yaml.Node) -> bool:
    """Read true or false."""
    if node.tag != "tag:yaml.org,2002:bool":
        raise ConstitutionError(shape(node), "is neither true nor false", "write true or false")
    return node.value.lower() in ("true", "yes", "on")


def note(node: yaml.Node) -> str:
    """Read a free note: a text, or a number or date as it is written."""
    return text(node) if not is_plain(node) else node.value


def names(node: yaml.Node) -> tuple[str, ...]:
    """Read a list of different one-line texts."""
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        raise ConstitutionError(shape(node), "is no list of names", "write it like [one, two]")
    values = tuple(line_of_text(item) for item in node.value)
    for index, value in enumerate(values):
        if value in values[:index]:
            raise ConstitutionError(value, "is named twice", "name it once")
    return values


def is_empty(node: yaml.Node) -> bool:
    """True for nothing, `~`, `""` and white space."""
    scalar = isinstance(node, yaml.ScalarNode)
    return scalar and (node.tag == "tag:yaml.org,2002:null" or not node.value.strip())


def is_nothing(node: yaml.Node) -> bool:
    """True for an empty value and for an empty list."""
    return is_empty(node) or (isinstance(node, yaml.SequenceNode) and not node.value)


def is_plain(node: yaml.Node) -> bool:
    """True for a scalar without quotes that YAML reads as something else than text or nothing."""
    scalar = isinstance(node, yaml.ScalarNode) and not is_empty(node)
    return scalar and node.tag != "tag:yaml.org,2002:str"


def shape(node: yaml.Node) -> Any:
    """What an error shows of a node: the text as written, or what stands in its place."""
    if isinstance(node, yaml.ScalarNode):
        return node.value
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
