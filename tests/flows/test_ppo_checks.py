"""PPO rewarded by the constitution's programs: what the key says, what is refused, and a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from constitution.schema import Check, Constitution
from flows.plan.input_checks import check_inputs
from flows.plan.needs import Need, stage_needs
from flows.trials import _check_ablation
from storage.artifacts import artifact_path
from storage.errors import InputError
from storage.workspace import Workspace

from .conftest import Solon
from .prefect_db import seed
from .world import World

CHECKED = {"constitution": "checkable"}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World(tmp_path_factory.mktemp("checks") / "home", **CHECKED)
    found.run(found.inputs)
    return found


def with_check(constitution: Constitution, check: Check | None, number: int = 0) -> Constitution:
    principles = list(constitution.principles)
    principles[number] = replace(principles[number], check=check)
    return replace(constitution, principles=tuple(principles))


def needs(world: World, weight: float, constitution: Constitution | None = None) -> dict[str, Need]:
    inputs = world.read(**{"ppo.check_weight": weight})
    if constitution:
        inputs = replace(inputs, constitution=constitution)
    return {str(step): need for step, need in stage_needs(inputs, world.rows).items()}


def test_a_check_is_in_the_key_of_ppo_where_it_rewards_and_of_nothing_else(world: World) -> None:
    plain, weighted = needs(world, 0.0), needs(world, 1.0)
    assert "checks" not in plain["ppo"].parts
    names = {name for name, _ in weighted["ppo"].parts["checks"]}
    assert names == {p.check[0] for p in world.inputs.constitution.enabled if p.check}
    edited = with_check(world.inputs.constitution, ("max_words", 17))
    same, other = needs(world, 0.0, edited), needs(world, 1.0, edited)
    assert [same[step].id for step in same] == [plain[step].id for step in plain]
    assert other["ppo"].id != weighted["ppo"].id != plain["ppo"].id
    assert all(other[step].id == plain[step].id for step in plain if step != "ppo")


def test_neither_the_order_of_principles_nor_their_words_are_in_it(world: World) -> None:
    own = world.inputs.constitution
    turned = replace(own, principles=own.principles[::-1])
    reworded = replace(own, principles=tuple(replace(p, title="x") for p in own.principles))
    wanted = needs(world, 1.0)["ppo"].id
    assert needs(world, 1.0, turned)["ppo"].id == needs(world, 1.0, reworded)["ppo"].id == wanted


def test_a_constitution_without_checks_cannot_reward(world: World) -> None:
    own = world.inputs.constitution
    bare = replace(own, principles=tuple(replace(p, check=None) for p in own.principles))
    inputs = replace(world.read(**{"ppo.check_weight": 0.5}), constitution=bare)
    with pytest.raises(InputError) as found:
        check_inputs(inputs, None)
    assert str(found.value).startswith("ppo.check_weight: checkable")
    assert "no enabled principle has a check" in str(found.value)
    check_inputs(inputs, "dpo")


def test_a_check_of_some_categories_cannot_reward(world: World) -> None:
    own = world.inputs.constitution
    number = next(n for n, p in enumerate(own.principles) if p.check)
    principles = list(own.principles)
    principles[number] = replace(principles[number], applies_to=("law",))
    inputs = replace(
        world.read(**{"ppo.check_weight": 0.5}),
        constitution=replace(own, principles=tuple(principles)),
    )
    with pytest.raises(InputError) as found:
        check_inputs(inputs, None)
    assert str(found.value).startswith(f"ppo.check_weight: {principles[number].slug}")
    check_inputs(inputs, "dpo")


def test_an_ablation_of_what_rewards_is_refused(world: World) -> None:
    inputs = world.read(**{"ppo.check_weight": 0.5})
    session: Any = SimpleNamespace(inputs=inputs, recipe=inputs.recipe)
    slug = next(p.slug for p in inputs.constitution.enabled if p.check)
    with pytest.raises(InputError, match="what it bought would not show"):
        _check_ablation(session, slug)
    plain = world.read()
    _check_ablation(SimpleNamespace(inputs=plain, recipe=plain.recipe), slug)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_run_is_rewarded_by_them(tmp_path: Path) -> None:
    """What each reward gave is in the metrics; the answer that was shown keeps its share."""
    solon = Solon(tmp_path / "home")
    seed(solon.home)
    asked = {"ppo.check_weight": 2, "prompts.limit": 30, "generation.engine": "scripted", **CHECKED}
    words = [word for name, value in asked.items() for word in ("--set", f"{name}={value}")]
    result: dict[str, Any] = solon.json("run", "--recipe", "smoke", "--until", "ppo", *words)
    folder = artifact_path(Workspace(solon.home), result["checkpoints"]["ppo"])
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        assert 0 <= row["score/checks"] <= 1
        parts = row["score/reward_model"] + 2 * row["score/checks"]
        assert row["objective/scores"] == pytest.approx(parts, abs=1e-5)
    norms = json.loads((folder / "reward_norm.json").read_text(encoding="utf-8"))
    assert {name: norm["weight"] for name, norm in norms.items()} == {
        "reward_model": 1.0,
        "checks": 2.0,
    }
    assert norms["checks"]["count"] > 0
    why = solon.json("why", result["checkpoints"]["ppo"])
    assert why["id"] == result["checkpoints"]["ppo"]
