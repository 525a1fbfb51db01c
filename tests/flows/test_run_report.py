"""`solon report`: no verdict beyond its figures, and any text stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.commands import cli
from flows.explain.document.markdown import markdown
from flows.explain.document.page import page
from flows.explain.document.parts import Cell, plain
from flows.explain.document.terminal import show
from flows.explain.document.write import write
from flows.explain.run_report.build import read_curves, write_report
from flows.explain.run_report.describe import document
from flows.explain.run_report.facts import Figure
from flows.explain.run_report.report import RunReport
from flows.explain.run_report.scorecard import scorecard
from storage.artifacts import artifact_path
from storage.errors import InputError
from storage.ids import content_id, short
from tasks.evaluation.rows import ANSWERS

from .browsed import needs_browser, views
from .hostile import ATTRIBUTES, CONTROLS, HOSTILE, MARKUP, TAGS, Reader
from .run_report_book import GOOD, KEPT, PLAIN, POLICIES, Book, probed, says

FITS = """[...document.querySelectorAll('.figures td')].every(
    cell => cell.scrollWidth <= cell.clientWidth + 1)"""
INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")
DRAWN = {"svg", "line", "circle", "rect", "text", "polyline", "figure", "figcaption"}
LOOKS = set(
    "xmlns role aria-label viewbox class x y x1 y1 x2 y2 cx cy r rx width height points"
    " text-anchor transform".split()
)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "home")


def better(policy: str, number: int, sample: int) -> str:
    """DPO and PPO keep more rules, but for one prompt in six."""
    return KEPT[number % len(KEPT)] if policy in ("dpo", "ppo") and number % 6 else PLAIN


def cells(report: RunReport) -> dict[str, list[Cell]]:
    """The rows of the scorecard by the name of their measure."""
    rows = [
        [cell for cell in row if isinstance(cell, Cell)] for row in scorecard(report.evidence).rows
    ]
    return {row[0].text: row for row in rows}


def test_a_clear_gain_is_the_first_sentence(book: Book) -> None:
    book.evaluated(better)
    verdict, *also = book.report().said
    assert re.fullmatch(
        r"(DPO|PPO) keeps 0\.\d\d of the rules where the base keeps 0\.\d\d"
        r" \(\+0\.\d\d, 0\.\d\d to 0\.\d\d\) and passes every gate\.",
        verdict,
    )
    assert any(line.endswith("It gives the base's own answers, word for word.") for line in also)
    assert document(book.report()).title == verdict


def test_a_policy_that_fails_its_gates_is_no_headline_while_another_passes(book: Book) -> None:
    book.evaluated(lambda policy, n, s: KEPT[n] * 3 if policy == "ppo" else better(policy, n, s))
    verdict, *also = book.report().said
    assert verdict.startswith("DPO keeps ")
    assert any(line.startswith("PPO ") and "not promoted" in line for line in also)


def test_a_failed_gate_is_told_whatever_the_verdict_is_on(book: Book) -> None:
    more = [probed(p, n, float(p != "base"), f"{p} {n}") for p in POLICIES for n in range(10)]
    book.evaluated(lambda p, n, s: KEPT[n] * 3 if p == "ppo" else KEPT[n], more=more)
    drop(book, "name LIKE '%/rule%'")
    verdict, *also = book.report().said
    assert verdict.startswith("SFT has helpfulness 1.00 where the base has 0.00 (+1.00, 1.00 to ")
    assert verdict.endswith("it passes every gate.")
    (failed,) = (line for line in also if line.startswith("PPO ") and "not promoted" in line)
    drop(book, "name LIKE '%/probe%'")
    verdict, *also = book.report().said
    assert verdict.startswith("No verdict: ")
    assert failed.startswith(also[0])


@pytest.mark.parametrize("prompts", [1, 5, 7])
def test_few_prompts_carry_no_verdict_and_no_mark(book: Book, prompts: int) -> None:
    book.evaluated(better, prompts)
    report = book.report()
    assert report.said == (
        f"No verdict: {prompts} questions cannot carry one; it takes at least 8.",
    )
    assert not any(cell.mark for row in cells(report).values() for cell in row)


def test_equal_answers_are_said_to_be_equal(book: Book) -> None:
    book.evaluated(says({}))
    assert book.report().said == (
        "Nothing changed: every policy gives the base's own answers, word for word.",
    )
    probes = [probed(policy, 0, 1.0, policy) for policy in POLICIES]
    book.evaluated(says({"sft": GOOD, "dpo": GOOD, "ppo": KEPT[0]}), more=probes)
    said = book.report().said
    assert "DPO answers as SFT does: 12 of 12 answers equal." in said
    assert not any(line.startswith(("SFT answers as", "PPO answers as")) for line in said)


@pytest.mark.parametrize("are_judged", [True, False])
def test_what_the_interval_does_not_tell_is_no_difference(book: Book, are_judged: bool) -> None:
    write = says({})
    book.evaluated(
        lambda p, n, s: GOOD if p == "ppo" and n == 3 else write(p, n, s), are_judged=are_judged
    )
    verdict = book.report().said[0]
    assert verdict.startswith("PPO ")
    assert "which is no clear difference" in verdict


def only_rewards(book: Book, **measured: float) -> RunReport:
    """A report where nothing but the reward was measured; `measured` of the reward model."""
    book.evaluated(better, are_judged=False)
    drop(book, "name LIKE '%/rule%'")
    book.measure(book.checkpoints["reward"], measured)
    return book.report()


def drop(book: Book, which: str) -> None:
    with book.ledger.transaction() as con:
        con.execute(f"DELETE FROM metrics WHERE {which}")


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ({"eval_accuracy": 0.5}, "0.50 of 8 held-out pairs, 0.22 to 0.78: not clearly better"),
        ({"eval_accuracy": 1.0, "held_out": 4}, "too few to say more"),
        ({"eval_accuracy": 0.0, "held_out": 0}, "was not tested on held-out pairs"),
        ({"eval_accuracy": 1.0, "largest_weight_change": 0}, "changed no weight"),
    ],
)
def test_an_untested_reward_model_gives_no_verdict(
    book: Book, measured: dict[str, float], why: str
) -> None:
    report = only_rewards(book, **measured)
    assert report.said[0].startswith("No verdict: ")
    assert why in report.said[0]
    name, *row = cells(report)["reward"]
    assert "no evidence" in name.spread
    assert not any(cell.mark for cell in row)


def test_a_tested_reward_model_may_speak(book: Book) -> None:
    report = only_rewards(book, eval_accuracy=0.9, held_out=40)
    assert report.said[0].startswith("PPO has reward 3.05 where the base has 0.06 (+3.00, 3.00 to ")


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ({"examples": 3}, "3 rows are too few to learn from (4 are the least)"),
        ({"largest_weight_change": 0, "examples": 3}, "no weight changed"),
        ({"examples": 4}, ""),
    ],
)
def test_a_stage_that_did_not_learn_is_not_called_trained(
    book: Book, measured: dict[str, float], why: str
) -> None:
    book.evaluated(better)
    book.measure(book.checkpoints["sft"], measured)
    report = book.report()
    assert (f"SFT is not trained: {why}." in report.cautions) is bool(why)
    table = next(s for s in document(report).sections if s.title == "Training")
    shown = dict(zip(table.columns, table.rows[0], strict=True))["in training"]
    assert isinstance(shown, Cell)
    assert shown.text == (why or "0.500")


def test_the_commit_of_the_code_is_told(book: Book) -> None:
    book.evaluated(better)
    assert document(book.report()).lines[-1].endswith(", commit 0123456789ab")


@pytest.mark.parametrize("accuracy", [None, (0.55, 0.4, 0.7), (0.8, 0.7, 0.9)])
def test_a_judge_speaks_where_it_was_tested(
    book: Book, accuracy: tuple[float, float, float] | None
) -> None:
    book.evaluated(better, are_judged=False)
    drop(book, "name LIKE '%/rule%'")
    won = {"name": "ppo/win_rate:base", "subject_id": book.evaluation, "step": -1}
    book.insert("metrics", won | {"value": 0.9, "low": 0.8, "high": 1.0, "sample_count": 20})
    if accuracy:
        figure = dict(zip(("value", "low", "high"), accuracy, strict=True))
        row = {"subject_id": book.run, "name": "judge/accuracy", "step": -1, "sample_count": 40}
        book.insert("metrics", row | figure)
    report = book.report()
    is_tested = bool(accuracy and accuracy[1] > 0.5)
    assert report.said[0].startswith("PPO wins 0.90 of") == is_tested
    assert report.said[0].startswith("No verdict") != is_tested
    assert any(line.startswith("The judge ") for line in report.cautions)


def test_losses_are_told_beside_the_gain(book: Book) -> None:
    worse = [
        probed(policy, n, float(policy != "dpo"), "names it" if policy != "dpo" else "does not")
        for policy in POLICIES
        for n in range(10)
    ]
    book.evaluated(lambda p, n, s: better(p, n, s) if p == "dpo" else PLAIN, more=worse)
    report = book.report()
    told = " ".join(report.said)
    assert "DPO leaves questions unanswered" in told
    regressed = [move for move in report.regressions if move.probe == "helpfulness"]
    assert [move.because for move in regressed] == ["base: names it; dpo: does not"] * 2
    assert [move.by for move in regressed] == [-1.0] * 2


def test_marks_follow_the_paired_interval(book: Book) -> None:
    book.evaluated(lambda p, n, s: better(p, n, s) + (" So it is." if p == "ppo" else ""))
    ratio = {"subject_id": book.evaluation, "step": -1, "sample_count": 24}
    for name, figures in {
        "base/perplexity": (20.0, 18.0, 22.0),
        "ppo/perplexity": (24.0, 22.0, 26.0),
        "ppo/perplexity_over_base": (1.2, 1.1, 1.3),
        "dpo/perplexity": (20.4, 18.0, 22.0),
        "dpo/perplexity_over_base": (1.02, 0.99, 1.04),
    }.items():
        row = dict(zip(("value", "low", "high"), figures, strict=True))
        book.insert("metrics", ratio | row | {"name": name})
    found = {name: row[1:] for name, row in cells(book.report()).items()}
    assert [cell.mark for cell in found["rules kept"]] == ["", "", "better", "better"]
    assert [cell.mark for cell in found["perplexity of ordinary text"]] == ["", "", "", "worse"]
    assert found["perplexity of ordinary text"][3].change == "worse x1.20"
    assert found["length, tokens"][3].change == "longer +3"
    assert found["KL to SFT, nats"][3].mark == ""


def test_gains_and_regressions_name_the_principle(book: Book) -> None:
    mixed = {0: GOOD, 1: PLAIN.replace("!", "!!")}
    book.evaluated(lambda p, n, s: mixed[s] if p == "dpo" and n == 4 else PLAIN, samples=2)
    report = book.report()
    (gain,) = report.gains
    assert gain.because == "keeps no-exclamation, no-first-person"
    assert (gain.policy, gain.prompt_id) == ("dpo", content_id("prompt", 4))
    assert [given.policy for given in gain.answers] == ["base", "dpo", "ppo"]
    assert [given.samples for given in gain.answers] == [2, 2, 2]
    assert report.regressions == ()
    book.evaluated(lambda p, n, s: PLAIN if p == "ppo" and n == 4 else GOOD)
    (loss,) = book.report().regressions
    assert loss.because == "breaks no-exclamation, no-first-person"


def test_shown_questions_do_not_depend_on_order(book: Book) -> None:
    book.evaluated(better)
    first = [move.prompt_id for move in book.report().shown]
    path = artifact_path(book.workspace, book.evaluation) / ANSWERS
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert [move.prompt_id for move in book.report().shown] == first
    assert len(first) == 6


def test_a_loss_of_training_is_not_called_held_out(book: Book) -> None:
    book.evaluated(better)
    table = next(s for s in document(book.report()).sections if s.title == "Training")
    shown = {name: plain(cell) for name, cell in zip(table.columns, table.rows[0], strict=True)}
    assert shown == {
        "stage": f"sft ({short(book.checkpoints['sft'])})",
        "rows": "30",
        "steps": "8",
        "seconds": "12",
        "in training": "0.500 (loss, from 2.000)",
        "held-out loss": "–",
    }


def test_curves_pass_over_a_torn_line_and_a_missing_file(tmp_path: Path) -> None:
    lines = [json.dumps({"step": n, "loss": 2 / n, "eval_loss": None}) for n in range(1, 9)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 9, "lo']))
    curves = read_curves(tmp_path / "metrics.jsonl")
    assert list(curves) == ["loss"]
    assert curves["loss"][0] == (1, 2.0)
    assert len(curves["loss"]) == 8
    assert read_curves(tmp_path / "none.jsonl") == {}


@pytest.fixture
def full(book: Book) -> Book:
    """Something for every section and picture."""
    more = [
        probed(policy, n, float(n % 2), f"reason {n}") for policy in POLICIES for n in range(10)
    ]
    book.evaluated(better, more=more)
    for stage in ("sft", "ppo"):
        folder = artifact_path(book.workspace, book.checkpoints[stage])
        folder.mkdir(parents=True)
        kind = "objective/kl" if stage == "ppo" else "loss"
        rows = [{"step": n, kind: 2 / n} for n in range(1, 6)]
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    won = {"name": "ppo/win_rate:base", "subject_id": book.evaluation, "step": -1}
    book.insert("metrics", won | {"value": 0.9, "low": 0.8, "high": 1.0, "sample_count": 20})
    card = {"judge/accuracy": 0.8, "reliability/0.50/confidence": 0.6}
    for name, value in (card | {"reliability/0.50/accuracy": 0.7}).items():
        row = {"subject_id": book.run, "name": name, "step": -1, "sample_count": 30}
        book.insert("metrics", row | {"value": value, "low": 0.7, "high": 0.9})
    out = {"run_id": book.run, "row_id": "x", "step": "pairs", "reason": "truncated"}
    book.insert("exclusions", out | {"created_at": "2026-01-01"})
    return book


def test_every_section_and_picture_is_there(full: Book) -> None:
    made = document(full.report())
    assert [section.title for section in made.sections] == [
        *("Scorecard", "Pictures", "Largest gains", "A few questions", "Gates", "Every gate"),
        *("Training", "Data", "The judge", "Left out", "Lineage", "Settings"),
    ]
    assert {picture.name for picture in made.pictures} == {
        *("rules.svg", "by-rule.svg", "lengths.svg", "reward-kl.svg", "goodhart.svg", "wins.svg"),
        *("probes.svg", "sft-loss.svg", "ppo-kl.svg", "reliability.svg"),
    }
    lineage = next(section for section in made.sections if section.title == "Lineage")
    whys = [row[1] for row in lineage.rows]
    assert whys[0] == f"solon why {short(full.evaluation)}"
    assert f"solon why {short(full.checkpoints['ppo'])}" in whys
    shown = Reader(page(made)).text
    assert "solon data report" in shown
    assert "dpo.beta" in shown
    for picture in made.pictures:
        assert picture.svg.count(">base<") or picture.name in (
            *("wins.svg", "sft-loss.svg", "ppo-kl.svg", "reliability.svg"),
        )


def test_a_page_of_hostile_texts_holds_our_tags_only(book: Book) -> None:
    asked = [f"{text} {n}" for n, text in enumerate(HOSTILE)]
    book.evaluated(lambda p, n, s: HOSTILE[n] if p == "dpo" else PLAIN, len(HOSTILE), asked="{}")
    path = artifact_path(book.workspace, book.evaluation) / ANSWERS
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row |= {"prompt": asked[int(row["prompt"])], "category": "<b>|&"}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with book.ledger.transaction() as con:
        con.execute("UPDATE runs SET settings = ?", [json.dumps({"evaluation": {"shown": 20}})])
        con.execute("UPDATE runs SET recipe = ?", [HOSTILE[4]])
        con.execute("UPDATE gates SET reason = ?", [HOSTILE[3]])
    made = document(book.report())
    text = page(made)
    found = Reader(text)
    assert found.open == []
    assert found.tags <= TAGS | DRAWN
    assert set(found.attributes) <= ATTRIBUTES | LOOKS
    for shown in (
        "<script>alert(1)</script>",
        '" onmouseover="alert(1)"',
        "&amp; &#60;script&#62;",
    ):
        assert shown in found.text
    assert not CONTROLS.search(text)
    assert "&#34;" not in text
    assert_markdown_keeps(markdown(made))
    console = Console(width=80, record=True, file=open("/dev/null", "w"), color_system=None)
    show(made, console)
    assert not CONTROLS.search(console.export_text().replace("\n", ""))


def assert_markdown_keeps(text: str) -> None:
    fenced = re.sub(r"(?ms)^(`{3,})text\n.*?^\1`*$", "", text)
    rest = re.sub(r"!\[(?:\\.|[^\]\\])*\]\([a-z-]+\.svg\)", "", fenced)
    assert not MARKUP.search(rest)
    assert not INVISIBLE.search(rest.replace("\u200d", ""))
    assert not re.search("&#(34|124)", rest.replace(r"\&#", ""))


def test_it_is_found_by_run_evaluation_checkpoint_and_ref(full: Book) -> None:
    decided = {"run_id": full.run, "step": "evaluate", "verdict": "MISS", "row_count": 1}
    decided |= {"created_at": "2026-01-01"}
    subjects = (full.evaluation, "evaluate", "evaluate")  # then what it asked, as a run counts it
    full.insert(
        "decisions",
        *(decided | {"number": n, "subject_id": name} for n, name in enumerate(subjects)),
    )
    names = (full.run, full.evaluation[:9], full.checkpoints["ppo"], "latest/evaluate", None)
    assert {full.report(name).about.id for name in names} == {full.evaluation}
    for name in (full.rows, full.constitution, "no/such"):
        with pytest.raises(InputError):
            full.report(name)


def test_a_run_without_evaluation_has_a_report_too(book: Book) -> None:
    with pytest.raises(InputError, match="no evaluation"):
        book.report()
    report = book.report(book.run)
    assert report.about.id == book.run
    assert report.said[0].startswith("No verdict: nothing was trained. Does it teach? 20 of 30")
    path = write_report(book.ledger, book.workspace, book.run, None)
    assert path == book.workspace.reports / book.run / "report.html"
    assert {file.name for file in path.parent.iterdir()} == {
        *("report.html", "report.md", "report.json", "SEAL.json")
    }


def run(book: Book, *arguments: str) -> Any:
    env = {"SOLON_HOME": str(book.workspace.root)}
    return CliRunner().invoke(cli.app, ["report", *arguments], env=env)


def test_the_command(full: Book, tmp_path: Path) -> None:
    shown = run(full)
    assert shown.exit_code == 0, shown.output
    assert " ".join(shown.stdout.split()).startswith(full.report().said[0])
    found = json.loads(run(full, full.evaluation[:12], "--json").stdout)
    assert found["verdict"] == full.report().said[0]
    rules = found["figures"]["dpo"]["rules"]
    assert Figure(**rules) == full.report().evidence.figure("dpo", "rules")
    assert Path(found["report"]) == full.workspace.reports / full.evaluation / "report.html"
    kept = json.loads((Path(found["report"]).parent / "report.json").read_text())
    assert kept == {name: value for name, value in found.items() if name != "report"}
    assert run(full, "--out", str(tmp_path / "out")).exit_code == 0
    assert (tmp_path / "out" / "report.html").is_file()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("notes")
    assert isinstance(run(full, "--out", str(tmp_path / "mine")).exception, InputError)


@needs_browser
def test_a_browser_shows_all_of_it_at_both_widths(full: Book, tmp_path: Path) -> None:
    path = write(tmp_path / "out", document(full.report()))
    charts = len(document(full.report()).pictures)
    for view in views(path):
        assert view.locator("svg.chart").count() == charts
        assert view.evaluate(FITS)
