"""Mutated files of every kind that people bring: each is read, or refused in one line.

Never another exception, no input that takes minutes, nothing written outside the folder, nothing
started or asked. `SOLON_FUZZ=20000:7` tries so many inputs a kind, drawn from that seed.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from constitution.errors import ConstitutionError
from storage.errors import InputError
from tests.flows.fuzz_readers import (
    Read,
    in_encoding,
    read_any_prompts,
    read_constitution,
    read_export,
    read_overrides,
    read_pairs,
    read_questions,
    read_recipe,
    read_rows,
    read_sets,
    read_verdicts,
)
from tests.flows.fuzzed import Make, file_of, overrides, signed, tasks_of, written_export, yaml_of
from tests.flows.samples import (
    ASKED,
    CONSTITUTION,
    JUDGED,
    PROMPTS,
    RECIPE,
    SHEET,
    SHOWN,
    SUBJECT,
    TASKS,
)
from tests.watched import TooLong, bounded, watched

COUNT, SEED = map(int, os.environ.get("SOLON_FUZZ", "500:0").split(":"))
CPU_S = 20  # of one input: a hundred times what the slowest needs
KINDS: dict[str, tuple[Make, Read]] = {
    "constitution": (yaml_of(CONSTITUTION), read_constitution),
    "recipe": (yaml_of(RECIPE), read_recipe),
    "overrides": (overrides, read_overrides),
    **{
        f"prompts{suffix}": (file_of(suffix, PROMPTS), read_any_prompts)
        for suffix in (".csv", ".tsv", ".txt", ".jsonl", ".json", ".xlsx", ".parquet", ".arrow")
    },
    "judged": (file_of(".jsonl", JUDGED), read_sets),
    "demonstrations": (file_of(".jsonl", SHOWN), read_sets),
    "questions": (file_of(".jsonl", ASKED), read_questions),
    "sheet": (file_of(".csv", ()), read_verdicts),
    "sheet rows": (file_of(".jsonl", SHEET), read_verdicts),
    "tasks": (tasks_of, read_verdicts),
    "export": (written_export, read_export),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where inputs lie, beside the workspace, and nothing else."""
    for path in (tmp_path / "inputs", tmp_path / "home"):
        path.mkdir()
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "inputs")
    return tmp_path / "inputs"


@pytest.mark.parametrize("kind", KINDS)
def test_any_input_is_read_or_refused_in_one_line(kind: str, folder: Path) -> None:
    make, read = KINDS[kind]
    read_ones = 0
    for number in range(COUNT):
        draw = random.Random(f"{SEED}:{kind}:{number}")
        path = make(draw, folder)
        try:
            read_ones += is_read(read, draw, path, folder)
        except BaseException as error:
            error.add_note(f"{kind}: input {number} of SOLON_FUZZ={COUNT}:{SEED}, {path}")
            raise
    assert 0 < read_ones < COUNT, "some are good, and some are not"
    assert {path.name for path in folder.parent.iterdir()} == {"inputs", "home"}


def is_read(read: Read, draw: random.Random, path: Path, folder: Path) -> bool:
    """False where it is refused in one line."""
    try:
        with watched(folder.parent), bounded(CPU_S):
            read(draw, path)
    except (InputError, ConstitutionError) as error:
        (_,) = str(error).splitlines()
        return False
    return True


def test_what_must_not_be_is_seen(folder: Path) -> None:
    for act in (
        lambda: Path("../out.txt").write_text(""),
        lambda: (folder / "out").symlink_to("/etc"),
        lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    ):
        with pytest.raises(AssertionError), watched(folder / "home"):
            act()
    with pytest.raises(TooLong), bounded(0.01):
        for_ever()


def for_ever() -> None:
    while True:
        pass


def arrow(column: Any, was: bytes = b"", now: bytes = b"") -> bytes:
    """An Arrow stream of one column, the last `was` of its bytes made `now`."""
    table, stream = pa.table({"prompt": column}), io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    before, _, after = stream.getvalue().rpartition(was) if was else (stream.getvalue(), b"", b"")
    return before + now + after


def exported(**changed: Any) -> bytes:
    """A row of an export under the id that it makes."""
    row = {"prompt": "Why?", "chosen": "So.", "rejected": "No.", "split": "train", "preference": 1}
    return json.dumps(signed(row | changed)).encode()


NOTED = {
    "result": [TASKS[0]["annotations"][0]["result"][0] | {"meta": {"text": ["me", "", "\ud800"]}}]
}
# What once ended in another exception, in a dead process, or in an error of several lines.
FAILED: dict[str, tuple[str, bytes, Read]] = {
    "an encoding that reads no files": (".txt", b"Why?\n", in_encoding("idna")),
    "UTF-16 without its mark": (".txt", b"Why?\n", in_encoding("utf-16")),
    "half a pair in UTF-7": (".txt", b"+2AA-\n", in_encoding("utf-7")),
    "a separator that means something in expressions": (".csv", b"sep=?\na?b\n", read_rows),
    "a header with a line's end in it": (".csv", b"i\x1dd,verdict\n" + b"x,a\n" * 9, read_verdicts),
    "labels that are a number": (
        ".jsonl",
        b'{"question": "Which?", "choices": {"text": ["a"], "label": 0.5}}',
        read_rows,
    ),
    "a date of the year 2,000,000": (".arrow", arrow(pa.array([2**30], "date32")), read_rows),
    "texts that begin outside the file": (
        ".arrow",
        arrow(["x", "y"], struct.pack("<3i", 0, 1, 2), struct.pack("<3i", 0, 2**30, 2**31 - 1)),
        read_rows,
    ),
    "a size of an exabyte": (
        ".arrow",
        arrow(["x", "y"], struct.pack("<q", 24), struct.pack("<q", 2**60)),
        read_rows,
    ),
    "a table of several faults": (".parquet", b"PAR1" + bytes(20) + b"PAR1", read_rows),
    "a score that no float holds": (
        ".jsonl",
        b'{"prompt": "Why?", "completions": [{"response": "a", "overall_score": 1%s}, '
        b'{"response": "b", "overall_score": 2}]}' % (b"0" * 400),
        read_pairs,
    ),
    "an answer that is no number": (
        ".jsonl",
        b'{"question_id": 1, "turns": ["x", NaN], "category": "writing"}',
        read_questions,
    ),
    "a split that is a list": (".jsonl", exported(split=["train"]), read_export),
    "a licence with half a pair": (".jsonl", exported(licence="\ud800"), read_export),
    "a note with half a pair": (
        ".ls",
        json.dumps([{"data": {"subject": SUBJECT.subject_id}, "annotations": [NOTED]}]).encode(),
        read_verdicts,
    ),
    "a tag of another value": (".json", b'["sft.max_steps=!!bool x"]', read_overrides),
    "a date of nothing": (".json", b'["ppo.vf_coef=!!timestamp "]', read_overrides),
    "a rate that no float holds": (".json", b'{"dpo.epochs": 1%s}' % (b"0" * 400), read_overrides),
    "a range that no float holds": (
        ".json",
        b'{"ppo.cliprange": 1%s}' % (b"0" * 400),
        read_overrides,
    ),
    "a setting with half a pair": (
        ".yaml",
        b'name: a\nmodel: random:tiny\ndescription: "\\uD800"\n',
        read_recipe,
    ),
}


@pytest.mark.parametrize("name", FAILED)
def test_what_failed_once_is_read_or_refused(name: str, folder: Path) -> None:
    suffix, content, read = FAILED[name]
    path = folder / f"input{suffix}"
    path.write_bytes(content)
    is_read(read, random.Random(0), path, folder)


MANY = b"".join(
    b"a%d: &a%d {<<: [%s]}\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)
)
CARDS = {
    "a date that is none": b"solon: 2001-99-99",
    "nested": b"[" * 20_000,
    "half a pair": b'solon: {snapshot: "\\uD800"}',
    "a long number": b"x: " + b"9" * 5000,
    "many merged": b"a0: &a0 {x: y}\n" + MANY,
}


@pytest.mark.parametrize("name", CARDS)
def test_a_card_is_no_way_to_break_an_import(name: str, folder: Path) -> None:
    (folder / "train.jsonl").write_bytes(exported())
    (folder / "README.md").write_bytes(b"---\n" + CARDS[name] + b"\n---\n")
    assert is_read(read_export, random.Random(0), folder, folder)
