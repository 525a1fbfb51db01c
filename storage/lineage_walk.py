"""The walk up or down the lineage: a kind of row at a time, as sets within the database.

A step is one semi-join on one table. Kinds with very many rows are walked by the 64-bit hashes of
their ids (two of a million ids share one with a probability of 3e-8), the others by the ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from storage.ledger import Connection
from storage.lineage_edges import EDGES, HOMES, KINDS, MANY, Direction, table_kind

WHOLE_FROM = 10_000  # a smaller set is not worth the look whether it is all of its kind
# Kinds of which one id may have several rows, and which rows all but one of them are among.
REPEATED = {"completion": "cut_at <> 0"}
FEW_ROWS = 500  # so many are read one by one
NO_ID = "hash(NULL::VARCHAR)"  # null has a hash too


def key(kind: str, column: str) -> str:
    """The SQL expression by which a kind's ids are held in its set."""
    return f"hash({column})" if kind in MANY else column


class Walk:
    """All that lies up or down from `starts`, as one temporary table a kind: (key, wave).

    fan_out: a step that arrives at a kind of many rows keeps at most so many new ones.
    """

    def __init__(
        self,
        con: Connection,
        starts: Sequence[str],
        direction: Direction,
        fan_out: int | None = None,
        name: str = "reached",
    ) -> None:
        self.con, self.direction, self.fan_out, self.name = con, direction, fan_out, name
        self.wave = 0
        self.latest = dict.fromkeys(KINDS, -1)  # the last wave that brought rows
        self.left = dict.fromkeys(KINDS, -1)  # the last wave from which the walk went on
        self.whole: dict[str, int] = {}  # kinds of which every row is reached, and how many ids
        self.looked = dict.fromkeys(KINDS, -1)  # the last wave after which that was looked at
        for kind in KINDS:
            type_ = "UBIGINT" if kind in MANY else "VARCHAR"
            con.execute(f"CREATE OR REPLACE TEMP TABLE {self.table(kind)} (key {type_}, wave INT)")
        for start in dict.fromkeys(starts):
            kind = table_kind(start)
            sql = f"INSERT INTO {self.table(kind)} VALUES ({key(kind, '$1::VARCHAR')}, 0)"
            con.execute(sql, [start])
            self.latest[kind] = 0
        self._run()

    def table(self, kind: str) -> str:
        return f"{self.name}_{kind}"

    def has(self, kind: str, column: str) -> str:
        """The SQL condition that a column holds an id of this walk."""
        if kind in self.whole:
            return f"{column} IS NOT NULL"
        return f"{key(kind, column)} IN (SELECT key FROM {self.table(kind)})"

    def is_start(self, kind: str, column: str) -> str:
        """The SQL condition that a column holds an id the walk started from."""
        return f"{key(kind, column)} IN (SELECT key FROM {self.table(kind)} WHERE wave = 0)"

    def count(self, kind: str) -> int:
        """How many ids of a kind the walk reached, the starts among them."""
        if kind in self.whole:
            return self.whole[kind]
        return self._distinct(kind)

    def _distinct(self, kind: str) -> int:
        return self._number(f"SELECT count(DISTINCT key) FROM {self.table(kind)}")

    def _number(self, sql: str) -> int:
        return int(self.con.execute(sql).fetchall()[0][0])

    def _run(self) -> None:
        order = KINDS if self.direction == "up" else KINDS[::-1]
        while waiting := [kind for kind in order if self.latest[kind] > self.left[kind]]:
            self._leave(waiting[0])

    def _leave(self, kind: str) -> None:
        """Go on from the new rows of a kind: within the kind until nothing is new, then beyond."""
        first = since = self.left[kind]
        while self.latest[kind] > since:
            since, before = self.latest[kind], since
            self._steps(kind, before, is_inside=True)
        self._steps(kind, first, is_inside=False)
        self.left[kind] = self.latest[kind]

    def _steps(self, kind: str, since: int, is_inside: bool) -> None:
        """Follow the edges out of a kind's rows later than wave `since`, a column at a time."""
        steps: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
        for edge in EDGES:
            (source, column), target = edge.ends(self.direction)
            if source == kind and (target[0] == kind) is is_inside:
                steps.setdefault((edge.table, edge.only, column), []).append(target)
        for (table, only, column), targets in steps.items():
            left = [target for target in targets if not self._is_whole(target[0])]
            if left:
                hits = self._hits(kind, since, f"{table} WHERE {only}", column, left)
                self._arrive(*hits, table, left)

    def _hits(
        self, kind: str, since: int, source: str, column: str, targets: list[tuple[str, str]]
    ) -> tuple[str, bool]:
        """The rows in which a column holds an id of a kind later than wave `since`.

        What follows FROM, and whether that is a temporary table which has the ids' hashes.
        """
        if self._is_whole(kind):
            return f"{source} AND {column} IS NOT NULL", False
        frontier = f"SELECT key FROM {self.table(kind)} WHERE wave > {since}"
        where = f"{key(kind, column)} IN ({frontier})"
        is_short = self._number(f"SELECT count(*) FROM ({frontier})") <= FEW_ROWS
        if is_short and not source.startswith("("):
            sql = f"SELECT rowid FROM {source} AND {where} LIMIT {FEW_ROWS + 1}"
            found = [str(number) for (number,) in self.con.execute(sql).fetchall()]
            if len(found) <= FEW_ROWS:
                return f"{source} AND rowid IN ({', '.join(found) or -1})", False
        if source.startswith("(") or (len(targets) == 1 and targets[0][0] in MANY):
            return f"{source} AND {where}", False
        columns = ", ".join(f"hash({name}) AS {name}" for _, name in targets)
        self.con.execute(
            f"CREATE OR REPLACE TEMP TABLE {self.name}_hits AS"
            f" SELECT {columns} FROM {source} AND {where}"
        )
        return f"{self.name}_hits WHERE true", True

    def _arrive(
        self, hits: str, is_hashed: bool, table: str, targets: list[tuple[str, str]]
    ) -> None:
        """Add columns of `hits` to the sets of their kinds, what is there left out."""
        for kind, column in targets:
            if self._is_whole(kind):
                continue
            if kind in MANY:
                value = column if is_hashed else f"hash({column})"
                sql = f"SELECT {value} AS key FROM {hits} AND {value} <> {NO_ID}"
            else:
                few = f"hash({column}) IN (SELECT DISTINCT {column} FROM {hits})"
                source = f"{table} WHERE {few}" if is_hashed else hits
                sql = f"SELECT DISTINCT {column} AS key FROM {source} AND {column} IS NOT NULL"
            self._add(kind, sql)

    def _add(self, kind: str, found: str) -> None:
        sql = f"SELECT key, {self.wave + 1} FROM ({found})"
        if self.latest[kind] >= 0:
            sql += f" ANTI JOIN {self.table(kind)} USING (key)"
        if self.fan_out is not None and kind in MANY:
            sql += f" ORDER BY key LIMIT {self.fan_out}"
        if self._number(f"INSERT INTO {self.table(kind)} {sql}"):
            self.wave += 1
            self.latest[kind] = self.wave

    def _is_whole(self, kind: str) -> bool:
        """Whether a large set holds every row of its kind: steps from it then need no join.

        Told by count and two checksums over the 64-bit keys.
        """
        if kind in MANY and kind not in self.whole and self.looked[kind] < self.latest[kind]:
            self.looked[kind] = self.latest[kind]
            self._look_if_whole(kind)
        return kind in self.whole

    def _look_if_whole(self, kind: str) -> None:
        table, column = HOMES[kind]
        size = self._number(f"SELECT count(*) FROM {table}")
        count = self._number(f"SELECT count(*) FROM {self.table(kind)}")
        if size < WHOLE_FROM or size > count:
            return
        distinct = "DISTINCT" if count > size else ""
        sums = "SELECT count(*), bit_xor(key), sum(key) FROM"
        reached = f"{sums} (SELECT {distinct} key FROM {self.table(kind)})"
        home = f"{sums} (SELECT hash({column}) AS key FROM {table})"
        if self.con.execute(reached).fetchall() == self.con.execute(home).fetchall():
            self.whole[kind] = size - self._repeats(kind)

    def _repeats(self, kind: str) -> int:
        """How many rows of a kind's table share their id with an earlier one."""
        if kind not in REPEATED:
            return 0
        table, column = HOMES[kind]
        some = f"SELECT {column} FROM {table} WHERE {REPEATED[kind]}"
        return self._number(
            f"SELECT count(*) - count(DISTINCT {column}) FROM {table} WHERE {column} IN ({some})"
        )
