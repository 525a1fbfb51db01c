"""Files of questions: ours, and the forms in which others publish theirs, told by their fields.

| form | told by | scorer |
|---|---|---|
| ours | `prompt` or `messages`, `probe`, what its scorer expects | the probe's |
| IFEval (2311.07911) | `prompt`, `instruction_id_list`, `kwargs` | instruction-following |
| XSTest (2308.01263) | `prompt`, `type` and, if wanted, `label` | over-refusal, or harmful |
| TruthfulQA (2109.07958) | `Question`, `Correct Answers`, `Incorrect Answers` | truthful |
| HarmBench (2402.04249) | `Behavior`, `BehaviorID` | harmful |
| the same, shortened | `id`, `prompt`, `context`, `category` | harmful |
| MT-Bench (2306.05685) | `question_id`, `turns` | none; the first turn is asked |

Numbers are those of arXiv. LLMBar's pairs are gold for the judge (`tasks/judging/gold.py`), no
questions. A row that cannot be read is an error; a question that our programs do not cover is left
out and listed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storage.errors import InputError
from storage.ids import content_id
from tasks.evaluation.probes.expects import fault
from tasks.evaluation.probes.published import FORMS, Unsupported
from tasks.evaluation.probes.question import SCORER, Question
from tasks.prompts.files import iter_rows
from tasks.prompts.rows import to_prompt
from tasks.prompts.turns import RowError

MAX_CHARS = 20_000
_OF_A_PROMPT = ("prompt", "messages", "category", "probe")


@dataclass(frozen=True)
class Read:
    """The questions of a source; `left_out`: "file:line: why" of those without a program."""

    questions: list[Question] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def read_file(path: Path, probe: str, scorers: tuple[str, ...], limit: int | None = None) -> Read:
    """The questions of a file, in its order, equal ones once.

    Raises InputError, with file and line, at the first row that is none.
    """
    found, seen = Read(), set()
    for line, row in iter_rows(path):
        if limit is not None and len(found.questions) >= limit:
            break
        try:
            if isinstance(row, RowError):
                raise row
            question = _question(row, probe, scorers, path, line)
        except Unsupported as error:
            found.left_out.append(f"{path}:{line}: {error}")
            continue
        except RowError as error:
            fix = "mend or remove the row"
            raise InputError(error.reason, error.detail, fix, f"{path}:{line}") from None
        if question.question_id not in seen:
            seen.add(question.question_id)
            found.questions.append(question)
    if not found.questions:
        rule = "holds no question" + (f" of {len(found.left_out)}" if found.left_out else "")
        raise InputError(path, f"{rule} that can be asked", "give a file with at least one")
    return found


def _question(row: Any, probe: str, scorers: tuple[str, ...], path: Path, line: int) -> Question:
    if not isinstance(row, dict):
        raise RowError("malformed", f"a row must be an object, this is {type(row).__name__}")
    published = _form(row)
    prompt_row, expects = published(row) if published else _ours(row, probe, scorers)
    question = Question(probe, to_prompt(prompt_row, str(path), line, MAX_CHARS), expects)
    try:
        content_id("question", dict(question.expects))
    except (TypeError, ValueError, RecursionError):
        raise RowError("malformed", "what is expected holds a value that JSON has not") from None
    return question


def _form(row: dict[str, Any]) -> Callable[[dict[str, Any]], tuple[dict[str, Any], Any]] | None:
    """The published form whose fields the row has; None where it may be one of ours."""
    if {"output_1", "output_2"} <= set(row) or {"chosen", "rejected"} <= set(row):
        raise RowError("malformed", "a pair of answers is no question; give it as judge.gold")
    if "probe" in row and "instruction_id_list" not in row:
        return None
    return next((read for fields, read in FORMS if fields <= set(row)), None)


def _ours(
    row: dict[str, Any], probe: str, scorers: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    if not {"prompt", "messages"} & set(row) or (probe not in scorers and "probe" not in row):
        forms = (
            "probe with prompt, or the fields of IFEval, XSTest, TruthfulQA, HarmBench, MT-Bench"
        )
        names = ", ".join(sorted(map(str, row))[:8])
        raise RowError("malformed", f"has the fields {names}, of no form that is known ({forms})")
    scorer = row.get("probe", probe)
    if scorer not in scorers:
        raise RowError("malformed", f"`probe` is {scorer!r}, none of {', '.join(scorers)}")
    expects = {key: value for key, value in row.items() if key not in _OF_A_PROMPT}
    if why := fault(scorer, expects):
        raise RowError("malformed", why)
    return row, expects | ({SCORER: scorer} if scorer != probe else {})
