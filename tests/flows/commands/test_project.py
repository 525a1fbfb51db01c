"""A project of one's own: what init writes, and that a folder's recipe is found and read from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from constitution.lint import lint
from flows.commands import cli
from flows.plan.recipe import load, settings
from flows.plan.recipe_file import names
from tasks.prompts import read_prompts

Typed = Callable[..., tuple[str, str]]


@pytest.fixture
def typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Typed:
    """Types a command in an empty folder; (standard output, standard error)."""
    folder = tmp_path / "My shop"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SOLON_HOME", raising=False)

    def answer(*words: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr("sys.argv", ["solon", *words])
        found = cli.answer()
        out, err = capsys.readouterr()
        assert found == code, err
        return out, err

    return answer


def read(typed: Typed, *words: str) -> Any:
    return json.loads(typed(*words, "--json")[0])


def test_init_writes_a_project_that_is_planned_as_it_is(typed: Typed) -> None:
    out, _ = typed("init")
    assert out.splitlines()[-1].strip() == "solon plan"
    assert {path.name for path in Path().iterdir()} == {
        *("recipe.yaml", "constitution.yaml", "prompts.csv", "README.md")
    }
    assert load("recipe.yaml").name == "my-shop"
    prompts = read_prompts("prompts.csv")
    assert (len(prompts.prompts), prompts.exclusions) == (120, [])
    assert lint(Path("constitution.yaml"), {p.category for p in prompts.prompts}) == []
    out, _ = typed("plan")
    assert out.startswith("recipe my-shop (recipe.yaml): rules of constitution.yaml; 120 prompts")
    assert read(typed, "plan")["recipe"] == "my-shop"


def test_what_people_change_is_explained_in_a_comment(typed: Typed) -> None:
    typed("init")
    lines = Path("recipe.yaml").read_text().splitlines()
    assert [line for line in lines if ": " in line and "#" not in line] == ["  temperature: 0.3"]


def test_nothing_is_written_over(typed: Typed) -> None:
    Path("prompts.csv").write_text("mine")
    _, err = typed("init", code=2)
    assert err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["prompts.csv"]
    Path("README.md").write_text("mine too")
    Path("prompts.csv").unlink()
    assert "README.md was there" in typed("init")[0]
    assert Path("README.md").read_text() == "mine too"


def test_init_reads_a_file_of_ones_own_and_says_what_it_understood(typed: Typed) -> None:
    Path("in").mkdir()
    Path("in/q.csv").write_text("prompt,category\nWhy?,a\nWhy?,a\n,b\nHow?,b\n")
    out, _ = typed("init", "sub", "--prompts", "in/q.csv")
    assert "in/q.csv: 2 prompts kept in 2 categories (a, b)" in out
    assert "left out: 1 duplicate, as row 3" in out
    assert "left out: 1 empty, as row 4" in out
    assert not Path("sub/prompts.csv").exists()
    assert load("sub/recipe.yaml").prompts.path == "sub/../in/q.csv"
    half = ("--recipe", "sub/recipe.yaml", "--set", "prompts.held_out_percent=90")
    assert read(typed, "plan", *half)["recipe"] == "sub"


def test_a_bad_file_of_prompts_starts_no_project(typed: Typed) -> None:
    Path("q.csv").write_text("")
    typed("init", "sub", "--prompts", "q.csv", code=2)
    typed("init", "sub", "--prompts", "none.csv", code=2)
    assert not Path("sub").exists()


def test_paths_count_from_the_recipe_and_those_of_set_from_here(typed: Typed) -> None:
    typed("init", "sub")
    recipe = load("sub/recipe.yaml", {"judge.gold": "gold.jsonl"})
    assert recipe.constitution == "sub/constitution.yaml"
    assert recipe.prompts.path == "sub/prompts.csv"
    assert recipe.judge.gold == "gold.jsonl"
    assert recipe.evaluation.probes == ("helpfulness",)
    other = Path("sub/other.yaml")
    other.write_text(
        "name: other\nmodel: ./weights\nprompts: everyday\nconstitution: checkable\n"
        "judge: {gold: gold.jsonl}\nevaluation: {probes: [honesty, own.jsonl]}\n"
    )
    recipe = load("sub/other.yaml")
    assert recipe.model == str(Path("sub/weights").absolute())
    assert (recipe.prompts.path, recipe.constitution) == ("everyday", "checkable")
    assert recipe.judge.gold == "sub/gold.jsonl"
    assert recipe.evaluation.probes == ("honesty", "sub/own.jsonl")


def test_a_path_is_short_for_prompts(typed: Typed) -> None:
    assert load("smoke", {"prompts": "q.csv", "prompts.limit": 3}).prompts.limit == 3
    assert load("smoke", {"prompts": "q.csv"}).prompts.path == "q.csv"


def test_the_workspace_of_a_project_offers_its_recipe(typed: Typed) -> None:
    shipped = names()
    assert "demo" in shipped
    typed("init")
    assert names() == sorted([*shipped, "my-shop"])
    assert load("my-shop").prompts.path == str(Path("prompts.csv").absolute())


def test_every_setting_says_what_it_means_and_where_its_value_is_from(typed: Typed) -> None:
    known = settings()
    assert [key for key, setting in known.items() if not setting.meaning] == []
    typed("init")
    found = read(typed, "recipe", "--set", "dpo.beta=0.2")["settings"]
    assert [setting["key"] for setting in found] == list(known)
    of = {setting["key"]: setting for setting in found}
    assert (of["dpo.beta"]["value"], of["dpo.beta"]["source"]) == (0.2, "--set")
    assert of["prompts.path"]["source"] == "recipe.yaml:6"
    assert of["pairs.shares.distilled"]["source"] == "recipe.yaml:9"
    assert (of["seed"]["value"], of["seed"]["source"]) == (0, "default")
    assert "at least 2, at most 8" in typed("recipe", "pairs.samples")[0]
    assert len(read(typed, "recipe", "judge.floor")["settings"]) == 4


def test_a_default_that_is_told_is_the_one_that_holds(tmp_path: Path) -> None:
    path = tmp_path / "least.yaml"
    path.write_text("name: least\nmodel: random:tiny\n")
    recipe = load(str(path)).model_dump(mode="json")
    for key, setting in settings().items():
        if key not in ("name", "model") and not key.startswith("server."):
            value: Any = recipe
            for part in key.split("."):
                value = value[part]
            default = setting.default
            assert value == (list(default) if isinstance(default, tuple) else default), key
