"""Files, folders and the hub: formats, dirt, torn files, and what a source as a whole may be."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from itertools import pairwise
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import InputError
from tasks.prompts import Reading, read_prompts
from tasks.prompts.json_list import list_elements
from tasks.prompts.left_out import rows_in

REPO = Path(__file__).resolve().parents[2]
DATA = REPO.parent / "shared" / "data"
ROWS = [{"prompt": f"question {number}", "category": "c"} for number in range(3)]
TEXTS = [row["prompt"] for row in ROWS]


def as_parquet(rows: list[dict]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def as_arrow(rows: list[dict]) -> bytes:
    table, sink = pa.Table.from_pylist(rows), io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def as_workbook(rows: list[dict]) -> bytes:
    book, sink = openpyxl.Workbook(), io.BytesIO()
    for row in (tuple(rows[0]), *(tuple(row.values()) for row in rows)):
        book.active.append(row)
    book.save(sink)
    return sink.getvalue()


LINES = "\n".join(map(json.dumps, ROWS)).encode()
FORMATS = {
    "a.jsonl": LINES,
    "a.json": json.dumps(ROWS, indent=1).encode(),
    "lines.json": LINES,
    "bom.jsonl": b"\xef\xbb\xbf" + LINES,
    "wide.jsonl": LINES.decode().encode("utf-16"),
    "a.xlsx": as_workbook(ROWS),
    "a.csv": b"prompt,category\r\n" + "\r\n".join(f"{text},c" for text in TEXTS).encode(),
    "a.parquet": as_parquet(ROWS),
    "a.arrow": as_arrow(ROWS),
}


def texts(source: Path | str, **options) -> list[str]:
    return [
        prompt.messages[-1]["content"] for prompt in read_prompts(str(source), **options).prompts
    ]


def refused(source: Path | str, rule: str) -> InputError:
    with pytest.raises(InputError, match=rule) as caught:
        read_prompts(str(source))
    assert "\n" not in str(caught.value)
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_prompts(tmp_path, name, gz):
    path = tmp_path / (name + ".gz" * gz)
    path.write_bytes(gzip.compress(FORMATS[name]) if gz else FORMATS[name])
    batch = read_prompts(str(path))
    assert [prompt.messages[0]["content"] for prompt in batch.prompts] == TEXTS
    assert {prompt.category for prompt in batch.prompts} == {"c"}
    assert batch.exclusions == []


def test_bad_rows_are_left_out_with_reason_and_line_and_the_rest_is_read(tmp_path):
    path = tmp_path / "dirty.jsonl"
    lines = [
        b'{"prompt": "one"}',
        b'{"prompt": "one"}',
        b"{broken",
        b"",
        b'{"prompt": "\xff"}',
        b'{"prompt": " "}',
        b'{"messages": []}',
        b'{"prompt": "' + b"x" * 50 + b'"}',
        b"[" * 100_000,
        b'{"prompt": "a \\ud83d"}',
        b'{"prompt": "two"}',
    ]
    path.write_bytes(b"\n".join(lines))
    batch = read_prompts(str(path), reading=Reading(max_chars=40))
    assert [(prompt.messages[0]["content"], prompt.line) for prompt in batch.prompts] == [
        ("one", 1),
        ("two", 11),
    ]
    assert [(row.line, row.reason) for row in batch.exclusions] == [
        (2, "duplicate"),
        (3, "malformed"),
        (5, "not_utf8"),
        (6, "empty"),
        (7, "no_user_turn"),
        (8, "too_long"),
        (9, "malformed"),
        (10, "not_utf8"),
    ]


def test_the_limit_counts_usable_rows_in_file_order(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"prompt": ""}\n' + LINES.decode())
    batch = read_prompts(str(path), limit=2)
    assert [prompt.messages[0]["content"] for prompt in batch.prompts] == TEXTS[:2]
    assert [row.reason for row in batch.exclusions] == ["empty"]
    with pytest.raises(InputError, match="limit must be at least 1"):
        read_prompts(str(path), limit=0)


def test_an_overlong_line_is_skipped_not_held(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"prompt": "' + b"x" * (40 << 20) + b'"}\n{"prompt": "next"}')
    tracemalloc.start()
    batch = read_prompts(str(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(prompt.messages[0]["content"], prompt.line) for prompt in batch.prompts] == [
        ("next", 2)
    ]
    assert [row.reason for row in batch.exclusions] == ["too_long"]
    assert peak < 36 << 20


def test_csv_dirt_is_a_row_not_a_crash(tmp_path):
    path = tmp_path / "a.csv"
    huge = b'"' + b"y" * 200_000 + b'"'
    path.write_bytes(b'prompt,x\n"two\nlines",1\nbad \xff,1\na,b,c\n' + huge + b",1\nlast,1\n")
    batch = read_prompts(str(path))
    assert [prompt.messages[0]["content"] for prompt in batch.prompts] == ["two\nlines", "last"]
    assert [(row.line, row.reason) for row in batch.exclusions] == [
        (4, "not_utf8"),
        (5, "malformed"),
        (6, "too_long"),
    ]


def test_a_parquet_cell_that_is_not_utf8_costs_its_row_only(tmp_path):
    raw = pa.array([b"good", b"\xff\xfe", b"fine"]).cast(pa.binary())
    column = pa.StringArray.from_buffers(len(raw), *raw.buffers()[1:])
    pq.write_table(pa.table({"prompt": column}), tmp_path / "a.parquet")
    batch = read_prompts(str(tmp_path / "a.parquet"))
    assert [prompt.messages[0]["content"] for prompt in batch.prompts] == ["good", "fine"]
    assert [(row.line, row.reason) for row in batch.exclusions] == [(2, "not_utf8")]


WHOLE = gzip.compress(LINES * 2000)
BAD_FILES = {
    "empty.jsonl": (b"", "is an empty file"),
    "blank.jsonl": (b"\n \n", "no usable prompt"),
    "noise.jsonl": (bytes(range(256)) * 8, "binary data"),
    "wide.jsonl": (LINES.decode().encode("utf-16-le"), "binary data"),
    "torn.jsonl": (LINES.decode().encode("utf-16")[:-1], "is not text in utf-16"),
    "russian.jsonl": ('{"prompt": "Почему?"}'.encode("cp1251") * 9, "prompts.encoding"),
    "western.jsonl": ('{"prompt": "Où est la clé ?"}'.encode("cp1252"), "prompts.encoding"),
    "text.xlsx": (LINES, "not a whole Excel workbook"),
    "open.csv": (b'"prompt\none\n', "header in which a quote is not closed"),
    "query.csv": (b"Query,Answer\na,b\n", r"prompts\.columns=\{prompt: Query\}"),
    "really-gzip.jsonl": (WHOLE, "binary data"),
    "half.jsonl.gz": (WHOLE[: len(WHOLE) // 2], "not a complete gzip file"),
    "stub.jsonl.gz": (WHOLE[:5], "not a complete gzip file"),
    "flipped.jsonl.gz": (WHOLE[:-8] + b"\0" * 8, "not a complete gzip file"),
    "plain.jsonl.gz": (LINES, "not a complete gzip file"),
    "cut.json": (json.dumps(ROWS).encode()[:-5], "not a JSON list after element 2"),
    "more.json": (json.dumps(ROWS).encode() + b" 1", "not a JSON list after element 3"),
    "half.parquet": (as_parquet(ROWS)[:-20], "not a whole Parquet file"),
    "text.arrow": (LINES, "not a whole Arrow stream file"),
    "list.json": (b"[]", "no usable prompt"),
    "other.jsonl": (b'{"title": "x"}\n', r"no usable prompt.*no known column \(it has: title\)"),
    "a.doc": (b"hello", r"is not one of \.jsonl"),
    "pickle.pkl": (b"\x80\x04.", r"is not one of \.jsonl"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_bad_as_a_whole_is_refused_in_one_line(tmp_path, name):
    content, rule = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, rule)


def test_missing_paths_and_folders_that_are_no_data_set_are_refused(tmp_path):
    refused(tmp_path / "none.jsonl", "no file or folder that exists")
    refused("", "no file or folder that exists")
    refused(tmp_path, "none that datasets.save_to_disk wrote")
    refused("/dev/null", "is not one of")
    refused("hub:../x y", "is not hub:<dataset>")


@given(st.lists(st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=3)))
@settings(deadline=None)
def test_a_json_list_read_in_pieces_equals_the_list(values):
    class OneByOne(io.StringIO):
        def read(self, size: int | None = -1) -> str:
            return super().read(1)

    for text in (json.dumps(values), json.dumps(values, indent=2)):
        assert list(list_elements(OneByOne(text), 1 << 20)) == values
        with pytest.raises(ValueError, match=r"end of the file|Expecting|Invalid|Unterminated"):
            list(list_elements(OneByOne(text[:-1]), 1 << 20))


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "big.json"
    row = json.dumps({"prompt": "same", "rest": "x" * 1000})
    path.write_text("[" + ",".join([row] * 20_000) + "]")
    tracemalloc.start()
    batch = read_prompts(str(path), limit=None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows_in(batch.exclusions) == 19_999
    assert peak < path.stat().st_size / 3


def save_set(folder: Path, texts: list[str]) -> None:
    """A folder as `datasets.save_to_disk` leaves it, in two shards."""
    folder.mkdir(parents=True)
    names = []
    for number, text in enumerate(texts):
        names.append(f"data-{number:05d}-of-{len(texts):05d}.arrow")
        (folder / names[-1]).write_bytes(as_arrow([{"prompt": text}]))
    files = [{"filename": name} for name in names]
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))


def test_a_saved_data_set_is_read_in_order_and_splits_are_named(tmp_path):
    save_set(tmp_path / "one", ["a", "b"])
    assert texts(tmp_path / "one") == ["a", "b"]
    save_set(tmp_path / "many" / "train", ["c"])
    save_set(tmp_path / "many" / "test", ["d"])
    (tmp_path / "many" / "dataset_dict.json").write_text('{"splits": ["test", "train"]}')
    assert texts(tmp_path / "many") == ["c"]
    assert texts(tmp_path / "many" / "test") == ["d"]
    (tmp_path / "many" / "dataset_dict.json").write_text('{"splits": ["test", "dev"]}')
    refused(tmp_path / "many", "has the splits test, dev")
    (tmp_path / "one" / "data-00000-of-00002.arrow").unlink()
    refused(tmp_path / "one", "is not a file that exists")


def test_what_datasets_itself_saves_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.Dataset.from_list(ROWS).shuffle(seed=1).save_to_disk(str(tmp_path / "set"))
    expected = datasets.load_from_disk(str(tmp_path / "set"))["prompt"]
    assert texts(tmp_path / "set") == list(expected)


def read_offline(home: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Read `source` in a process of its own: the hub's client fixes its settings when imported."""
    code = (
        "import sys; from tasks.prompts import read_prompts\n"
        "try: print(*[p.messages[0]['content'] for p in read_prompts(sys.argv[1]).prompts])\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    environment = {
        **os.environ,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(REPO),
    }
    return subprocess.run(
        [sys.executable, "-c", code, source],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=True,
    )


def test_a_hub_set_is_read_from_the_cache_and_its_absence_is_one_clear_line(tmp_path):
    cached = tmp_path / "hub" / "datasets--acme--asks"
    data = cached / "snapshots" / ("0" * 40) / "data"
    data.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    for split, text in (("train", "from-train"), ("test", "from-test")):
        (data / f"{split}-00000-of-00001.parquet").write_bytes(as_parquet([{"prompt": text}]))
    assert read_offline(tmp_path, "hub:acme/asks").stdout.strip() == "from-train"
    assert read_offline(tmp_path, "hub:acme/asks:test").stdout.strip() == "from-test"
    missing = read_offline(tmp_path, "hub:acme/none").stdout
    assert missing.startswith("InputError hub:acme/none: cannot be had from the hub (")
    assert missing.count("\n") == 1


def test_reading_prompts_imports_no_model_library():
    code = (
        "import sys, tasks.prompts\n"
        "print([m for m in ('torch', 'transformers', 'datasets', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("source", ["default", "everyday"])
def test_the_projects_own_prompts_are_all_usable(source):
    batch = read_prompts(source)
    assert len(batch.prompts) >= 20
    assert batch.exclusions == []


REAL = {
    "alpaca_en_demo.json": (985, {"duplicate": 14}),
    "dpo_en_demo.json": (294, {"duplicate": 5}),
    "harmbench_val.jsonl": (46, {}),
    "hh_harmless-base_pairs.jsonl.gz": (1376, {"duplicate": 1}),
    "hh_helpful-base_pairs.jsonl.gz": (1435, {"empty": 1}),
    "ifeval_a.jsonl": (266, {}),
    "llmbar_natural.json": (100, {}),
    "mt_bench_question.jsonl": (80, {}),
    "oasst_en_100_tree.jsonl": (100, {}),
    "self_instruct_seed_tasks.jsonl": (175, {}),
    "self_instruct_user_oriented.jsonl": (252, {}),
}


@pytest.mark.skipif(not DATA.is_dir(), reason="the public trial data is not at ../shared/data")
@pytest.mark.parametrize("name", REAL)
def test_real_files_give_the_prompts_counted_by_hand(name):
    batch = read_prompts(str(DATA / name))
    usable, left_out = REAL[name]
    assert len(batch.prompts) == usable
    assert Counter(row.reason for row in batch.exclusions) == left_out


@pytest.mark.skipif(not DATA.is_dir(), reason="the public trial data is not at ../shared/data")
def test_every_other_real_file_is_refused_in_a_line_that_helps():
    others = [path for path in DATA.glob("*.json*") if path.name not in REAL]
    assert [path.name for path in others] == ["pyrit_refusal.jsonl"]
    refused(others[0], r"prompts\.columns=\{prompt: objective\}")
    assert len(texts(others[0], reading=Reading(columns={"prompt": "objective"}))) > 9


@pytest.mark.skipif(not DATA.is_dir(), reason="the public trial data is not at ../shared/data")
def test_hh_prompts_keep_every_turn_but_the_last_answer():
    """Against the raw markers, where roles alternate: no turn is lost or invented."""
    path = DATA / "hh_harmless-base_pairs.jsonl.gz"
    raw = [json.loads(line)["chosen"] for line in gzip.open(path, "rt", encoding="utf-8")]
    compared = 0
    for prompt in read_prompts(str(path)).prompts:
        names = re.findall(r"\n\n(Human|Assistant):", raw[prompt.line - 1])
        if all(name != after for name, after in pairwise(names)):
            assert len(prompt.messages) == len(names) - 1
            compared += 1
    assert compared > 1300
