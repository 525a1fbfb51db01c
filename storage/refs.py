"""What a person types, as ids; and named pointers: the champion, the constitution in force, others.

`latest/...` is moved by runs (storage.ledger.point), every other ref by a person. A move is never
forgotten: `rollback` takes the last one back and is itself a move. A name that every recipe has
means that of the ledger's recipe (storage/own_refs.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from storage.errors import InputError
from storage.ids import kind_of
from storage.ledger import Connection, Ledger, Row, move, rows
from storage.lineage_walk import HOMES, table_kind
from storage.nearest import meant
from storage.own_refs import at_hand, full, full_name, is_own, others, shown

HELP = "give an id from a run's output, a ref as latest/ppo, or a slug"
MANY = 10_000  # ids among which the one that is meant is looked for
BACK = re.compile(r"(?P<ref>.+)~(?P<moves>[0-9]{1,6})")
NAME = re.compile(r"[a-z0-9-]+(/[a-z0-9-]+)*")
POLICY_STAGES = ("sft", "dpo", "ppo")
OWN_PRINCIPLES = """
    SELECT DISTINCT unnest(principle_ids) FROM constitutions JOIN runs USING (constitution_id)
    WHERE recipe = ?"""
# What the last evaluation that judged a checkpoint found of it.
LAST_VERDICTS = """
    SELECT is_passed, reason FROM gates WHERE checkpoint_id = $1 AND evaluation_id = (
        SELECT evaluation_id FROM gates WHERE checkpoint_id = $1 ORDER BY created_at DESC LIMIT 1
    ) ORDER BY number"""


def find(ledger: Ledger, name: str) -> list[str]:
    """The ids a person may mean by `name`: an id, the start of one, a ref, or a principle's slug.

    `REF~1` is where a ref pointed before its last move. A slug names every version of that
    principle that the recipe used. Raises InputError where nothing or two things fit.
    """
    with opened(ledger, name) as (_, ids):
        return ids


@contextmanager
def opened(ledger: Ledger, name: str) -> Iterator[tuple[Connection, list[str]]]:
    """A transaction, and what `find` finds."""
    if not ledger.exists:
        raise _nothing(name, [])
    with ledger.transaction() as con:
        yield con, _find(con, name, ledger.recipe)


def _find(con: Connection, name: str, recipe: str) -> list[str]:
    found: list[str] = []
    for ref in (full(con, name, recipe), name):
        found = found or _ids(con, "SELECT target_id FROM refs WHERE name = ?", ref)
        found = found or _moved(con, ref)
    found = found or _versions(con, name, recipe)
    if found:
        return found
    if table_kind(name) in HOMES:
        table, column = HOMES[table_kind(name)]
        sql = f"SELECT DISTINCT {column} FROM {table} WHERE starts_with({column}, ?) LIMIT 2"
        found = _ids(con, sql, name)
    if len(found) > 1:
        raise InputError(name, "several ids begin so", "give more of its digits")
    if not found and is_own(name) and (there := others(con, name, recipe)):
        rule = f"recipe {at_hand(con, recipe)} has no such ref yet"
        raise InputError(name, rule, f"there is {', '.join(there)}")
    if not found:
        raise _nothing(name, _names(con, name, recipe))
    return found


def _versions(con: Connection, slug: str, recipe: str) -> list[str]:
    """The versions of a principle that the recipe at hand has used; all, where it used none."""
    every = _ids(con, "SELECT principle_id FROM principles WHERE slug = ?", slug)
    own = set(_ids(con, OWN_PRINCIPLES, at_hand(con, recipe))) if every else set()
    return [version for version in every if version in own] or every


def _names(con: Connection, like: str, recipe: str) -> list[str]:
    """What `like` may be a slip of: refs, slugs and, where it is the start of an id, short ids."""
    names = _ids(con, "SELECT name FROM refs UNION SELECT slug FROM principles WHERE ? <> ''", like)
    names = shown(names, at_hand(con, recipe))
    if table_kind(like) not in HOMES:
        return names
    table, column = HOMES[table_kind(like)]
    start, length = like[: len(like) // 2], len(like)
    sql = f"SELECT DISTINCT left({column}, {length}) FROM {table} WHERE starts_with({column}, ?)"
    return [*names, *_ids(con, f"{sql} LIMIT {MANY}", start)]


def _moved(con: Connection, name: str) -> list[str]:
    """Of `REF~n`, where the ref pointed before its last n moves."""
    back = BACK.fullmatch(name)
    if back is None:
        return []
    sql = "SELECT target_id FROM ref_moves WHERE name = ? ORDER BY number DESC"
    targets, moves = _ids(con, sql, back["ref"]), int(back["moves"])
    if targets and moves >= len(targets):
        rule = f"before this the ref has pointed to {len(targets) - 1} others"
        raise InputError(name, rule, f"see solon ref list {back['ref']}")
    return targets[moves : moves + 1]


def _ids(con: Connection, sql: str, parameter: str) -> list[str]:
    return [row_id for (row_id,) in con.execute(sql, [parameter]).fetchall()]


def _nothing(name: str, known: list[str]) -> InputError:
    return InputError(name, "no id, ref or principle has this name", meant(name, known, HELP))


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
            raise _no_ref(name, _names(con, name, ledger.recipe))
        standing: list[str] = []
        for made in moves:
            if made["is_rollback"]:
                del standing[-1:]
            else:
                standing.append(made["target_id"])
        if len(standing) < 2:
            rule = "it has pointed nowhere before this"
            raise InputError(name, rule, f"use solon ref set {name} ID")
        is_now, was = standing[-2:]
        move(con, name, is_now, author, "rollback", is_rollback=True)
    return was, is_now


def _check_name(ledger: Ledger, name: str) -> None:
    if not NAME.fullmatch(name):
        rule = "a ref's name is small letters, digits and dashes, with slashes between"
        raise InputError(name, rule, "name it as env/production", "NAME")
    if "latest" in name.split("/")[:2]:
        raise InputError(name, "only runs move this ref", "name another, as champion", "NAME")
    if ledger.query("SELECT 1 FROM principles WHERE slug = ? LIMIT 1", [name]):
        raise InputError(name, "a principle has this name", "name another", "NAME")


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
