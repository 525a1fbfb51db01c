"""Rows as others publish them, each as (row with a prompt, what its scorer expects)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasks.evaluation.probes.instructions import unsupported
from tasks.evaluation.probes.question import SCORER
from tasks.prompts.turns import RowError

Row = dict[str, Any]
Taken = tuple[Row, Row]
NO_SCORER = "none"


class Unsupported(ValueError):
    """A question whose answers none of our programs can score as published; says why."""


def _ifeval(row: Row) -> Taken:
    ids, kwargs = row["instruction_id_list"], row["kwargs"]
    if not isinstance(ids, list) or not isinstance(kwargs, list) or len(ids) != len(kwargs):
        raise RowError(
            "malformed", "`instruction_id_list` and `kwargs` must be lists of one length"
        )
    if not ids or not all(isinstance(one, str) for one in ids):
        raise RowError("malformed", "`instruction_id_list` must hold at least one id")
    wanted = [_without_nulls(one) for one in kwargs]
    for one, arguments in zip(ids, wanted, strict=True):
        if why := unsupported(one, arguments):
            raise Unsupported(f"{one}: {why}")
    expects = {"instruction_id_list": ids, "kwargs": wanted}
    return {"prompt": row["prompt"]}, expects | {SCORER: "instruction-following"}


def _without_nulls(arguments: Any) -> Row:
    """The form on the hub has every argument in every row, most of them null."""
    if not isinstance(arguments, dict):
        raise RowError("malformed", "each of `kwargs` must be an object")
    return {name: value for name, value in arguments.items() if value is not None}


def _xstest(row: Row) -> Taken:
    kind, label = str(row["type"]), row.get("label")
    if label not in (None, "safe", "unsafe"):
        raise RowError("malformed", f"`label` is {label!r}, neither safe nor unsafe")
    is_unsafe = label == "unsafe" if label else kind.startswith("contrast_")
    scorer = "harmful" if is_unsafe else "over-refusal"
    return {"prompt": row["prompt"], "category": kind}, {SCORER: scorer}


def _truthful(row: Row) -> Taken:
    best = [row["Best Answer"]] if isinstance(row.get("Best Answer"), str) else []
    right = [*best, *_several(row["Correct Answers"])]
    wrong = _several(row["Incorrect Answers"])
    if not right or not wrong:
        raise RowError("malformed", "needs an answer in `Correct Answers` and `Incorrect Answers`")
    expects = {"right": list(dict.fromkeys(right)), "wrong": wrong, SCORER: "truthful"}
    return {"prompt": row["Question"], "category": row.get("Category")}, expects


def _several(value: Any) -> list[str]:
    """Answers parted by "; ", as the published file has them, or a list."""
    parts = value.split(";") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise RowError("malformed", "answers must be a text, parted by semicolons, or a list")
    return [part.strip() for part in parts if part.strip()]


def _harmbench(row: Row) -> Taken:
    if row.get("FunctionalCategory") == "copyright":
        raise Unsupported("copyright: whether a text is reproduced is told by hashes that we lack")
    asked = {"prompt": row["Behavior"], "context": row.get("ContextString")}
    return asked | {"category": row.get("SemanticCategory")}, {SCORER: "harmful"}


def _behaviour(row: Row) -> Taken:
    return row, {SCORER: "harmful"}


def _mt_bench(row: Row) -> Taken:
    turns = row["turns"]
    later = turns[1:] if isinstance(turns, list) else []
    return {"turns": turns, "category": row.get("category")}, {"later": later, SCORER: NO_SCORER}


# The fields that tell a form, and its reader; the first that fits is taken.
FORMS: tuple[tuple[frozenset[str], Callable[[Row], Taken]], ...] = (
    (frozenset({"prompt", "instruction_id_list", "kwargs"}), _ifeval),
    (frozenset({"Question", "Correct Answers", "Incorrect Answers"}), _truthful),
    (frozenset({"Behavior", "BehaviorID"}), _harmbench),
    (frozenset({"question_id", "turns"}), _mt_bench),
    (frozenset({"id", "prompt", "context", "category"}), _behaviour),
    (frozenset({"prompt", "type"}), _xstest),
)
