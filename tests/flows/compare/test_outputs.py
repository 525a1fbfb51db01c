"""Terminal, Markdown and page: any text stays text, and no file but a page is written over."""

from __future__ import annotations

import io
import json
import os
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from flows.commands import cli
from flows.explain.compare.build import compare
from flows.explain.compare.describe import AUTHOR, document
from flows.explain.compare.report import Report
from flows.explain.document.markdown import markdown
from flows.explain.document.page import HEAD, check_target, generator, page, write_page
from flows.explain.document.parts import Document
from flows.explain.document.terminal import show
from storage.errors import InputError

from ..hostile import ATTRIBUTES, CONTROLS, HOSTILE, MARKUP, TAGS, Reader

NEW = Document("new", "new", [], [], AUTHOR)


@pytest.fixture
def report(book: Any) -> Report:
    """Every hostile text as prompt, draft, revision, principle's words, metric and component."""
    slugs = ["be-brief", "be-kind", "be-true"]
    made = [
        (book.made(f"{text} {n}", text, text + "before", slugs[n % 3]),
         book.made(f"{text} {n}", "draft" + text, text + " after " + text, slugs[n % 3]))
        for n, text in enumerate(HOSTILE)
    ]  # fmt: skip
    words = "\n".join(HOSTILE)
    rules = book.reworded(book.rules, "be-brief", critique=words, title=words)
    a = book.preferences([pair[0] for pair in made])
    b = book.preferences([pair[1] for pair in made], rules=rules)
    ids = [
        book.checkpoint(name, "dpo", rows, components={"code": code, "settings": {words: 1}})
        for name, rows, code in (("a", a, words), ("b", b, "code"))
    ]
    with book.ledger.transaction() as con:
        con.execute(
            "UPDATE checkpoints SET constitution_id = (SELECT constitution_id FROM runs JOIN"
            " datasets USING (run_id) WHERE datasets.dataset_id = checkpoints.dataset_id)"
        )
    book.metric(ids[0], words, 1.0)
    book.metric(ids[1], "[bold]cell[/bold]", 1.0)
    found = compare(book.ledger, ids[0], ids[1], 50)
    assert found.constitution
    assert found.snapshots[0].changed == len(HOSTILE)
    return found


def test_the_page_holds_only_our_tags_and_attributes(report: Report) -> None:
    text = page(document(report))
    found = Reader(text)
    assert found.open == []
    assert found.tags <= TAGS
    assert set(found.attributes) <= ATTRIBUTES
    assert found.attributes["dir"] == {"auto"}
    assert all(link.startswith("#") for link in found.attributes["href"])
    assert found.attributes["http-equiv"] == {"Content-Security-Policy"}
    assert (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
        in found.attributes["content"]
    )
    assert not CONTROLS.search(text)


def test_the_page_shows_the_texts(report: Report) -> None:
    text = Reader(page(document(report))).text
    for shown in ("<script>alert(1)</script>", "</details></del>", "␛[2J␛]0;title␇", "مرحبا"):
        assert shown in text


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("one old text", "one new text", ["one <del>old</del> text", "one <ins>new</ins> text"]),
        ("a text", "a long text", ["a <ins>long </ins>text"]),
    ],
)
def test_texts_stand_side_by_side_where_both_have_their_own_words(
    book: Any, before: str, after: str, shown: list[str]
) -> None:
    a, b = (book.preferences([book.made("p", "d", text)]) for text in (before, after))
    found = page(document(compare(book.ledger, a, b, 9)))
    assert re.findall('<div dir="auto" class="words [AB]?">(.*?)</div>', found) == shown


def test_every_anchor_leads_somewhere(report: Report) -> None:
    found = Reader(page(document(report)))
    links = {link.removeprefix("#") for link in found.attributes["href"]}
    assert links
    assert links <= found.attributes["id"]


def test_markdown_keeps_every_text_in_a_cell_or_a_fence(report: Report) -> None:
    outside, fence = [], ""
    for line in markdown(document(report)).split("\n"):
        if not fence and (opened := re.fullmatch(r"(`{3,})text", line)):
            fence = opened[1]
        elif fence and re.fullmatch(rf"`{{{len(fence)},}}\s*", line):
            fence = ""
        elif not fence:
            outside.append(line)
    assert fence == ""
    known = re.compile(r"(#{1,3} |\| |\|-|- |$)|[a-z0-9]")
    assert all(known.match(line) for line in outside)
    rest = "\n".join(outside)
    assert not MARKUP.search(rest)
    assert not CONTROLS.search(markdown(document(report)).replace("\n", ""))
    tables = [line for line in outside if line.startswith("|")]
    bars = {len(re.findall(r"(?<!\\)\|", line)) for line in tables}
    assert bars <= {4, 5, 8}  # columns of our tables, and no more


def test_the_terminal_gets_no_control_and_no_markup(report: Report) -> None:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    show(document(report), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert not CONTROLS.search(text)
    assert "[bold red]markup[/bold red]" in text
    assert "[bold]cell[/bold]" in text
    assert max(cell_len(line) for line in text.split("\n")) <= 80


def test_json_carries_the_texts_as_they_are(report: Report) -> None:
    found = json.loads(json.dumps(report.to_json()))
    texts = [row["a"]["response"] for row in found["snapshots"][0]["texts"]]
    assert set(texts) == {text + "before" for text in HOSTILE}
    assert "\n".join(HOSTILE) in [row["name"] for row in found["checkpoint"]["metrics"]]


def test_an_empty_text_is_shown_as_empty(book: Any) -> None:
    a = book.preferences([book.made("", "d", "")])
    b = book.preferences([book.made("", "d", "r")])
    assert Reader(page(document(compare(book.ledger, a, b, 9)))).text.count("(empty)") == 2


def test_the_same_thing_twice_says_so(book: Any) -> None:
    rows = book.preferences([book.made("p", "d", "r")])
    same = document(compare(book.ledger, rows, rows, 50))
    for text in (page(same), markdown(same)):
        assert "no difference" in text


@pytest.mark.parametrize("content", ["", "notes", "<!doctype html>\n<html>"])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.html"
    path.write_text(content)
    with pytest.raises(InputError, match="solon diff did not write it"):
        write_page(path, NEW, "--html")
    assert path.read_text() == content


def test_places_where_no_page_may_go(tmp_path: Path) -> None:
    (tmp_path / "link.html").symlink_to(tmp_path / "target.html")
    for path in (tmp_path, tmp_path / "none" / "x.html", tmp_path / "link.html"):
        with pytest.raises(InputError):
            write_page(path, NEW, "--html")
    assert not (tmp_path / "target.html").exists()


def test_a_folder_that_may_not_be_written_to_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(InputError, match="may not be written to"):
        check_target(tmp_path / "x.html", AUTHOR, "--html")


def test_a_page_has_the_permissions_a_file_of_the_users_has(tmp_path: Path) -> None:
    path, before = tmp_path / "x.html", os.umask(0o077)
    try:
        write_page(path, NEW, "--html")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_text(HEAD % generator(AUTHOR))
    path.chmod(0o640)
    write_page(path, NEW, "--html")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_our_page_is_written_anew_and_nothing_beside_it(book: Any, tmp_path: Path) -> None:
    rows = book.preferences([book.made("p", "d", "r")])
    folder = tmp_path / "pages"
    folder.mkdir()
    made = document(compare(book.ledger, rows, rows, 50))
    for version in (made, replace(made, lines=["no difference at all"])):
        write_page(folder / "diff.html", version, "--html")
    assert [path.name for path in folder.iterdir()] == ["diff.html"]
    assert "at all" in (folder / "diff.html").read_text(encoding="utf-8")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "none"))
    other = tmp_path / "other.yaml"
    principle = "{slug: a, critique: c, revision: r, comparison: q}"
    other.write_text(f"principles: [{principle}]", encoding="utf-8")
    run, app = CliRunner().invoke, cli.app
    found = json.loads(run(app, ["diff", "default", str(other), "--json"]).stdout)
    assert (found["kind"], found["same"]) == ("constitution", False)
    assert found["constitution"]["principles"][0]["change"] == "added"
    made = run(
        app, ["diff", "default", "default", "--html", str(tmp_path / "x.html"), "--markdown"]
    )
    assert "no difference" in made.stdout
    assert "no difference" in (tmp_path / "x.html").read_text(encoding="utf-8")
    assert isinstance(
        run(app, ["diff", "default", "x", "--json", "--markdown"]).exception, InputError
    )
    assert not (tmp_path / "none").exists()  # a comparison of files makes no workspace
