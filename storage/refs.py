"""Named pointers: the champion, the constitution in force, others.

`latest/...` is moved by runs (storage.ledger.point), every other ref by a person. A move is never
forgotten: `rollback` takes the last one back and is itself a move. A name that every recipe has
means that of the ledger's recipe (storage/own_refs.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from storage.errors import InputError
from storage.ids import kind_of
from storage.ledger import Ledger, Row, move, rows
from storage.lookup import CLEARED, find, is_cleared, names_of
from storage.nearest import meant, nearest
from storage.own_refs import REF, full_name, shown

NAME = re.compile(r"(?=.{1,200}\Z)[a-z0-9-]+(/[a-z0-9-]+)*")
ROLES = ("champion", "constitution")
POLICY_STAGES = ("sft", "dpo", "ppo")
# What the last evaluation that judged a checkpoint found of it.
LAST_VERDICTS = """
    SELECT is_passed, reason FROM gates WHERE checkpoint_id = $1 AND evaluation_id = (
        SELECT evaluation_id FROM gates WHERE checkpoint_id = $1 ORDER BY created_at DESC LIMIT 1
    ) ORDER BY number"""


def refs(ledger: Ledger) -> list[Row]:
    """Refs by name: name, target_id, and author, note, is_forced, moved_at of its last move."""
    return ledger.query(
        "SELECT r.name, r.target_id, m.author, m.note, m.is_forced, m.moved_at FROM refs r"
        " LEFT JOIN ref_moves m ON m.name = r.name"
        " QUALIFY row_number() OVER (PARTITION BY r.name ORDER BY m.number DESC) = 1"
        " ORDER BY r.name"
    )


def history(ledger: Ledger, name: str) -> list[Row]:
    """A ref's moves, the last one first: row n is what `NAME~n` names. InputError for no ref."""
    sql = "SELECT * FROM ref_moves WHERE name = ? ORDER BY number DESC"
    for ref in (full_name(ledger, name), name):
        if found := ledger.query(sql, [ref]):
            return found
    names = [row["name"] for row in ledger.query("SELECT name FROM refs")]
    raise _no_ref(name, shown(names, ledger.recipe))


def set_ref(
    ledger: Ledger, name: str, to: str, author: str, note: str = "", is_forced: bool = False
) -> tuple[str | None, str]:
    """Point the ref `name` to `to`: an id, the start of one, or another ref. Returns (was, is).

    `champion` and `env/...` name a checkpoint of a policy, `constitution` a constitution.
    Raises InputError where name or target is not of that kind, or the name is not a person's, or
    a champion is to be what has not passed its gates, unless that is forced.
    """
    name = full_name(ledger, name)
    _check_name(ledger, name)
    _check_new(ledger, name)
    target_id, *more = find(ledger, to)
    if more:
        raise InputError(to, "this names several ids", "give one of them", "TARGET")
    _check_target(ledger, name, target_id, to)
    against = not_passed(ledger, target_id) if _role(name) == "champion" else ""
    if against and not is_forced:
        fix = "evaluate one that does, or move it all the same with --force --note WHY"
        raise InputError(to, against, fix, "TARGET")
    with ledger.transaction() as con:
        return move(con, name, target_id, author, note, is_forced=bool(against)), target_id


def not_passed(ledger: Ledger, checkpoint_id: str) -> str:
    """Why a checkpoint has not passed its gates, by the last evaluation; empty where it has."""
    verdicts = ledger.query(LAST_VERDICTS, [checkpoint_id])
    if not verdicts:
        return "no evaluation has judged this checkpoint"
    missed = [row["reason"] for row in verdicts if not row["is_passed"]]
    more = f", and {len(missed) - 1} more" if missed[1:] else ""
    return f"it does not pass its gates ({missed[0]}{more})" if missed else ""


def rollback(ledger: Ledger, name: str, author: str) -> tuple[str, str]:
    """Take back the last move of a ref that is not taken back yet. Returns (was, is).

    Raises InputError where there is no ref of that name, or nothing before.
    """
    name = full_name(ledger, name)
    _check_name(ledger, name)
    if not ledger.exists:
        raise _no_ref(name, [])
    with ledger.transaction() as con:
        moves = rows(con, "SELECT * FROM ref_moves WHERE name = ? ORDER BY number", [name])
        if not moves:
            raise _no_ref(name, names_of(con, name, ledger.recipe))
        stood = standing(moves)
        if len(stood) < 2:
            rule = "it has pointed nowhere before this"
            raise InputError(name, rule, f"use solon ref set {name} ID")
        is_now, was = stood[-2:]
        if is_cleared(con, is_now):
            raise InputError(name, CLEARED, f"use solon ref set {name} ID")
        move(con, name, is_now, author, "rollback", is_rollback=True)
    return was, is_now


def standing(moves: Sequence[Row]) -> list[str]:
    """What a ref pointed to, by its moves in their order, less the moves that were taken back."""
    found: list[str] = []
    for made in moves:
        if made["is_rollback"]:
            del found[-1:]
        else:
            found.append(made["target_id"])
    return found


def _check_name(ledger: Ledger, name: str) -> None:
    if not NAME.fullmatch(name):
        rule = "a ref's name is small letters, digits and dashes, with slashes between, at most 200"
        raise InputError(name, rule, "name it as env/production", "NAME")
    if "latest" in name.split("/")[:2]:
        raise InputError(name, "only runs move this ref", "name another, as champion", "NAME")
    if ledger.query("SELECT 1 FROM principles WHERE slug = ? LIMIT 1", [name]):
        raise InputError(name, "a principle has this name", "name another", "NAME")


def _check_new(ledger: Ledger, name: str) -> None:
    """A new ref is no slip of one that has a meaning of its own."""
    like = nearest(_role(name), ROLES)
    if like is None or like in name or ledger.query(REF, [name]):
        return
    fix = f"did you mean {like}? Or give it a name less like it"
    raise InputError(name, "no ref has this name", fix, "NAME")


def _check_target(ledger: Ledger, name: str, target_id: str, given: str) -> None:
    if _role(name) == "constitution" and kind_of(target_id) != "constitution":
        raise InputError(given, "this is no constitution", "give an id that begins con_", "TARGET")
    if _role(name) == "champion" or name.startswith("env/"):
        found = ledger.query("SELECT stage FROM checkpoints WHERE checkpoint_id = ?", [target_id])
        if not found or found[0]["stage"] not in POLICY_STAGES:
            rule = f"{name} names a checkpoint of {', '.join(POLICY_STAGES)}"
            raise InputError(given, rule, "give its id, or a ref as latest/ppo", "TARGET")


def _role(name: str) -> str:
    """What a ref is for, whosever it is: the last part of its name."""
    return name.rpartition("/")[2]


def _no_ref(name: str, known: list[str]) -> InputError:
    fix = meant(name, known, "see solon ref list")
    return InputError(name, "no ref has this name", fix, "NAME")
