"""The ledger: one DuckDB file, opened for one short transaction at a time.

DuckDB lets one process write and shuts every other out, readers too. So nobody keeps the file open:
each use takes the lock, attaches the file, works in one transaction, detaches it (about 3 ms). A
process that dies in between loses that transaction and nothing that was committed.
"""

from __future__ import annotations

import importlib.resources
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from storage import lease
from storage.damage import one_line
from storage.errors import LedgerBusy, SolonError
from storage.journal import journalled, roll_back
from storage.lock import POLL_S, file_lock

if TYPE_CHECKING:
    import pyarrow as pa

CONFIG: dict[str, Any] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "checkpoint_threshold": "1TB",  # a checkpoint only where the file is let go: storage/journal.py
}
STORAGE_VERSION = "v1.5.0"
# DuckDB writes the last, partial row group anew at every checkpoint: with its default of 122,880
# rows a commit of 8,000 completions took up to 1.3 s, with this 0.1 s.
ROW_GROUP_SIZE = 2048
BATCH_ROWS = 4096
OPEN_ELSEWHERE = "Could not set lock on file"
HOLDER = re.compile(r"lock is held in (\S+) \(PID (\d+)\)")
"""In DuckDB's words for a file that another process has open."""
MIGRATIONS = importlib.resources.files("storage") / "migrations"

Connection = duckdb.DuckDBPyConnection
Row = dict[str, Any]
Columns = dict[str, list[Any]]


class Ledger:
    """The tables of one workspace. `holder` names this process to others that wait for the lock;
    `recipe` is the one whose champion and `latest/…` are meant (storage/own_refs.py).
    """

    def __init__(
        self, path: Path, wait_s: float = 60.0, holder: str = "", recipe: str = ""
    ) -> None:
        self.path, self.wait_s, self.recipe = path, wait_s, recipe
        self.holder = holder or " ".join(["solon", *sys.argv[1:2]])
        self._is_current = False
        self._instance: Connection | None = None  # of DuckDB, in memory: 16 ms to make, so kept

    @property
    def exists(self) -> bool:
        return self.path.exists()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction: committed at the end of the block, rolled back on any exception."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = file_lock(self.path.with_suffix(".lock"), self.wait_s, self.holder)
        with lock, one_line(self.path):
            con = self._attach()
            try:
                if not self._is_current:
                    migrate(con)
                    self._is_current = True
                con.begin()
                yield con
                con.commit()
            except BaseException:
                with suppress(duckdb.Error):  # none was open, or the error had already ended it
                    con.rollback()
                raise
            finally:
                self._detach(con)

    def _attach(self) -> Connection:
        instance = self._instance = self._instance or duckdb.connect(":memory:", config=CONFIG)
        deadline = time.monotonic() + self.wait_s
        while not self._attached(instance, is_last_try=time.monotonic() >= deadline):
            time.sleep(POLL_S)
        con = instance.cursor()
        con.execute("USE ledger")
        con.execute("SET TimeZone = 'UTC'")
        return con

    def _attached(self, instance: Connection, is_last_try: bool) -> bool:
        """Attach the file; False while another program, which knows no lock of ours, has it open.

        Raises LedgerBusy if this is the last try.
        """
        lease.hold(self.path.with_suffix(".host"), self.wait_s)
        try:
            roll_back(self.path)
            self._open(instance)
        except (duckdb.Error, BlockingIOError) as error:
            reason = " ".join(str(error).split())
            if OPEN_ELSEWHERE not in reason and not isinstance(error, BlockingIOError):
                raise
            if is_last_try:
                found = HOLDER.search(reason)
                who = f"process {found[2]} ({found[1]})" if found else "another program"
                what = f"kept open for {self.wait_s:g} s by {who}"
                raise LedgerBusy(f"{self.path}: {what}; wait for it or end it") from error
            return False
        return True

    def _open(self, instance: Connection) -> None:
        options = f"(STORAGE_VERSION '{STORAGE_VERSION}', ROW_GROUP_SIZE {ROW_GROUP_SIZE})"
        if not self.path.exists():  # made beside its place: half of a header is no database
            beside, log = (self.path.with_name(f"{self.path.name}.{end}") for end in ("new", "wal"))
            beside.unlink(missing_ok=True)
            log.unlink(missing_ok=True)  # of a ledger that is gone
            instance.execute(f"ATTACH {quoted(beside)} AS made {options}")
            instance.execute("DETACH made")
            beside.replace(self.path)
        instance.execute(f"ATTACH {quoted(self.path)} AS ledger {options}")

    def _detach(self, con: Connection) -> None:
        """Write the file and let go of it, whatever became of the transaction."""
        instance, self._instance = self._instance, None
        if instance:
            with journalled(con, self.path):
                con.close()
                instance.execute("DETACH ledger")
            self._instance = instance

    def query(
        self, sql: str, parameters: Sequence[Any] = (), wanted: Columns | None = None
    ) -> list[Row]:
        """Rows of one SELECT as dictionaries; no rows where there is no ledger yet.

        `wanted`: values by column, which the SELECT reads as a table of that name.
        """
        if not self.exists:
            return []
        with self.transaction() as con:
            if wanted is not None:
                con.register("wanted", _table(wanted))
            return rows(con, sql, parameters)


def quoted(path: Path) -> str:
    """A path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def migrate(con: Connection) -> None:
    """Apply the migrations this file has not had, each with its record in one transaction."""
    if not rows(con, "SELECT 1 FROM duckdb_tables() WHERE table_name = 'migrations'"):
        con.execute(
            "CREATE TABLE migrations"
            " (number INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
        )
        con.execute("COMMENT ON TABLE migrations IS 'One row per migration this file has had.'")
    done = {number for (number,) in con.execute("SELECT number FROM migrations").fetchall()}
    files = {int(f.name[:4]): f for f in MIGRATIONS.iterdir() if f.name.endswith(".sql")}
    newest = max(done, default=0)
    if newest > max(files):
        raise SolonError(f"the ledger was written by a newer Solon (migration {newest}); upgrade")
    for number, file in sorted(files.items()):
        if number not in done:
            con.begin()
            con.execute(file.read_text(encoding="utf-8"))
            con.execute("INSERT INTO migrations VALUES (?, ?, ?)", [number, file.name, now()])
            con.commit()


def now() -> datetime:
    return datetime.now(UTC)


def now_after(last: datetime | None) -> datetime:
    """Now; just after `last` where the clock was set back, so that the order stays what it was."""
    return max(now(), last + timedelta(microseconds=1)) if last else now()


def rows(con: Connection, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
    """The result of one statement as dictionaries."""
    cursor = con.execute(sql, list(parameters))
    return _as_rows(cursor, cursor.fetchall())


def _as_rows(cursor: Connection, found: list[Any]) -> list[Row]:
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, values, strict=True)) for values in found]


@contextmanager
def batches(ledger: Ledger, sql: str, parameters: Sequence[Any]) -> Iterator[Iterator[list[Row]]]:
    """The rows of one SELECT as dictionaries, some thousands at a time, in one transaction."""
    with ledger.transaction() as con:
        cursor = con.execute(sql, list(parameters))
        parts = iter(lambda: cursor.fetchmany(BATCH_ROWS), [])
        yield (_as_rows(cursor, part) for part in parts)


def insert(con: Connection, table: str, values: Sequence[Row], replace: bool = False) -> int:
    """Insert rows in bulk through Arrow; rows whose key is there already stay as they are.

    Every row has the same columns. With `replace`, a row whose key is there already is overwritten.
    Returns how many rows the table gained.
    """
    if not values:
        return 0
    columns = {name: [row[name] for row in values] for name in values[0]}
    return insert_columns(con, table, columns, replace)


def insert_columns(con: Connection, table: str, columns: Columns, replace: bool = False) -> int:
    """`insert` of values that are in columns already: a list of one length for each."""

    def count() -> int:
        return int(con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])

    before = count()
    con.register("incoming", _table(columns))
    verb = "INSERT OR REPLACE" if replace else "INSERT OR IGNORE"
    con.execute(f"{verb} INTO {table} BY NAME FROM incoming")
    con.unregister("incoming")
    return count() - before


def fill(con: Connection, table: str, key: str, names: Sequence[str], columns: Columns) -> None:
    """Set the columns `names` of rows that are there where they are null; what is set stays."""
    con.register("incoming", _table({name: columns[name] for name in (key, *names)}))
    settings = ", ".join(f"{n} = coalesce({table}.{n}, incoming.{n})" for n in names)
    news = " OR ".join(f"({table}.{n} IS NULL AND incoming.{n} IS NOT NULL)" for n in names)
    con.execute(
        f"UPDATE {table} SET {settings} FROM incoming"
        f" WHERE {table}.{key} = incoming.{key} AND ({news})"
    )
    con.unregister("incoming")


def _table(columns: Columns) -> pa.Table:
    import pyarrow as pa  # here: 0.2 s that a command which only reads does not need

    def array(values: list[Any]) -> pa.Array:
        first = next((value for value in values if value is not None), None)
        if first is None:
            return pa.nulls(len(values), pa.string())
        return pa.array(values, pa.list_(pa.string()) if isinstance(first, list) else None)

    return pa.table({name: array(values) for name, values in columns.items()})


def point(ledger: Ledger, name: str, target_id: str) -> None:
    """Move the ref `name` to `target_id`. Every move is kept; one to where it points is none."""
    with ledger.transaction() as con:
        move(con, name, target_id)


def move(
    con: Connection,
    name: str,
    target_id: str,
    author: str = "",
    note: str = "",
    is_rollback: bool = False,
    is_forced: bool = False,
) -> str | None:
    """`point` within a transaction, with who moved the ref and why. Returns where it pointed."""
    found = rows(con, "SELECT target_id FROM refs WHERE name = ?", [name])
    before = found[0]["target_id"] if found else None
    if before == target_id:
        return before
    moved_at = now()
    con.execute(
        "INSERT OR REPLACE INTO refs VALUES (?, ?, ?, ?)", [name, target_id, before, moved_at]
    )
    con.execute(
        "INSERT INTO ref_moves SELECT $1, coalesce(max(number), -1) + 1, $2, $3, $4, $5, $6, $7, $8"
        " FROM ref_moves WHERE name = $1",
        [name, target_id, before, author, note, is_rollback, moved_at, is_forced],
    )
    return before
