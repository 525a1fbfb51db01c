"""The card of an export: what its rows are, and which words, models, prompts and people made them.

Its front matter is what `datasets` and `solon import` read; the rest is for people. Texts that came
from data, models or people are escaped.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from flows.explain.data_report import read
from flows.explain.export_rows import UNWRITABLE
from flows.explain.model_card import licence_of
from flows.explain.show import markdown_table
from storage.errors import InputError
from storage.ledger import Ledger, Row
from storage.lineage import summary
from storage.lookup import opened
from storage.workspace import Workspace
from tasks import models
from tasks.evaluation.escape import markdown_cell

PRINCIPLES = """
    SELECT p.slug, p.principle_id, count(DISTINCT r.row_id) AS rows
    FROM dataset_rows r JOIN (
        SELECT x.pair_id AS row_id, principle_id FROM pairs x JOIN revisions USING (revision_id)
        UNION ALL SELECT e.example_id, principle_id FROM examples e
            JOIN revisions USING (revision_id)
        UNION ALL SELECT pair_id, principle_id FROM labels WHERE NOT coalesce(is_later, false)
    ) m USING (row_id)
    JOIN principles p USING (principle_id)
    WHERE r.dataset_id = ? GROUP BY ALL ORDER BY rows DESC, slug
"""
MADE_IN = """
    SELECT r.recipe, r.git_commit, r.settings, c.name, c.constitution_id, c.body FROM runs r
    LEFT JOIN constitutions c USING (constitution_id) WHERE r.run_id = ?"""
PROMPTS = """
    SELECT p.source, count(DISTINCT p.prompt_id) AS n FROM prompts p SEMI JOIN wanted w
    ON w.prompt_id = p.prompt_id GROUP BY ALL ORDER BY n DESC, p.source"""
READ_FROM = "SELECT source, path, digest, row_count FROM sets WHERE set_id = ?"
WORDS = ("slug", "title", "critique", "revision", "comparison", "tags", "applies_to", "weight")
NOT_TOLD = "not told"
HOW_READ = {
    "trl": "`prompt`, `chosen` and `rejected` (or `completion`) are messages, as TRL takes them.",
    "hh": "`chosen` and `rejected` are transcripts, as hh-rlhf has them.",
}
COLUMNS = (
    "`preference` is the probability that the chosen answer is the better one, `principle` what"
    " speaks for a pair or what a row was made under, `evidence` who says so (people, program or"
    " judge; empty: its source alone), `set`, `licence` and `ratio` (its rows for every one made"
    " here) are those of a set that people brought. `solon import` takes the rows back, under the"
    " same ids."
)


def dataset_card(
    ledger: Ledger,
    found: Row,
    written: Mapping[str, Any],
    rows: Sequence[Row],
    files: Sequence[str],
) -> str:
    """The card of the snapshot `found`.

    written: its format, the id of the rows that were written, and how many. files: the splits that
    have a file; none where all rows are in one beside the card.
    """
    made = next(iter(ledger.query(MADE_IN, [found["run_id"]])), {})
    body = json.loads(made["body"]) if made.get("body") else None
    head = {"snapshot": found["dataset_id"], "kind": found["kind"], **written}
    training = len(rows) - written["held_out"]
    lines = [
        *_front_matter(head | {"constitution": made.get("constitution_id")}, files),
        f"# {found['kind']} {found['dataset_id']}",
        "",
        f"{training} rows to train on, {written['held_out']} held out. {_form(written['format'])}"
        f" {COLUMNS}",
        "",
        *_left_out_by_form(written["left_out"]),
        *_origin(ledger, found, made),
        *_section("Rows", _counted(rows)),
        *_section("Principles", _principles(ledger, found)),
        *_section("Constitution", _constitution(body) if body else ()),
        *_section("Models", _models(ledger, found["dataset_id"])),
        *_section("Prompts", _prompts(ledger, rows, made)),
        *_section("Sets that people brought", _sets(rows)),
        *_section("Left out", _left_out(ledger, found["run_id"])),
        *_section("The judge's report card", _judge(ledger, found["run_id"])),
        "The texts are a model's or people's: they may be wrong, and revisions may be no better.",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(head: Mapping[str, Any], files: Sequence[str]) -> Iterator[str]:
    where, suffix = "", ".jsonl" if head["format"] in ("trl", "hh") else ".parquet"
    if head["format"] == "hf":
        where = "data/"
    front: dict[str, Any] = {}
    if files:
        paths = [{"split": name, "path": f"{where}{name}{suffix}"} for name in files]
        front["configs"] = [{"config_name": "default", "data_files": paths}]
    front["solon"] = {name: value for name, value in head.items() if value is not None}
    yield from ("---", yaml.safe_dump(front, sort_keys=False).rstrip(), "---", "")


def _section(title: str, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    """A heading and what is below it; nothing where there is nothing."""
    below = list(lines)
    if below:
        yield from (f"## {title}", "", *below, "")


def _form(format: str) -> str:
    return HOW_READ.get(format, HOW_READ["trl"])


def _left_out_by_form(count: int) -> Iterator[str]:
    if count:
        yield from (f"{count} rows are left out: {UNWRITABLE}.", "")


def _origin(ledger: Ledger, found: Row, made: Row) -> Iterator[str]:
    """The run that made the snapshot, or the file it was read from."""
    for row in ledger.query(READ_FROM, [found["run_id"]]):
        file = markdown_cell(_file(row["path"]))
        yield f"- imported from {file}, hash `{row['digest']}`: {markdown_cell(row['source'])}"
        yield ""
    if made:
        yield f"- recipe: {markdown_cell(str(made['recipe']))}, code {made['git_commit']}"
        name = markdown_cell(str(made["name"]))
        yield f"- constitution: {name} `{made['constitution_id']}`"
        yield ""


def _counted(rows: Sequence[Row]) -> Iterator[str]:
    """Rows by where they come from and by who speaks for them."""
    counts = Counter((row["source"], row["evidence"] or "none") for row in rows)
    cells = ((*key, str(count)) for key, count in counts.most_common())
    if rows:
        yield from markdown_table(("source", "evidence", "rows"), cells)


def _principles(ledger: Ledger, found: Row) -> Iterator[str]:
    counts = ledger.query(PRINCIPLES, [found["dataset_id"]])
    if counts:
        yield from ("| principle | version | rows |", "|---|---|---|")
    for row in counts:
        yield f"| {markdown_cell(row['slug'])} | `{row['principle_id']}` | {row['rows']} |"


def _constitution(body: Mapping[str, Any]) -> Iterator[str]:
    """Its words as YAML, between fences that nothing in them can close."""
    principles = []
    for principle in body["principles"]:
        words = {name: principle[name] for name in WORDS if principle.get(name)}
        check = {"check": dict([principle["check"]])} if principle.get("check") else {}
        off = {} if principle.get("enabled", True) else {"enabled": False}
        principles.append(words | check | off)
    whole = {"name": body["name"], "version": body["version"], "principles": principles}
    text = yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=100).rstrip()
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text) or [""]))
    yield from (f"{fence}yaml", text, fence)


def _models(ledger: Ledger, dataset_id: str) -> Iterator[str]:
    """Every model behind the rows: what it did, and its licence where that is known."""
    with opened(ledger, dataset_id) as (con, ids):
        nodes = summary(con, ids, "up")["nodes"]
    workspace = Workspace(ledger.path.parent)
    cells = [
        (node["label"], row_id, ", ".join(node.get("steps", ())), _licence(node, workspace))
        for row_id, node in nodes.items()
        if node["kind"] == "model"
    ]
    if cells:
        yield from markdown_table(("model", "id", "did", "licence"), cells)


def _licence(node: Row, workspace: Workspace) -> str:
    try:
        is_file = models.parse(node["label"]).kind in ("hub", "folder")
        folder = models.there(node["label"], workspace) if is_file else workspace.models
        licence = licence_of(node["label"], folder) if folder else None
    except (InputError, OSError):  # a server's, or one that is not here any more
        return NOT_TOLD
    return licence or NOT_TOLD


def _prompts(ledger: Ledger, rows: Sequence[Row], made: Row) -> Iterator[str]:
    wanted = {"prompt_id": sorted({row["prompt_id"] for row in rows})}
    found = ledger.query(PROMPTS, wanted=wanted) if rows else []
    told = (json.loads(made["settings"]).get("prompts") or {}) if made else {}
    own = told.get("path")
    cells = (
        (
            _file(str(row["source"] or "")),
            str(row["n"]),
            (told.get("licence") if str(row["source"]).split("#")[0] == own else None) or NOT_TOLD,
        )
        for row in found
    )
    if found:
        yield from markdown_table(("prompts of", "prompts", "licence"), cells)


def _sets(rows: Sequence[Row]) -> Iterator[str]:
    counts = Counter((row["set"], row["licence"], row["ratio"]) for row in rows if row["set"])
    cells = (
        (_file(name), licence or NOT_TOLD, ratio, str(count))
        for (name, licence, ratio), count in counts.most_common()
    )
    if counts:
        yield from markdown_table(("set", "licence", "ratio", "rows"), cells)


def _file(path: str) -> str:
    """The name of a file, not where it lies on somebody's machine."""
    return path if path.startswith("hub:") else path.rstrip("/").rpartition("/")[2]


def _left_out(ledger: Ledger, run_id: str) -> Iterator[str]:
    found = list(read.left_out(ledger, run_id))
    cells = ((row.step, row.reason, str(row.rows)) for row in found)
    if found:
        yield from markdown_table(("by", "reason", "rows"), cells)


def _judge(ledger: Ledger, run_id: str) -> Iterator[str]:
    found = read.judge(ledger, run_id)
    cells = (
        (
            row.name,
            f"{row.value:.4g}",
            "" if row.low is None else f"{row.low:.4g} to {row.high:.4g}",
            str(row.n),
        )
        for row in found
    )
    if found:
        yield from markdown_table(("measure", "value", "95 % interval", "n"), cells)
