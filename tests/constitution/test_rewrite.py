"""New words in a file: they are in it, and nothing else is different."""

from __future__ import annotations

import difflib
import os
import stat
from pathlib import Path

import pytest

from constitution.errors import ConstitutionError
from constitution.load import HERE, load
from constitution.rewrite import WORDS, rewritten, write_back

ODD = """\
# At the top.
name:   mine      # odd spaces stay
principles:

    # ---- first ----
    - slug: one   # the first
      critique: >-
        A folded text
        of two lines.

      # between
      revision: 'It''s quoted.'
      comparison: "Which \\"one\\"?"
      weight:    2.50
      examples:
        - prompt: 'What?'   # an example's prompt
          response: >-
            That, and
            no more.
    - {slug: two, critique: Say it., revision: Do it., comparison: Which is it}

    - comparison: |
        Which of
        the two?
      revision: plain text over
        two lines   # and a note
      critique: |2-   # above a block
          Look.
      slug: three
# At the end, without a line end."""
HOSTILE = [
    "plain words",
    "- a dash",
    "a: colon and # no comment",
    "'quoted' \"twice\"",
    "{braces}, [brackets] & *stars* !bang %percent @at `tick`",
    "yes",
    "12",
    "~",
    "first line\n\n  third, indented\nlast # line",
    "back\\slash \\n",
    "多语言 🙂 é",
    "ends with a colon:",
    "? question",
    "| bar",
    "a, b, c]}",
]


def changed_lines(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.split("\n"), after.split("\n"))
    return [line[2:] for line in lines if line[:1] in "+-"]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("slug", ["one", "two", "three"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_any_words_are_read_back_and_the_rest_stays(
    tmp_path: Path, value: str, slug: str, line_end: str
) -> None:
    text = ODD.replace("\n", line_end)
    for name in ("critique", "revision", "comparison"):
        after = rewritten(text, slug, {name: value})
        path = tmp_path / f"{name}.yaml"
        path.write_bytes(after.encode())
        assert getattr(load(path).principle(slug), name) == value
        for kept in (
            "# At the top.",
            "mine      # odd",
            "# between",
            "weight:    2.50",
            "# At the",
            "   # above a block",
        ):
            assert kept in after
        assert after.count("# ") >= text.count("# ")
        if line_end == "\r\n":
            assert "\n" not in after.replace("\r\n", "")


@pytest.mark.parametrize("file", sorted(HERE.glob("*.yaml")), ids=lambda p: p.stem)
def test_one_field_of_a_shipped_file_is_one_line(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    for principle in load(file).principles:
        after = rewritten(text, principle.slug, {"critique": "Point out what is wrong here."})
        assert len(changed_lines(text, after)) == 2


def test_the_same_words_change_no_byte() -> None:
    for slug in ("one", "two", "three"):
        principle = load_text(ODD).principle(slug)
        for name in ("critique", "revision", "comparison"):
            after = rewritten(ODD, slug, {name: getattr(principle, name)})
            assert load_text(after) == load_text(ODD)


def load_text(text: str):  # type: ignore[no-untyped-def]
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.yaml"
        path.write_text(text, encoding="utf-8")
        return load(path)


def test_several_fields_at_once_and_a_title_that_was_not_there() -> None:
    words = {"title": "New: title", "critique": "C.", "revision": "R.", "comparison": "W?"}
    for slug in ("one", "two", "three"):
        after = rewritten(ODD, slug, words)
        found = load_text(after).principle(slug)
        assert {name: getattr(found, name) for name in WORDS} == words
    assert "- slug: one   # the first\n      title: " in rewritten(ODD, "one", words)


def test_a_byte_order_mark_stays() -> None:
    after = rewritten("\ufeff" + ODD, "one", {"critique": "New."})
    assert after.startswith("\ufeff# At the top.")


@pytest.mark.parametrize(
    ("slug", "changes", "words"),
    [
        ("four", {"critique": "x"}, "has this slug"),
        ("one", {"weight": "3"}, "no words of a principle have this name"),
        ("one", {"slug": "uno"}, "no words of a principle have this name"),
        ("one", {"critique": "  "}, "critique: is empty"),
        ("one", {"critique": "a\tb"}, "a tab is not allowed"),
        ("one", {"critique": "a\x1b[2J"}, "control"),
        ("one", {"title": "two\nlines"}, "one line"),
    ],
)
def test_what_may_not_stand_there_is_refused(
    slug: str, changes: dict[str, str], words: str
) -> None:
    with pytest.raises(ConstitutionError, match=words):
        rewritten(ODD, slug, changes)


def test_a_file_that_is_no_constitution_is_refused() -> None:
    with pytest.raises(ConstitutionError):
        rewritten("principles: [", "one", {"critique": "x"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(ODD, encoding="utf-8")
    path.chmod(0o640)
    return path


def test_a_file_is_replaced_whole_with_its_mode(file: Path) -> None:
    after = rewritten(ODD, "one", {"critique": "New."})
    write_back(file, ODD, after)
    assert file.read_text(encoding="utf-8") == after
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert os.listdir(file.parent) == ["mine.yaml"]


def test_through_a_link_the_file_is_replaced_and_the_link_stays(file: Path) -> None:
    link = file.parent / "link.yaml"
    link.symlink_to(file)
    after = rewritten(ODD, "one", {"critique": "New."})
    write_back(link, ODD, after)
    assert link.is_symlink()
    assert file.read_text(encoding="utf-8") == after


def test_a_file_that_changed_meanwhile_is_left_alone(file: Path) -> None:
    theirs = ODD.replace("Say it.", "Say it twice.")
    file.write_text(theirs, encoding="utf-8")
    with pytest.raises(ConstitutionError, match="changed meanwhile"):
        write_back(file, ODD, rewritten(ODD, "one", {"critique": "New."}))
    assert file.read_text(encoding="utf-8") == theirs
    assert os.listdir(file.parent) == ["mine.yaml"]


def test_a_write_that_fails_leaves_the_file_and_no_draft(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space"):
        write_back(file, ODD, rewritten(ODD, "one", {"critique": "New."}))
    assert file.read_text(encoding="utf-8") == ODD
    assert os.listdir(file.parent) == ["mine.yaml"]
