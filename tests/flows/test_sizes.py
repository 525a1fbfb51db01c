"""PPO is as long as its prompts allow, and what fits stays as the recipe has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.plan.recipe import load
from flows.plan.settings import filled, ranges
from flows.plan.sizes import LEAST_ROWS, sized, too_few
from storage.errors import InputError
from tasks.training.ppo.config import config_from_settings

PPO = filled("ppo", {})


@pytest.mark.parametrize(("recipe", "prompts"), [("demo", 176), ("smoke", 38), ("values", 64)])
def test_a_recipe_that_says_how_long_is_left_as_it_is(recipe: str, prompts: int) -> None:
    asked = load(recipe).ppo
    assert sized(asked, prompts) == {k: v for k, v in asked.items() if k != "draws"}


def test_few_prompts_make_few_updates() -> None:
    made = sized(PPO, 9)
    assert (made["updates"], made["batch_size"], made["calibration_samples"]) == (4, 9, 36)
    made = sized(PPO | {"updates": 50}, 3)
    assert (made["updates"], made["batch_size"]) == (4, 3)
    assert sized(PPO, 6400)["updates"] == 400


COUNTS = st.integers(1, 100)


@given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.none() | COUNTS, st.integers(0, 200))
def test_no_prompt_is_drawn_oftener_than_the_recipe_says(
    prompts: int, draws: int, size: int, parts: int, warm: int, updates: int | None, critic: int
) -> None:
    given_ = PPO | {"draws": draws, "batch_size": size * parts, "num_mini_batches": parts}
    given_ |= {"updates": updates, "warmup_updates": warm, "critic_warmup": critic}
    made = sized(given_, prompts)
    config = config_from_settings(made)  # the stage's own checks hold
    assert config.updates * config.batch_size <= draws * prompts
    assert config.updates <= (updates or config.updates)
    assert config.warmup_updates < config.updates
    assert config.calibration_samples <= draws * prompts


def test_too_few_rows_are_said() -> None:
    assert too_few(LEAST_ROWS) == ""
    assert too_few(3).startswith("3 rows are too few to learn from")


OUTSIDE: dict[str, Any] = {
    "above 0": 0,
    "at least 1": 0,
    "at least 0": -1,
    "-1, or at least 1": 0,
    "at least 0, below 1": 1,
}
INSIDE: dict[str, Any] = {
    "above 0": 1,
    "at least 1": 1,
    "at least 0": 0,
    "-1, or at least 1": -1,
    "at least 0, below 1": 0,
}


def test_ranges_that_are_told_are_those_that_are_checked() -> None:
    for stage in ("sft", "reward", "dpo", "ppo"):
        for key in filled(stage, {}):
            told = ranges(stage).get(key)
            if told in OUTSIDE:
                filled(stage, {key: INSIDE[told]})
                with pytest.raises(InputError, match=key):
                    filled(stage, {key: OUTSIDE[told]})
