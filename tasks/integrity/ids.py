"""Content ids made anew from the rows that have them.

Rows are read some thousands at a time, each time in a transaction of its own, so that a run beside
it goes on. Ids of comparisons and of questions of standard tasks are not made anew: what was asked
is not in their rows. A run's id is random.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from storage.ids import content_id, dataset_id, digest
from storage.ledger import Ledger
from tasks.chat.think import ALOUD
from tasks.integrity.completions import completion_rows
from tasks.integrity.faults import Fault, Looked
from tasks.training.keys import checkpoint_id

CHUNK_ROWS = 20_000
RULE = "its row makes another id"
Values = tuple[Any, ...]
OnRows = Callable[[int], None]


@dataclass(frozen=True)
class Form:
    """How the ids of a table are made. columns: SQL of what `ids` is given, after the id; `ids`:
    the ids that the row may have, more than one where not all of what was hashed is in it.
    """

    table: str
    key: str
    columns: str
    ids: Callable[[Values], Iterable[str]]
    source: str = ""  # what is read in place of the table's rows that meet {part}


def _numbers(value: float) -> Iterator[float]:
    """A number as it may have been hashed: 1.0 of a recipe may have been 1."""
    yield value
    if value.is_integer():
        yield int(value)


def _pair(row: Values) -> Iterator[str]:
    *words, preference = row
    return (content_id("pair", [*words, number]) for number in _numbers(preference))


def _label(row: Values) -> list[str]:
    *words, verdict = row
    return [content_id("label", [*words, verdict] if verdict else words)]


def _verdict(row: Values) -> list[str]:
    prompt, first, second, principles, subject, author, answer, edited, said_at = row
    own = content_id("subject", [prompt, first, second, list(principles)])
    said = [author, answer, edited, said_at.isoformat()]
    return [content_id("verdict", [own, *said])] if own == subject else []


def _constitution(row: Values) -> list[str]:
    return [f"con_{digest(row[0].encode())}", content_id("constitution", json.loads(row[0]))]


def _revision(row: Values) -> Iterator[str]:
    """Of a completion that was cut more than once, any text; with its thoughts or without."""
    prompt, turn, principle, *calls = row
    names, texts = calls[::2], [_heard(found or []) for found in calls[1::2]]
    for chosen in product(*texts):
        pairs = [[name, text] for name, text in zip(names, chosen, strict=True)]
        yield content_id("revision", [prompt, turn, principle, pairs])


def _heard(texts: Iterable[str]) -> list[str]:
    """The texts as a step may have read them."""
    return list(dict.fromkeys(t for text in texts for t in (text, ALOUD.answer(text) or "")))


REVISIONS = """(
    WITH part AS (FROM revisions WHERE {part}),
    wanted AS (
        SELECT DISTINCT unnest([response_completion_id, critique_completion_id,
            revision_completion_id]) AS completion_id FROM part),
    texts AS (
        SELECT completion_id, list(text) AS texts
        FROM completions SEMI JOIN wanted USING (completion_id) GROUP BY completion_id)
    SELECT r.*, a.texts AS one, b.texts AS two, c.texts AS three FROM part r
    LEFT JOIN texts a ON a.completion_id = r.response_completion_id
    LEFT JOIN texts b ON b.completion_id = r.critique_completion_id
    LEFT JOIN texts c ON c.completion_id = r.revision_completion_id)"""
FORMS = (
    Form(
        "principles",
        "principle_id",
        "slug, critique, revision, comparison",
        lambda row: [content_id("principle", list(row))],
    ),
    Form("constitutions", "constitution_id", "body::VARCHAR", _constitution),
    Form(
        "few_shots",
        "few_shot_id",
        "messages::VARCHAR",
        lambda row: [content_id("few_shot", json.loads(row[0]))],
    ),
    Form(
        "prompts",
        "prompt_id",
        "messages::VARCHAR",
        lambda row: [content_id("prompt", json.loads(row[0]))],
    ),
    Form(
        "revisions",
        "revision_id",
        "prompt_id, round, principle_id, response_completion_id, one, critique_completion_id, two,"
        " revision_completion_id, three",
        _revision,
        REVISIONS,
    ),
    Form(
        "examples",
        "example_id",
        "prompt_id, response",
        lambda row: [content_id("example", list(row))],
    ),
    Form("pairs", "pair_id", "prompt_id, chosen, rejected, preference", _pair),
    Form(
        "labels",
        "label_id",
        "pair_id, given_by, principle_id, rule::VARCHAR, comparison_id, verdict_id",
        _label,
    ),
    Form(
        "verdicts",
        "verdict_id",
        "prompt_id, first, second, principle_ids, subject_id, author, answer, edited, created_at",
        _verdict,
    ),
    Form("sets", "set_id", "kind, digest", lambda row: [content_id("set", list(row))]),
    Form(
        "checkpoints",
        "checkpoint_id",
        "components::VARCHAR",
        lambda row: [checkpoint_id(json.loads(row[0]))],
    ),
)
TABLES = ("completions", "datasets", *(form.table for form in FORMS))


def row_counts(ledger: Ledger, sample: int | None) -> dict[str, int]:
    """How many rows there are to look at, by table."""
    counts = " UNION ALL ".join(
        f"SELECT '{name}' AS t, count(*) AS n FROM {name}" for name in TABLES
    )
    found = {str(row["t"]): int(row["n"]) for row in ledger.query(counts)}
    return {name: min(number, sample or number) for name, number in found.items()}


def look_at_ids(ledger: Ledger, looked: Looked, sample: int | None, on_rows: OnRows) -> None:
    """Make the ids of all rows anew, or of `sample` rows a table."""
    looked.count("completions", 0)
    for rows, wrong in completion_rows(ledger, _parts(ledger, "completions", sample)):
        looked.faults += [Fault(row_id, RULE) for row_id in wrong]
        looked.count("completions", rows)
        on_rows(rows)
    for form in FORMS:
        for part in _parts(ledger, form.table, sample):
            found = read(ledger, form, part)
            looked.faults += [Fault(str(row[0]), RULE) for row in found if not _is_own(form, row)]
            looked.count(form.table, len(found))
            on_rows(len(found))
    _look_at_datasets(ledger, looked, sample, on_rows)


def _is_own(form: Form, row: Values) -> bool:
    try:
        return row[0] in form.ids(row[1:])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False  # what is in the row is of another form altogether


def _parts(ledger: Ledger, table: str, sample: int | None) -> list[str]:
    """SQL conditions that together take every row of a table once, or a sample of them."""
    if sample is not None:
        chosen = f"SELECT rowid FROM {table} USING SAMPLE reservoir({sample} ROWS)"
        rows = sorted(row["rowid"] for row in ledger.query(chosen))
        ends = [rows[at : at + CHUNK_ROWS] for at in range(0, len(rows), CHUNK_ROWS)]
        return [f"rowid IN ({', '.join(map(str, part))})" for part in ends]
    last = ledger.query(f"SELECT max(rowid) AS last FROM {table}")
    most = -1 if not last or last[0]["last"] is None else int(last[0]["last"])
    firsts = range(0, most + 1, CHUNK_ROWS)
    return [f"rowid BETWEEN {first} AND {first + CHUNK_ROWS - 1}" for first in firsts]


def read(ledger: Ledger, form: Form, part: str) -> Sequence[Values]:
    """The id and the columns of some rows."""
    source = (form.source or f"(FROM {form.table} WHERE {{part}})").format(part=part)
    with ledger.transaction() as con:
        return con.execute(f"SELECT {form.key}, {form.columns} FROM {source}").fetchall()


MEMBERS = "SELECT row_id FROM dataset_rows WHERE dataset_id = ? AND is_held_out = ? ORDER BY 1"


def _look_at_datasets(ledger: Ledger, looked: Looked, sample: int | None, on_rows: OnRows) -> None:
    """A snapshot's id is that of its kind and all its members."""
    limit = "" if sample is None else f" USING SAMPLE reservoir({sample} ROWS)"
    for row in ledger.query(f"SELECT dataset_id, kind FROM datasets{limit}"):
        with ledger.transaction() as con:
            sides = [
                [member for (member,) in con.execute(MEMBERS, [row["dataset_id"], side]).fetchall()]
                for side in (False, True)
            ]
        if dataset_id(row["kind"], *sides) != row["dataset_id"]:
            looked.faults.append(Fault(row["dataset_id"], "its members make another id"))
        looked.count("datasets")
        on_rows(1)
