"""PPO on a tiny random model: what must be exactly equal, what must change, and that it learns."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.chat.manner import Manner
from tasks.chat.tokens import set_manner
from tasks.engines import tokens
from tasks.engines.sampling import Draws, choose
from tasks.training.ppo.maths import completion_mask
from tasks.training.ppo.prompts import derive_seed
from tasks.training.ppo.rollout import Rollout, measure
from tasks.training.ppo.trainer import PPOTrainer

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ppo_tiny.py"))))


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a random SFT adapter and a random reward adapter with its head."""
    return tiny.write_adapters(tmp_path_factory.mktemp("adapters"))


def test_step_zero_has_no_kl_and_ratio_one(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(**adapters))
    first, _ = run.step()
    assert first["objective/kl"] == 0.0
    assert first["objective/kl_k3"] == 0.0
    assert first["first_minibatch_logp_diff"] == 0.0
    second, _ = run.step()
    assert second["objective/kl_k3"] > 0.0
    assert second["first_minibatch_logp_diff"] == 0.0


def test_the_reference_is_the_bare_base_without_sft(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(reward=adapters["reward"]))
    assert run.step()[0]["objective/kl_k3"] == 0.0
    assert run.step()[0]["objective/kl_k3"] > 0.0


@pytest.mark.parametrize("size", [1, 3])
def test_micro_batches_change_nothing(adapters: dict[str, Path], size: int) -> None:
    runs = []
    for micro in (8, size):
        run = tiny.trainer(
            tiny.roles(**adapters, dtype=torch.float64),
            micro_batch_size=micro,
            rollout_batch_size=micro,
            num_mini_batches=2,
            entropy_coef=0.01,
        )
        metrics, _ = run.step()
        runs.append((tiny.weights(run), metrics))
    assert tiny.furthest(runs[0][0], runs[1][0]) < 1e-9
    for name in ("loss/policy_avg", "loss/value_avg", "policy/approxkl_avg", "val/ratio"):
        assert runs[0][1][name] == pytest.approx(runs[1][1][name], abs=1e-9)
    assert runs[0][1]["opt_steps"] == 4


def test_padding_width_changes_nothing(adapters: dict[str, Path]) -> None:
    results = []
    for extra in (0, 3):
        run = tiny.trainer(tiny.roles(**adapters, dtype=torch.float64))
        prompts = run.prompts[:8]
        tokens = run.rollout(prompts)
        wide = widen_padding(run, tokens, extra)
        run.update(wide, run.score(prompts, wide))
        results.append((tiny.weights(run), wide))
    assert results[1][1].completion_ids.shape[1] == results[0][1].completion_ids.shape[1] + 3
    assert tiny.furthest(results[0][0], results[1][0]) < 1e-9


def widen_padding(run: PPOTrainer, rollout: Rollout, extra: int) -> Rollout:
    """The same rows with ``extra`` more pads on the left of prompts and right of completions."""
    tokens = run.generate(run.prompts[:8], "actor", "rollout", 0)
    assert torch.equal(tokens.completion_ids, rollout.completion_ids)
    pads = torch.full((8, extra), run.tokenizer.pad_token_id)
    tokens.prompt_ids = torch.cat([pads, tokens.prompt_ids], 1)
    tokens.prompt_mask = torch.cat([pads.bool() & False, tokens.prompt_mask], 1)
    tokens.completion_ids = torch.cat([tokens.completion_ids, pads], 1)
    return measure(run.roles, tokens, run.config)


def test_a_rows_text_does_not_depend_on_its_batch(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(**adapters), rollout_batch_size=8)
    single = tiny.trainer(tiny.roles(**adapters), rollout_batch_size=1)
    together = run.generate(run.prompts[:8], "actor", "rollout", 0)
    alone = single.generate(run.prompts[:8], "actor", "rollout", 0)
    assert together.ids_lists() == alone.ids_lists()
    shorter = run.generate(run.prompts[:1], "actor", "rollout", 0)
    assert shorter.prompt_ids.shape[1] < together.prompt_ids.shape[1]
    assert shorter.ids_lists()[0] == together.ids_lists()[0]
    assert run.generate(run.prompts[:8], "actor", "rollout", 1).ids_lists() != alone.ids_lists()


def test_greedy_and_sampled_tokens_are_those_of_single_forwards(adapters: dict[str, Path]) -> None:
    """Token by token from whole forwards without a cache, padding or other rows."""
    run = tiny.trainer(tiny.roles(**adapters), max_new_tokens=5, top_k=3, temperature=0.8)
    seeds = [derive_seed(run.seed, "rollout", 0, row) for row in range(4)]
    for purpose in ((), ("rollout", 0)):
        tokens = run.generate(run.prompts[:4], "actor", *purpose)
        for row, found in enumerate(tokens.ids_lists()):
            ids = list(run.prompts[row].ids)
            for step, token in enumerate(found):
                with run.roles.use("actor"), torch.no_grad():
                    logits = run.roles.causal(input_ids=torch.tensor([ids])).logits[:, -1]
                temperature = run.config.temperature if purpose else 0.0
                draws = Draws.of([temperature], [1.0], [seeds[row]], top_k=3)
                assert int(choose(logits, draws, step)) == token
                ids.append(token)


def test_a_row_ends_at_its_first_end_token(adapters: dict[str, Path]) -> None:
    free = tiny.trainer(tiny.roles(**adapters), max_new_tokens=20)
    free.stops = []
    whole = free.generate(free.prompts[:8], "actor", "rollout", 0).ids_lists()
    assert {len(ids) for ids in whole} == {20}
    run = tiny.trainer(tiny.roles(**adapters), max_new_tokens=20, stop_token_ids=(5, 9))
    assert run.stops == [1, 5, 9]
    tokens = run.generate(run.prompts[:8], "actor", "rollout", 0)
    ends = [next((n for n, t in enumerate(ids) if t in run.stops), None) for ids in whole]
    assert tokens.terminated.tolist() == [end is not None for end in ends]
    assert 0 < sum(tokens.terminated.tolist()) < 8
    assert tokens.lengths.tolist() == [20 if end is None else end + 1 for end in ends]
    cut = [ids[:length] for ids, length in zip(whole, tokens.lengths.tolist(), strict=True)]
    assert tokens.ids_lists() == cut
    assert tokens.mask.sum(1).tolist() == tokens.lengths.tolist()


def test_a_rollout_leaves_the_model_trainable(adapters: dict[str, Path]) -> None:
    """A module may keep a tensor of its forward; one made in inference mode bars a backward."""
    run = tiny.trainer(tiny.roles(**adapters))
    modes: list[tuple[bool, bool]] = []

    def record(*_: Any) -> None:
        modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))

    hook = run.roles.causal.register_forward_hook(record)
    run.generate(run.prompts[:8], "actor", "rollout", 0)
    hook.remove()
    assert set(modes) == {(False, False)}


def test_sampling_follows_the_softmax(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(**adapters), max_new_tokens=1, rollout_batch_size=512)
    drawn = run.generate([run.prompts[0]] * 2048, "actor", "x").completion_ids[:, 0]
    ids = torch.tensor([run.prompts[0].ids])
    with run.roles.use("actor"), torch.no_grad():
        logits = run.roles.causal(input_ids=ids).logits[0, -1]
    shares = torch.bincount(drawn, minlength=71) / len(drawn)
    assert float((shares - logits.softmax(-1)).abs().sum()) / 2 < 0.1
    assert float((shares - torch.full((71,), 1 / 71)).abs().sum()) / 2 > 0.2


def test_pad_may_equal_eos(adapters: dict[str, Path]) -> None:
    results = []
    for pad in ("<pad>", "<eos>"):
        run = tiny.trainer(tiny.roles(**adapters), pad=pad, max_new_tokens=12, batch_size=16)
        metrics, _ = run.step()
        results.append((tiny.weights(run), metrics["val/num_eos_tokens"]))
    assert 0 < results[0][1] < 16
    assert results[0][1] == results[1][1]
    assert tiny.furthest(results[0][0], results[1][0]) == 0.0


def test_eos_is_in_the_loss(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(**adapters), pad="<eos>", max_new_tokens=12, batch_size=16)
    rollout = run.rollout(run.prompts[:16])
    ended = rollout.terminated.nonzero().flatten().tolist()
    assert ended
    for row in ended:
        last = int(rollout.lengths[row]) - 1
        assert rollout.completion_ids[row, last] == run.tokenizer.eos_token_id
        assert rollout.mask[row, last]
        assert rollout.logprobs[row, last] < 0


def test_unscorable_rows_take_no_part(adapters: dict[str, Path]) -> None:
    def picky(completions: list[str], id: list[int], **_: Any) -> list[float | None]:
        return [None if number % 2 else 1.0 for number in id]

    run = tiny.trainer(tiny.roles(**adapters), picky)
    rollout = run.rollout(run.prompts[:8])
    targets = run.score(run.prompts[:8], rollout)
    odd = torch.arange(8) % 2 == 1
    assert not targets.mask[odd].any()
    assert torch.equal(
        targets.mask[~odd], completion_mask(rollout.lengths, rollout.mask.shape[1])[~odd]
    )
    assert run.step()[0]["score/unscorable"] > 0


def test_what_is_thought_aloud_is_not_rewarded(adapters: dict[str, Path]) -> None:
    heard: list[str] = []

    def deaf(completions: list[str], **_: Any) -> list[float]:
        heard.extend(completions)
        return [0.0] * len(completions)

    run = tiny.trainer(tiny.roles(**adapters), deaf)
    set_manner(run.tokenizer, Manner(think_tags=("Q", "Z")))
    rollout = run.rollout(run.prompts[:4])
    texts = ["QabZcd", "abZcd", "cd", "Qab"]
    run.raw_scores(run.prompts[:4], replace(rollout, **encoded(run, texts)))
    assert heard == ["cd", "cd", "cd", ""]


def encoded(run: PPOTrainer, texts: list[str]) -> dict[str, torch.Tensor]:
    rows = [run.tokenizer(text)["input_ids"] for text in texts]
    return {
        "completion_ids": tokens.pad(rows)[0],
        "lengths": torch.tensor([len(row) for row in rows]),
    }


def vowels(**settings: Any) -> list[float]:
    """Reward of each update of the learning test."""
    run = tiny.trainer(
        tiny.roles(),
        batch_size=64,
        micro_batch_size=32,
        rollout_batch_size=64,
        num_mini_batches=2,
        epochs=4,
        updates=20,
        max_new_tokens=16,
        kl_coef=0.01,
        lr_schedule="constant",
        **settings,
    )
    run.train(lambda *_: None)
    return [row["objective/scores"] for row in run.history]


@pytest.mark.slow
def test_it_learns_to_write_vowels() -> None:
    rewards = vowels()
    last = sum(rewards[-5:]) / 5
    assert last > 0.6
    assert last > 4 * rewards[0]


@pytest.mark.slow
def test_it_learns_nothing_with_the_actor_frozen() -> None:
    rewards = vowels(actor_lr=0.0)
    assert abs(sum(rewards[-5:]) / 5 - rewards[0]) < 0.05
