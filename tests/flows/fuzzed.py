"""Files of every kind that people bring, made of samples and changed."""

from __future__ import annotations

import gzip
import io
import random
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from flows.plan.recipe import settings
from tasks.judging.exported import member
from tasks.prompts.turns import RowError
from tests.flows.samples import CSV, TALK, TASKS, TXT
from tests.mutated import VALUES, WORDS, as_json, mutated, remade, repacked

Make = Callable[[random.Random, Path], Path]


def file_of(suffix: str, rows: Sequence[Any]) -> Make:
    """Makes files of that suffix out of these rows."""
    return lambda draw, folder: written(draw, folder, suffix, content(draw, suffix, rows))


def yaml_of(value: Any) -> Make:
    return lambda draw, folder: written(draw, folder, ".yaml", document(draw, value))


def tasks_of(draw: random.Random, folder: Path) -> Path:
    """A file of Label Studio's."""
    return written(draw, folder, ".ls", changed(draw, as_json(draw, remade(draw, TASKS))))


def overrides(draw: random.Random, folder: Path) -> Path:
    """A setting with some value: as `--set` has it, in a list, or as a form, in a mapping."""
    key, word = draw.choice(sorted(settings())), draw.choice(WORDS)
    text = word if isinstance(word, str) else word.decode("utf-8", "surrogateescape")
    given = {key: draw.choice(VALUES)} if draw.random() < 0.5 else [f"{key}={text}"]
    (folder / "input.json").write_bytes(as_json(draw, given))
    return folder / "input.json"


def lines(draw: random.Random, rows: Sequence[Any]) -> bytes:
    """JSON Lines in which some rows were changed, or the bytes of all."""
    made = [as_json(draw, remade(draw, row) if draw.random() < 0.5 else row) for row in rows]
    return changed(draw, b"\n".join(made))


def changed(draw: random.Random, content: bytes, *others: bytes) -> bytes:
    return mutated(draw, content, (content, *others)) if draw.random() < 0.5 else content


def document(draw: random.Random, value: Any) -> bytes:
    """YAML of a changed value, block or flow, or its bytes changed."""
    is_remade = draw.random() < 0.6
    made = remade(draw, value) if is_remade else value
    text = yaml.safe_dump(made, sort_keys=False, allow_unicode=True, default_flow_style=None)
    data = text.encode("utf-8", "surrogatepass")
    return data if is_remade else mutated(draw, data, (data, b"&a [*a, *a]", b"? - x\n: - y\n"))


@cache
def workbook() -> bytes:
    book, made = openpyxl.Workbook(), io.BytesIO()
    for row in (["prompt", "category", None], ["Why?", "x"], [3, True], ["=1+1", None, "y"]):
        book.active.append(row)
    book.create_sheet("hidden").sheet_state = "hidden"
    book.save(made)
    return made.getvalue()


def packed_table(draw: random.Random, rows: Sequence[Any], suffix: str) -> bytes:
    """Parquet or Arrow of changed rows, as far as Arrow has types for them."""
    made: list[Any] = []
    for row in rows:
        if isinstance(found := remade(draw, row), dict) and found:
            made.append({str(key): value for key, value in found.items()})
    try:
        table = pa.Table.from_pylist(made or [{"prompt": "x"}])
        pq.write_table(table, io.BytesIO())
    except (pa.ArrowException, OverflowError, UnicodeError):
        table = pa.table({"prompt": ["x", None], "n": [1, 2], "at": pa.array([2**62, 0], "date64")})
    stream = io.BytesIO()
    if suffix == ".parquet":
        pq.write_table(table, stream)
    else:
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table)
    return changed(draw, stream.getvalue())


def content(draw: random.Random, suffix: str, rows: Sequence[Any]) -> bytes:
    """A file of that suffix with these rows, where it can hold any."""
    if suffix in (".csv", ".tsv"):
        return mutated(draw, draw.choice(CSV), CSV)
    if suffix == ".txt":
        return mutated(draw, draw.choice(TXT), TXT)
    if suffix == ".xlsx":
        whole = workbook()
        return repacked(draw, whole) if draw.random() < 0.8 else mutated(draw, whole, [whole])
    if suffix in (".parquet", ".arrow"):
        return packed_table(draw, draw.sample(rows, 2), suffix)
    some = draw.sample(rows, draw.randint(1, min(3, len(rows))))
    if suffix == ".json" and draw.random() < 0.7:
        return changed(draw, as_json(draw, remade(draw, some)))
    return lines(draw, some)


def written(draw: random.Random, folder: Path, suffix: str, data: bytes) -> Path:
    """The file, now and then packed, whole or not."""
    path = folder / f"input{suffix}"
    if suffix not in (".yaml", ".ls") and draw.random() < 0.05:
        path, data = folder / f"input{suffix}.gz", changed(draw, gzip.compress(data, 1))
    path.write_bytes(data)
    return path


def export_rows(draw: random.Random) -> list[Any]:
    """Rows of an export, now and then changed on the way, under the ids that they then make."""
    plain = {"prompt_id": "prm_x", "split": "train", "category": "x", "preference": 1.0}
    facts = dict.fromkeys(("principle", "source", "evidence", "set", "licence", "ratio"), "")
    asked = {"prompt": [TALK[0]], **plain, **facts}
    pairs = {**asked, "chosen": [TALK[1]], "rejected": [{**TALK[1], "content": "No."}]}
    hh = {**plain, **facts, "chosen": "\n\nHuman: Hi\n\nAssistant: Yes?"}
    hh["rejected"] = "\n\nHuman: Hi\n\nAssistant: No."
    shown = {**asked, "completion": [TALK[1]]}
    rows = [draw.choice((pairs, pairs, hh, shown)) for _ in range(draw.randint(1, 3))]
    return [signed(remade(draw, row) if draw.random() < 0.8 else row) for row in rows]


def signed(row: Any) -> Any:
    try:
        member(row, "here", 1)
    except RowError as error:
        if made := re.search(r"its content makes (\w+),", error.detail):
            return {**row, "id": made[1]}
    return row


def written_export(draw: random.Random, folder: Path) -> Path:
    """A file of rows with its card, or a folder of one."""
    rows, out = export_rows(draw), folder / "out"
    suffix = draw.choice((".jsonl", ".jsonl", ".parquet"))
    card = {"solon": {"snapshot": "dst_x", "format": "trl"}, "license": "mit"}
    text = b"---\n" + document(draw, draw.choice((card, {"license": "mit"}))) + b"---\nRows.\n"
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    (out / "README.md").write_bytes(text)
    path = out / f"train{suffix}"
    if suffix == ".jsonl":
        path.write_bytes(changed(draw, b"\n".join(as_json(draw, row) for row in rows)))
    else:
        path.write_bytes(packed_table(draw, rows, suffix))
    return out if draw.random() < 0.8 else path
