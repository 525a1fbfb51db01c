"""Clear the ledger of rows that nothing needs, in one transaction.

What kept completions took the place of is set aside, with its chain: `why` compares with it. No
call is ever served from what was set aside.
"""

from __future__ import annotations

from storage.keeping import Kept
from storage.ledger import Connection, rows

RUN_TABLES = "completions revisions comparisons checkpoints datasets labels scores".split()
STILL_NAMED = "sets approvals cleared_completions cleared_revisions".split()
# Every completion in its place, as a story sees it; those that were set aside before among them.
PLACES = """
    CREATE OR REPLACE TEMP TABLE places AS
    SELECT completion_id, c.prompt_id, c.step, coalesce(c.round, -1) AS round, c.sample_index,
           CASE c.step WHEN 'answer' THEN c.model_id ELSE '' END AS answerer, c.created_at,
           coalesce(r.recipe, '') AS recipe, b.run_before, {kept} AS is_kept
    FROM (
        SELECT completion_id, prompt_id, step, round, sample_index, model_id, created_at, run_id,
               true AS is_there FROM completions
        UNION ALL
        SELECT completion_id, prompt_id, step, round, sample_index, model_id, created_at, run_id,
               false FROM cleared_completions) c
    LEFT JOIN runs r USING (run_id)
    LEFT JOIN (
        SELECT run_id, lag(started_at) OVER (PARTITION BY recipe ORDER BY started_at) AS run_before
        FROM runs) b USING (run_id)"""
PLACE = " AND ".join(
    f"k.{n} = e.{n}" for n in ("prompt_id", "step", "round", "sample_index", "answerer")
)
# The latest in the same place before a kept one: of its recipe; of another's, before its last run.
BEFORE = f"""
    CREATE OR REPLACE TEMP TABLE aside AS
    SELECT DISTINCT e.completion_id FROM places k ASOF JOIN places e
        ON {PLACE} AND k.recipe = e.recipe AND k.created_at > e.created_at WHERE k.is_kept
    UNION SELECT DISTINCT e.completion_id FROM places k ASOF JOIN places e
        ON {PLACE} AND least(k.created_at, k.run_before) > e.created_at
        WHERE k.is_kept AND k.run_before IS NOT NULL"""
ALL_REVISIONS = "(FROM revisions UNION ALL BY NAME FROM cleared_revisions)"
ABOVE = (("revision", "critique"), ("revision", "response"), ("critique", "response"))
ASIDE = "IN (SELECT completion_id FROM aside)"


def clear(con: Connection, kept: Kept) -> dict[str, int]:
    """Delete what is not kept; how many rows of each table."""
    _set_aside(con, kept)
    dropped = _dropped(kept)
    removed: dict[str, int] = {}
    for table, condition in dropped:
        removed[table] = _number(con, f"DELETE FROM {table} WHERE {condition}")
    return {table: count for table, count in removed.items() if count}


def counts(con: Connection) -> dict[str, int]:
    """How many rows each table has."""
    found = rows(con, "SELECT table_name AS t FROM duckdb_tables() WHERE database_name = 'ledger'")
    return {row["t"]: _number(con, f"SELECT count(*) FROM {row['t']}") for row in found}


def _number(con: Connection, sql: str) -> int:
    return int(con.execute(sql).fetchall()[0][0])


def _dropped(kept: Kept) -> list[tuple[str, str]]:
    """(table, SQL condition of the rows to delete), what hangs on other rows before them."""
    completion, checkpoint, dataset, model, few_shot = (
        kept.has(kind, f"{kind}_id")
        for kind in ("completion", "checkpoint", "dataset", "model", "few_shot")
    )
    evaluation = f"NOT {kept.has('checkpoint', 'evaluation_id')}"
    models = f"checkpoint_id IS NOT NULL AND NOT {checkpoint} AND NOT {model}"
    gone_model = f"IN (SELECT model_id FROM models WHERE {models})"
    few_shots = (
        f"NOT {few_shot} AND few_shot_id NOT IN"
        " (SELECT few_shot_id FROM cleared_completions WHERE few_shot_id IS NOT NULL)"
    )
    subjects = (
        f"(regexp_matches(subject_id, '^(ckp|evl)_') AND NOT {kept.has('checkpoint', 'subject_id')}"
        f" OR starts_with(subject_id, 'dst_') AND NOT {kept.has('dataset', 'subject_id')}"
        f" OR subject_id {gone_model})"
    )
    rows_of = {
        "answers": evaluation,
        "gates": evaluation,
        "metrics": subjects,
        "scores": f"model_id {gone_model} OR starts_with(completion_id, 'cmp_') AND NOT "
        + completion,
        "task_requests": f"model_id {gone_model}",
        "labels": f"NOT {kept.has('pair', 'pair_id')}",
        "dataset_rows": f"NOT {dataset}",
        "datasets": f"NOT {dataset}",
        "checkpoints": f"NOT {checkpoint}",
        "models": models,
        "revisions": f"NOT {kept.has('revision', 'revision_id')}",
        "pairs": f"NOT {kept.has('pair', 'pair_id')}",
        "examples": f"NOT {kept.has('example', 'example_id')}",
        "comparisons": f"NOT {kept.has('comparison', 'comparison_id')}",
        "completions": f"NOT {completion}",
        "shown_principles": few_shots,
        "few_shots": few_shots,
    }
    return [*rows_of.items(), *((t, _unnamed()) for t in ("decisions", "exclusions", "runs"))]


def _unnamed() -> str:
    """The condition that no row names a run any more, once all others are deleted.

    A story also asks when the run of the same recipe before began.
    """
    named = " UNION ".join(f"SELECT run_id FROM {t}" for t in (*RUN_TABLES, *STILL_NAMED))
    named += " UNION SELECT run_id FROM kept_runs"
    before = "SELECT lag(run_id) OVER (PARTITION BY recipe ORDER BY started_at) AS run_id, run_id"
    return (
        f"run_id NOT IN (SELECT run_id FROM ({named}) WHERE run_id IS NOT NULL"
        f" UNION SELECT b.run_id FROM ({before} AS later FROM runs) b WHERE b.run_id IS NOT NULL"
        f" AND b.later IN ({named}))"
    )


def _set_aside(con: Connection, kept: Kept) -> None:
    is_kept = kept.has("completion", "completion_id")
    con.execute(PLACES.format(kept=f"is_there AND {is_kept}"))
    con.execute(BEFORE)
    while any([_number(con, _above(*pair)) for pair in ABOVE]):
        pass
    columns = ", ".join(
        row["n"]
        for row in rows(
            con,
            "SELECT column_name AS n FROM duckdb_columns()"
            " WHERE database_name = 'ledger' AND table_name = 'cleared_completions'",
        )
    )
    con.execute(
        f"INSERT OR IGNORE INTO cleared_completions BY NAME SELECT {columns} FROM completions"
        f" WHERE completion_id {ASIDE} AND NOT {is_kept}"
    )
    con.execute(f"DELETE FROM cleared_completions WHERE NOT completion_id {ASIDE}")
    told = " OR ".join(
        f"{name}_completion_id {ASIDE} OR {kept.has('completion', f'{name}_completion_id')}"
        for name in ("critique", "revision")
    )
    con.execute(
        "INSERT OR IGNORE INTO cleared_revisions BY NAME FROM revisions"
        f" WHERE NOT {kept.has('revision', 'revision_id')} AND ({told})"
    )
    con.execute(f"DELETE FROM cleared_revisions WHERE NOT ({told})")


def _above(step: str, above: str) -> str:
    """Add to what is set aside what its critiques or revisions were made from."""
    return (
        f"INSERT INTO aside SELECT DISTINCT {above}_completion_id FROM {ALL_REVISIONS} r"
        f" WHERE {step}_completion_id {ASIDE} AND NOT {above}_completion_id {ASIDE}"
    )
