"""The table reference in this folder's README, made from the database's own comments.

`python -m storage.reference` writes it; a test keeps it current.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from storage.ledger import Ledger

README = Path(__file__).with_name("README.md")
START, END = "<!-- tables -->", "<!-- end of tables -->"


def reference() -> str:
    """Markdown: every table with its columns, types and comments, in the order of the migration."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.duckdb")
        with ledger.transaction():
            pass
        tables = ledger.query(
            "SELECT table_oid AS number, table_name AS name, comment FROM duckdb_tables()"
            " WHERE NOT internal UNION ALL SELECT view_oid, view_name, comment FROM duckdb_views()"
            " WHERE NOT internal ORDER BY number"
        )
        columns = ledger.query(
            "SELECT table_name, column_name AS name, data_type AS type, comment"
            " FROM duckdb_columns() WHERE NOT internal ORDER BY table_name, column_index"
        )
    parts = []
    for table in tables:
        own = [c for c in columns if c["table_name"] == table["name"] and c["comment"]]
        lines = [f"### {table['name']}", "", table["comment"], ""]
        if own:
            lines += ["| column | type | meaning |", "|---|---|---|"]
            lines += [f"| {c['name']} | {c['type']} | {c['comment']} |" for c in own] + [""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def write() -> str:
    """The README's text with the reference put between its marks."""
    before, _, rest = README.read_text(encoding="utf-8").partition(START)
    return f"{before}{START}\n\n{reference()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    README.write_text(write(), encoding="utf-8")
