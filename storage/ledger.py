"""The ledger: one DuckDB file, opened for one short transaction at a time.

DuckDB lets one process write and shuts every other out, readers too. So nobody keeps the file open:
each use takes the lock, opens, works in one transaction, closes (about 20 ms). A process that dies
in between loses that transaction and nothing that was committed.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from storage.errors import SolonError
from storage.lock import file_lock

STORAGE_VERSION = "v1.5.0"
MIGRATIONS = importlib.resources.files("storage") / "migrations"

Connection = duckdb.DuckDBPyConnection
Row = dict[str, Any]


class Ledger:
    """The tables of one workspace. `holder` names this process to others that wait for the lock."""

    def __init__(self, path: Path, wait_s: float = 60.0, holder: str = "") -> None:
        self.path, self.wait_s, self.holder = path, wait_s, holder
        self._is_current = False

    @property
    def exists(self) -> bool:
        return self.path.exists()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back on any exception."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(self.path.with_suffix(".lock"), self.wait_s, self.holder):
            con = _connect(self.path)
            try:
                if not self._is_current:
                    migrate(con)
                    self._is_current = True
                con.begin()
                yield con
                con.commit()
            except BaseException:
                _rollback(con)
                raise
            finally:
                con.close()

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows of one SELECT as dictionaries; no rows where there is no ledger yet."""
        if not self.exists:
            return []
        with self.transaction() as con:
            return rows(con, sql, parameters)


def _connect(path: Path) -> Connection:
    con = duckdb.connect(
        ":memory:",
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"},
    )
    quoted = str(path).replace("'", "''")
    try:
        con.execute(f"ATTACH '{quoted}' AS ledger (STORAGE_VERSION '{STORAGE_VERSION}')")
    except duckdb.Error as error:
        con.close()
        reason = " ".join(str(error).split())
        raise SolonError(f"{path}: the ledger cannot be opened: {reason}") from error
    con.execute("USE ledger")
    con.execute("SET TimeZone = 'UTC'")
    return con


def _rollback(con: Connection) -> None:
    try:
        con.rollback()
    except duckdb.Error:
        pass  # no transaction was open, or the error had already ended it


def migrate(con: Connection) -> None:
    """Apply the migrations this file has not had, each with its record in one transaction."""
    if not rows(con, "SELECT 1 FROM duckdb_tables() WHERE table_name = 'migrations'"):
        con.execute(
            "CREATE TABLE migrations"
            " (number INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
        )
        con.execute("COMMENT ON TABLE migrations IS 'One row per migration this file has had.'")
    done = {number for (number,) in con.execute("SELECT number FROM migrations").fetchall()}
    files = sorted(
        (f for f in MIGRATIONS.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name
    )
    if done and max(done) > int(files[-1].name[:4]):
        raise SolonError(
            f"the ledger was written by a newer Solon (migration {max(done)}); upgrade"
        )
    for file in files:
        number = int(file.name[:4])
        if number not in done:
            con.begin()
            con.execute(file.read_text(encoding="utf-8"))
            con.execute("INSERT INTO migrations VALUES (?, ?, ?)", [number, file.name, now()])
            con.commit()


def now() -> datetime:
    return datetime.now(UTC)


def rows(con: Connection, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """The result of one statement as dictionaries."""
    cursor = con.execute(sql, list(parameters))
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def insert(con: Connection, table: str, values: Sequence[Row], replace: bool = False) -> int:
    """Insert rows in bulk through Arrow; rows whose key is there already stay as they are.

    Every row has the same columns. With `replace`, a row whose key is there already is overwritten.
    Returns how many rows the table gained.
    """
    if not values:
        return 0
    columns = list(values[0])
    batch = pa.table({name: _array([row[name] for row in values]) for name in columns})
    before = _count(con, table)
    con.register("incoming", batch)
    names = ", ".join(columns)
    verb = "INSERT OR REPLACE" if replace else "INSERT OR IGNORE"
    con.execute(f"{verb} INTO {table} ({names}) SELECT {names} FROM incoming")
    con.unregister("incoming")
    return _count(con, table) - before


def fill(con: Connection, table: str, key: str, columns: Sequence[str], values: list[Row]) -> None:
    """Set `columns` of rows that are there where they are null; what is set stays."""
    names = [key, *columns]
    con.register("incoming", pa.table({n: _array([row[n] for row in values]) for n in names}))
    settings = ", ".join(f"{c} = coalesce({table}.{c}, incoming.{c})" for c in columns)
    con.execute(f"UPDATE {table} SET {settings} FROM incoming WHERE {table}.{key} = incoming.{key}")
    con.unregister("incoming")


def _array(values: list[Any]) -> pa.Array:
    if all(value is None for value in values):
        return pa.nulls(len(values), pa.string())
    if any(isinstance(value, list) for value in values):
        return pa.array(values, pa.list_(pa.string()))
    return pa.array(values)


def _count(con: Connection, table: str) -> int:
    return int(con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def point(ledger: Ledger, name: str, target_id: str) -> None:
    """Move the ref `name` to `target_id`; where it pointed before stays on the row."""
    with ledger.transaction() as con:
        con.execute(
            "INSERT INTO refs VALUES (?, ?, NULL, ?) ON CONFLICT (name) DO UPDATE SET"
            " previous_id = CASE WHEN refs.target_id = excluded.target_id THEN refs.previous_id"
            " ELSE refs.target_id END, target_id = excluded.target_id,"
            " updated_at = excluded.updated_at",
            [name, target_id, now()],
        )
