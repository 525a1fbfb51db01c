"""What the ledger tells of a snapshot: its rows, their labels, what its run left out."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from flows.explain.data_report.report import DataRow, LeftOut, Measure, Verdict
from storage.errors import InputError
from storage.ids import kind_of
from storage.ledger import Ledger, Row
from storage.lookup import find
from storage.own_refs import target
from tasks.generation.teaching import Lesson

TEXTS = 2  # of what was left out, a reason
SNAPSHOT = "give a snapshot's id, latest/preferences-rows or latest/sft-rows"
ROWS = {
    "sft": """
        SELECT e.example_id AS id, e.prompt_id, p.messages->-1->>'content' AS prompt,
            e.response AS chosen, NULL AS rejected, e.source, NULL AS preference, r.is_held_out,
            e.completion_id AS chosen_completion_id, NULL AS rejected_completion_id
        FROM dataset_rows r JOIN examples e ON e.example_id = r.row_id
        JOIN prompts p USING (prompt_id) WHERE r.dataset_id = ? ORDER BY id""",
    "preferences": """
        SELECT x.pair_id AS id, x.prompt_id, p.messages->-1->>'content' AS prompt,
            x.chosen, x.rejected, x.source, x.preference, r.is_held_out,
            x.chosen_completion_id, x.rejected_completion_id
        FROM dataset_rows r JOIN pairs x ON x.pair_id = r.row_id
        JOIN prompts p USING (prompt_id) WHERE r.dataset_id = ? ORDER BY id""",
}
MEMBERS = {
    "sft": "SELECT e.completion_id FROM dataset_rows r JOIN examples e ON e.example_id = r.row_id"
    " WHERE r.dataset_id = ?",
    "preferences": "SELECT unnest([x.chosen_completion_id, x.rejected_completion_id])"
    " AS completion_id FROM dataset_rows r JOIN pairs x ON x.pair_id = r.row_id"
    " WHERE r.dataset_id = ?",
}
LABELS = """
    SELECT l.pair_id, l.given_by, n.slug, l.rule, l.preference, l.is_turned
    FROM dataset_rows r JOIN labels l ON l.pair_id = r.row_id
    LEFT JOIN principles n USING (principle_id)
    WHERE r.dataset_id = ? ORDER BY l.created_at, l.label_id
"""
MADE_UNDER = """
    SELECT DISTINCT x.pair_id, n.slug FROM dataset_rows r JOIN pairs x ON x.pair_id = r.row_id
    JOIN (
        SELECT p.pair_id, v.principle_id FROM pairs p JOIN revisions v USING (revision_id)
        UNION ALL
        SELECT p.pair_id, s.principle_id FROM pairs p JOIN completions c
            ON c.completion_id IN (p.chosen_completion_id, p.rejected_completion_id)
        JOIN shown_principles s USING (few_shot_id) WHERE p.source = 'distilled'
    ) m USING (pair_id)
    JOIN principles n USING (principle_id) WHERE r.dataset_id = ?
"""
LEFT_OUT = f"""
    WITH own AS (
        SELECT step, reason, row_id, detail,
            (sum(row_count) OVER (PARTITION BY step, reason))::BIGINT AS rows,
            row_number() OVER (PARTITION BY step, reason ORDER BY row_id) AS place
        FROM exclusions WHERE run_id = ?
    ), few AS (FROM own WHERE place <= {TEXTS}),
    texts AS (
        SELECT prompt_id AS row_id, messages->-1->>'content' AS text
        FROM prompts SEMI JOIN few ON few.row_id = prompts.prompt_id
        UNION ALL
        SELECT completion_id, arg_max(text, created_at)
        FROM completions SEMI JOIN few ON few.row_id = completions.completion_id GROUP BY 1
        UNION ALL
        SELECT v.revision_id, arg_max(c.text, c.created_at) FROM revisions v
        SEMI JOIN few ON few.row_id = v.revision_id
        JOIN completions c ON c.completion_id = v.revision_completion_id GROUP BY 1
    )
    SELECT step, reason, rows, row_id, detail, text
    FROM few LEFT JOIN texts USING (row_id) ORDER BY rows DESC, step, reason, place
"""


JUDGE = """
    SELECT name[7:] AS name, value, low, high, sample_count AS n FROM metrics
    WHERE subject_id = ? AND starts_with(name, 'judge/') ORDER BY name
"""


def snapshot_named(ledger: Ledger, name: str) -> Row:
    """The row of a snapshot of pairs or examples. InputError for anything else."""
    dataset_id = find(ledger, name)[0]
    if kind_of(dataset_id) != "dataset":
        raise InputError(name, "this is no snapshot", SNAPSHOT, "SNAPSHOT")
    found = ledger.query("SELECT * FROM datasets WHERE dataset_id = ?", [dataset_id])[0]
    if found["kind"] not in ROWS:
        raise InputError(name, f"a snapshot of {found['kind']} has no report", SNAPSHOT, "SNAPSHOT")
    return found


def rows_of(ledger: Ledger, snapshot: Row) -> list[DataRow]:
    """Every row by id, with the labels that stand under the constitution of the snapshot's run."""
    dataset_id, kind = snapshot["dataset_id"], snapshot["kind"]
    ends = _ends(ledger, kind, dataset_id)
    labels = _labels(ledger, snapshot) if kind == "preferences" else {}
    return [
        DataRow(
            **row,
            chosen_end=_end(ends, chosen, row["chosen"]),
            rejected_end=_end(ends, rejected, row["rejected"]),
            labels=labels.get(row["id"], ()),
        )
        for row in ledger.query(ROWS[kind], [dataset_id])
        for chosen, rejected in [
            (row.pop("chosen_completion_id"), row.pop("rejected_completion_id"))
        ]
    ]


Ends = Mapping[str, list[tuple[str, str]]]  # (text, finish reason) by completion


def _ends(ledger: Ledger, kind: str, dataset_id: str) -> Ends:
    sql = f"SELECT * FROM completions SEMI JOIN ({MEMBERS[kind]}) USING (completion_id)"
    found: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in ledger.query(
        f"SELECT completion_id, text, finish_reason FROM ({sql})", [dataset_id]
    ):
        found[row["completion_id"]].append((row["text"].strip(), row["finish_reason"]))
    return found


def _end(ends: Ends, completion_id: str | None, text: str | None) -> str | None:
    """Why the text ended: a completion has one for each limit at which it was cut."""
    found = ends.get(completion_id or "", [])
    return next((end for own, end in found if own == (text or "").strip()), None)


def _labels(ledger: Ledger, snapshot: Row) -> dict[str, tuple[Verdict, ...]]:
    """Each pair's labels: the last of each giver and principle."""
    checks = _checks(ledger, snapshot["run_id"])
    found: defaultdict[str, dict[tuple[str, str | None], Verdict]] = defaultdict(dict)
    for row in ledger.query(LABELS, [snapshot["dataset_id"]]):
        if _stands(row, checks):
            verdict = Verdict(row["given_by"], row["slug"], row["preference"], row["is_turned"])
            found[row["pair_id"]][verdict.by, verdict.slug] = verdict
    return {pair: tuple(own.values()) for pair, own in found.items()}


def _checks(ledger: Ledger, run_id: str) -> dict[str, Any] | None:
    """Each principle's check in a run's constitution; None where the run is not known."""
    sql = "SELECT c.body FROM runs JOIN constitutions c USING (constitution_id) WHERE run_id = ?"
    for row in ledger.query(sql, [run_id]):
        principles = json.loads(row["body"])["principles"]
        return {p["slug"]: dict([p["check"]]) if p.get("check") else None for p in principles}
    return None


def _stands(label: Row, checks: Mapping[str, Any] | None) -> bool:
    """Whether a label is of the constitution: one pair may be of several runs, under others."""
    if checks is None or label["slug"] is None:
        return True
    if label["given_by"] != "program":
        return label["slug"] in checks
    return checks.get(label["slug"]) == json.loads(label["rule"] or "null")


def made_under(ledger: Ledger, dataset_id: str) -> dict[str, set[str]]:
    """The slugs of the principles that each pair was revised or taught under, by pair."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for row in ledger.query(MADE_UNDER, [dataset_id]):
        found[row["pair_id"]].add(row["slug"])
    return found


def lessons(ledger: Ledger, dataset_id: str) -> dict[str, Lesson]:
    """What the snapshot's run found of each principle; none of runs before this was kept."""
    sql = "SELECT name, value FROM metrics WHERE subject_id = ? AND name LIKE 'lesson/%/%'"
    found: defaultdict[str, Lesson] = defaultdict(Lesson)
    for row in ledger.query(sql, [dataset_id]):
        _, slug, field = row["name"].split("/")
        setattr(found[slug], field, int(row["value"]))
    return dict(found)


def left_out(ledger: Ledger, run_id: str) -> Iterable[LeftOut]:
    """What a run left out, the most frequent reason first."""
    grouped: defaultdict[tuple[str, str, int], list[str]] = defaultdict(list)
    for row in ledger.query(LEFT_OUT, [run_id]):
        parts = row["detail"], row["text"] if row["text"] is not None else row["row_id"]
        text = "\n".join(part for part in parts if part)
        grouped[row["step"], row["reason"], row["rows"]].append(text)
    return [LeftOut(*key, tuple(texts)) for key, texts in grouped.items()]


def examples_by_source(ledger: Ledger, run_id: str) -> dict[str, int]:
    """SFT examples to train on by source: of the same run, or of latest/sft-rows."""
    sql = """
        WITH near AS (
            SELECT dataset_id, 0 AS place, created_at FROM datasets
            WHERE run_id = ? AND kind = 'sft'
            UNION ALL SELECT dataset_id, 1, created_at FROM datasets WHERE dataset_id = ?
            ORDER BY place, created_at DESC LIMIT 1
        )
        SELECT e.source, count(*) AS rows FROM near JOIN dataset_rows r USING (dataset_id)
        JOIN examples e ON e.example_id = r.row_id WHERE NOT r.is_held_out
        GROUP BY ALL ORDER BY rows DESC, source
    """
    found = ledger.query(sql, [run_id, target(ledger, "latest/sft-rows")])
    return {row["source"]: row["rows"] for row in found}


def judge(ledger: Ledger, run_id: str) -> list[Measure]:
    """The judge's report card of a run; nothing where it was not examined."""
    return [Measure(**row) for row in ledger.query(JUDGE, [run_id])]
