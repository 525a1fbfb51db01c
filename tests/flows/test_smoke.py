"""The main job end to end on a tiny random model: every stage, twice, edited, broken and mended."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from constitution.load import load as load_constitution
from storage.ids import short
from storage.ledger import Ledger, point

from .conftest import Solon

pytestmark = pytest.mark.slow

STEPS = ["drafts", "critiques", "revisions", "pairs", "sft", "reward", "dpo", "ppo", "evaluate"]


@pytest.fixture(scope="module")
def home(smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(smoke / "home", tmp_path_factory.mktemp("smoke") / "home"))


@pytest.fixture(scope="module")
def solon(home: Path) -> Solon:
    return Solon(home)


@pytest.fixture(scope="module")
def first(smoke: Path, home: Path) -> dict[str, Any]:
    text = (smoke / "result.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text.replace(str(smoke / "home"), str(home)))
    return found


@pytest.fixture(scope="module")
def served(solon: Solon, first: dict[str, Any]) -> Iterator[Solon]:
    """From here on one Prefect server serves all commands."""
    with solon.serving():
        yield solon


def steps(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in result["steps"]}


def test_every_step_is_taken(first: dict[str, Any]) -> None:
    assert [step["step"] for step in first["steps"]] == STEPS
    assert steps(first)["drafts"]["generated"] == 48
    assert [steps(first)[stage]["trained"] for stage in STEPS[4:]] == [1] * 5
    assert all(first["checkpoints"].values())
    report = Path(first["report"])
    assert report.name == "report.html"
    assert report.with_suffix(".md").read_text().startswith("# No verdict")


def test_a_second_run_does_nothing_and_says_the_same(
    solon: Solon, home: Path, first: dict[str, Any]
) -> None:
    """No server is started for it either: nobody writes to the server's database or log."""
    before = {path: path.stat().st_mtime_ns for path in (home / "prefect").iterdir()}
    again = solon.json("run", "--recipe", "smoke")
    assert {path: path.stat().st_mtime_ns for path in (home / "prefect").iterdir()} == before
    assert again["run_id"] is None
    assert all(step["generated"] == step["trained"] == 0 for step in again["steps"])
    for name in ("snapshots", "checkpoints", "report"):
        assert again[name] == first[name]


def test_every_policy_is_judged_and_said_in_a_sentence(solon: Solon, first: dict[str, Any]) -> None:
    said = "PPO answered too few held-out prompts for a verdict: not promoted."
    assert first["verdict"] == said
    assert {gate["policy"]: gate["checkpoint_id"] for gate in first["gates"]} == {
        stage: first["checkpoints"][stage] for stage in ("sft", "dpo", "ppo")
    }
    out = solon.run("run", "--recipe", "smoke")[0]
    assert said in out
    enough = solon.json("run", "--recipe", "smoke", "--set", "gate.questions=4")
    assert enough["run_id"] is None, "other rules need no other run"
    assert enough["verdict"] != said
    assert len(enough["gates"]) > len(first["gates"])
    assert solon.json("run", "--recipe", "smoke")["gates"] == first["gates"]
    err = solon.run("ref", "set", "champion", "latest/ppo", code=2)[1]
    assert "it does not pass its gates (4 held-out prompts answered, fewer than the 8" in err
    assert "--force --note WHY" in err


def test_every_command_that_is_said_runs_as_it_was_said(
    solon: Solon, tmp_path: Path, first: dict[str, Any]
) -> None:
    out = solon.run("run", "--recipe", "smoke", "--set", "gate.questions=4")[0]
    page = Path(first["report"]).with_suffix(".md").read_text(encoding="utf-8")
    said = re.findall(r"(?m)^  solon (\S.*?)(?: {2,}.*)?$", out)
    rows = re.findall(r"solon ((?:why|data report) [\w\\]+)", page)
    said += [line.replace("\\", "") for line in rows]
    assert {"ckp", "con", "dst"} <= {line.split()[-1].split("_")[0] for line in rows}
    assert [line.split()[0] for line in said[:3]] == ["plan", "why", "export"]
    assert said[0] == "plan --recipe smoke --set gate.questions=4"
    for line in dict.fromkeys(said):
        solon.run(*shlex.split(line), cwd=tmp_path)


def test_artifacts_the_ledger_never_heard_of_are_taken_over(
    served: Solon, home: Path, first: dict[str, Any]
) -> None:
    """As a kill leaves them between the last file and the ledger's row."""
    with Ledger(home / "ledger.duckdb").transaction() as con:
        con.execute("DELETE FROM checkpoints")
        con.execute("DELETE FROM metrics")
    again = served.json("run", "--recipe", "smoke")
    answers = 4 * 4  # policies and held-out prompts
    assert [steps(again)[stage]["reused"] for stage in STEPS[4:]] == [1, 1, 1, 1, answers]
    assert all(step["trained"] == 0 for step in again["steps"])
    assert again["checkpoints"] == first["checkpoints"]
    assert served.json("why", "latest/sft")["id"] == first["checkpoints"]["sft"]


def test_checkpoints_are_adapters_with_metrics_and_a_curve(
    smoke: Path, home: Path, first: dict[str, Any]
) -> None:
    for stage, found in first["checkpoints"].items():
        folder = home / "artifacts" / "checkpoints" / found
        for name in (
            "adapter/adapter_model.safetensors",
            "metrics.jsonl",
            "loss.png",
            "MANIFEST.json",
        ):
            assert (folder / name).is_file(), (stage, name)
        config = (folder / "adapter" / "adapter_config.json").read_text()
        assert json.loads(config)["base_model_name_or_path"] == "random:tiny"
        assert str(smoke) not in config


def test_no_pickle_is_left_in_an_artifact(home: Path, first: dict[str, Any]) -> None:
    found = [
        p.name
        for p in (home / "artifacts").rglob("*")
        if p.suffix in (".bin", ".pt", ".pkl", ".pth")
    ]
    assert found == []


def test_why_names_everything_behind_ppo(solon: Solon, first: dict[str, Any]) -> None:
    found = solon.json("why", "latest/ppo")
    assert found["id"] == first["checkpoints"]["ppo"]
    kinds = found["counts"]
    assert kinds["checkpoint"] == 2  # SFT and reward
    assert kinds["prompt"] == 48
    assert kinds["model"] == 1
    parts = found["nodes"][found["id"]]["components"]
    assert parts["libraries"]["torch"] == "2.13.0"
    assert len(parts["code"]) == 32
    text, _ = solon.run("why", "latest/ppo")
    for node in found["nodes"].values():
        if node["kind"] == "principle":
            assert node["label"] in text


def test_impact_of_a_principle_reaches_rows_and_checkpoints(
    solon: Solon, first: dict[str, Any]
) -> None:
    why = solon.json("why", "latest/ppo")
    slug = next(n["label"] for n in why["nodes"].values() if n["kind"] == "principle")
    found = solon.json("impact", slug)
    assert found["counts"]["completion"] >= 2
    assert found["counts"]["checkpoint"] >= 3
    assert first["checkpoints"]["ppo"] in found["nodes"]
    assert "flowchart" in solon.run("impact", slug, "--mermaid")[0]


def test_a_checkpoint_that_was_deleted_or_torn_is_made_again(
    served: Solon, home: Path, first: dict[str, Any]
) -> None:
    shutil.rmtree(home / "artifacts" / "checkpoints" / first["checkpoints"]["dpo"])
    plan = served.json("plan", "--recipe", "smoke")
    assert {s["step"] for s in plan["steps"] if s["to_train"][1]} == {"dpo"}
    assert [w["component"] for w in plan["why"]] == ["artifact"]
    again = served.json("run", "--recipe", "smoke")
    assert [s["step"] for s in again["steps"] if s["trained"]] == ["dpo"]
    assert again["checkpoints"] == first["checkpoints"]
    verdicts = Ledger(home / "ledger.duckdb").query(
        "SELECT DISTINCT verdict FROM decisions WHERE step = 'dpo'"
    )
    assert {row["verdict"] for row in verdicts} == {"MISS", "REPAIRED"}


def test_a_damaged_parent_is_mended_before_anything_is_trained_from_it(
    served: Solon, home: Path, first: dict[str, Any]
) -> None:
    """The same bytes to the file's size: only what is in them tells."""
    folder = home / "artifacts" / "checkpoints"
    sft, dpo = (folder / first["checkpoints"][stage] for stage in ("sft", "dpo"))
    weights = sft / "adapter" / "adapter_model.safetensors"
    written = {path: path.read_bytes() for path in (weights, dpo / weights.relative_to(sft))}
    damaged = bytearray(written[weights])
    damaged[len(damaged) // 2] ^= 0xFF
    weights.write_bytes(damaged)
    shutil.rmtree(dpo)
    said = served.run("doctor", code=1)[0]
    assert f"artifact {short(sft.name)}: files are missing or damaged" in said
    plan = served.json("plan", "--recipe", "smoke")
    assert {s["step"] for s in plan["steps"] if s["to_train"][1]} == {"sft", "dpo"}
    again = served.json("run", "--recipe", "smoke")
    assert [s["step"] for s in again["steps"] if s["trained"]] == ["sft", "dpo"]
    assert again["checkpoints"] == first["checkpoints"]
    assert {path: path.read_bytes() for path in written} == written


def test_a_checkpoint_says_what_it_was_computed_in(
    solon: Solon, home: Path, first: dict[str, Any]
) -> None:
    chosen = solon.json("doctor")["compute"]["dtype"]
    rows = Ledger(home / "ledger.duckdb").query("SELECT DISTINCT device, dtype FROM checkpoints")
    assert rows == [{"device": "cpu", "dtype": chosen}]
    asked = ("--set", f"compute={chosen}")
    plan = solon.json("plan", "--recipe", "smoke", *asked)
    assert plan["steps"][4]["to_train"] == [1, 1]
    assert (plan["why"][0]["component"], plan["why"][0]["is"]) == ("precision", f"nf4, {chosen}")


def test_an_edited_setting_retrains_what_it_reaches_and_no_more(
    solon: Solon, first: dict[str, Any]
) -> None:
    plan = solon.json("plan", "--recipe", "smoke", "--set", "dpo.beta=0.3")
    assert {s["step"] for s in plan["steps"] if s["to_train"][1]} == {"dpo", "evaluate"}
    assert plan["why"][0]["component"] == "settings.beta"
    assert plan["cost"]["calls"] == [0, 4]  # DPO's answers; the others' are there
    assert plan["cost"]["seconds"][0] > 0


def test_refs_follow_a_run_that_had_nothing_to_do(
    served: Solon, home: Path, first: dict[str, Any]
) -> None:
    other = served.json("refresh", "--recipe", "smoke", "--set", "prompts.limit=20")
    assert other["snapshots"] != first["snapshots"]
    again = served.json("refresh", "--recipe", "smoke")
    assert again["run_id"] is None
    rows = Ledger(home / "ledger.duckdb").query(
        "SELECT target_id FROM refs WHERE name = 'smoke/latest/preferences-rows'"
    )
    assert rows == [{"target_id": first["snapshots"]["preferences"]}]


def test_the_parts_run_alone(served: Solon, first: dict[str, Any]) -> None:
    err = served.run("train", "--recipe", "smoke", "--set", "prompts.limit=50", code=1)[1]
    assert "run `solon refresh` first" in err.splitlines()[-1]
    err = served.run("evaluate", "--recipe", "smoke", "--set", "sft.max_steps=7", code=1)[1]
    assert "run `solon train` first" in err.splitlines()[-1]
    assert served.json("refresh", "--recipe", "smoke")["snapshots"] == first["snapshots"]


def test_an_evaluation_asks_for_what_is_new_only(
    served: Solon, home: Path, first: dict[str, Any]
) -> None:
    """Fewer prompts ask nothing; more ask theirs, of every policy; and each answer is traced."""
    ledger = Ledger(home / "ledger.duckdb")
    fewer = ("--recipe", "smoke", "--set", "evaluation.prompts=1")
    planned = steps(served.json("plan", *fewer))["evaluate"]
    assert (planned["to_generate"], planned["to_train"], planned["reused"]) == ([0, 0], [1, 1], 4)
    scored = ledger.query("SELECT count(*) AS n FROM scores")
    measured = steps(served.json("evaluate", *fewer))["evaluate"]
    assert (measured["generated"], measured["reused"], measured["trained"]) == (0, 4, 1)
    assert ledger.query("SELECT count(*) AS n FROM scores") == scored

    cooler = ("--recipe", "smoke", "--set", "evaluation.temperature=0.5")
    few = served.json("evaluate", *cooler, "--set", "evaluation.prompts=1")
    assert steps(few)["evaluate"]["generated"] == 4
    assert steps(served.json("plan", *cooler))["evaluate"]["to_generate"] == [12, 12]
    found = served.json("evaluate", *cooler)
    assert (steps(found)["evaluate"]["generated"], steps(found)["evaluate"]["reused"]) == (12, 4)
    again = served.json("evaluate", *cooler)
    assert (again["run_id"], steps(again)["evaluate"]["generated"]) == (None, 0)
    assert steps(again)["evaluate"]["reused"] == 16

    evaluation = steps(found)["evaluate"]["id"]
    path = home / "artifacts" / "evaluations" / evaluation / "answers.jsonl"
    assert path.read_bytes().isascii()  # no odd line end in a text ends a row
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["policy"] for row in rows[::4]] == ["base", "sft", "dpo", "ppo"]
    assert all(row["kl"] == 0.0 for row in rows if row["policy"] == "sft")
    assert any(row["kl"] for row in rows if row["policy"] == "ppo")
    assert all(row["reward"] is not None for row in rows)
    answer = next(row for row in rows if row["policy"] == "ppo")
    why = served.json("why", answer["completion_id"])
    assert first["checkpoints"]["ppo"] in why["nodes"]
    assert why["counts"]["prompt"] == 48  # its own, and those behind its checkpoint
    text = served.run("why", answer["completion_id"])[0]
    assert "answer" in text
    assert "it was generated again because sampling changed (1/1 -> 0.5/1)" in text
    assert evaluation in served.json("impact", answer["completion_id"])["nodes"]


def test_preview_makes_a_few_rows_that_the_run_reuses(
    served: Solon, first: dict[str, Any], copy_of_constitution: Any
) -> None:
    edited = copy_of_constitution("    critique: ", "    critique: Please ")
    slug = load_constitution(edited).principles[0].slug
    words = ("--recipe", "smoke", "--set", f"constitution={edited}")
    before = served.json("plan", *words)["cost"]["calls"][0]
    found = served.json("preview", slug, "-n", "1", *words)
    assert (found["generated"], len(found["rows"])) == (2, 1)
    assert found["rows"][0]["before"]["principle"] == slug
    assert served.json("plan", *words)["cost"]["calls"][0] == before - 2
    assert served.json("preview", slug, "-n", "1", *words)["generated"] == 0
    assert served.json("plan", "--recipe", "smoke")["cost"]["calls"] == [0, 0]


def test_ablate_trains_without_a_principle_and_leaves_what_is_in_use(
    served: Solon, home: Path, first: dict[str, Any]
) -> None:
    ledger = Ledger(home / "ledger.duckdb")
    slugs = ledger.query(
        "SELECT slug FROM revisions JOIN principles USING (principle_id)"
        " JOIN dataset_rows ON row_id = pair_id WHERE dataset_id = ? AND NOT is_held_out",
        [first["snapshots"]["preferences"]],
    )
    slug, recipe = slugs[0]["slug"], ("--recipe", "smoke")
    said = served.run("ablate", slug, *recipe, "--set", "sft.max_steps=7", code=1)[1]
    assert said.splitlines()[-1].endswith("solon run first")
    point(ledger, "smoke/latest/preferences-rows", "dst_of-another-recipe")
    found = served.json("ablate", slug, *recipe)
    known = {row["name"]: row["target_id"] for row in ledger.query("SELECT * FROM refs")}
    assert known["smoke/latest/preferences-rows"] == "dst_of-another-recipe"
    assert (
        known[f"smoke/ablate/{slug}/preferences-rows"]
        == found["snapshots"]["without"]["preferences"]
    )
    assert found["left_out"]["pairs"] > 0
    assert found["checkpoints"]["with"] == first["checkpoints"]
    assert not set(found["checkpoints"]["without"].values()) & set(first["checkpoints"].values())
    assert {row["policy"] for row in found["metrics"]} == {"sft", "dpo", "ppo"}
    assert served.json("run", "--recipe", "smoke")["run_id"] is None
    assert served.json("why", "latest/dpo")["id"] == first["checkpoints"]["dpo"]


@pytest.mark.parametrize(
    ("format", "files"),
    [
        ("trl", {"train.jsonl", "test.jsonl", "README.md"}),
        ("hh", {"train.jsonl", "test.jsonl", "README.md"}),
        ("hf", {"data", "README.md"}),
    ],
)
def test_export(
    solon: Solon, tmp_path: Path, first: dict[str, Any], format: str, files: set[str]
) -> None:
    out = tmp_path / "out"
    found = solon.json("export", "latest/preferences-rows", "--format", format, "--out", str(out))
    assert found["id"] == first["snapshots"]["preferences"]
    held_out = "SELECT count(*) AS n FROM dataset_rows WHERE dataset_id = ? AND is_held_out"
    assert Ledger(solon.home / "ledger.duckdb").query(held_out, [found["id"]]) == [
        {"n": found["held_out"]}
    ]
    none = set() if found["held_out"] else {"test.jsonl"}  # of eight rows or so: by the processor
    assert {p.name for p in out.iterdir()} == files - none
    assert first["snapshots"]["preferences"] in (out / "README.md").read_text()
    solon.run("export", "latest/preferences-rows", "--out", str(out), code=2)


def test_the_run_is_in_prefects_database(home: Path, first: dict[str, Any]) -> None:
    """Runs that needed no server of the user's appear in the UI of the same workspace."""
    import sqlite3

    with sqlite3.connect(f"file:{home / 'prefect' / 'prefect.db'}?mode=ro", uri=True) as db:
        names = [name for (name,) in db.execute("SELECT name FROM flow_run")]
        states = {
            state
            for (state,) in db.execute("SELECT state_type FROM flow_run WHERE name = 'align smoke'")
        }
    assert "align smoke" in names
    assert "COMPLETED" in states
