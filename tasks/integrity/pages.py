"""Every page of the ledger that has rows, read once: DuckDB has a checksum of each page, and looks
at it only as the page is read."""

from __future__ import annotations

from storage.ledger import Ledger
from tasks.integrity.faults import Looked

CHUNK_ROWS = 100_000
TABLES = "SELECT table_name AS name FROM duckdb_tables() WHERE database_name = 'ledger' ORDER BY 1"


def read_pages(ledger: Ledger, looked: Looked) -> None:
    """Read every column of every row, some at a time. Raises LedgerDamaged where a page is not what
    was written.
    """
    for table in [str(row["name"]) for row in ledger.query(TABLES)]:
        found = ledger.query(f"SELECT coalesce(max(rowid), -1) AS last FROM {table}")
        for first in range(0, found[0]["last"] + 1, CHUNK_ROWS):
            part = f"FROM {table} WHERE rowid BETWEEN {first} AND {first + CHUNK_ROWS - 1}"
            ledger.query(f"SELECT bit_xor(hash(t)) AS hash FROM ({part}) t")
        looked.count("tables")
