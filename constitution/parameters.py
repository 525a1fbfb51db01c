"""The readers of a principle's `check`: its name and its parameter.

A parameter that no answer could keep is a fault, and so is a regular expression that all match.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import yaml

from constitution.checks import CHECKS, SEARCH_S, Parameter
from constitution.errors import ConstitutionError
from constitution.fields import boolean, line_of_text, names, shape, suggest
from constitution.final_answer import number
from constitution.language import LANGUAGES
from constitution.reading import is_visible
from constitution.schema import Check

_TRIED = ("", "a b")  # an expression that finds no characters here asks for none


def check(node: yaml.Node) -> Check:
    """Read the check of a principle: one of `CHECKS` with its parameter."""
    if not isinstance(node, yaml.MappingNode) or len(node.value) != 1:
        rule = "a check is one name with one value"
        raise ConstitutionError(shape(node), rule, "write it like {max_words: 60}")
    key, value = node.value[0]
    if (name := shape(key)) not in CHECKS:
        raise ConstitutionError(name, "there is no such check", suggest(name, CHECKS, "checks"))
    return name, _READERS[CHECKS[name]](value)


def _true(node: yaml.Node) -> bool:
    if node.tag != "tag:yaml.org,2002:bool" or not boolean(node):
        raise ConstitutionError(shape(node), "is not true", "write true, or remove the check")
    return True


def _whole_number(node: yaml.Node) -> int:
    if node.tag != "tag:yaml.org,2002:int" or not re.fullmatch(r"[1-9]\d{0,5}", shape(node)):
        rule = "is no whole number from 1 to 999999"
        raise ConstitutionError(shape(node), rule, "write a plain number such as 60")
    return int(shape(node))


def _visible(node: yaml.Node) -> str:
    """Read a line of text of which something can be seen; else no answer could keep the check."""
    value = line_of_text(node)
    if not is_visible(value):
        raise ConstitutionError(value, "has no visible character", "write one")
    return value


def _character(node: yaml.Node) -> str:
    """Read one character as a reader counts them: an emoji or a letter with its accents is one."""
    value = _visible(node)
    if len(value) > 1:
        import regex

        if not regex.fullmatch(r"\X", value):
            raise ConstitutionError(value, "is not one character", 'write it like "!"')
    return value


def _expression(node: yaml.Node) -> str:
    """Read a regular expression that asks for at least one character."""
    import regex

    value = line_of_text(node)
    try:
        found = [regex.search(value, text, timeout=SEARCH_S) for text in _TRIED]
    except (regex.error, RecursionError, TimeoutError) as error:
        rule = f"is no regular expression: {error}"
        raise ConstitutionError(value, rule, "write it as Python does") from None
    if any(match is not None and not match[0] for match in found):
        rule = "is found in every answer, since it may match no characters"
        raise ConstitutionError(value, rule, "ask for at least one, as a+ does")
    return value


def _language(node: yaml.Node) -> str:
    value = shape(node)
    if value not in LANGUAGES:
        rule = "is no language of ISO 639-1 that can be told"
        raise ConstitutionError(value, rule, "write its two letters like en, in quotes")
    return str(value)


def _value(node: yaml.Node) -> str:
    """Read a number or a text, as it is written."""
    if node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        value = shape(node)
        if number(value) is None:
            raise ConstitutionError(value, "is no decimal number", "write it like 1234.5")
        return str(value)
    return _visible(node)


def _python(node: yaml.Node) -> str:
    if shape(node) != "python":
        raise ConstitutionError(shape(node), "is no language it compiles", "write python")
    return "python"


_READERS: dict[Parameter, Callable[[yaml.Node], int | str | bool | tuple[str, ...]]] = {
    "number": _whole_number,
    "character": _character,
    "text": _visible,
    "true": _true,
    "expression": _expression,
    "names": names,
    "language": _language,
    "value": _value,
    "python": _python,
}
