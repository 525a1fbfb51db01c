"""The Markdown report: harmless text, honest sentences, links that hold, figures that are there."""

from __future__ import annotations

import html
import json
import re
import struct
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tasks.evaluation.escape import LINE_BREAK, ZERO_WIDTH, markdown_cell
from tasks.evaluation.metrics import summarise
from tasks.evaluation.plots import read_curves
from tasks.evaluation.report import ReportData, StageResult, conclusions, write_report

REPO = Path(__file__).resolve().parents[2]
SIDES = ("open", "close")
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
EVIL = (
    "a | b\n# head\n[x](javascript:alert(1)) ![i](http://e.vil/p.png) "
    "<script>x</script> `c` *b* \u202e"
)
markup = st.text(
    st.sampled_from("ab1. \n\r\t|`*_[]()<>#!&;:/@~$^{}\\-+=\"'\u2028\u202e\ud83d\0w"), max_size=30
)


def shown(cell: str) -> str:
    """What a reader sees: the text of the inline tokens. Fails if anything is but text."""
    tokens = MARKDOWN.parse(f"| h |\n| --- |\n| {cell} |\n")
    kinds = [token.type for token in tokens]
    assert kinds.count("td_open") == 1
    parts = ("table", "thead", "tbody", "tr", "th", "td")
    assert set(kinds) <= {"inline", *(f"{part}_{side}" for part in parts for side in SIDES)}
    inline = [token for token in tokens if token.type == "inline"][1]
    assert all(child.type in ("text", "text_special") for child in inline.children or [])
    return "".join(child.content for child in inline.children or [])


@given(st.text(max_size=40) | markup)
def test_any_text_in_a_cell_stays_text_and_reads_the_same(text):
    cell = markdown_cell(text)
    seen = shown(cell).replace(ZERO_WIDTH, "")
    assert not re.search(r"[<>|\n\r`*\[\]]", cell)
    assert "://" not in cell
    cell.encode("utf-8")
    plain = [c for c in text.replace(ZERO_WIDTH, "") if unicodedata.category(c)[0] in "LNPSM"]
    assert [c for c in seen if unicodedata.category(c)[0] in "LNPSM" and c not in "\ufffd⏎"] == [
        c for c in plain if c not in "\ufffd⏎"
    ]


@given(markup)
def test_any_text_as_a_paragraph_is_one_paragraph_of_text(text):
    tokens = MARKDOWN.parse(markdown_cell(text))
    assert [token.type for token in tokens] in ([], ["paragraph_open", "inline", "paragraph_close"])
    for token in tokens[1:2]:
        assert all(child.type in ("text", "text_special") for child in token.children or [])


def test_escaping_by_example():
    assert markdown_cell("a|b") == "a&#124;b"
    assert markdown_cell(" one\r\n\r\ntwo ") == f"one{LINE_BREAK}two"
    assert markdown_cell("- item") == "&#45; item"
    assert markdown_cell("-0.5 +1") == "-0.5 +1"
    assert markdown_cell("cmp_0a _b_") == "cmp_0a &#95;b&#95;"
    assert markdown_cell("1. item") == "1&#46; item"
    assert markdown_cell("3.14 and well-known (fine), isn't it?") == (
        "3.14 and well-known (fine), isn't it?"
    )
    assert markdown_cell("see www.e.vil") == f"see www.e{ZERO_WIDTH}.vil"
    assert markdown_cell("\u202eabc\0") == "\ufffdabc\ufffd"
    assert markdown_cell("abcdef", limit=3) == "abc…"
    assert html.unescape(markdown_cell("<b>&amp;")) == "<b>&amp;"


def rows(low: float, high: float) -> list[dict]:
    value = (low + high) / 2
    numbers = {"value": value, "low": low, "high": high, "n": 9}
    return [{"policy": "ppo", "metric": "reward_minus_parent", **numbers}]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.5, 0.6, "no clear difference"), (0.1, 0.6, "higher reward"), (-0.6, -0.1, "lower reward")],
)
def test_the_verdict_follows_the_interval(low, high, expected):
    (sentence,) = conclusions(rows(low, high))
    assert expected in sentence
    assert sentence.startswith("**ppo**")


def test_one_prompt_is_no_evidence():
    (sentence,) = conclusions([{**rows(1, 1)[0], "low": None, "high": None, "n": 1}])
    assert "says nothing" in sentence


def make_answers() -> list[dict]:
    return [
        {
            "policy": policy,
            "probe": "held-out",
            "question_id": f"prm_{number}",
            "prompt_id": f"prm_{number}",
            "sample": 0,
            "category": EVIL,
            "prompt": EVIL,
            "text": f"{EVIL} {number}",
            "finish_reason": "stop",
            "tokens": 3 + number,
            "reward": number * 0.1 + shift,
            "kl": shift * number,
        }
        for shift, policy in enumerate(["sft", "base", "ppo"])
        for number in range(6)
    ]


@pytest.fixture
def data(tmp_path: Path) -> ReportData:
    metrics = tmp_path / "metrics.jsonl"
    lines = [
        json.dumps({"step": step, "loss": 2 / step, "eval_loss": None}) for step in range(1, 9)
    ]
    metrics.write_text("\n".join([*lines, '{"step": 9, "lo']))
    answers = make_answers()
    return ReportData(
        run_id="run_1",
        recipe=EVIL,
        constitution_name=EVIL,
        constitution_id="con_1",
        model_name=EVIL,
        model_id="mdl_1",
        counts={"prompts": 64, EVIL: 2},
        exclusions=[("drafts", "empty", 3), ("drafts", EVIL, 5)],
        stages=[
            StageResult("sft", "ckp_1", False, 60, 8, 2.0, 0.25, metrics),
            StageResult("ppo", "ckp_2", True, 60, 8, None, None, None),
        ],
        evaluation=summarise(answers),
        answers=answers,
        samples=2,
    )


def test_a_full_report_renders_to_harmless_html_with_every_part(tmp_path, data):
    path = write_report(tmp_path / "out", data)
    text = path.read_text("utf-8")
    rendered = MARKDOWN.render(text)
    tags = set(re.findall(r"<\s*/?\s*([a-z0-9]+)", rendered))
    assert tags <= {
        *("h1", "h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td"),
        *("img", "ul", "li", "strong", "code", "pre"),
    }
    assert re.findall(r'src="([^"]*)"', rendered) == ["training.png", "rewards.png", "kl.png"]
    assert "href" not in rendered
    headings = re.findall(r"<h2>(.*?)</h2>", rendered)
    assert headings == ["What was run", "Rows", "Training", "Evaluation", "Samples", "Tracing"]
    assert "8 rows were left out" in rendered
    assert "2 → 0.25" in rendered
    assert "higher reward than sft" in rendered
    assert rendered.count("<h3>Sample ") == 2
    assert "solon why ckp_2" in rendered


def test_every_linked_figure_is_a_png_beside_the_report(tmp_path, data):
    folder = write_report(tmp_path / "out", data).parent
    names = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", (folder / "report.md").read_text("utf-8"))
    assert sorted(names) == sorted(path.name for path in folder.glob("*.png"))
    for name in names:
        head = (folder / name).read_bytes()[:24]
        assert head[:8] == b"\x89PNG\r\n\x1a\n"
        assert min(struct.unpack(">II", head[16:24])) > 300


def test_a_report_of_nothing_trained_and_nothing_evaluated_is_short_and_whole(tmp_path, data):
    bare = replace(data, exclusions=(), stages=(), evaluation=(), answers=())
    text = write_report(tmp_path / "out", bare).read_text("utf-8")
    assert "No row was left out." in text
    assert "Evaluation" not in text
    assert "![" not in text
    assert "solon why run_1" in text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.md"]


def test_samples_are_whole_rows_of_all_policies_and_do_not_depend_on_order(tmp_path, data):
    first = write_report(tmp_path / "a", data).read_text("utf-8")
    turned = replace(data, answers=sorted(data.answers, key=lambda row: -row["tokens"]))
    second = write_report(tmp_path / "b", turned).read_text("utf-8")
    assert re.findall("Prompt prm\\S+", first) == re.findall("Prompt prm\\S+", second)
    sample = first.split("### Sample 1")[1].split("### Sample 2")[0]
    assert [f"| {policy} |" in sample for policy in ("sft", "base", "ppo")] == [True] * 3


def test_curves_pass_over_a_torn_line_and_a_missing_file(tmp_path, data):
    curves = read_curves(data.stages[0].metrics_path)
    assert list(curves) == ["loss"]
    assert curves["loss"][0] == (1, 2.0)
    assert len(curves["loss"]) == 8
    assert read_curves(tmp_path / "none.jsonl") == {}


def test_the_report_module_loads_without_matplotlib_and_torch():
    code = (
        "import sys, tasks.evaluation.report, tasks.evaluation.metrics\n"
        "print([m for m in ('matplotlib', 'torch', 'duckdb') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, check=True
    )
    assert done.stdout.strip() == "[]"
