"""What must hold between the rows of a ledger: every key leads to a row, and the invariants.

Each rule is one statement over whole tables (a million rows: about a tenth of a second).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from storage.ledger import Connection, Ledger
from tasks.integrity.faults import BACKUP, Fault

HOLD_S = 0.3  # the longest that others wait for the ledger, but for the rule that is begun
SHOWN = 20  # of one rule; of more only how many is said


@dataclass(frozen=True)
class Key:
    """Rows of `table` name a row of another in `column`, unless that is null or `unless` holds.
    to: table and column, or several tables of which one has it.
    """

    table: str
    subject: str
    column: str
    to: str
    unless: str = "false"


RUN = "runs.run_id"
PROMPT, MODEL, PRINCIPLE = "prompts.prompt_id", "models.model_id", "principles.principle_id"
COMPLETION, FEW_SHOT = "completions.completion_id", "few_shots.few_shot_id"
CHECKPOINT, CONSTITUTION = "checkpoints.checkpoint_id", "constitutions.constitution_id"
MADE_BY = f"{RUN} sets.set_id"
PASSAGE = "starts_with(completion_id, 'psg_')"  # text that ships, which no model wrote
KEYS = (
    Key("runs", "run_id", "constitution_id", CONSTITUTION),
    Key("constitutions", "constitution_id", "unnest(principle_ids)", PRINCIPLE),
    Key("models", "model_id", "base_model_id", MODEL),
    Key("models", "model_id", "checkpoint_id", CHECKPOINT),
    Key("completions", "completion_id", "model_id", MODEL),
    Key("completions", "completion_id", "prompt_id", PROMPT),
    Key("completions", "completion_id", "principle_id", PRINCIPLE),
    Key("completions", "completion_id", "few_shot_id", FEW_SHOT),
    Key("completions", "completion_id", "run_id", RUN),
    Key("revisions", "revision_id", "prompt_id", PROMPT),
    Key("revisions", "revision_id", "principle_id", PRINCIPLE),
    Key("revisions", "revision_id", "response_completion_id", COMPLETION),
    Key("revisions", "revision_id", "critique_completion_id", COMPLETION),
    Key("revisions", "revision_id", "revision_completion_id", COMPLETION),
    Key("revisions", "revision_id", "example_id", "examples.example_id"),
    Key("revisions", "revision_id", "pair_id", "pairs.pair_id"),
    Key("revisions", "revision_id", "run_id", RUN),
    Key("examples", "example_id", "prompt_id", PROMPT),
    Key("examples", "example_id", "completion_id", COMPLETION),
    Key("examples", "example_id", "revision_id", "revisions.revision_id"),
    Key("pairs", "pair_id", "prompt_id", PROMPT),
    Key("pairs", "pair_id", "chosen_completion_id", COMPLETION),
    Key("pairs", "pair_id", "rejected_completion_id", COMPLETION),
    Key("pairs", "pair_id", "revision_id", "revisions.revision_id"),
    Key("labels", "label_id", "pair_id", "pairs.pair_id"),
    Key("labels", "label_id", "principle_id", PRINCIPLE),
    Key("labels", "label_id", "comparison_id", "comparisons.comparison_id"),
    Key("labels", "label_id", "verdict_id", "verdicts.verdict_id"),
    Key("labels", "label_id", "run_id", MADE_BY),
    Key("comparisons", "comparison_id", "prompt_id", PROMPT),
    Key("comparisons", "comparison_id", "principle_id", PRINCIPLE),
    Key("comparisons", "comparison_id", "model_id", MODEL),
    Key("comparisons", "comparison_id", "run_id", RUN),
    Key("comparisons", "comparison_id", "first_completion_id", COMPLETION),
    Key("comparisons", "comparison_id", "second_completion_id", COMPLETION),
    Key("comparisons", "comparison_id", "forward_reasoning_id", COMPLETION),
    Key("comparisons", "comparison_id", "backward_reasoning_id", COMPLETION),
    Key("verdicts", "verdict_id", "prompt_id", PROMPT),
    Key("shown_principles", "few_shot_id", "principle_id", PRINCIPLE),
    Key("made_prompts", "prompt_id", "completion_id", COMPLETION),
    Key("made_prompts", "completion_id", "prompt_id", PROMPT),
    Key("seeds", "prompt_id", "completion_id", COMPLETION),
    Key("seeds", "completion_id", "prompt_id", PROMPT),
    Key("set_rows", "row_id", "set_id", "sets.set_id"),
    Key("set_rows", "set_id", "row_id", "pairs.pair_id examples.example_id"),
    Key("sets", "set_id", "run_id", RUN),
    Key("datasets", "dataset_id", "run_id", MADE_BY),
    Key("dataset_rows", "row_id", "dataset_id", "datasets.dataset_id"),
    Key("dataset_rows", "dataset_id", "row_id", f"examples.example_id pairs.pair_id {PROMPT}"),
    Key("checkpoints", "checkpoint_id", "base_model_id", MODEL),
    Key("checkpoints", "checkpoint_id", "dataset_id", "datasets.dataset_id"),
    Key("checkpoints", "checkpoint_id", "constitution_id", CONSTITUTION),
    Key("checkpoints", "checkpoint_id", "run_id", RUN),
    Key("checkpoints", "checkpoint_id", "unnest(parent_ids)", CHECKPOINT),
    Key("gates", "evaluation_id", "evaluation_id", CHECKPOINT),
    Key("gates", "evaluation_id", "checkpoint_id", CHECKPOINT),
    Key("answers", "evaluation_id", "evaluation_id", CHECKPOINT),
    Key("answers", "evaluation_id", "completion_id", COMPLETION),
    Key("scores", "completion_id", "completion_id", COMPLETION, PASSAGE),
    Key("scores", "completion_id", "model_id", MODEL),
    Key("scores", "completion_id", "run_id", RUN),
    Key("task_requests", "request_id", "model_id", MODEL),
    Key("decisions", "run_id", "run_id", RUN),
    Key("exclusions", "row_id", "run_id", RUN),
    Key(
        "metrics",
        "name",
        "subject_id",
        f"{CHECKPOINT} datasets.dataset_id {RUN} {MODEL}",
    ),
    Key("refs", "name", "target_id", f"{CHECKPOINT} datasets.dataset_id {CONSTITUTION}"),
    Key("approvals", "approval_id", "constitution_id", CONSTITUTION),
    Key("approvals", "approval_id", "run_id", RUN),
)
# What is wrong, and the rows in which it is.
INVARIANTS = {
    "its answer ended as it could not": """
        SELECT completion_id FROM completions WHERE CASE finish_reason
            WHEN 'stop' THEN cut_at <> 0 WHEN 'length' THEN cut_at <= 0
            WHEN 'too_long' THEN cut_at <> -1 ELSE true END""",
    "a preference is no probability": """
        SELECT pair_id FROM pairs WHERE NOT preference BETWEEN 0 AND 1
        UNION ALL SELECT label_id FROM labels WHERE NOT preference BETWEEN 0 AND 1
        UNION ALL SELECT comparison_id FROM comparisons
            WHERE NOT coalesce(forward, 0) BETWEEN 0 AND 1
                OR NOT coalesce(backward, 0) BETWEEN 0 AND 1""",
    "its preference is not the mean of both orders": """
        SELECT comparison_id FROM comparisons
        WHERE abs(coalesce(preference, -1) - coalesce((forward + backward) / 2, -1)) > 1e-9""",
    "it has other numbers of rows than it says": """
        SELECT dataset_id FROM datasets d LEFT JOIN (
            SELECT dataset_id, count(*) FILTER (NOT is_held_out) AS own,
                count(*) FILTER (is_held_out) AS held_out FROM dataset_rows GROUP BY dataset_id
        ) USING (dataset_id)
        WHERE row_count <> coalesce(own, 0) OR held_out_count <> coalesce(held_out, 0)""",
    "a member is of another kind": """
        SELECT DISTINCT dataset_id FROM datasets JOIN dataset_rows USING (dataset_id)
        WHERE left(row_id, 3) <> CASE kind WHEN 'sft' THEN 'exm' WHEN 'preferences' THEN 'par'
            WHEN 'prompts' THEN 'prm' ELSE '' END""",
    "its columns are not what its key is made of": """
        SELECT checkpoint_id FROM checkpoints
        WHERE components->>'stage' <> stage OR components->>'dataset' <> dataset_id
            OR components->>'base_model' <> base_model_id
            OR len(parent_ids) <> len(parent_roles)
            OR path <> 'artifacts/' || CASE stage WHEN 'evaluate' THEN 'evaluations'
                ELSE 'checkpoints' END || '/' || checkpoint_id""",
    "its state and its end do not agree": """
        SELECT run_id FROM runs WHERE state NOT IN ('running', 'completed', 'failed')
            OR (state = 'running') <> (ended_at IS NULL)""",
    "it does not point to where it moved last": """
        SELECT name FROM refs LEFT JOIN (
            SELECT name, arg_max(target_id, number) AS last FROM ref_moves GROUP BY name
        ) USING (name) WHERE target_id IS DISTINCT FROM last""",
    "a move of it is missing": """
        SELECT name FROM ref_moves GROUP BY name HAVING max(number) <> count(*) - 1""",
    "a decision of it is missing": """
        SELECT run_id FROM decisions GROUP BY run_id HAVING max(number) <> count(*) - 1""",
    "a text that it names is not there": """
        SELECT evaluation_id FROM answers ANTI JOIN completions USING (completion_id, cut_at)
        UNION ALL SELECT completion_id FROM scores
            ANTI JOIN completions USING (completion_id, cut_at)
            WHERE NOT starts_with(completion_id, 'psg_')""",
}


def broken_keys(ledger: Ledger) -> list[Fault]:
    """A fault for each rule and row; where more than SHOWN rows break one, one for the rest."""
    faults: list[Fault] = []
    rules = _rules(ledger)
    while rules:
        with ledger.transaction() as con:
            until = time.monotonic() + HOLD_S
            while rules and time.monotonic() < until:
                faults += _faults(con, *rules.pop())
    return faults


def _rules(ledger: Ledger) -> list[tuple[str, str]]:
    """(what is wrong, SQL of the rows in which it is) of every rule about a table with rows."""
    sizes = "SELECT table_name AS name FROM duckdb_tables() WHERE estimated_size > 0"
    filled = {row["name"] for row in ledger.query(sizes)}
    keys = [key for key in KEYS if key.table in filled]
    found = [(f"{k.table}.{_name(k.column)} leads nowhere", _dangling(k)) for k in keys]
    return [
        *found,
        *((rule, f"SELECT s, NULL FROM ({sql}) t(s)") for rule, sql in INVARIANTS.items()),
    ]


def _dangling(key: Key) -> str:
    """SQL of the rows that name what is not there, and what they name."""
    there = " UNION ALL ".join(
        f"SELECT {column} AS id FROM {table}"
        for table, _, column in (place.partition(".") for place in key.to.split())
    )
    return f"""
        SELECT s, id FROM (
            SELECT {key.subject} AS s, {key.column} AS id FROM {key.table} WHERE NOT ({key.unless})
        ) ANTI JOIN ({there}) USING (id) WHERE id IS NOT NULL"""


def _faults(con: Connection, rule: str, sql: str) -> Iterator[Fault]:
    cursor = con.execute(f"SELECT DISTINCT s::VARCHAR, id::VARCHAR FROM ({sql}) t(s, id)")
    found = sorted(cursor.fetchmany(SHOWN), key=str)
    for subject, target in found:
        yield Fault(str(subject), f"{rule}{f' ({target})' if target else ''}")
    if more := len(cursor.fetchall()):
        yield Fault(f"{more} more rows", rule, BACKUP)


def _name(column: str) -> str:
    return column.removeprefix("unnest(").removesuffix(")")
