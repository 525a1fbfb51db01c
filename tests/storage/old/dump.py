"""A workspace's ledger as SQL text: how the files beside this one were made.

    PYTHONPATH=. python tests/storage/old/dump.py WORKSPACE > tests/storage/old/COMMIT.sql

Each was made by the code of the commit it is named after:

    solon run --recipe smoke --set prompts.limit=16 --until dpo

The project's own prompts were in another order at b83de22: the first of then are beside it.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb

NUMBER = re.compile(r"0|[1-9]\d{0,15}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def lines(ledger: Path) -> Iterator[str]:
    """The statements that make the ledger anew, in an empty database."""
    con = duckdb.connect(str(ledger), read_only=True)
    con.execute("SET TimeZone = 'UTC'")
    with tempfile.TemporaryDirectory() as folder:
        con.execute(f"EXPORT DATABASE '{folder}'")
        made = (Path(folder) / "schema.sql").read_text(encoding="utf-8")
    yield from (line for line in made.splitlines() if line)
    for (table,) in con.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall():
        cast = "SELECT COLUMNS(*)::VARCHAR FROM"
        rows = con.execute(f"{cast} {table} ORDER BY ALL").fetchall()
        values = [f"({','.join(map(literal, row))})" for row in rows]
        if values:
            yield f"INSERT INTO {table} VALUES"
            yield ",\n".join(values) + ";"


def literal(value: str | None) -> str:
    if value is None or NUMBER.fullmatch(value):
        return value or "NULL"
    quoted = value.replace("'", "''")
    return CONTROL.sub(lambda found: f"'||chr({ord(found[0])})||'", f"'{quoted}'")


if __name__ == "__main__":
    print("\n".join(lines(Path(sys.argv[1]) / "ledger.duckdb")))
