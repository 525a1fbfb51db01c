"""Answers that a program reads: a JSON object, and code that compiles. Nothing is run."""

from __future__ import annotations

import doctest
import json
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

from constitution.reading import Reading

_PYTHON = ("python", "python3", "py", "py3", "pycon")


def json_object(reading: Reading) -> dict[str, Any] | None:
    """The one JSON object that the answer is, bare or in a code block; None where it is not."""
    text = reading.written.strip().removeprefix("\ufeff")
    if [block.kind for block in reading.blocks] == ["code"] and text.startswith(("```", "~~~")):
        (block,) = reading.blocks
        if block.language not in ("", "json") or not block.is_closed:
            return None
        text = block.with_code
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def has_fields(reading: Reading, names: Sequence[str]) -> bool:
    """Whether the answer is a JSON object with all these fields."""
    return set(names) <= set(json_object(reading) or ())


def compiles(reading: Reading) -> bool | None:
    """Whether all Python code in fences compiles; None where there is none.

    A fence that names no language counts where no fence names Python.
    """
    named = [block for block in reading.code if block.language in _PYTHON]
    found = named or [block for block in reading.code if block.language == ""]
    return all(_compiles(block.with_code) for block in found) if found else None


def _compiles(code: str) -> bool:
    try:
        if code.lstrip().startswith(">>> "):
            code = doctest.script_from_examples(code)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "answer", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are no JSON
