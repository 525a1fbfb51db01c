"""Find and read a constitution."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from constitution.errors import ConstitutionError
from constitution.parse import parse
from constitution.schema import Constitution, Example, Principle, WorkedAnswer

HERE = Path(__file__).parent
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def resolve(name_or_path: str | Path) -> Path:
    """Return the file meant: a bare name ("default") is one of this folder's, all else is a path.

    Raises ConstitutionError for a bare name that this folder lacks and that is no path either.
    """
    path = Path(name_or_path)
    if not (isinstance(name_or_path, str) and _BARE.fullmatch(name_or_path)):
        return path
    own = HERE / f"{name_or_path}.yaml"
    if own.is_file():
        return own
    if path.exists():
        return path
    rule = "no constitution has this name"
    fix = f"use one of: {', '.join(packaged())}, or the path of a file"
    alike = get_close_matches(name_or_path, packaged(), n=1)
    if alike:
        fix = f"did you mean {alike[0]}? Or {fix}"
    raise ConstitutionError(name_or_path, rule, fix)


def packaged() -> list[str]:
    """The names of the constitutions of this folder, sorted."""
    return sorted(path.stem for path in HERE.glob("*.yaml"))


def meant_file(name: str) -> Path | None:
    """Return the file meant, as `resolve` does; None where the name cannot be a file's."""
    try:
        path = resolve(name)
        is_file = path.suffix in (".yaml", ".yml") or path.is_file()
    except (ConstitutionError, OSError, ValueError):
        return None
    return path if is_file else None


def from_body(body: Mapping[str, Any]) -> Constitution:
    """Return the constitution of a recorded version: `dataclasses.asdict` of one, as JSON.

    Fields that it lacks have their defaults; those that this version does not know are left out.
    """
    principles = tuple(_principle(part) for part in body["principles"])
    examples = tuple(Example(**_known(Example, part)) for part in body.get("examples", ()))
    whole = _known(Constitution, body) | {"principles": principles, "examples": examples}
    return Constitution(**whole)


def _principle(part: Mapping[str, Any]) -> Principle:
    known = _known(Principle, part)
    answers = (WorkedAnswer(**_known(WorkedAnswer, e)) for e in part.get("examples", ()))
    return Principle(**known | {"examples": tuple(answers)})


def _known(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: _frozen(value) for name, value in values.items() if name in names}


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value


def load(path: str | Path, data: bytes | None = None) -> Constitution:
    """Read the file, or `data` as its content; raise ConstitutionError with the first fault."""
    parsed = parse(Path(path), data)
    if parsed.constitution is None:
        raise parsed.errors[0]
    return parsed.constitution
