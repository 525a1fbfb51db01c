"""What a stage will do, by its settings, and how it is said: steps, work, first guesses."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from flows.explain.show import plan_lines, to_download, training_tables
from flows.explain.spans import cost_line, time_span, training_rows
from flows.plan import first_rates
from flows.plan.first_rates import PARAMETERS, guess_of
from flows.plan.planner import Planner
from flows.plan.settings import filled
from flows.plan.work import steps_of, work_of
from tasks.convert import random_tiny
from tasks.model_size import parameters

from .world import World


@pytest.mark.parametrize(
    ("rows", "given", "steps"),
    [
        (3, {}, 1),
        (17, {"batch_size": 8}, 3),
        (17, {"batch_size": 8, "epochs": 2.5}, 8),
        (17, {"batch_size": 4, "gradient_accumulation": 2, "epochs": 2}, 6),
        (17, {"max_steps": 7}, 7),
        (0, {"max_steps": 7}, 0),
    ],
)
def test_steps_are_those_that_the_trainer_makes(
    rows: int, given: dict[str, float], steps: int
) -> None:
    assert steps_of(filled("sft", given), rows) == steps


def test_work_grows_with_what_there_is_to_do() -> None:
    sft = filled("sft", {"batch_size": 4})
    assert work_of("sft", sft, 16, 0, 100).tokens == 1600
    assert work_of("sft", sft | {"epochs": 2.0}, 16, 0, 100).tokens == 3200
    assert work_of("sft", sft, 16, 3, 100).tokens == 1600 + 2 * 3 * 100 / 3
    assert work_of("sft", sft, 0, 3, 100).tokens == 0
    ppo = filled("ppo", {"updates": 2, "batch_size": 4, "epochs": 3, "calibration_samples": 8})
    assert work_of("ppo", ppo | {"max_new_tokens": 50}, 9, 0, 50).tokens == (2 * 4 * 4 + 8) * 100


def test_a_guess_is_a_range_and_never_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_rates, "gpus", list)
    monkeypatch.setattr(first_rates, "usable_cores", lambda: 2)
    own, large = guess_of(PARAMETERS, "bfloat16"), guess_of(10 * PARAMETERS, "bfloat16")
    tiny = guess_of(1000, "bfloat16")
    assert own
    assert large
    assert tiny
    assert (own.basis, large.basis) == ("first", "scaled")
    assert 0 < own.low < 1 < own.high
    assert large.high / large.low > own.high / own.low
    assert large.low > own.low
    assert tiny.low > 0
    slow = guess_of(PARAMETERS, "float32")
    assert slow
    assert slow.high > own.high
    assert guess_of(None, "float32") is None
    monkeypatch.setattr(first_rates, "gpus", lambda: ["H100"])
    on_gpu = guess_of(PARAMETERS, "bfloat16")
    assert on_gpu
    assert on_gpu.basis == "scaled"


def test_a_models_size_is_told_by_its_files_or_its_name(tmp_path: Path) -> None:
    random_tiny(tmp_path)
    assert (parameters(tmp_path, "x") or 0) > 10_000
    named = {"Qwen/Qwen2.5-0.5B-Instruct": 5e8, "a/SmolLM2-135M": 1.35e8, "b/Qwen3-30B-A3B": 3e10}
    for name, size in named.items():
        assert parameters(None, name) == size
    for name in ("mistralai/Mixtral-8x7B", "random:tiny", "owner/name", "a/v3B4"):
        assert parameters(None, name) is None
    assert "about 1.0 GB by its name" in to_download("Qwen/Qwen2.5-0.5B-Instruct")
    assert "its size is not known" in to_download("owner/name")


def test_rows_and_steps_are_ranges_until_rows_are_there_and_then_exact(tmp_path: Path) -> None:
    world = World(tmp_path / "home", **{"prompts.limit": 30})
    plan = Planner(world.inputs, world.workspace, world.ledger).make("ppo")
    prompts = world.inputs.prompt_snapshot
    count, held_out = len(prompts.training), len(prompts.held_out)
    for stage in ("sft", "reward", "dpo"):
        training = plan.steps[stage].training
        assert training
        assert (training.rows, training.held_out) == ((0, count), (0, held_out))
    ppo = plan.steps["ppo"].training
    assert ppo
    assert (ppo.rows, ppo.held_out, ppo.steps) == ((count,) * 2, (held_out,) * 2, (2, 2))
    world.run(world.inputs)
    plan = Planner(world.inputs, world.workspace, world.ledger).make("ppo")
    rows = {"sft": world.rows.sft, "reward": world.rows.preferences}
    for stage, snapshot in rows.items():
        training = plan.steps[stage].training
        assert training
        assert training.rows == (len(snapshot.training),) * 2
        assert training.held_out == (len(snapshot.held_out),) * 2
        assert training.steps == (6, 6)  # the recipe's max_steps
    assert [row[0] for row in training_rows(plan)] == ["sft", "reward", "dpo", "ppo"]
    assert len(training_tables(plan)) == 1
    assert "how long is not known" in "\n".join(plan_lines(plan))


def test_of_a_known_model_time_and_memory_are_guessed_before_they_are_measured(
    tmp_path: Path,
) -> None:
    world = World(tmp_path / "home", **{"prompts.limit": 30})
    folder = tmp_path / "model"
    random_tiny(folder)
    inputs = dataclasses.replace(world.inputs, folder=folder)
    world.run(inputs)
    plan = Planner(inputs, world.workspace, world.ledger).make("dpo")
    for stage in ("sft", "reward", "dpo"):
        training = plan.steps[stage].training
        assert training
        assert training.seconds
        assert training.memory
        assert 0 < training.seconds.low < training.seconds.high < math.inf
        assert training.seconds.basis == "scaled"
    assert plan.cost["basis"] == "scaled"
    assert 0 < plan.cost["seconds"][0] < plan.cost["seconds"][1]
    assert plan.cost["memory"][0] > 0
    assert "a rough guess" in cost_line(plan.cost)
    longer = inputs.recipe.model_copy(update={"dpo": inputs.recipe.dpo | {"max_steps": 60}})
    inputs = dataclasses.replace(inputs, recipe=longer)
    more = Planner(inputs, world.workspace, world.ledger).make("dpo")
    assert more.cost["seconds"][1] > plan.cost["seconds"][1]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0, 0, "0 s"),
        (3.2, 3.4, "3.2 to 3.4 s"),
        (40, 119, "40 to 119 s"),
        (30, 120, "0.5 to 2 min"),
        (450, 720, "7.5 to 12 min"),
        (7000, 36000, "1.9 to 10 h"),
    ],
)
def test_time_is_said_in_the_unit_that_fits(low: float, high: float, said: str) -> None:
    assert time_span(low, high) == said
