"""Write a snapshot for other tools, with a card that says where its rows come from."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from flows.explain.dataset_card import dataset_card
from flows.explain.export_rows import (
    FORMATS,
    UNWRITABLE,
    as_messages,
    as_transcripts,
    exported_rows,
    is_read_again,
    table,
)
from storage.errors import InputError
from storage.ids import dataset_id, kind_of
from storage.ledger import Ledger, Row
from storage.lookup import find
from storage.nearest import meant

SUFFIXES = {"trl": ".jsonl", "hh": ".jsonl", "parquet": ".parquet"}
"""Of the file in which all rows may be, by format."""


def export_snapshot(ledger: Ledger, name: str, format: str, out: Path) -> dict[str, Any]:
    """Write the snapshot `name` to `out`: a new or empty folder with a file a split and README.md,
    or (where its name ends as the format's files do) one new file, with FILE.card.md beside it.

    What is written is read again as the same rows; hh has no way to write a text in which a
    paragraph begins with "Human:" or "Assistant:", so such rows are left out, and counted.
    Raises InputError for an unknown snapshot or format, a place where something is, or where no row
    can be written.
    """
    if format not in FORMATS:
        fix = meant(format, FORMATS, f"use {', '.join(FORMATS)}")
        raise InputError(format, "no format has this name", fix, "--format")
    is_file = out.suffix == SUFFIXES.get(format)
    _check_place(out, is_file)
    found = _snapshot(ledger, name, format)
    every = exported_rows(ledger, found)
    rows = [row for row in every if format != "hh" or is_read_again(row)]
    if every and not rows:
        rule = f"the form cannot hold any of its {len(every)} rows: {UNWRITABLE}"
        raise InputError(format, rule, "use trl, parquet or hf", "--format")
    splits = {
        name: members
        for name in ("train", "test")
        if (members := [row for row in rows if row["split"] == name])
    }
    sides = [[row["id"] for row in splits.get(name, [])] for name in ("train", "test")]
    counts = {
        "rows": len(rows),
        "held_out": len(sides[1]),
        "left_out": len(every) - len(rows),
    }
    written = {"written": dataset_id(found["kind"], *sides), "format": format, **counts}
    place, name = out.resolve(), f".{out.name[:50]}.{uuid.uuid4().hex[:8]}.tmp"
    aside = place / name if place.is_dir() else place.with_name(name)
    try:
        aside.mkdir(parents=True)
        if is_file:
            _write(aside / out.name, format, rows)
            card = f"{out.name}.card.md"
        else:
            folder = aside / "data" if format == "hf" else aside
            folder.mkdir(exist_ok=True)
            for split, members in splits.items():
                _write(folder / f"{split}{SUFFIXES.get(format, '.parquet')}", format, members)
            card = "README.md"
        files = () if is_file else tuple(splits)
        text = dataset_card(ledger, found, written, rows, files)
        (aside / card).write_text(text, encoding="utf-8")
        _check_place(out, is_file, aside)  # again: something may have come meanwhile
        if is_file:
            (aside / card).replace(out.with_name(card))
            (aside / out.name).rename(out)
        else:
            _move(aside, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return {"id": found["dataset_id"], **counts, "out": str(out.absolute())}


def _move(aside: Path, out: Path) -> None:
    """Give a folder its name; one that is there, and is empty, gets what is in it: it may be where
    somebody stands, a link, a disk.
    """
    if not out.exists():
        aside.rename(out)
        return
    for path in sorted(aside.iterdir(), key=lambda path: path.name == "README.md"):
        path.rename(out / path.name)  # the card last: what has one is whole


def _check_place(out: Path, is_file: bool, aside: Path | None = None) -> None:
    if is_file and out.exists():
        raise InputError(str(out), "the file must be new", "name another", "--out")
    is_taken = out.exists() and (not out.is_dir() or {*out.resolve().iterdir()} - {aside})
    if not is_file and is_taken:
        raise InputError(str(out), "the folder must be new or empty", "name another", "--out")


def _snapshot(ledger: Ledger, name: str, format: str) -> Row:
    found_id = find(ledger, name)[0]
    if kind_of(found_id) != "dataset":
        raise _no_snapshot(name, kind_of(found_id))
    found = ledger.query("SELECT * FROM datasets WHERE dataset_id = ?", [found_id])[0]
    if found["kind"] == "prompts" or (format == "hh" and found["kind"] == "sft"):
        rule = f"a snapshot of {found['kind']} has no {format} form"
        raise InputError(name, rule, "use latest/preferences-rows or latest/sft-rows", "SNAPSHOT")
    return found


def _no_snapshot(name: str, kind: str | None) -> InputError:
    if kind == "checkpoint":
        fix = f"solon export-model {name} --out FOLDER takes the model along"
        return InputError(name, "this is a checkpoint, not rows", fix, "SNAPSHOT")
    return InputError(name, "this is no snapshot", "use latest/preferences-rows", "SNAPSHOT")


def _write(path: Path, format: str, rows: Sequence[Row]) -> None:
    if format in ("parquet", "hf"):
        pq.write_table(table(list(rows)), path)
        return
    shape = as_messages if format == "trl" else as_transcripts
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(shape(row), ensure_ascii=False) + "\n" for row in rows)
