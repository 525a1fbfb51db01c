"""What a person types, as ids: an id, the start of one, a ref, where a ref pointed, or a slug.

A name that every recipe has means that of the ledger's recipe (storage/own_refs.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from storage.errors import InputError
from storage.ledger import Connection, Ledger, rows
from storage.lineage_walk import HOMES, table_kind
from storage.nearest import meant
from storage.own_refs import at_hand, full, is_own, others, shown
from storage.workspace import no_workspace

FIRST = "solon run makes one, SOLON_HOME names another"
HELP = "give an id from a run's output, a ref as latest/ppo, or a slug"
NAMED = HOMES | {"run": ("runs", "run_id")}
MANY = 10_000  # ids among which the one that is meant is looked for
BACK = re.compile(r"(?P<ref>.+)~(?P<moves>[0-9]{1,6})")
CLEARED = "what it pointed to before was cleared away by solon gc"
OWN_PRINCIPLES = """
    SELECT DISTINCT unnest(principle_ids) FROM constitutions JOIN runs USING (constitution_id)
    WHERE recipe = ?"""


def find(ledger: Ledger, name: str, also: Sequence[str] = ()) -> list[str]:
    """The ids a person may mean by `name`: an id, the start of one, a ref, or a principle's slug.

    `REF~1` is where a ref pointed before its last move. A slug names every version of that
    principle that the recipe used. Raises InputError where nothing or two things fit; `also` are
    names which the command takes as well, and which may be meant then.
    """
    with opened(ledger, name, also) as (_, ids):
        return ids


@contextmanager
def opened(
    ledger: Ledger, name: str, also: Sequence[str] = ()
) -> Iterator[tuple[Connection, list[str]]]:
    """A transaction, and what `find` finds."""
    if not ledger.exists:
        raise InputError(name, no_workspace(ledger.path.parent), meant(name, also, FIRST))
    with ledger.transaction() as con:
        yield con, _find(con, name, ledger.recipe, also)


def _find(con: Connection, name: str, recipe: str, also: Sequence[str]) -> list[str]:
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
        raise _nothing(name, [*also, *names_of(con, name, recipe)])
    return found


def _versions(con: Connection, slug: str, recipe: str) -> list[str]:
    """The versions of a principle that the recipe at hand has used; all, where it used none."""
    every = _ids(con, "SELECT principle_id FROM principles WHERE slug = ?", slug)
    own = set(_ids(con, OWN_PRINCIPLES, at_hand(con, recipe))) if every else set()
    return [version for version in every if version in own] or every


def names_like(ledger: Ledger, like: str) -> list[str]:
    """The names among which the one is looked for that `like` may be a slip of."""
    if not ledger.exists:
        return []
    with ledger.transaction() as con:
        return names_of(con, like, ledger.recipe)


def names_of(con: Connection, like: str, recipe: str) -> list[str]:
    """What `like` may be a slip of: refs, slugs and, where it is the start of an id, short ids."""
    names = _ids(con, "SELECT name FROM refs UNION SELECT slug FROM principles WHERE ? <> ''", like)
    names = shown(names, at_hand(con, recipe))
    if table_kind(like) not in NAMED:
        return names
    table, column = NAMED[table_kind(like)]
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
    found = targets[moves : moves + 1]
    if any(is_cleared(con, target_id) for target_id in found):
        raise InputError(name, CLEARED, f"see solon ref list {back['ref']}")
    return found


def is_cleared(con: Connection, row_id: str) -> bool:
    """Whether a row that a ref pointed to was there once and is no more."""
    table, column = HOMES.get(table_kind(row_id), ("", ""))
    return bool(table) and not rows(con, f"SELECT 1 FROM {table} WHERE {column} = ?", [row_id])


def _ids(con: Connection, sql: str, parameter: str) -> list[str]:
    return [row_id for (row_id,) in con.execute(sql, [parameter]).fetchall()]


def _nothing(name: str, known: Sequence[str]) -> InputError:
    return InputError(name, "no id, ref or principle has this name", meant(name, known, HELP))
