"""From what a person types to ids: an id, the start of one, a ref, a principle's slug."""

from __future__ import annotations

import re

from storage.errors import InputError
from storage.ledger import Connection, Ledger, rows
from storage.lineage_edges import HOMES, table_kind

HELP = "give an id from a run's output, a ref as latest/ppo, or a slug"
BACK = re.compile(r"(?P<ref>.+)~(?P<moves>[0-9]{1,6})")


def find(ledger: Ledger, name: str) -> list[str]:
    """The ids a person may mean by `name`: an id, the start of one, a ref, or a principle's slug.

    `REF~1` is where a ref pointed before its last move. A slug names every version of that
    principle. Raises InputError where nothing or two things fit.
    """
    if not ledger.exists:
        raise _nothing(name)
    with ledger.transaction() as con:
        return find_in(con, name)


def find_in(con: Connection, name: str) -> list[str]:
    """`find` within a transaction."""
    by_ref = _by_ref(con, name)
    if by_ref:
        return by_ref
    by_slug = rows(con, "SELECT principle_id AS id FROM principles WHERE slug = ?", [name])
    if by_slug:
        return [row["id"] for row in by_slug]
    matches = _starting_with(con, name)
    if len(matches) > 1:
        raise InputError(name, "several ids begin so", HELP)
    if not matches:
        raise _nothing(name)
    return matches


def _by_ref(con: Connection, name: str) -> list[str]:
    found = rows(con, "SELECT target_id AS id FROM refs WHERE name = ?", [name])
    back = BACK.fullmatch(name)
    if back and not found:
        sql = "SELECT target_id AS id FROM ref_moves WHERE name = ? ORDER BY number DESC"
        targets, moves = rows(con, sql, [back["ref"]]), int(back["moves"])
        if targets and moves >= len(targets):
            rule = f"before this the ref has pointed to {len(targets) - 1} others"
            raise InputError(name, rule, f"see solon ref list {back['ref']}")
        found = targets[moves : moves + 1]
    return [row["id"] for row in found]


def _starting_with(con: Connection, start: str) -> list[str]:
    """At most three ids."""
    if table_kind(start) not in HOMES:
        return []
    table, column = HOMES[table_kind(start)]
    sql = f"SELECT DISTINCT {column} AS id FROM {table} WHERE starts_with({column}, ?) LIMIT 3"
    return [row["id"] for row in rows(con, sql, [start])]


def _nothing(name: str) -> InputError:
    return InputError(name, "no id, ref or principle has this name", HELP)
