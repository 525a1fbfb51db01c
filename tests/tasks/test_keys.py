"""What differs between two keys: as JSON has them, since that is how they are kept."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from storage.ids import content_id
from tasks.training.keys import changes, checkpoint_id, components
from tasks.training.ppo.config import PPOConfig, config_from_settings
from tasks.training.settings import DpoSettings, TrainingInputError


def test_a_list_read_back_is_the_tuple_that_was_written() -> None:
    now = dataclasses.asdict(PPOConfig())
    was = json.loads(json.dumps(now))
    assert was["stop_token_ids"] == []
    assert changes({"settings": was}, {"settings": now}) == []
    now["gamma"] = 0.5
    assert changes({"settings": was}, {"settings": now}) == [("settings.gamma", 1.0, 0.5)]


def test_equal_numbers_make_one_key() -> None:
    whole = dataclasses.asdict(config_from_settings({"gamma": 1, "dual_clip": 3}))
    point = dataclasses.asdict(config_from_settings({"gamma": 1.0, "dual_clip": 3.0}))
    assert content_id("checkpoint", whole) == content_id("checkpoint", point)
    assert config_from_settings({"stop_token_ids": [2]}).stop_token_ids == (2,)
    assert config_from_settings({"dual_clip": None}).dual_clip is None


def test_a_policy_that_is_never_trained_is_refused() -> None:
    with pytest.raises(TrainingInputError, match="or the policy is never trained"):
        config_from_settings({"updates": 3, "critic_warmup": 3})
    assert config_from_settings({"updates": 3, "critic_warmup": 2}).critic_warmup == 2


def test_a_setting_added_later_is_in_a_key_only_where_it_changes_something() -> None:
    """Checkpoints made before it existed keep their keys."""
    settings = dataclasses.asdict(DpoSettings())
    earlier = {name: value for name, value in settings.items() if name != "nll_weight"}
    assert key(settings) == key(earlier)
    assert key({**settings, "nll_weight": 0.2}) != key(earlier)
    assert key({**settings, "save_steps": 7}) == key(earlier)
    assert key({**settings, "beta": 0.2}) != key(earlier)


def key(settings: dict[str, Any]) -> str:
    """A DPO checkpoint's, all else alike."""
    return checkpoint_id(
        components(
            "dpo",
            settings,
            dataset_id="d",
            base_model_id="m",
            parents={"sft": "c"},
            seed=0,
            precision="nf4",
        )
    )
