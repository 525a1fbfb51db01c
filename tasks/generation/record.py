"""Write what a run is about into the ledger: constitution, prompts, models, what is left out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from constitution.schema import Constitution
from storage.ids import canonical_json, content_id
from storage.ledger import Columns, Ledger, fill, insert, insert_columns, now
from tasks.generation.assemble import Exclusion
from tasks.generation.calls import principle_id
from tasks.prompts import Prompt


def constitution_id(constitution: Constitution) -> str:
    """The id of a constitution's whole content: every field of every principle and example."""
    return content_id("constitution", _body(constitution))


def _body(constitution: Constitution) -> dict[str, Any]:
    """What names a version. Fields that the format got later count only where they are set."""
    body = dataclasses.asdict(constitution)
    answers = [answer for principle in body["principles"] for answer in principle["examples"]]
    for part in (*body["principles"], *answers, *body["examples"]):
        part.pop("line", None)
    if not body["rounds"]:
        del body["rounds"]
    for principle in body["principles"]:
        if principle["check"] is None:
            del principle["check"]
        if not principle["examples"]:
            del principle["examples"]
    return body


def record_constitution(
    ledger: Ledger,
    constitution: Constitution,
    path: str | None,
    commit: str | None = None,
    author: str | None = None,
) -> str:
    """Keep this version of the constitution and of its principles; returns its id.

    `commit`, `author`: of the file in its repository. A version that was first read before it was
    committed gets them later.
    """
    found = constitution_id(constitution)
    row = {
        "constitution_id": found,
        "name": constitution.name,
        "version": constitution.version,
        "path": path,
        "principle_ids": [principle_id(p) for p in constitution.principles],
        "body": canonical_json(_body(constitution)).decode(),
        "git_commit": commit,
        "git_author": author,
        "created_at": now(),
    }
    named = ("slug", "title", "critique", "revision", "comparison")
    principles = [
        {
            "principle_id": principle_id(principle),
            **{name: getattr(principle, name) for name in named},
            "created_at": row["created_at"],
        }
        for principle in constitution.principles
    ]
    with ledger.transaction() as con:
        insert(con, "principles", principles)
        insert(con, "constitutions", [row])
        columns = {name: [value] for name, value in row.items()}
        fill(con, "constitutions", "constitution_id", ["git_commit", "git_author"], columns)
    return found


# Of prompts that are there, what a file says of them; the words are their id.
SAID_ANEW = """
    UPDATE prompts SET category = now.category, source = now.source, source_line = now.source_line
    FROM (SELECT unnest($1::VARCHAR[]) AS prompt_id, unnest($2::VARCHAR[]) AS category,
                 unnest($3::VARCHAR[]) AS source, unnest($4::BIGINT[]) AS source_line) AS now
    WHERE prompts.prompt_id = now.prompt_id
        AND (prompts.category, prompts.source, prompts.source_line)
            IS DISTINCT FROM (now.category, now.source, now.source_line)"""


def record_prompts(ledger: Ledger, prompts: Sequence[Prompt], is_own: bool = False) -> None:
    """Keep prompts.

    is_own: of the recipe's own files. What those say of a prompt that is there, category and place,
    is said anew: by it the prompt's principles are chosen from now on.
    """
    columns: Columns = {
        "prompt_id": [p.prompt_id for p in prompts],
        "messages": [json.dumps(list(p.messages), ensure_ascii=False) for p in prompts],
        "category": [p.category for p in prompts],
        "source": [p.source for p in prompts],
        "source_line": [p.line for p in prompts],
        "created_at": [now()] * len(prompts),
    }
    with ledger.transaction() as con:
        if insert_columns(con, "prompts", columns) < len(prompts) and is_own:
            names = ("prompt_id", "category", "source", "source_line")
            con.execute(SAID_ANEW, [columns[name] for name in names])


def record_model(
    ledger: Ledger,
    model_id: str,
    kind: str,
    reference: str,
    base_model_id: str | None = None,
    checkpoint_id: str | None = None,
) -> None:
    row = {
        "model_id": model_id,
        "base_model_id": base_model_id,
        "checkpoint_id": checkpoint_id,
        "kind": kind,
        "reference": reference,
        "created_at": now(),
    }
    with ledger.transaction() as con:
        insert(con, "models", [row])


def record_exclusions(ledger: Ledger, run_id: str, exclusions: Sequence[Exclusion]) -> None:
    columns: Columns = {
        "row_id": [found.row_id for found in exclusions],
        "step": [found.step for found in exclusions],
        "reason": [found.reason for found in exclusions],
        "run_id": [run_id] * len(exclusions),
        "detail": [found.detail for found in exclusions],
        "row_count": [found.rows for found in exclusions],
        "created_at": [now()] * len(exclusions),
    }
    if exclusions:
        with ledger.transaction() as con:
            insert_columns(con, "exclusions", columns)
