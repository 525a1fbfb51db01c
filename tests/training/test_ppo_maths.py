"""The formulas of PPO: against tensors recorded from TRL 1.12's own training loop, and by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.training.ppo import maths
from tasks.training.ppo.config import PPOConfig, config_from_settings
from tasks.training.ppo.rollout import Rollout
from tasks.training.ppo.score import Checks, RewardNorm, collect_scores, combined, shape_scores
from tasks.training.ppo.targets import make_targets
from tasks.training.settings import TrainingInputError

GOLDEN = np.load(Path(__file__).parent / "data" / "ppo_golden.npz")
META = json.loads(str(GOLDEN["meta"]))["cfg"]


def golden(setting: str, name: str) -> torch.Tensor:
    array = GOLDEN[f"{setting}/{name}"]
    return torch.from_numpy(array.astype("float64") if array.dtype.kind == "f" else array)


def golden_config(setting: str) -> PPOConfig:
    values = {k: v for k, v in META[setting].items() if k != "n_mb"}
    return PPOConfig(**values, reward_position="after_eos")


def golden_rollout(setting: str) -> Rollout:
    lengths = golden(setting, "sequence_lengths") + 1
    mask = maths.completion_mask(lengths, 10)
    slots = maths.value_mask(lengths, 10, "after_eos")
    tokens = torch.zeros(16, 10, dtype=torch.long)
    logprobs, reference = (
        torch.where(mask, golden(setting, n), 0) for n in ("logprobs", "ref_logprobs")
    )
    values = torch.where(slots, golden(setting, "values"), 0)
    return Rollout(
        tokens, tokens.bool(), tokens, lengths, lengths < 10, logprobs, reference, values, logprobs
    )


@pytest.mark.parametrize("setting", sorted(META))
def test_targets_equal_trl(setting: str) -> None:
    config, rollout = golden_config(setting), golden_rollout(setting)
    scores = golden(setting, "scores")
    targets = make_targets(rollout, scores, scores, config.kl_coef, config)
    assert torch.equal(targets.mask, ~golden(setting, "padding_mask"))
    assert torch.equal(targets.value_mask, ~golden(setting, "padding_mask_p1"))
    close(targets.advantages, golden(setting, "advantages"))
    close(targets.returns, torch.where(targets.value_mask, golden(setting, "returns"), 0))


@pytest.mark.parametrize("setting", sorted(META))
def test_rewards_equal_trl(setting: str) -> None:
    config, rollout = golden_config(setting), golden_rollout(setting)
    kl = maths.token_kl(rollout.logprobs, rollout.ref_logprobs, config.kl_estimator)
    close(kl, golden(setting, "kl"), 1e-12)
    rewards = maths.token_rewards(
        golden(setting, "scores"), kl, rollout.lengths, config.kl_coef, "after_eos"
    )
    if config.whiten_rewards:
        slots = maths.value_mask(rollout.lengths, 10, "after_eos")
        rewards = maths.masked_whiten(rewards, slots, shift_mean=False)
    close(rewards, golden(setting, "rewards"))


@pytest.mark.parametrize("setting", sorted(META))
def test_losses_equal_trl(setting: str) -> None:
    config, rollout = golden_config(setting), golden_rollout(setting)
    scores = golden(setting, "scores")
    targets = make_targets(rollout, scores, scores, config.kl_coef, config)
    batches = sorted({k.split("/")[1] for k in GOLDEN.files if k.startswith(f"{setting}/mb")})
    assert len(batches) >= 2
    for batch in batches:
        rows = golden(setting, f"{batch}/inds").long()
        mask, slots = targets.mask[rows], targets.value_mask[rows]
        policy = maths.policy_loss(
            golden(setting, f"{batch}/new_logprobs"),
            rollout.logprobs[rows],
            targets.advantages[rows],
            maths.token_weights(mask, "token-mean"),
            config.cliprange,
        )
        value = maths.value_loss(
            golden(setting, f"{batch}/vpred"),
            rollout.values[rows],
            targets.returns[rows],
            maths.token_weights(slots, "token-mean"),
            config.cliprange_value,
        )
        for result, kept, name in ((policy, mask, "pg"), (value, slots, "vf")):
            close(result.loss, golden(setting, f"{batch}/{name}_loss"))
            close(result.clipped.sum() / kept.sum(), golden(setting, f"{batch}/{name}_clipfrac"))


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(
        actual.double(), expected.double().reshape(actual.shape), rtol=0, atol=tolerance
    )


def test_gae_by_hand() -> None:
    rewards = torch.tensor([[1.0, 2.0, 4.0], [1.0, 2.0, 99.0]])
    values = torch.tensor([[1.0, 1.0, 2.0], [1.0, 1.0, 99.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    advantages, returns = maths.gae(rewards, values, mask, gamma=0.5, lam=0.5)
    assert advantages.tolist() == [[1.125, 2.5, 2.0], [0.75, 1.0, 0.0]]
    assert returns.tolist() == [[2.125, 3.5, 4.0], [1.75, 2.0, 0.0]]


def test_score_goes_to_the_last_token_or_one_later() -> None:
    scores, kl, lengths = torch.tensor([5.0, 7.0, 9.0]), torch.ones(3, 3), torch.tensor([2, 3, 0])
    on_eos = maths.token_rewards(scores, kl, lengths, 0.5, "eos")
    assert on_eos.tolist() == [[-0.5, 4.5, 0.0], [-0.5, -0.5, 6.5], [0.0, 0.0, 0.0]]
    after = maths.token_rewards(scores, kl, lengths, 0.5, "after_eos")
    assert after.tolist() == [[-0.5, -0.5, 5.0], [-0.5, -0.5, 6.5], [0.0, 0.0, 0.0]]


def test_masks_cover_the_length() -> None:
    lengths = torch.tensor([2, 4, 1, 4])
    assert maths.completion_mask(lengths, 4).sum(1).tolist() == [2, 4, 1, 4]
    assert maths.value_mask(lengths, 4, "after_eos").sum(1).tolist() == [3, 4, 2, 4]


def test_whitening_ignores_what_is_masked_and_survives_a_single_token() -> None:
    values, mask = torch.tensor([[1.0, 3.0, 1e9]]), torch.tensor([[True, True, False]])
    white = maths.masked_whiten(values, mask)
    assert white[0, 2] == 0
    torch.testing.assert_close(white[0, :2], torch.tensor([-(0.5**0.5), 0.5**0.5]))
    single = maths.masked_whiten(values, torch.tensor([[True, False, False]]))
    assert single.tolist() == [[1.0, 0.0, 0.0]]


def test_micro_batch_weights_add_up_to_one_step() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    tokens = maths.token_weights(mask, "token-mean")
    rows = maths.token_weights(mask, "seq-mean-token-mean")
    torch.testing.assert_close(tokens[mask], torch.full((4,), 0.25))
    torch.testing.assert_close(rows.sum(1), torch.tensor([0.5, 0.5, 0.0]))


def test_dual_clip_bounds_negative_advantages_only() -> None:
    new, old = torch.full((1, 2), 3.0), torch.zeros(1, 2)
    advantages, weights = torch.tensor([[-1.0, 1.0]]), torch.ones(1, 2)
    free = maths.policy_loss(new, old, advantages, weights, 0.2)
    bound = maths.policy_loss(new, old, advantages, weights, 0.2, dual_clip=3.0)
    assert free.loss.item() == pytest.approx(math.exp(3) - 1.2)
    assert bound.loss.item() == pytest.approx(3 - 1.2)


def test_adaptive_kl_moves_towards_its_target() -> None:
    assert maths.adapt_kl_coef(0.1, 60.0, 6.0, 100, 50) == pytest.approx(0.1 * 1.1)
    assert maths.adapt_kl_coef(0.1, 0.0, 6.0, 100, 50) == pytest.approx(0.1 * 0.9)
    assert maths.adapt_kl_coef(0.1, 6.0, 6.0, 100, 50) == 0.1


def test_kl_estimators() -> None:
    log_ratio = torch.tensor([[0.0, 1.0]])
    assert maths.token_kl(log_ratio, torch.zeros(1, 2), "k1").tolist() == [[0.0, 1.0]]
    assert maths.token_kl(log_ratio, torch.zeros(1, 2), "k3")[0, 1] == pytest.approx(math.exp(-1))
    with pytest.raises(ValueError, match="k2"):
        maths.token_kl(log_ratio, log_ratio, "k2")


def test_score_shaping_order() -> None:
    norm = RewardNorm("calibrate", count=3, mean=10.0, squares=8.0)
    config = PPOConfig(score_clip=1.5, missing_eos_penalty=1.0)
    raw = torch.tensor([12.0, 20.0, 12.0, float("nan")])
    ended = torch.tensor([True, True, False, True])
    assert shape_scores(norm.apply(raw), ended, config).tolist() == [1.0, 1.5, 0.0, 0.0]


def test_running_norm_equals_the_norm_of_everything_seen() -> None:
    scores = torch.tensor([1.0, 5.0, float("nan"), 2.0, 8.0, 3.0], dtype=torch.float64)
    norm = RewardNorm("running")
    norm.update(scores[:2])
    norm.update(scores[2:])
    seen = scores[~scores.isnan()]
    assert (norm.count, norm.mean) == (5, pytest.approx(float(seen.mean())))
    assert norm.std == pytest.approx(float(seen.std()))
    assert RewardNorm(**json.loads(json.dumps(vars(norm)))) == norm


@pytest.mark.parametrize("score", [1 / 3, 2 / 3, 0.1, 1e6 / 3])
@pytest.mark.parametrize("batch", [11, 19, 57])
def test_scores_that_do_not_vary_have_a_norm_of_one(score: float, batch: int) -> None:
    """Their mean is rounded: the spread of one ulp is none."""
    norm = RewardNorm("calibrate")
    for size in (batch, 16):
        norm.update(torch.full((size,), score, dtype=torch.float64))
    assert norm.std == 1.0


def test_rewards_may_be_async_weighted_and_refuse_rows() -> None:
    async def doubled(completions: list[str], **_: Any) -> list[float | None]:
        return [None if text == "?" else 2.0 * len(text) for text in completions]

    def constant(completions: list[str], **_: Any) -> list[float | None]:
        return [None if text in "?!" else 1.0 for text in completions]

    from tasks.training.ppo.prompts import Prompt

    prompts, texts = [Prompt([1], "p")] * 3, ["abc", "!", "?"]
    scores = collect_scores([doubled, constant], prompts, texts, [[1], [2], [3]])
    assert scores[:, 0].tolist() == [6.0, 1.0]
    total = combined(scores, [1.0, 0.5])
    assert total[:2].tolist() == [6.5, 2.0]
    assert total[2].isnan()


def test_the_constitutions_checks_are_a_reward() -> None:
    """Shares by hand: of two rules, of the one that applies, of none, and of nothing to read."""
    reward = Checks([["max_words", 3], ["ends_with_question", True], ["json_fields", ["a"]]])
    asked = [{"role": "user", "content": "Write it as JSON, please: who is there?"}]
    assert reward(["Who?"] * 2, ["Is it a cat?", "It is?"]) == [1 / 3, 2 / 3]
    answers = [[{"role": "assistant", "content": text}] for text in ('{"a": 1}', "no, no, no, no")]
    assert reward([asked, asked], answers) == [1.0, 0.0]
    assert Checks([["form_when_asked", True]])(["Who?"], ["A cat."]) == [None]
    assert Checks([["max_words", 3]])(["Who?"], [" "]) == [0.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actr_lr": 1.0}, "actr_lr: is no setting of ppo"),
        ({"actor_lr": "1e-5"}, "actor_lr='1e-5': must be float"),
        ({"epochs": True}, "epochs=True: must be int"),
        ({"kl_estimator": "k2"}, "kl_estimator='k2'"),
        ({"batch_size": 0}, "batch_size=0: must be at least 1"),
        ({"actor_lr": -1}, "actor_lr=-1.0: must be at least 0"),
        ({"cliprange": -0.5}, "cliprange=-0.5: must be above 0"),
        ({"top_p": 0}, "top_p=0.0: must be above 0, at most 1"),
        ({"gamma": 1.1}, "gamma=1.1: must be from 0 to 1"),
        ({"dual_clip": 1}, "dual_clip=1.0: must be above 1"),
        ({"batch_size": 6, "num_mini_batches": 4}, "num_mini_batches=4"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingInputError, match=message.replace("(", r"\(")) as caught:
        config_from_settings(settings)
    assert caught.value.exit_code == 2


def test_config_is_light() -> None:
    import subprocess
    import sys

    code = "import sys, tasks.training.ppo.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
