"""An export, its card, and the way back: the same rows under the same ids, or one line why not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.explain.export import export_snapshot
from flows.explain.export_rows import FORMATS
from flows.run.import_rows import import_rows
from storage.errors import InputError
from storage.ledger import Ledger, Row, insert, now
from storage.lineage import trace
from storage.workspace import Workspace
from tasks import models
from tests.flows.world import World

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HH = DATA / "hh_helpful-base_pairs.jsonl.gz"
MEMBERS = "SELECT row_id, is_held_out FROM dataset_rows WHERE dataset_id = ? ORDER BY row_id"
COUNTS = ("prompts", "pairs", "examples", "datasets", "dataset_rows", "sets", "set_rows", "refs")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Pairs of programs, and of people with a licence."""
    home = tmp_path_factory.mktemp("exchange")
    said = [
        {"prompt": f"Say {n}.", "chosen": f"It is {n}.", "rejected": "No.", "principle": "kind"}
        for n in range(12)
    ]
    path = home / "said.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in said), encoding="utf-8")
    sets = [{"path": str(path), "source": "ours", "licence": "CC-BY-4.0"}]
    own = {"constitution": "checkable", "pairs.shares.distilled": 1, "pairs.people": sets}
    world = World(home / "home", **own)
    world.run(world.inputs)
    return world


def exported(world: World, out: Path, format: str = "trl", kind: str = "preferences") -> Path:
    snapshot = getattr(world.rows, kind)
    export_snapshot(world.ledger, snapshot.dataset_id, format, out)
    return out


def other(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "other" / "ledger.duckdb")


def counts(ledger: Ledger) -> dict[str, int]:
    if not ledger.exists:
        return dict.fromkeys(COUNTS, 0)
    return {n: ledger.query(f"SELECT count(*) AS n FROM {n}")[0]["n"] for n in COUNTS}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", ["preferences", "sft"])
def test_an_export_comes_back_under_the_same_ids(
    world: World, tmp_path: Path, format: str, kind: str
) -> None:
    if (format, kind) == ("hh", "sft"):
        pytest.skip("hh-rlhf's form has no single answers")
    out, ledger = exported(world, tmp_path / "out", format, kind), other(tmp_path)
    found, snapshot = import_rows(ledger, out), getattr(world.rows, kind)
    assert found["id"] == snapshot.dataset_id
    assert found["ref"] == "imported/out"
    assert found["new"] == found["rows"] == snapshot.row_count > 10
    members = [each.query(MEMBERS, [found["id"]]) for each in (ledger, world.ledger)]
    assert members[0] == members[1]
    before = counts(ledger)
    again = import_rows(ledger, out)
    assert again == found | {"new": 0}
    assert counts(ledger) == before


def test_rows_say_where_they_come_from(world: World, tmp_path: Path) -> None:
    out = exported(world, tmp_path / "pairs.jsonl")
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    theirs = [row for row in rows if row["source"] == "people"]
    own = [row for row in rows if row["source"] == "distilled"]
    assert len(theirs) == 12
    assert {(r["set"], r["licence"], r["ratio"]) for r in theirs} == {("ours", "CC-BY-4.0", "all")}
    assert {(r["evidence"], r["principle"]) for r in theirs} == {("people", "kind")}
    assert {row["set"] for row in own} == {""}
    assert "program" in {row["evidence"] for row in own} <= {"program", ""}
    assert all(row["principle"] and row["prompt_id"].startswith("prm_") for row in own)
    assert {row["split"] for row in rows} == {"train", "test"}
    examples = exported(world, tmp_path / "sft.jsonl", kind="sft").read_text(encoding="utf-8")
    assert all(json.loads(line)["principle"] for line in examples.splitlines())


def test_the_card_tells_words_models_and_licences(world: World, tmp_path: Path) -> None:
    out, inputs = tmp_path / "pairs.jsonl", world.read(**{"prompts.licence": "Apache-2.0"})
    settings = inputs.recipe.model_dump_json()
    run: Row = {"run_id": "run_test", "recipe": "smoke", "settings": settings}
    run |= {"constitution_id": inputs.constitution_id, "state": "completed", "started_at": now()}
    with world.ledger.transaction() as con:
        insert(con, "runs", [run])
    exported(world, out)
    text = out.with_name("pairs.jsonl.card.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["solon"]["written"] == world.rows.preferences.dataset_id
    assert "| ours | CC-BY-4.0 | all | 12 |" in text
    assert "| people | people | 12 |" in text
    assert f"| {len(world.inputs.prompts)} |" not in text  # only prompts of rows are counted
    assert f"constitution: checkable `{inputs.constitution_id}`" in text
    words = yaml.safe_load(text.split("```yaml")[1].split("```")[0])
    told = [p["critique"] for p in words["principles"]]
    assert told == [p.critique for p in inputs.constitution.principles]
    assert words["principles"][0]["check"] == {"max_words": 60}
    assert re.search(r"\| default \| \d+ \| Apache-2\.0 \|", text)
    assert "## Models" in text
    assert "| pairs | " in text.split("## Left out")[1]
    assert "| sixty-words | `prn_" in text


def changed(row: Row, **values: Any) -> Row:
    return row | values


Change = Callable[[list[Row]], list[Row]]
BAD: dict[str, tuple[Change, str]] = {
    "a text": (
        lambda rows: [changed(rows[0], chosen="Other."), *rows[1:]],
        r"jsonl:1: malformed: its content makes par_\w+, not par_\w+: it was changed",
    ),
    "a preference": (
        lambda rows: [*rows[:-1], changed(rows[-1], preference=0.5)],
        r"jsonl:\d+: malformed: its content makes",
    ),
    "a split": (
        lambda rows: [changed(rows[0], split="dev"), *rows[1:]],
        "jsonl:1: malformed: `split` is 'dev', not train or test",
    ),
    "a side": (
        lambda rows: [changed(r, split="train" if r["split"] == "test" else "test") for r in rows],
        "its card is of dst_.*some are missing, added or moved",
    ),
    "a row": (lambda rows: rows[1:], "some are missing, added or moved"),
    "evidence": (
        lambda rows: [changed(rows[0], evidence="god"), *rows[1:]],
        "jsonl:1: malformed: `evidence` is 'god'",
    ),
    "an id": (
        lambda rows: [{k: v for k, v in rows[0].items() if k != "id"}, *rows[1:]],
        "jsonl:1: malformed: its content makes par_",
    ),
    "every row": (lambda rows: [], "is an empty file"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_match_is_refused_and_nothing_is_written(
    world: World, tmp_path: Path, what: str
) -> None:
    change, rule = BAD[what]
    out, ledger = exported(world, tmp_path / "pairs.jsonl"), other(tmp_path)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    out.write_text("".join(json.dumps(r) + "\n" for r in change(rows)), encoding="utf-8")
    with pytest.raises(InputError, match=rule) as caught:
        import_rows(ledger, out)
    assert "\n" not in str(caught.value)
    assert not ledger.exists


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    ledger = other(tmp_path)
    for path, rule in ((tmp_path / "none", "no such file in"), (tmp_path, "holds no file of")):
        with pytest.raises(InputError, match=rule):
            import_rows(ledger, path)
    (tmp_path / "x.jsonl").write_text('{"prompt": "Why?", "chosen": "So.", "rejected": "No."}')
    with pytest.raises(InputError, match="`split` is None"):
        import_rows(ledger, tmp_path / "x.jsonl")
    with pytest.raises(InputError, match="a name is small letters"):
        import_rows(ledger, tmp_path / "x.jsonl", "A b")


def test_an_imported_row_comes_from_its_file(world: World, tmp_path: Path) -> None:
    """Where it was made nothing new is said of it; elsewhere, which file, and whose word."""
    out, ledger = exported(world, tmp_path / "out"), other(tmp_path)
    before = counts(world.ledger)
    assert import_rows(world.ledger, out, "back")["new"] == 0
    after = counts(world.ledger)
    assert {n for n in COUNTS if after[n] != before[n]} == {"sets", "refs"}
    found = import_rows(ledger, out)
    told = trace(ledger, "imported/out", "up")
    (own,) = [node for node in told["nodes"].values() if node["kind"] == "set"]
    assert own["path"] == str(out)
    assert len(own["digest"]) == 32
    assert own["label"] == f"snapshot {found['id']}"
    said = "SELECT given_by, run_id, source FROM labels JOIN pairs USING (pair_id)"
    labels = {tuple(row.values()) for row in ledger.query(said)}
    assert labels == {(by, found["set"], "imported") for by in ("people", "program")}
    again = tmp_path / "again.jsonl"
    export_snapshot(ledger, "imported/out", "trl", again)
    rows = [json.loads(line) for line in again.read_text(encoding="utf-8").splitlines()]
    assert {row["source"] for row in rows} == {"imported"}
    assert "kind" in {row["principle"] for row in rows}
    facts = {(row["set"], row["licence"], row["evidence"]) for row in rows}
    assert {("ours", "CC-BY-4.0", "people"), ("", "", "program")} <= facts
    card = again.with_name("again.jsonl.card.md").read_text(encoding="utf-8")
    assert f"imported from out, hash `{own['digest']}`" in card
    shutil.rmtree(out)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A snapshot of 200 pairs of hh-rlhf."""
    if not HH.is_file():
        pytest.skip("the public trial data is not at ../shared/data")
    import gzip

    home = tmp_path_factory.mktemp("real")
    with gzip.open(HH, "rt", encoding="utf-8") as file:
        lines = [line for _, line in zip(range(240), file, strict=False)]
    (home / "hh.jsonl").write_text("".join(lines), encoding="utf-8")
    world = World(home / "home", **{"pairs.people": str(home / "hh.jsonl"), "prompts.limit": 5})
    world.run(world.inputs)
    return world


@pytest.mark.parametrize("format", FORMATS)
def test_two_hundred_real_pairs_go_out_and_come_back(
    real: World, tmp_path: Path, format: str
) -> None:
    out = tmp_path / "out"
    snapshot = real.rows.preferences
    found = export_snapshot(real.ledger, snapshot.dataset_id, format, out)
    assert found["rows"] >= 200
    back = import_rows(other(tmp_path), out)
    assert back["rows"] == found["rows"] == snapshot.row_count - found["left_out"]
    assert found["left_out"] or back["id"] == snapshot.dataset_id


def loaded(out: Path, cache: Path) -> Any:
    from datasets import load_dataset

    return load_dataset(str(out), cache_dir=str(cache))


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_datasets_loads_every_form(real: World, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    found = export_snapshot(real.ledger, real.rows.preferences.dataset_id, format, out)
    sets = loaded(out, tmp_path / "cache")
    assert {name: len(rows) for name, rows in sets.items()} == {
        "train": found["rows"] - found["held_out"],
        "test": found["held_out"],
    }
    ids = {row for rows in sets.values() for row in rows["id"]}
    assert len(ids) == found["rows"]
    assert ids <= {*real.rows.preferences.training, *real.rows.preferences.held_out}
    sets.save_to_disk(str(tmp_path / "saved"))
    straight, through = (import_rows(other(tmp_path), tmp_path / n) for n in ("out", "saved"))
    assert (through["id"], through["new"]) == (straight["id"], 0)


@pytest.mark.slow
def test_trl_trains_on_an_export(real: World, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    out = tmp_path / "out"
    export_snapshot(real.ledger, real.rows.preferences.dataset_id, "trl", out)
    sets = loaded(out, tmp_path / "cache")
    folder = models.prepare("random:tiny", Workspace(tmp_path / "home")).path
    settings: dict[str, Any] = {"max_steps": 2, "per_device_train_batch_size": 2, "max_length": 128}
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(folder),
        args=DPOConfig(output_dir=str(tmp_path / "dpo"), report_to=[], use_cpu=True, **settings),
        train_dataset=sets["train"],
        eval_dataset=sets["test"],
        processing_class=AutoTokenizer.from_pretrained(folder),
    )
    result = trainer.train()
    assert result.global_step == 2
    assert 0 < result.training_loss < 10
