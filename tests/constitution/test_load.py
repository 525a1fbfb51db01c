"""Each bad file is refused with exactly one line: file:line, value, rule, fix."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from constitution.errors import ConstitutionError
from constitution.load import from_body, load, meant_file, resolve
from constitution.parse import MOST_ANSWERS, parse
from constitution.schema import WorkedAnswer
from constitution.source import MAX_BYTES

GOOD = """\
name: test
version: 2024-05-01
principles:
  - slug: be-kind
    critique: Point out what is unkind.
    revision: |
      Rewrite it kindly.
    comparison: Which response is kinder?
    tags: [helpful]
    weight: 2.5
    applies_to: [opinion, small talk]
  - slug: be-true
    title: Truth
    critique: Point out what is false.
    revision: Rewrite it truthfully.
    comparison: Which response is truer?
    enabled: false
examples:
  - principle: be-kind
    prompt: Hello
    response: What?
    critique_request: Is it kind?
    critique: It is rude.
    revision_request: Make it kind.
    revision: Hello!
"""
HEAD = "principles:\n"
ONE = HEAD + GOOD.split("principles:\n")[1].split("  - slug: be-true")[0]


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refused(path: Path) -> ConstitutionError:
    with pytest.raises(ConstitutionError) as caught:
        load(path)
    return caught.value


def test_a_good_file_is_read_whole(tmp_path: Path) -> None:
    constitution = load(write(tmp_path, GOOD))
    kind, true = constitution.principles
    assert (constitution.name, constitution.version) == ("test", "2024-05-01")
    assert (kind.slug, kind.title, kind.revision) == ("be-kind", "Be kind", "Rewrite it kindly.")
    assert (kind.weight, kind.tags) == (2.5, ("helpful",))
    assert kind.applies_to == ("opinion", "small talk")
    assert (kind.line, true.line) == (4, 12)
    assert (true.title, true.weight, true.enabled) == ("Truth", 1.0, False)
    assert constitution.enabled == (kind,)
    assert constitution.principle("be-true") is true
    assert constitution.examples[0].revision == "Hello!"
    with pytest.raises(ConstitutionError, match=r"'nope': .* use one of: be-kind, be-true"):
        constitution.principle("nope")


def test_the_rounds_policy_and_checks_are_read(tmp_path: Path) -> None:
    content = f"rounds: [[helpful], any, []]\n{ONE}    check: {{max_words: 60}}\n"
    constitution = load(write(tmp_path, content))
    assert constitution.rounds == (("helpful",), (), ())
    assert [constitution.tags_of(r) for r in (0, 1, 2, 3)] == [("helpful",), (), (), ()]
    assert constitution.principles[0].check == ("max_words", 60)
    for check in ({"no_character": "!"}, {"begins_with": "In short"}, {"no_lists": True}):
        path = write(tmp_path, f"{ONE}    check: {json.dumps(check)}\n")
        assert load(path).principles[0].check == next(iter(check.items()))
    assert load(write(tmp_path, ONE + "rounds: []\n")).rounds == ()


ANSWERS = """\
    examples:
      - prompt: Hello
        response: Hello to you.
      - {prompt: "Who: you?", response: A program.}
"""


def test_the_examples_of_a_principle_are_read_with_their_lines(tmp_path: Path) -> None:
    (kind,) = load(write(tmp_path, ONE + ANSWERS)).principles
    assert kind.examples == (
        WorkedAnswer("Hello", "Hello to you."),
        WorkedAnswer("Who: you?", "A program."),
    )
    assert [answer.line for answer in kind.examples] == [11, 13]
    for none in ("[]", "~", ""):
        assert load(write(tmp_path, f"{ONE}    examples: {none}\n")).principles[0].examples == ()


@pytest.mark.parametrize("content", ["\ufeff" + ONE, ONE.replace("\n", "\r\n")])
def test_windows_editors_are_welcome(tmp_path: Path, content: str) -> None:
    assert load(write(tmp_path, content)).principles == load(write(tmp_path, ONE)).principles


BAD: dict[str, tuple[str | bytes, int, str]] = {
    "empty file": ("", 1, "empty"),
    "only a comment": ("# nothing\n", 1, "empty"),
    "a list": ("- a\n", 1, "key: value"),
    "no principles": ("name: x\n", 1, "needs this key"),
    "empty list": ("name: x\nprinciples: []\n", 2, "the list is empty"),
    "null list": ("name: x\nprinciples:\n", 2, "the list is empty"),
    "principles a mapping": ("principles:\n  slug: a\n", 2, "must be a list"),
    "principle a text": (HEAD + "  - hello\n", 2, "key: value"),
    "tab": (ONE.replace("    weight", "\tweight"), 8, "tab"),
    "tab in a text": (ONE.replace("is unkind", 'is\tunkind"'), 3, "tab"),
    "escaped tab": (ONE.replace("Point out what is unkind.", '"a\\tb"'), 3, "tab"),
    "NUL": (ONE.replace("unkind", "un\0kind"), 3, "control"),
    "escaped NUL": (ONE.replace("Point out what is unkind.", '"a\\0b"'), 3, "control"),
    "escape sequence": (ONE.replace("unkind", "\x1b[31munkind"), 3, "control"),
    "lone surrogate": (ONE.replace("Point out what is unkind.", '"a\\ud800b"'), 3, "control"),
    "line separator": (ONE.replace("unkind", "un\u2028kind"), 3, "control"),
    "Latin-1": (ONE.replace("unkind", "süß").encode("latin-1"), 3, "UTF-8"),
    "binary": (b"principles:\n\x89PNG\r\n", 2, "UTF-8"),
    "UTF-16": (ONE.encode("utf-16"), 1, "UTF-8"),
    "duplicate key": (ONE + "    tags: [honest]\n", 10, "twice"),
    "duplicate top key": (ONE + "name: a\nname: b\n", 11, "twice"),
    "duplicate slug": (ONE + ONE.removeprefix(HEAD), 10, "already used at line 2"),
    "unknown key": (ONE.replace("critique:", "critic:"), 3, "did you mean critique?"),
    "unknown top key": ("rules: 1\n" + ONE, 1, "known keys"),
    "key is a list": ("[a]: 1\n" + ONE, 1, "no such key"),
    "missing critique": (re.sub(r"    critique.*\n", "", ONE), 2, "needs this key"),
    "missing revision": (re.sub(r"    revision.*\n.*\n", "", ONE), 2, "needs this key"),
    "missing comparison": (re.sub(r"    comparison.*\n", "", ONE), 2, "needs this key"),
    "missing slug": (ONE.replace("- slug: be-kind\n    ", "- "), 2, "needs this key"),
    "empty critique": (ONE.replace("Point out what is unkind.", ""), 3, "critique: is empty"),
    "blank critique": (ONE.replace("Point out what is unkind.", '"  "'), 3, "is empty"),
    "empty revision": (ONE.replace("      Rewrite it kindly.\n", ""), 4, "revision: is empty"),
    "empty comparison": (ONE.replace("Which response is kinder?", "~"), 6, "is empty"),
    "empty slug": (ONE.replace("be-kind", "''"), 2, "slug: is empty"),
    "critique a number": (ONE.replace("Point out what is unkind.", "12"), 3, "is no text"),
    "critique a list": (ONE.replace("Point out what is unkind.", "[a, b]"), 3, "is no text"),
    "title yes": (ONE + "    title: yes\n", 10, "is no text"),
    "title of two lines": (ONE + '    title: "a\\nb"\n', 10, "one line"),
    "slug in capitals": (ONE.replace("be-kind", "Be-Kind"), 2, "lower-case"),
    "slug with two hyphens": (ONE.replace("be-kind", "be--kind"), 2, "lower-case"),
    "slug with newline": (ONE.replace("be-kind", '"a\\nb"'), 2, "lower-case"),
    "slug too long": (ONE.replace("be-kind", "a" * 65), 2, "at most 64"),
    "enabled a text": (ONE + "    enabled: maybe\n", 10, "true or false"),
    "all disabled": (ONE + "    enabled: no\n", 2, "every principle is disabled"),
    "tags a text": (ONE.replace("[helpful]", "helpful"), 7, "no list"),
    "tag twice": (ONE.replace("[helpful]", "[a, a]"), 7, "twice"),
    "applies_to empty": (ONE.replace("[opinion, small talk]", "[]"), 9, "no list"),
    "anchor": (ONE.replace("[helpful]", "&a [helpful]"), 7, "anchors"),
    "alias": (ONE.replace("[helpful]", "*a"), 7, "anchors"),
    "alias bomb": ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", 1, "anchors"),
    "deep nesting": ("principles: " + "[" * 5000, 1, "nested"),
    "two documents": (ONE + "---\n" + ONE, 10, "YAML"),
    "python object": ("principles: !!python/object/apply:os.getcwd []\n", 1, "empty"),
    "bad indentation": (ONE + "   weight: 1\n", 10, "YAML"),
    "unclosed quote": (
        ONE.replace("unkind.", "unkind").replace("Point", '"Point'),
        10,
        "begun at line 3",
    ),
    "colon in a text": (ONE.replace("unkind.", "unkind: name it."), 3, "YAML"),
    "example lacks a key": (GOOD.replace("    prompt: Hello\n", ""), 19, "needs this key"),
}
BAD |= {
    "examples of a principle a text": (ONE + "    examples: Hello\n", 10, "must be a list"),
    "example of a principle a text": (ONE + ANSWERS + "      - Hello\n", 14, "key: value"),
    "example without an answer": (
        ONE + ANSWERS.replace("        response: Hello to you.\n", ""),
        11,
        "an example of a principle needs this key; add `response: …`",
    ),
    "example with an empty answer": (ONE + ANSWERS.replace("Hello to you.", ""), 12, "is empty"),
    "example with an unknown key": (
        ONE + ANSWERS.replace("response: H", "revision: H"),
        12,
        "an example of a principle has no such key",
    ),
    "one prompt twice": (
        ONE + ANSWERS.replace('"Who: you?"', "Hello"),
        13,
        "the prompt is already answered at line 11",
    ),
    "nine examples": (
        ONE
        + "    examples:\n"
        + "".join(f"    - {{prompt: p{n}, response: r}}\n" for n in range(MOST_ANSWERS + 1)),
        11,
        "9: a principle has at most 8 examples",
    ),
}
BAD |= {
    "rounds a text": (ONE + "rounds: helpful\n", 10, "must be a list"),
    "round a text": (ONE + "rounds:\n- [helpful]\n- helpful\n", 12, "rounds: is no list of tags"),
    "round empty": (ONE + "rounds:\n- any\n-\n", 12, "rounds: is no list of tags"),
    "round tag twice": (ONE + "rounds:\n- [helpful, helpful]\n", 11, "twice"),
    "round tag unknown": (ONE + "rounds:\n- any\n- [helpfull]\n", 12, "did you mean helpful?"),
    "round tag of a disabled principle": (
        GOOD.replace("enabled: false", "enabled: false\n    tags: [honest]")
        + "rounds: [[honest]]\n",
        27,
        "no enabled principle has this tag; known tags: helpful",
    ),
}
BAD |= {
    f"check {check}": (f"{ONE}    check: {check}\n", 10, rule)
    for check, rule in {
        "max_words": "one name with one value",
        "{}": "one name with one value",
        "{max_words: 1, no_lists: true}": "one name with one value",
        "{max_word: 1}": "no such check; did you mean max_words?",
        "{max_words: 0}": "no whole number from 1",
        "{max_words: 1.5}": "no whole number from 1",
        "{max_words: '60'}": "no whole number from 1",
        "{max_words: [1]}": "no whole number from 1",
        "{min_sentences: 0x2}": "no whole number from 1",
        "{no_lists: false}": "is not true",
        "{no_lists: 'true'}": "is not true",
        "{no_character: '!!'}": "is not one character",
        "{no_character: ''}": "is empty",
        "{no_word: 1}": "is no text",
        '{begins_with: "a\\nb"}': "must stand on one line",
        "{matches: '('}": "is no regular expression",
        "{matches_not: 'a*'}": "may match no characters",
        "{language: xx}": "is no language of ISO 639-1",
        "{json_fields: a}": "is no list of names",
        "{answer: .inf}": "is no decimal number",
    }.items()
}
BAD |= {
    f"weight {bad}": (ONE.replace("2.5", bad), 8, "a weight is a number")
    for bad in ("0", "-1", ".nan", ".inf", "nan", "inf", "true", "'2'", "two", "1e99", "", "[1]")
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(tmp_path: Path, name: str) -> None:
    content, line, rule = BAD[name]
    path = write(tmp_path, content)
    error = refused(path)
    assert error.where == f"{path}:{line}"
    assert rule in error.message
    assert str(error).startswith(f"{path}:{line}: ")
    assert str(error).isprintable(), "one line, nothing that moves a terminal's cursor"
    assert error.exit_code == 2
    assert error.rule
    assert error.fix


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60).map(str.encode),
        st.text("principles: -[]{}&*!|>'\"#%@?,\n\\x0~", max_size=60).map(str.encode),
        st.tuples(st.integers(0, len(ONE)), st.text(max_size=3), st.integers(0, 9)).map(
            lambda edit: (ONE[: edit[0]] + edit[1] + ONE[edit[0] + edit[2] :]).encode()
        ),
    )
)
def test_any_content_loads_or_is_one_clear_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), content)
        parsed = parse(path)
    assert (parsed.constitution is None) == bool(parsed.errors)
    for error in parsed.errors:
        assert str(error).isprintable()
        assert re.match(re.escape(str(path)) + r":\d+: .+: .+; .+", str(error))


def test_a_shown_value_is_short(tmp_path: Path) -> None:
    error = refused(write(tmp_path, ONE.replace("be-kind", "A" * 10_000)))
    assert len(str(error)) < 300 + len(str(tmp_path))


def test_paths_that_are_no_readable_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, rule in [
        (tmp_path, "is a directory"),
        (tmp_path / "none.yaml", "no such file"),
        (tmp_path / "pipe", "no regular file"),
        (Path("nul\0byte"), "no such file|cannot be read"),
        (tmp_path / ("a" * 300), "no such file|cannot be read"),
    ]:
        error = refused(path)
        assert re.search(rule, error.message)
        assert error.where.endswith(":1")
        assert str(error).isprintable()


def test_a_large_file_is_refused_by_its_size_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: reading it would take all memory
    assert "at most 1048576 bytes" in str(refused(path))


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    path = write(tmp_path, ONE + "#" * (MAX_BYTES - len(ONE)))
    assert load(path).principles[0].slug == "be-kind"


def test_a_name_is_the_packaged_file_and_all_else_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(resolve("default")).name == "default"
    assert resolve("default") == Path(load.__code__.co_filename).with_name("default.yaml")
    assert resolve("./default") == Path("./default")
    assert resolve("mine.yaml") == Path("mine.yaml")
    assert resolve(Path("default")) == Path("default")
    with pytest.raises(
        ConstitutionError, match=r"'mine': no constitution has this name; .*default"
    ):
        resolve("mine")
    (tmp_path / "mine").write_text(ONE)
    assert resolve("mine") == Path("mine")


def test_a_recorded_version_is_read_whatever_fields_it_has(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(GOOD)
    whole = load(path)
    body = json.loads(json.dumps(asdict(whole)))
    body["later"] = body["principles"][0]["later"] = "a field of a later version"
    assert from_body(body) == whole
    del body["examples"], body["version"]
    assert from_body(body) == replace(whole, examples=(), version="")


def test_which_names_are_files(tmp_path: Path) -> None:
    (tmp_path / "words").touch()
    assert meant_file("default") == resolve("default")
    assert meant_file("con_v2.yaml") == Path("con_v2.yaml")
    assert meant_file(str(tmp_path / "words")) == tmp_path / "words"
    for name in ("nothing", "con_123", "latest/ppo", "a\0b"):
        assert meant_file(name) is None


@pytest.mark.parametrize(
    "text",
    [
        "solon:the-login-itself\n",
        "root:x:0:0:root:/root:/bin/bash\nnobody:x:1:1::/:/bin/false\n" * 60,
        "token: {the-login-itself\n",
        "a: b: the-login-itself\n",
        '"the-login-itself',
    ],
)
def test_a_file_that_is_no_constitution_is_not_quoted(tmp_path: Path, text: str) -> None:
    """Loggers show all that an exception holds; what was named by mistake may be a secret."""
    path = tmp_path / "login"
    path.write_text(text)
    with pytest.raises(ConstitutionError) as caught:
        load(path)
    for shown in (str(caught.value), repr(caught.value), repr(caught.value.args)):
        assert "the-login-itself" not in shown
        assert "nobody" not in shown
        assert len(shown) < 300


def test_an_error_holds_no_more_of_a_value_than_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"principles:\n  - slug: {'x' * 5000}\n")
    with pytest.raises(ConstitutionError) as caught:
        load(path)
    assert len(repr(caught.value)) < 400
