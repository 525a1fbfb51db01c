"""From what a person types to ids: an id, the start of one, a ref, a principle's slug."""

from __future__ import annotations

import re

from storage.errors import InputError
from storage.ledger import Connection, Ledger
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
    found = _ids(con, "SELECT target_id FROM refs WHERE name = ?", name) or _moved(con, name)
    found = found or _ids(con, "SELECT principle_id FROM principles WHERE slug = ?", name)
    if found:
        return found
    if table_kind(name) in HOMES:
        table, column = HOMES[table_kind(name)]
        sql = f"SELECT DISTINCT {column} FROM {table} WHERE starts_with({column}, ?) LIMIT 2"
        found = _ids(con, sql, name)
    if len(found) > 1:
        raise InputError(name, "several ids begin so", HELP)
    if not found:
        raise _nothing(name)
    return found


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


def _nothing(name: str) -> InputError:
    return InputError(name, "no id, ref or principle has this name", HELP)
