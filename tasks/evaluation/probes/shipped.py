"""The probes there are, their questions, the score of an answer, and what names a probe's state."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module, resources
from pathlib import Path

from storage.code import fingerprint as fingerprint_of_code
from storage.errors import InputError
from storage.ids import canonical_json, digest
from tasks.evaluation.probes.question import Question, Scored
from tasks.evaluation.probes.read import Read, read_file
from tasks.evaluation.probes.text import is_blank

# The module of each scorer; those of PROBES have questions that ship.
PROBES = {
    "instruction-following": "instructions",
    "format": "format",
    "honesty": "honesty",
    "sycophancy": "sycophancy",
    "harmful": "harmful",
    "over-refusal": "over_refusal",
    "helpfulness": "helpfulness",
    "boilerplate": "boilerplate",
    "tool-calls": "tool_calls",
    "revealed-preference": "revealed",
}
SCORERS = PROBES | {"truthful": "truthful"}
PACKAGE = "tasks.evaluation.probes"
_DATA = (resources.files("tasks.hygiene") / "refusal.json",)  # what scorers read beside code


def names() -> tuple[str, ...]:
    """The probes that ship."""
    return tuple(PROBES)


def name_of(probe: str) -> str:
    """The name under which a probe is reported: its own, or of a file its stem as a slug."""
    if probe in PROBES:
        return probe
    stem = re.sub(r"[^a-z0-9]+", "-", Path(probe).name.split(".")[0].casefold()).strip("-")
    return f"{stem}-file" if stem in PROBES or stem in ("", "held-out") else stem


def read(probe: str, limit: int | None = None) -> Read:
    """The questions of a probe that ships or of a file, in file order, and what was left out.

    limit: the first so many. Raises InputError for an unknown name, and for a file that is none.
    """
    if probe in PROBES:
        items = resources.files(PACKAGE) / "items" / f"{probe}.jsonl"
        with resources.as_file(items) as path:
            return read_file(path, probe, tuple(SCORERS), limit)
    if not Path(probe).exists():
        rule = f"is neither one of the probes {', '.join(PROBES)} nor a file that exists"
        raise InputError(probe, rule, "name a probe, or give the path of a file")
    return read_file(Path(probe), name_of(probe), tuple(SCORERS), limit)


def questions(probe: str, limit: int | None = None) -> list[Question]:
    """The questions of `read`."""
    return read(probe, limit).questions


def score(question: Question, answer: str, is_cut: bool = False) -> Scored | None:
    """What the question's scorer says of an answer; None without a scorer, or where it cannot tell.

    An answer without any visible sign has 0. is_cut: the answer ended at its length limit.
    """
    name = question.scorer
    if name not in SCORERS:
        return None
    if is_blank(answer):
        return Scored(0.0, "is empty")
    found = _scorer(name)(question, answer)
    if found is not None and is_cut and found.value < 1:
        return Scored(found.value, f"{found.reason} (it is cut)")
    return found


def fingerprint(probe: str) -> str:
    """Names a probe's questions and the code and data that score their answers."""
    asked = questions(probe)
    code = {name: fingerprint_of_code(_module(name)) for name in _scorers(asked)}
    data = [digest(file.read_bytes()) for file in _DATA]
    return digest(canonical_json([[q.question_id for q in asked], code, data]))


def _scorers(asked: list[Question]) -> set[str]:
    return {question.scorer for question in asked} & set(SCORERS)


def _module(name: str) -> str:
    return f"{PACKAGE}.{SCORERS[name]}"


def _scorer(name: str) -> Callable[[Question, str], Scored | None]:
    scorer: Callable[[Question, str], Scored | None] = import_module(_module(name)).score
    return scorer
