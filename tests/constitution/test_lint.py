"""Lint gathers every error of a file, and warns of what loads but is odd."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from constitution.lint import LONG, Finding, lint

CLEAN = """\
principles:
  - slug: be-kind
    critique: Point out what is unkind in the response.
    revision: Rewrite the response so that it is kind.
    comparison: Which response is kinder?
    applies_to: [opinion]
  - slug: be-brief
    critique: Point out sentences that are not needed.
    revision: Rewrite the response in fewer words.
    comparison: Which response is briefer?
"""
EXAMPLE = """\
examples:
  - principle: be-brief
    prompt: Hello
    response: Hello!
    critique_request: Is it brief?
    critique: It is.
    revision_request: Make it brief.
    revision: Hello!
"""


def findings(folder: Path, content: str, **options: Sequence[str | None]) -> list[Finding]:
    path = folder / "c.yaml"
    path.write_text(content)
    return lint(path, **options)


def lines(found: list[Finding], level: str) -> list[int]:
    assert all(f.level == level for f in found)
    return [int(f.where.rpartition(":")[2]) for f in found]


def test_a_clean_file_has_no_findings(tmp_path: Path) -> None:
    assert findings(tmp_path, CLEAN + EXAMPLE) == []
    assert findings(tmp_path, CLEAN + EXAMPLE, categories=["opinion"]) == []


def test_all_errors_are_gathered_in_the_order_of_their_lines(tmp_path: Path) -> None:
    content = """\
name: [a]
principles:
  - slug: Bad Slug
    critique: ""
    weight: 0
    colour: red
  - slug: be-kind
    critique: a
    revision: b
    comparison: c
  - slug: be-kind
    critique: a
    critique: b
    revision: b
    comparison: c
  - 12
examples: 3
"""
    found = findings(tmp_path, content)
    # lines 3: bad slug, no revision, no comparison; 4 empty; 5 weight; 6 unknown key; 11 same slug;
    # 13 key twice; 16 no mapping; 17 no list
    assert lines(found, "error") == [1, 3, 3, 3, 4, 5, 6, 11, 13, 16, 17]
    assert str(found[4]) == f"{tmp_path}/c.yaml:4: error: '': critique: is empty; write a text"


def test_a_file_that_is_no_yaml_or_missing_is_one_error(tmp_path: Path) -> None:
    assert lines(findings(tmp_path, "principles: ["), "error") == [1]
    assert lines(lint(tmp_path / "none.yaml"), "error") == [1]


def test_without_principles_nothing_is_said_of_tags(tmp_path: Path) -> None:
    (found,) = findings(tmp_path, "name: x\nrounds: [[kind]]\n")
    assert "needs this key" in found.message


def test_what_warns(tmp_path: Path) -> None:
    def warned(old: str, new: str, **options: list[str]) -> Finding:
        (finding,) = findings(tmp_path, (CLEAN + EXAMPLE).replace(old, new), **options)
        assert finding.level == "warning"
        return finding

    assert "categor" in warned("x", "x", categories=["coding"]).message
    assert "categor" in warned("x", "x", categories=[]).message
    assert "end it with ?" in warned("Which response is kinder?", "The kinder one.").message
    assert "names no principle" in warned("principle: be-brief", "principle: gone").message
    assert "the principle is disabled" in warned("opinion]", "opinion]\n    enabled: no").message
    long = "n" * (LONG + 1)
    assert (
        f"{LONG + 1}: critique" in warned("Point out sentences that are not needed.", long).message
    )
    assert warned("Which response is kinder?", "The kinder.").where == f"{tmp_path}/c.yaml:2"


def test_an_example_of_a_disabled_principle_warns(tmp_path: Path) -> None:
    content = CLEAN.replace("slug: be-brief", "slug: be-brief\n    enabled: false") + EXAMPLE
    found = findings(tmp_path, content)
    assert lines(found, "warning") == [7, 13]
    assert "example's principle is disabled" in found[1].message


def test_principles_that_say_nearly_the_same_warn(tmp_path: Path) -> None:
    twin = """\
  - slug: be-gentle
    critique: Point out what is unkind in the response!
    revision: Rewrite the response so that it is kind.
    comparison: Which response is gentler?
"""
    (finding,) = findings(tmp_path, CLEAN + twin)
    assert finding.level == "warning"
    assert finding.where.endswith(":11")
    assert "'be-kind'" in finding.message
    assert findings(tmp_path, CLEAN + twin.replace("unkind in the response!", "a lie.")) == []


def messages(folder: Path, content: str, categories: Sequence[str | None]) -> list[str]:
    return [f"{f.where[-2:]} {f.message}" for f in findings(folder, content, categories=categories)]


def test_a_principle_whose_categories_no_prompt_has_warns_once(tmp_path: Path) -> None:
    both = CLEAN.replace("[opinion]", "[opinion, art]")
    (lost,) = messages(tmp_path, both, ["coding"])
    assert lost.startswith(":2 'be-kind': no prompt can get it")
    (half,) = messages(tmp_path, both, ["art"])
    assert half == ":2 'opinion': no prompt has this category; fix applies_to"
    (some,) = messages(tmp_path, CLEAN, ["coding", None])
    assert "'opinion'" in some, "a prompt without a category still gets it"
    assert messages(tmp_path, CLEAN, [None]) == [], "without categories applies_to is moot"


def test_a_category_without_any_principle_warns(tmp_path: Path) -> None:
    only = CLEAN.partition("  - slug: be-brief")[0]
    (found,) = messages(tmp_path, only, ["opinion", "art"])
    assert found.startswith(":1 'art': no principle applies to prompts of this category in any")


TAGGED = CLEAN.replace("[opinion]", "[opinion]\n    tags: [kind]") + "    tags: [brief]\n"


def test_a_policy_that_leaves_somebody_out_warns(tmp_path: Path) -> None:
    (unreached,) = findings(tmp_path, TAGGED + "rounds: [[kind], [kind]]\n")
    assert unreached.message.startswith("'be-brief': no prompt can get it in the 2 listed rounds")
    assert findings(tmp_path, TAGGED + "rounds: [[kind], any]\n") == []
    assert findings(tmp_path, TAGGED + "rounds: [[kind], [brief]]\n") == []
    (alone,) = messages(tmp_path, TAGGED + "rounds:\n  - [brief]\n  - [kind]\n", ["opinion", "art"])
    assert alone.startswith("15 'art': no principle applies to prompts of this category in round 1")


def test_examples_that_break_the_form_warn(tmp_path: Path) -> None:
    def warned(key: str, text: str) -> str:
        old = {"critique": "critique: It is.", "revision": "revision: Hello!"}[key]
        (finding,) = findings(tmp_path, CLEAN + EXAMPLE.replace(old, f"{key}: {text!r}"))
        assert lines([finding], "warning") == [12]
        return finding.message

    for preamble in (
        "Here is the revised response: Hi.",
        "Here's a kinder version. Hi.",
        "Certainly! Hi.",
        "Revised response: Hi.",
        "Assistant: Hi.",
    ):
        assert "the revision begins with a preamble" in warned("revision", preamble)
    assert "the critique begins with a preamble" in warned("critique", "Critique: It is long.")
    assert "the critique repeats the response" in warned("critique", "hello.")
    assert "has more than 300 characters" in warned("critique", "too long " * 40)
    for fine in ("Here is a poem about autumn.", "Sure, that can be done.", "The answer is 4."):
        changed = EXAMPLE.replace("revision: Hello!", f"revision: {fine}")
        assert findings(tmp_path, CLEAN + changed) == []


def test_a_critique_that_is_a_rewrite_warns(tmp_path: Path) -> None:
    text = "There are eight legs on a spider."
    example = EXAMPLE.replace("It is.", text).replace("revision: Hello!", f"revision: {text}")
    (finding,) = findings(tmp_path, CLEAN + example)
    assert "the critique repeats the revision" in finding.message


CHECKED = (
    CLEAN
    + """\
    check: {max_words: 4}
    examples:
      - {prompt: How are you, response: Fine.}
"""
)


def test_an_example_that_breaks_its_principle_is_an_error(tmp_path: Path) -> None:
    assert findings(tmp_path, CHECKED) == []
    (found,) = findings(tmp_path, CHECKED.replace("Fine.", "It is a fine day."))
    assert str(found) == (
        f"{tmp_path}/c.yaml:13: error: 'It is a fine day.': breaks the check of its principle;"
        " mend it"
    )


def test_an_example_that_breaks_another_principle_warns(tmp_path: Path) -> None:
    loud = """\
    examples:
      - {prompt: Hi, response: Hello to all of you}
"""
    content = CHECKED.replace("[opinion]\n", f"[opinion]\n{loud}", 1)
    (found,) = findings(tmp_path, content)
    assert lines([found], "warning") == [8]
    assert "breaks the check of 'be-brief' and is left out beside it" in found.message
    assert findings(tmp_path, content.replace("check: {max_words: 4}", "weight: 1")) == []
    gone = findings(tmp_path, content.replace("slug: be-brief", "slug: be-brief\n    enabled: no"))
    assert ["is disabled" in f.message for f in gone] == [True]


def test_an_example_that_is_too_long_or_answers_a_prompt_again_warns(tmp_path: Path) -> None:
    again = "    examples:\n      - {prompt: How are you, response: Well.}\n"
    (found,) = findings(tmp_path, CHECKED.replace("[opinion]\n", f"[opinion]\n{again}", 1))
    assert lines([found], "warning") == [15]
    assert "the prompt is already answered at line 8" in found.message
    (found,) = findings(tmp_path, CHECKED.replace("How are you", "n" * LONG))
    assert "the example has more than 800 characters" in found.message


def test_examples_that_mostly_change_nothing_warn(tmp_path: Path) -> None:
    more = EXAMPLE + EXAMPLE.partition("examples:\n")[2]
    (finding,) = findings(tmp_path, CLEAN + more)
    assert finding.message.startswith("2 of 2: examples keep the response")
    changed = EXAMPLE.partition("examples:\n")[2].replace("revision: Hello!", "revision: Good day.")
    assert findings(tmp_path, CLEAN + EXAMPLE + changed) == []
