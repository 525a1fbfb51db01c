"""CSV read strictly, Excel's ways of writing it, workbooks, plain text, encodings."""

from __future__ import annotations

import csv
import io
import random
import re
import tempfile
from contextlib import suppress
from datetime import date
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import InputError
from tasks.prompts import Reading, read_prompts
from tasks.prompts.read import PromptBatch

OPEN = "a quote is not closed"


def read(folder: Path, name: str, content: bytes, **reading) -> PromptBatch:
    (folder / name).write_bytes(content)
    return read_prompts(str(folder / name), reading=Reading(**reading))


def said(batch: PromptBatch) -> list[str]:
    return [prompt.messages[-1]["content"] for prompt in batch.prompts]


def lines_out(batch: PromptBatch) -> list[int]:
    return [row.line for row in batch.exclusions]


def test_a_quote_that_is_not_closed_costs_its_row_alone(tmp_path):
    text = 'prompt,category\nA tree.,a\n"Say ""hi,b\nA bird.,c\n"A\nfish.",d\nA star.,e\n'
    batch = read(tmp_path, "a.csv", text.encode())
    assert said(batch) == ["A tree.", "A bird.", "A\nfish.", "A star."]
    assert [prompt.line for prompt in batch.prompts] == [2, 4, 5, 7]
    assert lines_out(batch) == [3]
    assert OPEN in batch.exclusions[0].detail


@pytest.mark.parametrize(
    ("body", "kept", "out"),
    [
        ('"Say hi,a\nx,b\n"y, z",c\n', ["x", "y, z"], [2]),  # closed by the next quote
        ('"Say hi,a\nx,b\ny",c\n', ["Say hi,a\nx,b\ny"], []),  # as good as a cell of three lines
        ('"two\nlines and ""x"",a\nfish,b\n', ["fish"], [2, 3]),  # of a torn cell, nothing is kept
        ('"a" b,c\nx,b\n', ["x"], [2]),
        ('5" pipe,a\nsay "hi",b\n', ['5" pipe', 'say "hi"'], []),  # within a cell they are text
        ("x,a,\n\ny,b,more\nz\n", ["x", "z"], [4]),
        ('"Say hi\nx,b\ny"\nz,c\n', ["Say hi\nx,b\ny", "z"], []),
        ('"Say hi,a\nx,b\ny,"c"\nz,d\n', ["x", "y", "z"], [2]),
        ('"Say hi,a\nx,b\ny,5"\nz,c\n', ["x", "z"], [2, 4]),  # well-formed, but of one cell
    ],
)
def test_csv_rows_are_never_joined_split_or_lost(tmp_path, body, kept, out):
    batch = read(tmp_path, "a.csv", f"prompt,category\n{body}".encode())
    assert (said(batch), lines_out(batch)) == (kept, out)


def test_a_single_column_needs_no_quotes(tmp_path):
    batch = read(tmp_path, "a.csv", b'prompt\nWhy, then?\n"Who, me?"\n"a", "b"\n')
    assert said(batch) == ["Why, then?", "Who, me?"]
    assert lines_out(batch) == [4]


def test_an_overlong_cell_is_one_row_out_even_over_many_lines(tmp_path):
    long = '"' + "word\n" * 40_000 + '"'
    batch = read(tmp_path, "a.csv", f"prompt,category\n{long},a\nx,b\n".encode())
    assert said(batch) == ["x"]
    assert [(row.line, row.reason) for row in batch.exclusions] == [(2, "too_long")]


def test_an_overlong_line_of_a_csv_is_not_held(tmp_path):
    content = b"prompt\nx\n" + b"y" * (33 << 20) + b"\nz\n"
    batch = read(tmp_path, "a.csv", content)
    assert said(batch) == ["x", "z"]
    assert [(row.line, row.reason) for row in batch.exclusions] == [(3, "too_long")]


cells = st.text("ab \",;\n'é", max_size=8).map(lambda text: "q" + text)


@given(st.lists(cells, unique_by=str.strip, max_size=8), st.randoms(), st.sampled_from(",;\t"))
@settings(deadline=None)
def test_whatever_a_csv_writer_writes_is_read_and_a_torn_row_is_left_out_alone(
    texts, random: random.Random, delimiter: str
):
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, delimiter=delimiter, quoting=random.choice([0, 1]))  # some, all
    writer.writerow(["category", "prompt", "note"])
    torn, place = f'"say ""hi{delimiter}b{delimiter}c\r\n', random.randint(0, len(texts))
    for number, text in enumerate(texts):
        if number == place:
            sink.write(torn)
        writer.writerow(["c", text, "n"])
    if place == len(texts):
        sink.write(torn)
    with tempfile.TemporaryDirectory() as folder:
        if not texts:
            with pytest.raises(InputError, match=OPEN):
                read(Path(folder), "a.csv", sink.getvalue().encode())
            return
        batch = read(Path(folder), "a.csv", sink.getvalue().encode())
    assert said(batch) == [text.strip() for text in texts]
    assert len(batch.exclusions) == 1
    assert OPEN in batch.exclusions[0].detail


@given(st.binary(max_size=200) | st.text('a,;"\n\r\t', max_size=60).map(str.encode))
@settings(deadline=None)
def test_any_bytes_as_csv_or_text_are_rows_or_one_line(content):
    for name, head in (("a.csv", b"prompt,b\n"), ("a.tsv", b"prompt\tb\n"), ("a.txt", b"")):
        with tempfile.TemporaryDirectory() as folder, suppress(InputError):
            batch = read(Path(folder), name, head + content)
            found = [p.line for p in batch.prompts] + lines_out(batch)
            assert len(set(found)) == len(found)


def test_a_separator_may_be_named_on_a_first_line(tmp_path):
    batch = read(tmp_path, "a.csv", "sep=;\r\nprompt;note\r\nWhy, then?;x\r\n".encode("utf-8-sig"))
    assert said(batch) == ["Why, then?"]
    assert said(read(tmp_path, "a.csv", b"sep=|\nprompt|b\nWhy; and|x\n")) == ["Why; and"]
    assert read(tmp_path, "a.tsv", b"prompt\nWhy, then?\n").prompts[0].line == 2


def test_an_encoding_is_taken_by_its_name(tmp_path):
    text = "Frage;Art\nWo ist die „Tür“ für 5 €?;x\n"
    content = text.encode("windows-1252")
    columns = {"prompt": "Frage"}
    batch = read(tmp_path, "a.csv", content, encoding="windows-1252", columns=columns)
    assert said(batch) == ["Wo ist die „Tür“ für 5 €?"]
    with pytest.raises(InputError, match=r"prompts\.encoding=windows-1252 \(utf-8 was tried\)"):
        read(tmp_path, "a.csv", content, columns=columns)
    with pytest.raises(InputError, match="no text encoding has this name"):
        read(tmp_path, "a.csv", content, encoding="rot13")
    broken = content + b"kaputt \x81;x\n"
    batch = read(tmp_path, "a.csv", broken, encoding="cp1252", columns=columns)
    assert [(row.line, row.reason) for row in batch.exclusions] == [(3, "not_utf8")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Why?\nHow?\r\n\n", ["Why?", "How?"]),
        ("\nWhy\nnot?\n\nHow?\n \n\nWhen?", ["Why\nnot?", "How?", "When?"]),
        ("Human: Hi\nWhy?", ["Human: Hi", "Why?"]),
    ],
)
def test_a_plain_text_is_a_line_a_question_or_blocks(tmp_path, text, expected):
    batch = read(tmp_path, "a.txt", text.encode("utf-8-sig"))
    assert said(batch) == expected
    first = re.split(r"\r?\n", text)
    assert all(
        first[p.line - 1].strip() == e.split("\n")[0]
        for p, e in zip(batch.prompts, expected, strict=True)
    )


@given(st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20), st.booleans())
@settings(deadline=None, max_examples=50)
def test_a_broken_workbook_is_read_or_one_line(changes, is_cut):
    book, sink = openpyxl.Workbook(), io.BytesIO()
    book.active.append(["prompt"])
    book.active.append(["Why?"])
    book.save(sink)
    content = bytearray(sink.getvalue())
    for place, byte in changes:
        content[int(place * len(content))] = byte
    with tempfile.TemporaryDirectory() as folder, suppress(InputError):
        size = len(content) - 99 * is_cut
        assert len(said(read(Path(folder), "a.xlsx", bytes(content[:size])))) == 1


def test_a_sheet_is_read_with_its_numbers_and_dates(tmp_path):
    book = openpyxl.Workbook()
    book.active.sheet_state = "hidden"
    book.active.append(["prompt"])
    sheet = book.create_sheet("asked")
    for cells in (
        [None],
        [" prompt ", "category", None],
        ["Why?", "c"],
        [],
        [7, None],
        [date(2024, 2, 29), "c"],
        [None, "c"],
        ["How?", "c", None, "beside"],
    ):
        sheet.append(cells)
    book.save(tmp_path / "a.xlsx")
    batch = read_prompts(str(tmp_path / "a.xlsx"))
    assert said(batch) == ["Why?", "7", "2024-02-29 00:00:00"]
    assert [(row.line, row.reason) for row in batch.exclusions] == [(7, "empty"), (8, "malformed")]
