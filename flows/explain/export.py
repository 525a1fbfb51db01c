"""Write a snapshot for other tools, with a card that says where its rows come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.plan.needs import MEMBERS
from storage.errors import InputError
from storage.ids import kind_of
from storage.ledger import Ledger, Row
from storage.nearest import meant
from storage.refs import find
from tasks.evaluation.escape import markdown_cell
from tasks.prompts.turns import Turn, transcript

FORMATS = ("trl", "hh", "parquet", "hf")
SPEAKERS = {"system": "System", "user": "Human", "assistant": "Assistant"}
UNWRITABLE = 'a paragraph of a turn begins with "Human:" or "Assistant:"'
PRINCIPLES = """
    SELECT p.slug, p.principle_id, count(DISTINCT r.row_id) AS rows
    FROM dataset_rows r JOIN (
        SELECT pair_id AS row_id, principle_id FROM revisions
        UNION ALL SELECT example_id, principle_id FROM revisions
        UNION ALL SELECT x.pair_id, principle_id FROM pairs x JOIN revisions USING (revision_id)
        UNION ALL SELECT pair_id, principle_id FROM labels
    ) m USING (row_id)
    JOIN principles p USING (principle_id)
    WHERE r.dataset_id = ? GROUP BY ALL ORDER BY rows DESC, slug
"""


def export_snapshot(ledger: Ledger, name: str, format: str, out: Path) -> dict[str, Any]:
    """Write the snapshot `name` to the folder `out`, which is new or empty.

    trl: JSONL with prompt, chosen, rejected (or completion) as messages. hh: transcripts. parquet:
    one file a split. hf: Parquet and a card in the layout of a dataset repository.
    What is written is read again as the same conversations; hh has no way to write a text in which
    a paragraph begins with "Human:" or "Assistant:", so such rows are left out, and counted.
    Raises InputError for an unknown snapshot or format, a folder that has something in it, or where
    no row can be written.
    """
    if format not in FORMATS:
        fix = meant(format, FORMATS, f"use {', '.join(FORMATS)}")
        raise InputError(format, "no format has this name", fix, "--format")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(str(out), "the folder must be new or empty", "name another", "--out")
    dataset_id = find(ledger, name)[0]
    if kind_of(dataset_id) != "dataset":
        raise _no_snapshot(name, kind_of(dataset_id))
    found = ledger.query("SELECT * FROM datasets WHERE dataset_id = ?", [dataset_id])[0]
    if found["kind"] == "prompts" or (format == "hh" and found["kind"] == "sft"):
        rule = f"a snapshot of {found['kind']} has no {format} form"
        raise InputError(name, rule, "use latest/preferences-rows or latest/sft-rows", "SNAPSHOT")
    every = ledger.query(f"{MEMBERS[found['kind']]} ORDER BY id", [dataset_id])
    rows = [row for row in every if format != "hh" or _is_read_again(row)]
    if every and not rows:
        rule = f"the form cannot hold any of its {len(every)} rows: {UNWRITABLE}"
        raise InputError(format, rule, "use trl, parquet or hf", "--format")
    splits = {
        "train": [row for row in rows if not row["is_held_out"]],
        "test": [row for row in rows if row["is_held_out"]],
    }
    out.mkdir(parents=True, exist_ok=True)
    for split, members in splits.items():
        _write(out, split, format, members)
    left_out = len(every) - len(rows)
    card = _card(ledger, found, format, [split for split, members in splits.items() if members])
    card += f"\n{left_out} rows are left out: {UNWRITABLE}.\n" if left_out else ""
    (out / "README.md").write_text(card, encoding="utf-8")
    counts = {"rows": len(rows), "held_out": len(splits["test"]), "left_out": left_out}
    return {"id": dataset_id, **counts, "out": str(out.absolute())}


def _no_snapshot(name: str, kind: str | None) -> InputError:
    if kind == "checkpoint":
        fix = f"solon export-model {name} --out FOLDER takes the model along"
        return InputError(name, "this is a checkpoint, not rows", fix, "SNAPSHOT")
    return InputError(name, "this is no snapshot", "use latest/preferences-rows", "SNAPSHOT")


def _write(out: Path, split: str, format: str, rows: list[Row]) -> None:
    if format in ("parquet", "hf"):
        folder = out / "data" if format == "hf" else out
        folder.mkdir(exist_ok=True)
        if rows:
            table = pa.Table.from_pylist([_as_messages(row) for row in rows])
            pq.write_table(table, folder / f"{split}.parquet")
        return
    shape = _as_messages if format == "trl" else _as_transcripts
    with (out / f"{split}.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(shape(row), ensure_ascii=False) + "\n" for row in rows)


def _as_messages(row: Row) -> dict[str, Any]:
    """The conversational form of TRL: prompt, and chosen and rejected or completion."""
    names = {"response": "completion", "chosen": "chosen", "rejected": "rejected"}
    answers = {
        names[name]: [{"role": "assistant", "content": row[name]}] for name in names if name in row
    }
    preference = {"preference": row["preference"]} if "preference" in row else {}
    return {"id": row["id"], "prompt": json.loads(row["messages"]), **answers, **preference}


def _as_transcripts(row: Row) -> dict[str, str]:
    """The form of hh-rlhf: two transcripts that differ in the last reply.

    A system turn, which hh-rlhf has not, opens them as "System:".
    """
    messages = json.loads(row["messages"])
    before = "".join(f"\n\n{SPEAKERS[m['role']]}: {m['content']}" for m in messages)
    return {name: f"{before}\n\nAssistant: {row[name]}" for name in ("chosen", "rejected")}


def _is_read_again(row: Row) -> bool:
    """Whether both transcripts of a pair are read as the turns they were made of."""
    messages = json.loads(row["messages"])
    return all(
        _plain(transcript(text)) == _plain([*messages, {"role": "assistant", "content": row[side]}])
        for side, text in _as_transcripts(row).items()
    )


def _plain(turns: list[Turn]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"].replace("\r\n", "\n").strip()) for turn in turns]


def _card(ledger: Ledger, found: Row, format: str, splits: Sequence[str]) -> str:
    """README.md of the export: what it is and which principles, model and run made it."""
    run = ledger.query(
        "SELECT r.recipe, r.git_commit, c.name, c.constitution_id FROM runs r"
        " LEFT JOIN constitutions c USING (constitution_id) WHERE r.run_id = ?",
        [found["run_id"]],
    )
    models = ledger.query(
        "SELECT DISTINCT m.reference, m.model_id FROM dataset_rows d JOIN ("
        " SELECT pair_id AS row_id, chosen_completion_id AS completion_id FROM pairs"
        " UNION ALL SELECT example_id, completion_id FROM examples) x USING (row_id)"
        " JOIN completions c USING (completion_id)"
        " JOIN models m USING (model_id) WHERE d.dataset_id = ?",
        [found["dataset_id"]],
    )
    counts = ledger.query(PRINCIPLES, [found["dataset_id"]])
    lines = [
        *_front_matter(format, splits),
        f"# {found['kind']} {found['dataset_id']}",
        "",
        f"{found['row_count']} rows to train on, {found['held_out_count']} held out.",
        "",
        *(f"- recipe: {markdown_cell(str(r['recipe']))}, code {r['git_commit']}" for r in run),
        *(f"- constitution: {markdown_cell(str(r['name']))} `{r['constitution_id']}`" for r in run),
        *(f"- model: {markdown_cell(m['reference'])} `{m['model_id']}`" for m in models),
        "",
        "| principle | version | rows |",
        "|---|---|---|",
        *(f"| {row['slug']} | `{row['principle_id']}` | {row['rows']} |" for row in counts),
        "",
        "The texts are a model's: they may be wrong, and revisions may be no better.",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(format: str, splits: Sequence[str]) -> Sequence[str]:
    if format != "hf":
        return []
    files = [f"  - split: {name}\n    path: data/{name}.parquet" for name in splits]
    return ["---", "configs:", "- config_name: default", "  data_files:", *files, "---", ""]
