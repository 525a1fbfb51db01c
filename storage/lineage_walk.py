"""The edges of the lineage, those of the view `lineage_edges`, and the walk up or down along them.

The walk takes a kind of row at a time, as sets within the database: a step is one semi-join on one
table. Kinds with very many rows are walked by the 64-bit hashes of their ids (two of a million ids
share one with a probability of 3e-8), the others by the ids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from storage.ids import kind_of
from storage.ledger import Connection

WHOLE_FROM = 10_000  # a smaller set is not worth the look whether it is all of its kind
# Kinds of which one id may have several rows, and which rows all but one of them are among.
REPEATED = {"completion": "cut_at <> 0"}
Direction = Literal["up", "down"]

MANY = frozenset({"pair", "example", "revision", "comparison", "completion", "prompt"})
# Every kind comes before those it is made from, but that a model may be made from a checkpoint, and
# a prompt written in a completion.
KINDS = (
    "checkpoint dataset pair example revision comparison completion few_shot model constitution"
    " principle prompt set"
).split()
HOMES = {kind: (f"{kind}s", f"{kind}_id") for kind in KINDS}  # table and key of a kind's rows
PARENTS = (
    "(SELECT checkpoint_id, unnest(parent_ids) AS parent_id, unnest(parent_roles) AS parent_role"
    " FROM checkpoints)"
)
ASKED = "step IN ('critique', 'revision')"
OWN = "source <> 'revision'"  # a revision's rows have its edges
MADE = "NOT coalesce(is_later, false)"
PAIRS, EXAMPLES, PROMPTS = (f"starts_with(row_id, '{p}_')" for p in ("par", "exm", "prm"))


@dataclass(frozen=True)
class Edge:
    """One kind of edge: the child of a table's row was made from the parent beside it."""

    child: str
    parent: str
    role: str  # an SQL expression
    table: str
    child_name: str
    parent_name: str
    only: str = "true"  # an SQL condition on the table's rows

    def ends(self, direction: Direction) -> tuple[tuple[str, str], tuple[str, str]]:
        """(kind, column) where a step of the walk starts, and where it arrives."""
        child = self.child, f"{self.child_name}_id"
        parent = self.parent, f"{self.parent_name}_id"
        return (child, parent) if direction == "up" else (parent, child)


# Child, parent, role, table, the columns of both without their `_id`, and which rows.
# A critique or revision belongs to the principle that asked first: one that came to the same
# request later made nothing. So do rows to the revision that gave them first, which they name; and
# a row names its prompt, as a completion may answer several that ask the same.
_TABLE = f"""
completion  model         'model'         completions   completion           model
completion  prompt        'prompt'        completions   completion           prompt
completion  few_shot      'examples'      completions   completion           few_shot
completion  principle     'principle'     completions   completion           principle  {ASKED}
completion  completion    'critique'      revisions     revision_completion  critique_completion
completion  completion    'response'      revisions     revision_completion  response_completion
completion  completion    'response'      revisions     critique_completion  response_completion
revision    completion    'completion'    revisions     revision             revision_completion
example     revision      'revision'      examples      example              revision
pair        revision      'revision'      pairs         pair                 revision
example     prompt        'prompt'        examples      example              prompt
pair        prompt        'prompt'        pairs         pair                 prompt
example     completion    'completion'    examples      example              completion  {OWN}
pair        completion    'chosen'        pairs         pair           chosen_completion  {OWN}
pair        completion    'rejected'      pairs         pair                 rejected_completion
pair        principle     'label'         labels        pair                 principle  {MADE}
pair        comparison    'label'         labels        pair                 comparison  {MADE}
pair        set           'set'           set_rows      row                  set  {PAIRS}
example     set           'set'           set_rows      row                  set  {EXAMPLES}
prompt      completion    'written'       made_prompts  prompt               completion
completion  prompt        'seed'          seeds         completion           prompt
few_shot    principle     'shown'         shown_principles  few_shot         principle
comparison  completion    'first'         comparisons   comparison           first_completion
comparison  completion    'second'        comparisons   comparison           second_completion
comparison  completion    'reasoning'     comparisons   comparison           forward_reasoning
comparison  completion    'reasoning'     comparisons   comparison           backward_reasoning
comparison  prompt        'prompt'        comparisons   comparison           prompt
comparison  principle     'principle'     comparisons   comparison           principle
comparison  model         'judge'         comparisons   comparison           model
comparison  few_shot      'examples'      comparisons   comparison           few_shot
dataset     pair          'row'           dataset_rows  dataset              row  {PAIRS}
dataset     example       'row'           dataset_rows  dataset              row  {EXAMPLES}
dataset     prompt        'row'           dataset_rows  dataset              row  {PROMPTS}
model       model         'base'          models        model                base_model
model       checkpoint    'checkpoint'    models        model                checkpoint
checkpoint  dataset       'dataset'       checkpoints   checkpoint           dataset
checkpoint  model         'base'          checkpoints   checkpoint           base_model
checkpoint  constitution  'constitution'  checkpoints   checkpoint           constitution
checkpoint  checkpoint    parent_role     {PARENTS}     checkpoint           parent
checkpoint  completion    'answer'        answers       evaluation           completion
"""
EDGES = tuple(Edge(*re.split("  +", line)) for line in _TABLE.strip().splitlines())


def table_kind(row_id: str) -> str:
    """The kind under which an id is walked: evaluations are rows of `checkpoints`."""
    kind = kind_of(row_id) or ""
    return "checkpoint" if kind == "evaluation" else kind


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
        for kind in KINDS:
            type_ = "UBIGINT" if kind in MANY else "VARCHAR"
            con.execute(f"CREATE OR REPLACE TEMP TABLE {self.table(kind)} (key {type_}, wave INT)")
        for start in dict.fromkeys(starts):
            kind = table_kind(start)
            sql = f"INSERT INTO {self.table(kind)} VALUES ({key(kind, '$1::VARCHAR')}, 0)"
            con.execute(sql, [start])
            self.latest[kind] = 0
        self.go()

    def add(self, kind: str, sql: str) -> int:
        """Start from the ids as well that a SELECT gives, with the next `go`; how many are new."""
        if kind in self.whole:
            return 0
        table, found = self.table(kind), f"SELECT DISTINCT {key(kind, 'id')} FROM ({sql}) AS f(id)"
        new = f"FROM ({found} WHERE id IS NOT NULL) AS f(key) ANTI JOIN {table} USING (key)"
        count = self._number(f"INSERT INTO {table} SELECT key, {self.wave + 1} {new}")
        if count:
            self.wave += 1
            self.latest[kind] = self.wave
        return count

    def go(self) -> None:
        """Walk on from all that was not left yet."""
        order = KINDS if self.direction == "up" else KINDS[::-1]
        while waiting := [kind for kind in order if self.latest[kind] > self.left[kind]]:
            self._leave(waiting[0])

    def table(self, kind: str) -> str:
        return f"{self.name}_{kind}"

    def has(self, kind: str, column: str, since: int = -1) -> str:
        """The SQL condition that a column holds an id of this walk, reached after wave `since`."""
        if kind in self.whole:
            return f"{column} IS NOT NULL"
        return f"{key(kind, column)} IN (SELECT key FROM {self.table(kind)} WHERE wave > {since})"

    def is_start(self, kind: str, column: str) -> str:
        """The SQL condition that a column holds an id the walk started from."""
        return f"{key(kind, column)} IN (SELECT key FROM {self.table(kind)} WHERE wave = 0)"

    def count(self, kind: str) -> int:
        """How many ids of a kind the walk reached, the starts among them."""
        if kind in self.whole:
            return self.whole[kind]
        return self._number(f"SELECT count(DISTINCT key) FROM {self.table(kind)}")

    def _number(self, sql: str) -> int:
        return int(self.con.execute(sql).fetchall()[0][0])

    def _leave(self, kind: str) -> None:
        """Go on from the new rows of a kind: within the kind until nothing is new, then beyond."""
        edges = [edge for edge in EDGES if edge.ends(self.direction)[0][0] == kind]
        inside = [edge for edge in edges if edge.child == edge.parent]
        first = since = self.left[kind]
        while self.latest[kind] > since:
            since, before = self.latest[kind], since
            self._follow(kind, inside, before)
        self._follow(kind, [edge for edge in edges if edge not in inside], first)
        self.left[kind] = self.latest[kind]

    def _follow(self, kind: str, edges: list[Edge], since: int) -> None:
        """Add what lies behind a kind's rows later than wave `since` to the sets of its kinds."""
        self._look_if_whole(kind)
        for edge in edges:
            (_, start), (target, end) = edge.ends(self.direction)
            if target in self.whole:
                continue
            distinct = "" if target in MANY else "DISTINCT"
            found = (
                f"SELECT {distinct} {key(target, end)} AS key FROM {edge.table}"
                f" WHERE {edge.only} AND {end} IS NOT NULL AND {self.has(kind, start, since)}"
            )
            sql = f"SELECT key, {self.wave + 1} FROM ({found})"
            if self.latest[target] >= 0:
                sql += f" ANTI JOIN {self.table(target)} USING (key)"
            if self.fan_out is not None and target in MANY:
                sql += f" ORDER BY key LIMIT {self.fan_out}"
            if self._number(f"INSERT INTO {self.table(target)} {sql}"):
                self.wave += 1
                self.latest[target] = self.wave

    def _look_if_whole(self, kind: str) -> None:
        """Note where a large set holds every row of its kind: steps from it then need no join.

        Told by count and two checksums over the 64-bit keys.
        """
        if kind not in MANY or kind in self.whole:
            return
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
            some = f"SELECT {column} FROM {table} WHERE {REPEATED.get(kind, 'false')}"
            repeats = f"count(*) - count(DISTINCT {column}) FROM {table} WHERE {column} IN ({some})"
            self.whole[kind] = size - self._number(f"SELECT {repeats}")
