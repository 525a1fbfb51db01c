"""A workspace that is edited and run, and what is told of its last rows without when and by which
run: for comparing it with a workspace that was made afresh from the same files.

A principle is told by the words that a row's request shows. Those name it: another version with the
same words, or another slug, made the same rows, and the first that did keeps them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from flows.explain.why import story
from flows.plan.inputs import Inputs
from storage.ledger import Connection, Ledger, Row, rows
from storage.lineage import traced
from tasks.engines.engine import Batch, Completion, Request

from .world import Judging, World

Facts = dict[str, set[str]]

# By table, what a row is without when it was made and by which run.
TOLD = {
    "prompts": "FROM prompts SELECT prompt_id, messages, category, source, source_line",
    "few_shots": "FROM few_shots",
    "constitutions": "FROM constitutions SELECT constitution_id, name, body",
    "principles": "FROM principles SELECT principle_id, slug, critique, revision, comparison",
    "completions": """
        SELECT completion_id, cut_at, model_id, few_shot_id, step, round, request, text,
            finish_reason, temperature, top_p, sample_index, prompt_tokens, completion_tokens,
            CASE step WHEN 'critique' THEN [p.critique]
                WHEN 'revision' THEN [p.critique, p.revision] END AS words
        FROM completions LEFT JOIN principles p USING (principle_id) WHERE cut_at >= 0""",
    "revisions": """
        SELECT prompt_id, round, critique, revision, response_completion_id, response_cut_at,
            critique_completion_id, critique_cut_at, revision_completion_id, revision_cut_at
        FROM revisions JOIN principles USING (principle_id)""",
    "examples": """
        SELECT example_id, prompt_id, completion_id, cut_at, response, source FROM examples""",
    "pairs": """
        SELECT pair_id, prompt_id, chosen_completion_id, chosen_cut_at, rejected_completion_id,
            rejected_cut_at, chosen, rejected, source, preference FROM pairs""",
    "labels": """
        SELECT pair_id, slug, comparison_id, given_by, rule, preference, is_turned,
            CASE given_by WHEN 'judge' THEN comparison ELSE critique || revision END AS words
        FROM labels LEFT JOIN principles USING (principle_id)""",
    "comparisons": """
        SELECT comparison_id, prompt_id, comparison, model_id, few_shot_id, first_completion_id,
            first_cut_at, second_completion_id, second_cut_at, method, forward, backward
        FROM comparisons JOIN principles USING (principle_id)""",
    "datasets": "FROM datasets SELECT dataset_id, kind, row_count, held_out_count",
    "dataset_rows": "FROM dataset_rows",
    "shown": "SELECT few_shot_id, count(*) AS n FROM shown_principles GROUP BY ALL",
}
LEFT_OUT = """
    SELECT coalesce(v.prompt_id || ' round ' || v.round, row_id) AS row, step, reason, detail
    FROM exclusions x LEFT JOIN revisions v ON v.revision_id = x.row_id WHERE x.run_id = ?"""
FIGURES = "SELECT subject_id, name, value FROM metrics WHERE subject_id IN (?, ?)"
WORDS = "SELECT principle_id, slug, critique, revision, comparison FROM principles"
# Of a link, what is told of the call; of a row, what of the row.
LINK = (
    "step", "round", "completion_id", "text", "finish_reason", "cut_at", "request",
    "messages_before", "worked_examples", "temperature", "top_p", "sample_index",
)  # fmt: skip
ROW = ("kind", "round", "source", "response", "preference", "chosen", "rejected", "critique")
# Which words of a principle the child of an edge shows, by its step or the edge's role: a teacher
# is told a title, which is in its prefix.
SHOWS = {
    "critique": ("critique",),
    "revision": ("critique", "revision"),
    "principle": ("comparison",),
}


class BrokenOff(Exception):
    """The run ends here."""


class Breaking(Judging):
    """Answers `after` requests, a batch each, and no more."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        for index, request in enumerate(requests):
            if not self.after:
                raise BrokenOff
            self.after -= 1
            yield Batch([self._complete(index, request)], 0.0)


class Kept:
    """A workspace under the files of a folder, `rules.yaml` and `prompts.jsonl`."""

    def __init__(self, home: Path, files: Path, empty: Path, settings: dict[str, Any]) -> None:
        """empty: a ledger without a row, which takes a second to make."""
        home.mkdir()
        shutil.copy(empty, home / "ledger.duckdb")
        named = {"constitution": str(files / "rules.yaml")}
        named |= {"prompts.path": str(files / "prompts.jsonl")}
        self.world, self.runs = World(home, **named, **settings), 0

    def run(self, settings: dict[str, Any], engine: Judging) -> Inputs:
        self.runs += 1
        self.world.run_id, inputs = f"run_{self.runs}", self.world.read(**settings)
        self.world.run(inputs, engine=engine)
        return inputs

    def facts(self) -> Facts:
        """What the ledger has, by table, and what the last run left out and measured."""
        snapshots = [s.dataset_id for s in (self.world.rows.sft, self.world.rows.preferences)]
        with self.world.ledger.transaction() as con:
            found = {table: _told(rows(con, sql)) for table, sql in TOLD.items()}
            found["left out"] = _told(rows(con, LEFT_OUT, [self.world.run_id]))
            found["figures"] = _told(rows(con, FIGURES, snapshots))
        found["rows"] = {str(self.world.rows.left_out), str(self.world.rows.teaching), *snapshots}
        return found

    def whys(self) -> tuple[dict[str, str], set[str]]:
        """What `why` says of every row of the last snapshots, and the edges behind these."""
        snapshots = [s.dataset_id for s in (self.world.rows.sft, self.world.rows.preferences)]
        with self.world.ledger.transaction() as con:
            words = {row.pop("principle_id"): row for row in rows(con, WORDS)}
            members = "SELECT DISTINCT row_id FROM dataset_rows WHERE dataset_id IN (?, ?)"
            ids = [row["row_id"] for row in rows(con, members, snapshots)]
            return {id: _story(con, id, words) for id in ids}, _edges(con, snapshots, words)


def _told(found: Sequence[Row]) -> set[str]:
    return {json.dumps(row, sort_keys=True, default=str) for row in found}


def _story(con: Connection, row_id: str, words: dict[str, Row]) -> str:
    told = story(con, row_id)
    assert told
    links = [{name: link[name] for name in LINK} for link in told["links"]]
    row = {name: told["row"].get(name) for name in ROW}
    return json.dumps([told["prompt"], links, row], sort_keys=True)


def _edges(con: Connection, snapshots: list[str], words: dict[str, Row]) -> set[str]:
    """Revisions by what they are of, principles by the words that their child shows."""
    found = traced(con, snapshots, "up")
    step = {id: node.get("step") for id, node in found["nodes"].items()}
    ids = {row["revision_id"]: row for row in rows(con, "SELECT * FROM revisions")}

    def name(id: str) -> str:
        row = ids.get(id, {})
        parts = ("round", *(f"{p}_completion_id" for p in ("response", "critique", "revision")))
        return " ".join(str(row[part]) for part in parts) if row else id

    def parent(edge: dict[str, str]) -> str:
        shown = words.get(edge["parent"])
        if not shown:
            return name(edge["parent"])
        names = SHOWS.get(step[edge["child"]] or edge["role"], ())
        return " ".join(shown[name] for name in names)

    kept = [edge for edge in found["edges"] if edge["role"] != "label"]
    return {f"{name(edge['child'])} {edge['role']} {parent(edge)}" for edge in kept}


def write_rules(folder: Path, principles: Sequence[dict[str, Any]]) -> None:
    body = {"name": "rules", "principles": list(principles)}
    (folder / "rules.yaml").write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")


def write_prompts(folder: Path, prompts: Sequence[dict[str, Any]]) -> None:
    lines = (json.dumps(prompt) + "\n" for prompt in prompts)
    (folder / "prompts.jsonl").write_text("".join(lines), encoding="utf-8")


def empty_ledger(path: Path) -> Path:
    Ledger(path).query("SELECT 1")
    with Ledger(path).transaction():
        pass
    return path
