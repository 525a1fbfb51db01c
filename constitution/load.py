"""Find and read a constitution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from constitution.errors import ConstitutionError
from constitution.parse import parse
from constitution.schema import Constitution, Example, Principle

HERE = Path(__file__).parent
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def resolve(name_or_path: str | Path) -> Path:
    """Return the file meant: a bare name ("default") is one of this folder's, all else is a path.

    Raises ConstitutionError for a bare name that this folder lacks and that is no path either.
    """
    path = Path(name_or_path)
    if not (isinstance(name_or_path, str) and _BARE.fullmatch(name_or_path)):
        return path
    packaged = HERE / f"{name_or_path}.yaml"
    if packaged.is_file():
        return packaged
    if path.exists():
        return path
    known = ", ".join(sorted(p.stem for p in HERE.glob("*.yaml")))
    rule = "no constitution has this name"
    raise ConstitutionError(name_or_path, rule, f"use one of: {known}, or the path of a file")


def from_body(body: Mapping[str, Any]) -> Constitution:
    """Return the constitution of a recorded version: `dataclasses.asdict` of one, as JSON.

    Fields that it lacks have their defaults.
    """
    principles = tuple(Principle(**_with_tuples(fields)) for fields in body["principles"])
    examples = tuple(Example(**fields) for fields in body["examples"])
    rounds = tuple(tuple(tags) for tags in body.get("rounds", ()))
    return Constitution(body["name"], principles, examples, body["version"], rounds)


def _with_tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(value) if isinstance(value, list) else value for k, value in fields.items()}


def load(path: str | Path) -> Constitution:
    """Read the file; raise ConstitutionError with the first fault (`lint` shows all of them)."""
    parsed = parse(Path(path))
    if parsed.constitution is None:
        raise parsed.errors[0]
    return parsed.constitution
