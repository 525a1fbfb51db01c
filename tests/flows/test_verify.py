"""`solon verify`: whatever is not as it was written is found and named, and nothing else is."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest

from flows.commands import cli
from flows.plan.needs import stage_needs
from flows.serve.doctor import examine
from storage.artifacts import artifact_path, writing
from storage.damage import LedgerDamaged
from storage.ids import content_id
from storage.ledger import Ledger, insert, now, point
from storage.report_files import seal_report
from storage.seals import seal
from storage.workspace import MODEL_MANIFEST, Workspace
from tasks.generation.record import record_model
from tasks.integrity.faults import Looked
from tasks.integrity.ids import FORMS
from tasks.integrity.pages import TABLES
from tasks.integrity.verify import verify
from tasks.model_files import Digests, adapter_id
from tasks.review.record import keep
from tasks.review.verdicts import Verdict, subject_of
from tasks.training.resume import MARKER
from tests.flipped import flip

from .evaluated import Silent
from .world import EVERY_SOURCE, Judging, World

TRAINER = "state/ckp_1/checkpoint-4"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves behind, made without one: rows of every source, a checkpoint, a model's
    conversion, a report, and the state of a trainer that was stopped.
    """
    shares = {"pairs.shares.revision": 1, "prompts.limit": 12}
    world = World(tmp_path_factory.mktemp("finished") / "home", **EVERY_SOURCE, **shares)
    inputs, ledger, home = world.inputs, world.ledger, world.workspace
    world.run(inputs, engine=Judging())
    prompt = inputs.prompts[0].prompt_id
    keep(ledger, [Verdict(subject_of(prompt, "a", "b", []), "first", "me", now())])
    run = {"run_id": world.run_id, "recipe": "smoke", "settings": "{}", "state": "running"}
    with ledger.transaction() as con:
        insert(con, "runs", [run | {"started_at": now()}])
        con.execute("UPDATE runs SET state = 'completed', ended_at = now()")
    for model_id in {inputs.base_model_id, *(hand.model_id for hand in inputs.asked)}:
        record_model(ledger, model_id, "random", "random:tiny")
    _checkpoint(world)
    model = home.models / inputs.base_model_id
    _write(model, "model.safetensors", "tokenizer.json")
    seal(model, MODEL_MANIFEST, model_id=model.name, name="random:tiny")
    report = _write(home.reports / world.run_id, "report.html", "report.md")
    seal_report(report, [report / "report.html", report / "report.md"])
    seal(_write(home.root / TRAINER, "optimizer.pt"), MARKER)
    return home.root


def _write(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text(f"what is in {name}")
    return folder


def _checkpoint(world: World) -> None:
    need = stage_needs(world.inputs, world.rows)["sft"]
    base = need.parts["base_model"]
    with writing(world.workspace, need.id, need.parts) as out:
        adapter = _write(out / "adapter", "adapter_config.json", "adapter_model.safetensors")
        (out / "head.safetensors").write_text("a head")
        own = adapter_id(adapter, base, Digests(world.workspace))
    record_model(world.ledger, own, "checkpoint", f"checkpoint:{need.id}", base, need.id)
    row = {
        "checkpoint_id": need.id,
        "base_model_id": base,
        "dataset_id": need.parts["dataset"],
        "run_id": world.run_id,
        "parent_ids": [],
        "parent_roles": [],
        "stage": "sft",
        "components": json.dumps(need.parts, sort_keys=True),
        "path": f"artifacts/checkpoints/{need.id}",
        "duration_s": 1.0,
        "created_at": now(),
    }
    with world.ledger.transaction() as con:
        insert(con, "checkpoints", [row])
    point(world.ledger, "smoke/latest/sft", need.id)


@pytest.fixture
def workspace(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    home = Path(shutil.copytree(finished, tmp_path / "home"))
    monkeypatch.setenv("SOLON_HOME", str(home))
    monkeypatch.setattr("storage.digests.SETTLED_NS", 0)  # what was read just now is remembered
    return Workspace(home)


def looked_at(workspace: Workspace, sample: int | None = None) -> Looked:
    return verify(workspace, Ledger(workspace.ledger), sample, Silent())


def subjects(workspace: Workspace) -> set[str]:
    return {fault.subject for fault in looked_at(workspace).faults}


def test_what_is_whole_is_verified_whole(workspace: Workspace) -> None:
    before = {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*")}
    looked = looked_at(workspace)
    assert looked.faults == []
    tables = {"completions", "datasets", *(form.table for form in FORMS)}
    assert tables - looked.counts.keys() == {"sets"}
    assert looked.skipped == ["ids of comparisons: what the judge was asked is not in their rows"]
    after = {path: path.stat().st_mtime_ns for path in workspace.root.rglob("*")}
    own = {workspace.ledger, workspace.root / "ledger.lock"}  # attached, as by any command
    assert {p: t for p, t in after.items() if p not in own} == {
        p: t for p, t in before.items() if p not in own
    }


CHANGES = {
    "completions": "request = replace(request::VARCHAR, 'role', 'rule')",
    "prompts": "messages = replace(messages::VARCHAR, 'user', 'User')",
    "principles": "critique = critique || ' '",
    "constitutions": "body = replace(body::VARCHAR, 'name', 'nane')",
    "few_shots": "messages = replace(messages::VARCHAR, 'role', 'rule')",
    "revisions": "round = round + 1",
    "examples": "response = response || '.'",
    "pairs": "preference = 0.75",
    "labels": "given_by = 'people'",
    "verdicts": "author = 'you'",
    "checkpoints": "components = replace(components::VARCHAR, 'seed', 'sead')",
    "datasets": "kind = 'prompts' WHERE kind = 'sft'",
}


def test_a_changed_row_is_found_by_its_id(workspace: Workspace) -> None:
    """One row of every table at once: each is named, and none beside it."""
    ledger, changed = Ledger(workspace.ledger), set()
    keys = {form.table: form.key for form in FORMS}
    keys |= {"completions": "completion_id", "datasets": "dataset_id"}
    for table, change in CHANGES.items():
        where = change.partition(" WHERE ")[2] or "true"
        row = ledger.query(f"SELECT {keys[table]} AS id FROM {table} WHERE {where} ORDER BY 1")[0]
        with ledger.transaction() as con:
            setting = change.partition(" WHERE ")[0]
            con.execute(f"UPDATE {table} SET {setting} WHERE {keys[table]} = ?", [row["id"]])
        changed.add(row["id"])
    found = {f.subject for f in looked_at(workspace).faults if "another id" in f.rule}
    few_shot = ledger.query("SELECT few_shot_id AS id FROM few_shots ORDER BY 1")[0]["id"]
    asked = ledger.query(
        "SELECT completion_id AS id FROM completions WHERE few_shot_id = ?", [few_shot]
    )
    assert changed <= found
    assert found - changed <= {row["id"] for row in asked}


def test_a_changed_text_of_an_answer_is_found_where_it_was_used(workspace: Workspace) -> None:
    ledger = Ledger(workspace.ledger)
    row = ledger.query("SELECT revision_id, critique_completion_id AS id FROM revisions")[0]
    with ledger.transaction() as con:
        con.execute("UPDATE completions SET text = 'x' WHERE completion_id = ?", [row["id"]])
    assert row["revision_id"] in subjects(workspace)


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ("prompts", "completions.prompt_id leads nowhere"),
        ("principles", "revisions.principle_id leads nowhere"),
        ("runs", "completions.run_id leads nowhere"),
        ("models", "completions.model_id leads nowhere"),
        ("comparisons", "labels.comparison_id leads nowhere"),
        ("dataset_rows", "it has other numbers of rows than it says"),
        ("ref_moves", "it does not point to where it moved last"),
    ],
)
def test_a_row_that_is_gone_is_missed(workspace: Workspace, table: str, rule: str) -> None:
    with Ledger(workspace.ledger).transaction() as con:
        con.execute(f"DELETE FROM {table}")
    rules = {fault.rule.partition(" (")[0] for fault in looked_at(workspace).faults}
    assert rule in rules


FILES = (
    "artifacts/checkpoints/*/adapter/adapter_model.safetensors",
    "artifacts/checkpoints/*/head.safetensors",
    "artifacts/checkpoints/*/MANIFEST.json",
    "models/*/model.safetensors",
    "models/*/MODEL.json",
    "reports/*/report.html",
    "reports/*/SEAL.json",
    "state/*/checkpoint-4/optimizer.pt",
)


@pytest.mark.parametrize("pattern", FILES)
def test_one_flipped_bit_is_found_though_size_and_time_are_put_back(
    workspace: Workspace, pattern: str
) -> None:
    (file,) = workspace.root.glob(pattern)
    assert not quick(workspace)  # now everything was read once
    before = file.stat()
    flip(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    (fault,) = looked_at(workspace).faults
    place = str(file.parent.relative_to(workspace.root))
    assert place.startswith(fault.subject) or fault.subject in place
    assert quick(workspace), "doctor, which remembers what it read"


def quick(workspace: Workspace) -> list[str]:
    return [found.subject for found in examine(workspace).findings]


def test_a_flipped_bit_of_the_ledger_is_said_wherever_rows_are(workspace: Workspace) -> None:
    """In every tenth of its pages: seen by its checksum, or the page holds no row."""
    content, rows = workspace.ledger.read_bytes(), every_row(workspace)
    seen = 0
    for place in range(50, len(content), len(content) // 10):
        changed = bytearray(content)
        changed[place] ^= 1
        workspace.ledger.write_bytes(changed)
        try:
            assert looked_at(workspace).faults == []
        except LedgerDamaged:
            seen += 1
        else:
            assert every_row(workspace) == rows
    assert seen > 1


def every_row(workspace: Workspace) -> list[object]:
    ledger = Ledger(workspace.ledger)
    names = [row["name"] for row in ledger.query(TABLES)]
    return [sorted(map(repr, ledger.query(f"FROM {name}"))) for name in names]


def test_a_file_that_no_row_knows_is_named(workspace: Workspace) -> None:
    (workspace.root / "notes.txt").write_text("mine")
    other = content_id("checkpoint", "other")
    with writing(workspace, other) as out:
        (out / "weights").write_text("x")
    assert subjects(workspace) == {"notes.txt", f"artifacts/checkpoints/{other}"}


def test_files_that_are_gone_are_named(workspace: Workspace) -> None:
    (row,) = Ledger(workspace.ledger).query("SELECT checkpoint_id AS id FROM checkpoints")
    shutil.rmtree(artifact_path(workspace, row["id"]))
    assert subjects(workspace) == {row["id"]}


def test_a_sample_says_what_it_left_out(workspace: Workspace) -> None:
    looked = looked_at(workspace, sample=3)
    assert looked.faults == []
    assert looked.counts["completions"] == looked.counts["prompts"] == 3
    assert "all but 3 rows a table" in looked.skipped[-1]


def test_it_works_beside_what_writes(workspace: Workspace) -> None:
    """Each waits for the other."""
    is_over, has_begun = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not is_over.is_set():
            point(Ledger(workspace.ledger), "mine", content_id("dataset", number))
            has_begun.set()
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    assert has_begun.wait(60)
    try:
        faults = {fault.subject for fault in looked_at(workspace).faults}
    finally:
        is_over.set()
        writer.join()
    assert faults == {"mine"}  # it names snapshots that are not there


def said_by(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    sys.argv = ["solon", *command.split()]
    code = cli.answer()
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.usefixtures("argv")
def test_the_command_tells_by_its_exit_code(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said_by("verify", capsys)
    assert code == 0
    assert out.splitlines()[-1].startswith("all ")
    (workspace.root / "notes.txt").write_text("mine")
    code, out, _ = said_by("verify --json", capsys)
    told = json.loads(out)
    assert (code, told["is_whole"]) == (1, False)
    assert told["faults"][0]["subject"] == "notes.txt"


@pytest.mark.usefixtures("argv")
@pytest.mark.parametrize("command", ["plan", "doctor", "status", "verify"])
def test_a_torn_ledger_is_one_line(
    workspace: Workspace, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = workspace.ledger.read_bytes()
    workspace.ledger.write_bytes(content[: len(content) // 2])
    code, _, said = said_by(command, capsys)
    assert code == 2
    (line,) = said.strip().splitlines()
    assert "the ledger is damaged" in line


@pytest.fixture
def argv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [])
