"""Two recipes in one workspace, their runs interleaved, one broken off: each has its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from flows.commands import cli
from flows.commands.options import whose
from flows.explain.why import story
from flows.plan import gates
from flows.run.results import Results
from storage.errors import InputError
from storage.ids import content_id, short
from storage.ledger import MIGRATIONS, Ledger, insert, now, point
from storage.own_refs import target
from tasks.generation.record import constitution_id

from ..world import World

Said = Callable[..., str]
SHOP, TRIAL = "shop", "trial"
# What a run trains here is a name and a learning rate.
RATES = {SHOP: 0.1, TRIAL: 0.9}
PARTS = {"libraries": {}, "seed": 7, "precision": "float32", "code": "abc"}


class Project(World):
    """A recipe of that name; its runs make rows by rule, and then what they are told to train."""

    def run_until(self, run_id: str, stages: tuple[str, ...], state: str = "completed") -> None:
        name = self.inputs.recipe.name
        self.ledger.recipe, self.run_id = name, run_id
        self.run(self.inputs)
        used = constitution_id(self.inputs.constitution)
        row = {"run_id": run_id, "recipe": name, "constitution_id": used}
        row |= {"settings": self.inputs.recipe.model_dump_json(), "state": state}
        results = Results(self.ledger, run_id)
        with self.ledger.transaction() as con:
            insert(con, "runs", [row | {"started_at": now(), "ended_at": now()}])
        for snapshot in (self.rows.sft, self.rows.preferences):
            results.point(f"{snapshot.kind}-rows", snapshot.dataset_id)
        for stage in stages:
            results.point(stage, self._trained(run_id, stage))

    def _trained(self, run_id: str, stage: str) -> str:
        made = content_id("checkpoint", [run_id, stage])
        parts = {"settings": {"learning_rate": RATES[self.inputs.recipe.name]}, **PARTS}
        row: dict[str, Any] = {
            "checkpoint_id": made,
            "base_model_id": "mdl_1",
            "dataset_id": "dst_1",
        }
        row |= {"run_id": run_id, "parent_ids": [], "parent_roles": [], "stage": stage}
        row |= {"components": json.dumps(parts), "path": "", "duration_s": 1.0}
        with self.ledger.transaction() as con:
            insert(con, "checkpoints", [row | {"created_at": now()}])
        return made


CONSTITUTIONS = {SHOP: "checkable", TRIAL: "default"}


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Project]:
    """shop, then trial, then shop broken off in the middle, then trial."""
    home = tmp_path / "home"
    monkeypatch.setenv("SOLON_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    found = {
        name: Project(home, name=name, constitution=words, **{"prompts.limit": 12})
        for name, words in CONSTITUTIONS.items()
    }
    for name, project in found.items():
        recipe = yaml.safe_load(project.inputs.recipe.model_dump_json())
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    found[SHOP].run_until("run_1", ("sft", "dpo"))
    found[TRIAL].run_until("run_2", ("sft", "dpo"))
    found[SHOP].run_until("run_3", ("sft",), "failed")
    found[TRIAL].run_until("run_4", ("sft", "dpo"))
    return found


@pytest.fixture
def said() -> Said:
    def solon(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, [*arguments])
        if result.exception:
            raise result.exception
        return result.stdout

    return solon


def made(run_id: str, stage: str) -> str:
    return content_id("checkpoint", [run_id, stage])


def test_a_ref_is_that_of_the_recipe_at_hand(projects: dict[str, Project], said: Said) -> None:
    own = {SHOP: made("run_1", "dpo"), TRIAL: made("run_4", "dpo")}
    for name, found in own.items():
        options = ("--recipe", f"{name}.yaml", "--json")
        assert json.loads(said("why", "latest/dpo", *options))["id"] == found
        assert json.loads(said("why", f"{name}/latest/dpo", "--json"))["id"] == found
    result = CliRunner().invoke(cli.app, ["why", "latest/dpo"])  # of the one that ran last
    assert short(own[TRIAL]) in result.stdout
    assert result.stderr == "latest/dpo: of recipe trial; of another with --recipe shop\n"
    assert short(made("run_3", "sft")) in said("why", "shop/latest/sft")
    Path("recipe.yaml").write_text(Path("shop.yaml").read_text())
    assert short(own[SHOP]) in said("why", "latest/dpo")
    rows = json.loads(said("export", "latest/preferences-rows", "--out", "pairs", "--json"))
    assert rows["id"] == projects[SHOP].rows.preferences.dataset_id
    listed = json.loads(said("ref", "list", "--json"))["refs"]
    known = {row["name"]: row["target_id"] for row in listed}
    assert [known[f"{name}/latest/dpo"] for name in own] == [*own.values()]
    assert max(map(len, said("ref", "list").splitlines())) <= 80


def test_what_only_another_recipe_has_is_named(projects: dict[str, Project], said: Said) -> None:
    point(projects[SHOP].ledger, "shop/latest/ppo", made("run_1", "dpo"))
    with pytest.raises(InputError, match="recipe trial has no such ref yet; there is shop/latest/"):
        said("why", "latest/ppo")


def test_plans_compare_with_the_same_recipe(projects: dict[str, Project]) -> None:
    from flows.plan.history import History

    for name, project in projects.items():
        before = History(project.ledger).latest_components("dpo")
        assert before
        assert before["settings"]["learning_rate"] == RATES[name]
    changed = projects[SHOP].read(**{"generation.temperature": 0.5})
    projects[SHOP].ledger.recipe = SHOP
    why = {(c["step"], c["component"]) for c in projects[SHOP].plan(changed).why}
    assert ("draft", "sampling") in why
    new = projects[TRIAL].read(name="third", **{"generation.temperature": 0.5})
    ledger = projects[TRIAL].ledger
    ledger.recipe = "third"
    assert {c["component"] for c in projects[TRIAL].plan(new).why} == {"prompt"}
    assert History(ledger).latest_components("dpo") is None


def test_the_story_of_a_row_is_of_its_recipe(projects: dict[str, Project]) -> None:
    """Of a critique that trial made where shop has one, nothing is said of shop's."""
    sql = (
        "SELECT completion_id FROM completions WHERE run_id = 'run_2' AND step = 'critique' LIMIT 1"
    )
    ledger = projects[TRIAL].ledger
    (row,) = ledger.query(sql)
    with ledger.transaction() as con:
        told = story(con, row["completion_id"])
    assert told
    assert told["why"]["is_first"]


def test_a_champion_is_the_recipes_own(projects: dict[str, Project], said: Said) -> None:
    said("ref", "set", "champion", made("run_1", "dpo"), "--force", "--recipe", "shop")
    assert target(projects[SHOP].ledger, "champion") == made("run_1", "dpo")
    assert gates.holder(projects[TRIAL].ledger) is None
    found = json.loads(said("status", "--recipe", "trial.yaml", "--json"))
    told = {p["recipe"]: p["champion"] for p in found["projects"]}
    assert told == {SHOP: made("run_1", "dpo"), TRIAL: None}
    lines = said("status", "--recipe", "shop.yaml").splitlines()
    assert max(map(len, lines[1:])) <= 80


def test_a_slug_is_the_principle_of_the_recipe(projects: dict[str, Project], said: Said) -> None:
    """`impact SLUG` does not mix two constitutions that both have it."""
    ledger = projects[SHOP].ledger
    twin = content_id("principle", "twin")
    with ledger.transaction() as con:
        con.execute(
            "INSERT INTO principles SELECT * REPLACE (? AS principle_id) FROM principles"
            " WHERE slug = 'be-concise'",
            [twin],
        )
    found = json.loads(said("impact", "be-concise", "--recipe", "trial", "--json"))
    assert found["id"] != twin


def test_refs_from_before_go_to_the_recipe_that_made_what_they_name(
    projects: dict[str, Project], tmp_path: Path
) -> None:
    ledger = Ledger(projects[SHOP].ledger.path)
    moves = ["run_1", "run_2", "run_1", "run_4"]
    other = content_id("checkpoint", "of nobody")
    with ledger.transaction() as con:
        con.execute("DELETE FROM refs")
        con.execute("DELETE FROM ref_moves")
        con.execute("DELETE FROM migrations WHERE number = 16")
    for run_id in moves:
        point(ledger, "latest/dpo", made(run_id, "dpo"))
    point(ledger, "champion", other)
    point(ledger, "env/production", made("run_1", "dpo"))
    assert (MIGRATIONS / "0016_refs_of_recipes.sql").is_file()
    again = Ledger(ledger.path)
    known = {row["name"]: row["target_id"] for row in again.query("SELECT * FROM refs")}
    assert known == {
        "shop/latest/dpo": made("run_1", "dpo"),
        "trial/latest/dpo": made("run_4", "dpo"),
        "champion": other,
        "env/production": made("run_1", "dpo"),
    }
    kept = again.query("SELECT name, number, from_id FROM ref_moves WHERE name LIKE '%/latest/%'")
    assert sorted((row["name"], row["number"], row["from_id"]) for row in kept) == [
        ("shop/latest/dpo", 0, None),
        ("trial/latest/dpo", 0, None),
        ("trial/latest/dpo", 1, made("run_2", "dpo")),
    ]


def test_a_run_tells_what_it_did(projects: dict[str, Project], said: Said) -> None:
    results = Results(projects[SHOP].ledger, "run_3")
    results.decide("critiques", "critiques", "MISS", 9, [("step", "(none)", "new")])
    results.decide("sft", made("run_3", "sft"), "MISS", why=[("settings.lr", 0.1, 0.2)])
    lines = said("why", "run_3").splitlines()
    assert lines[0] == "run_3 of recipe shop: failed"
    assert "critiques: 9 made for the first time" in lines
    assert lines[-2].endswith("made because settings.lr changed (0.1 -> 0.2)")
    assert json.loads(said("why", "run_3", "--json"))["run"]["recipe"] == SHOP
    with pytest.raises(InputError, match="no run has this id"):
        said("why", "run_9")


def test_rows_of_a_checkpoint_are_no_export(projects: dict[str, Project], said: Said) -> None:
    with pytest.raises(InputError, match="solon export-model shop/latest/dpo --out FOLDER"):
        said("export", "shop/latest/dpo", "--out", "x")


def test_advice_names_the_recipe_only_where_it_must(
    projects: dict[str, Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert whose(TRIAL) == ""
    assert whose(SHOP) == "shop/"
    Path("recipe.yaml").write_text(Path("shop.yaml").read_text())
    assert whose(SHOP) == ""
