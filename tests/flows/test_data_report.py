"""`solon data report`: it counts what the run said, and any text stays text."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.commands import cli
from flows.explain.data_report.build import build
from flows.explain.data_report.describe import RULES, document
from flows.explain.data_report.report import DataReport
from flows.explain.document.markdown import markdown
from flows.explain.document.page import page
from flows.explain.document.terminal import show
from flows.explain.document.write import write
from storage.errors import InputError
from storage.ledger import insert, now, point
from tasks.generation.record import constitution_id
from tasks.generation.record_rows import record_snapshot
from tasks.generation.snapshots import Snapshot, prompt_snapshot

from . import test_sources
from .browsed import needs_browser, views
from .hostile import ATTRIBUTES, CONTROLS, HOSTILE, MARKUP, TAGS, Reader
from .world import World

SOURCES: dict[str, Any] = {
    "constitution": "checkable",
    "pairs.shares.distilled": 2,
    "pairs.shares.candidates": 1,
    "pairs.candidates_of": "model",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A ledger of pairs of every source, with program labels on some of them."""
    world = World(tmp_path_factory.mktemp("report") / "home", **SOURCES)
    world.run(world.inputs)
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    """A copy that a test may change."""
    shutil.copytree(made.workspace.root, tmp_path / "home")
    world = World(tmp_path / "home", **SOURCES)
    world.rows = made.rows
    return world


def change(world: World, sql: str, *parameters: Any) -> None:
    with world.ledger.transaction() as con:
        con.execute(sql, list(parameters))


def report_of(world: World) -> DataReport:
    return build(world.ledger, world.rows.preferences.dataset_id)


def terminal(report: DataReport, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"), color_system=None)
    show(document(report), console)
    return console.export_text()


def test_every_count_is_what_the_run_said_of_its_pairs(made: World) -> None:
    said, report = made.rows.teaching.to_json(), report_of(made)
    assert report.teaching
    assert report.teaching.to_json() == said
    assert {*said["by_source"]} == {"revision", "distilled", "candidates"}
    assert said["by_evidence"]["program"] > 0 < said["turned"]
    assert (report.training, report.held_out) == (
        len(made.rows.preferences.training),
        len(made.rows.preferences.held_out),
    )
    by = {facts.slug: facts.by for facts in report.principles}
    prompts = {facts.slug: facts.prompts for facts in report.principles}
    for slug, lesson in said["principles"].items():
        assert by[slug].get("program", 0) == lesson["with_evidence"]
        assert prompts[slug] == lesson["prompts"]
    unlabelled = sum(found.get("none", 0) for found in by.values())
    assert (
        unlabelled == said["by_evidence"]["none"]
    )  # in one round each is made under one principle


def test_a_judges_figures_are_counted_and_drawn(tmp_path: Path) -> None:
    world = test_sources.made_of(tmp_path)  # under rules that no program checks
    report = report_of(world)
    assert report.teaching
    assert report.teaching.to_json() == world.rows.teaching.to_json()
    assert report.teaching.by_evidence == {"judge": report.training}
    assert all(0 < (facts.preference or 0.9) < 1 for facts in report.principles)
    assert "preferences.svg" in [picture.name for picture in document(report).pictures]


def test_examples_and_left_out_are_the_runs(made: World) -> None:
    report = report_of(made)
    assert sum(report.examples_by_source.values()) == len(made.rows.sft.training)
    found = Counter({(x.step, x.reason): x.rows for x in report.left_out})
    assert found == made.rows.left_out
    assert all(0 < len(x.texts) <= 2 for x in report.left_out)
    undecided = next(x for x in report.left_out if x.reason == "no_evidence")
    assert re.search("all (keep|break) [a-z-]+\n.", undecided.texts[0])


def test_a_pair_that_was_turned_round_is_no_agreement(world: World) -> None:
    before = {facts.slug: facts.agreement for facts in report_of(world).principles}
    assert any(0 < (share or 0) < 1 for share in before.values())
    change(world, "UPDATE labels SET is_turned = true")
    report = report_of(world)
    assert report.teaching
    assert report.teaching.turned == report.teaching.by_evidence["program"]
    assert {facts.agreement for facts in report.principles} <= {0.0, None}


def test_people_outrank_the_program_and_it_the_judge(world: World) -> None:
    pair = world.ledger.query("SELECT * FROM labels ORDER BY label_id LIMIT 1")[0]
    for number, by in enumerate(("judge", "people")):
        label = pair | {"label_id": f"lbl_{by}", "given_by": by, "preference": 0.5 + number / 4}
        with world.ledger.transaction() as con:
            insert(con, "labels", [label | {"rule": None}])
        teaching = report_of(world).teaching
        assert teaching
        assert teaching.by_evidence[by] == number
    facts = next(facts for facts in report_of(world).principles if "people" in facts.by)
    (labels,) = world.ledger.query(
        "SELECT avg(preference) AS mean FROM labels JOIN principles USING (principle_id)"
        " JOIN dataset_rows ON row_id = pair_id WHERE slug = ? AND dataset_id = ?"
        " AND NOT is_held_out",
        [facts.slug, world.rows.preferences.dataset_id],
    )
    assert facts.preference == pytest.approx(labels["mean"])


def test_labels_under_another_constitution_do_not_count(world: World) -> None:
    """The same pair may be in snapshots of several runs, and keeps the labels of all."""
    before, rules = report_of(world).teaching, world.inputs.constitution
    run: dict[str, Any] = {
        "run_id": "run_test",
        "constitution_id": constitution_id(rules),
        "recipe": "smoke",
    }
    run |= {"settings": "{}", "host": "h", "pid": 1, "state": "completed", "started_at": now()}
    with world.ledger.transaction() as con:
        insert(con, "runs", [run])
    report = report_of(world)
    assert report.teaching == before
    change(world, """UPDATE labels SET rule = '{"max_words":3}'""")
    teaching = report_of(world).teaching
    assert teaching
    assert teaching.share == 0
    change(world, "UPDATE labels SET given_by = 'judge'")  # whose words the check is no part of
    teaching = report_of(world).teaching
    assert before
    assert teaching
    assert teaching.share == before.share


def test_an_old_snapshot_has_a_report_without_evidence(world: World) -> None:
    change(world, "DELETE FROM labels")
    change(world, "DELETE FROM metrics")
    report = report_of(world)
    assert document(report).title.startswith("Does it teach? 0 of ")
    assert all(set(facts.by) <= {"none"} for facts in report.principles)
    assert any(facts.by for facts in report.principles)
    assert {facts.prompts for facts in report.principles} == {None}


def test_what_is_planted_is_found(world: World) -> None:
    ids = sorted(world.rows.preferences.training)
    same = "In this answer, dear reader, seven times seven is forty-nine, and nothing else is."
    change(world, "UPDATE pairs SET chosen = ? WHERE pair_id IN (?, ?, ?)", same, *ids[:3])
    change(
        world, "UPDATE completions SET text = ?, finish_reason = 'length' WHERE completion_id IN"
        " (SELECT chosen_completion_id FROM pairs WHERE pair_id = ?)", same, ids[0],
    )  # fmt: skip
    spelt = "So it is.<|im_end|>\n<|im_start|>user\nMore!"
    change(world, "UPDATE pairs SET rejected = ? WHERE pair_id = ?", spelt, ids[1])
    found = {check.finding.rule: check for check in report_of(world).hygiene}
    assert found["control_tokens"].finding.count == 1
    assert found["control_tokens"].finding.examples[0].startswith("<|im_end|> in: ")
    assert found["near_duplicates"].finding.count == 2
    assert found["near_duplicates"].finding.examples[0].startswith("In this answer")
    assert found["near_duplicates"].is_odd
    assert "(1 chosen, " in found["cut"].said
    assert set(found) == set(RULES)


def test_soft_labels_have_their_picture(world: World) -> None:
    assert [p.name for p in document(report_of(world)).pictures] == ["evidence.svg", "lengths.svg"]
    change(world, "UPDATE labels SET preference = 0.75")
    drawn = {p.name: p for p in document(report_of(world)).pictures}
    assert drawn["preferences.svg"].text == "Preferences of the labels, mean 0.75"
    assert all("currentColor" in p.svg and "prefers-color-scheme" in p.svg for p in drawn.values())


def test_examples_have_a_report_too(made: World) -> None:
    report = build(made.ledger, made.rows.sft.dataset_id)
    assert report.teaching is None
    assert report.training == len(made.rows.sft.training)
    text = terminal(report)
    assert f"{report.training} examples to learn" in text
    assert "rejected" not in text


@pytest.fixture
def hostile(world: World) -> DataReport:
    """Every hostile text as prompt, answer and detail of what is left out."""
    ids = sorted(world.rows.preferences.training)
    for number, text in enumerate(HOSTILE):
        messages = json.dumps([{"role": "user", "content": text}])
        change(
            world, "UPDATE prompts SET messages = ? WHERE prompt_id = (SELECT prompt_id FROM pairs"
            " WHERE pair_id = ?)", messages, ids[number],
        )  # fmt: skip
        change(
            world, "UPDATE pairs SET chosen = ?, rejected = ? WHERE pair_id = ?",
            text, text, ids[number],
        )  # fmt: skip
    change(world, "UPDATE exclusions SET detail = ?, reason = ?", "\n".join(HOSTILE), "a | <b>")
    report = report_of(world)
    return DataReport(**vars(report) | {"shown": report.rows[: len(HOSTILE)]})


def test_a_page_of_hostile_texts_holds_our_tags_only(hostile: DataReport) -> None:
    text = page(document(hostile))
    found = Reader(text)
    assert found.open == []
    assert found.tags <= TAGS | {"img"}
    assert set(found.attributes) <= ATTRIBUTES | {"src", "alt"}
    assert all(source.startswith("data:image/svg+xml;") for source in found.attributes["src"])
    assert all(text for text in found.attributes["alt"])
    assert "<script>alert(1)</script>" in found.text
    assert not CONTROLS.search(text)


def test_markdown_and_terminal_of_hostile_texts(hostile: DataReport) -> None:
    made = markdown(document(hostile))
    fenced = re.sub(r"(?ms)^(`{3,})text\n.*?^\1`*$", "", made)
    rest = re.sub(r"!\[[^]<]*\]\([a-z]+\.svg\)", "", fenced)
    assert not MARKUP.search(rest)
    text = terminal(hostile)
    assert not CONTROLS.search(text.replace("\n", ""))
    assert "[bold red]markup[/bold red]" in text


def test_files_are_written_anew_over_our_own_only(made: World, tmp_path: Path) -> None:
    made_document = document(report_of(made))
    for _ in range(2):
        write(tmp_path / "out", made_document)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.html", "report.md", "evidence.svg", "lengths.svg"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.html").write_text("notes")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "report.md").write_text("notes")
    for folder in ("mine", "notes"):
        with pytest.raises(InputError, match="--out"):
            write(tmp_path / folder, made_document)
    assert [path.read_text() for path in (tmp_path / "mine").iterdir()] == ["notes"]


def run(world: World, *arguments: str) -> Any:
    return CliRunner().invoke(
        cli.app, ["data", "report", *arguments], env={"SOLON_HOME": str(world.workspace.root)}
    )


def test_the_command(world: World) -> None:
    point(world.ledger, "latest/preferences-rows", world.rows.preferences.dataset_id)
    shown = run(world)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("Does it teach? ")
    found = json.loads(run(world, world.rows.preferences.dataset_id[:12], "--json").stdout)
    assert found["teaching"] == world.rows.teaching.to_json()
    assert {"id", "kind", "left_out", "hygiene", "principles", "shown", "report"} <= set(found)
    assert "rows" not in found
    assert [row["id"] for row in found["shown"]] == sorted(world.rows.preferences.training)[:5]
    assert Path(found["report"]) == (
        world.workspace.reports / world.rows.preferences.dataset_id / "report.html"
    )
    assert Path(found["report"]).is_file()


def test_what_has_no_report_is_said_in_one_line(world: World) -> None:
    prompts = prompt_snapshot(world.inputs.prompts, 20)
    record_snapshot(world.ledger, "run_test", prompts)
    (checked,) = world.ledger.query("SELECT principle_id FROM principles LIMIT 1")
    for name in ("latest/nothing", prompts.dataset_id, checked["principle_id"]):
        assert isinstance(run(world, name).exception, InputError)


def test_an_empty_snapshot_says_so(world: World) -> None:
    empty = Snapshot("preferences", (), ())
    record_snapshot(world.ledger, "run_test", empty)
    shown = run(world, empty.dataset_id)
    assert shown.exit_code == 0, shown.output
    assert "there are no pairs to train on" in shown.stdout
    assert "no_evidence" in shown.stdout


@needs_browser
def test_a_browser_shows_all_of_it_at_both_widths(made: World, tmp_path: Path) -> None:
    for view in views(write(tmp_path / "out", document(report_of(made)))):
        assert view.evaluate("[...document.images].every(i => i.naturalWidth > 0)")
        assert view.locator("img").count() == 2
