"""Resuming PPO, and the rules that skip, stop or abort it."""

from __future__ import annotations

import io
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tasks.report import Report
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.prompts import PromptSampler
from tasks.training.ppo.state import load_state, restore, save_state, snapshot
from tasks.training.ppo.trainer import PPOTrainer
from tasks.training.ppo.update import NonFiniteError
from tasks.training.ppo.watch import Watch
from tasks.training.settings import TrainingInputError
from tests.flipped import flip

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ppo_tiny.py"))))


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a random SFT adapter and a random reward adapter with its head."""
    return tiny.write_adapters(tmp_path_factory.mktemp("adapters"))


def resumable(adapters: dict[str, Path]) -> PPOTrainer:
    return tiny.trainer(
        tiny.roles(**adapters),
        count=7,
        batch_size=4,
        reward_norm="running",
        kl_controller="adaptive",
        kl_target=9.0,
        kl_horizon=4,
        missing_eos_penalty=0.5,
    )


def test_resumed_equals_straight_from_the_newest_whole_state(
    adapters: dict[str, Path], tmp_path: Path
) -> None:
    straight = resumable(adapters)
    straight.train(lambda *_: None)
    broken = resumable(adapters)
    for _ in range(3):
        broken.step()
        save_state(broken, tmp_path, {"sft": "x"})
    names = [f"checkpoint-{step}" for step in (2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    flip(tmp_path / "checkpoint-3" / "tensors.safetensors")
    resumed, said = resumable(adapters), io.StringIO()
    with pytest.raises(TrainingInputError, match="other sft or reward adapters"):
        load_state(resumed, tmp_path, {"sft": "y"}, Report(said))
    assert "checkpoint-3: is not what was written" in said.getvalue()
    assert load_state(resumed, tmp_path, {"sft": "x"}, Report(said))
    assert resumed.done == 2
    resumed.train(lambda *_: None)
    left, right = snapshot(straight), snapshot(resumed)
    assert left[0].keys() == right[0].keys()
    assert any(name.startswith("adam.exp_avg_sq/") for name in left[0])
    assert all(torch.equal(left[0][name], right[0][name]) for name in left[0])
    assert timeless(left[1]) == timeless(right[1])


def timeless(values: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {k: v for k, v in row.items() if not k.startswith(("time/", "mem/"))}
        for row in values["history"]
    ]
    return {**values, "history": rows}


def without_adam(tensors: dict[str, Any], values: dict[str, Any]) -> None:
    for name in [n for n in tensors if n.startswith("adam.")]:
        del tensors[name]


def without_value_head(tensors: dict[str, Any], values: dict[str, Any]) -> None:
    for name in tensors:
        if name.startswith("weight/value_head"):
            tensors[name] = torch.zeros_like(tensors[name])


MUTATIONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], None]] = {
    "adam": without_adam,
    "value head": without_value_head,
    "kl_coef": lambda _, values: values.update(kl_coef=0.05),
    "norms": lambda _, values: values.update(norms=[{"kind": "running"}]),
    "order": lambda _, values: values.update(sampler={"epoch": 0, "cursor": 0}),
    "step": lambda _, values: values.update(done=2),
}


@pytest.mark.parametrize("dropped", MUTATIONS)
def test_every_part_of_the_state_matters(adapters: dict[str, Path], dropped: str) -> None:
    run = resumable(adapters)
    for _ in range(3):
        run.step()
    tensors, values = snapshot(run)
    run.step()
    run.step()
    MUTATIONS[dropped](tensors, values)
    other = resumable(adapters)
    restore(other, tensors, values)
    other.step()
    other.step()
    assert tiny.furthest(tiny.weights(run), tiny.weights(other)) > 1e-5


def test_gradients_are_clipped_for_each_role(
    adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.trainer(tiny.roles(**adapters), max_grad_norm=1e-3)
    norms: dict[str, list[float]] = {"actor": [], "critic": []}

    def record(*_: Any) -> None:
        for role, found in norms.items():
            grads = [p.grad.flatten() for p in run.roles.trainable(role).values()]
            found.append(float(torch.cat(grads).norm()))

    monkeypatch.setattr(run.optimizer, "step", record)
    metrics, _ = run.step()
    for role, found in norms.items():
        assert metrics[f"grad_norm/{role}"] > 1e-3
        assert found == [pytest.approx(1e-3, rel=1e-2)] * 2


def test_learning_rates_fall_and_warm_up(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(**adapters), updates=4, warmup_updates=2, critic_lr=1.0)
    rates = []
    for run.done in range(4):
        rates.append(run.learning_rates()[1])
    assert rates == [0.5, 0.75, 0.5, 0.25]


def test_every_prompt_comes_once_an_epoch() -> None:
    sampler = PromptSampler(7, seed=3)
    drawn = [index for _ in range(7) for index in sampler.take(4)]
    epochs = [drawn[start : start + 7] for start in range(0, 28, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert (sampler.epoch, sampler.cursor) == (4, 0)


def test_kl_stop_ends_the_run(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(**adapters), kl_stop=0.01, kl_warn=0.005, actor_lr=1e-2)
    alarms: list[str] = []
    run.train(lambda _, found: alarms.extend(alarm.rule for alarm in found))
    assert run.stopped
    assert run.done < run.config.updates
    assert alarms[-1] == "kl_stop" or "kl_stop" in alarms


def test_warnings_of_collapse() -> None:
    config, watch = PPOConfig(max_new_tokens=10), Watch()
    fine = {
        "objective/kl": 1.0,
        "objective/entropy": 2.0,
        "eos_rate": 0.8,
        "hack/distinct": 0.9,
        "hack/length_correlation": 0.7,
        "completions/mean_length": 5.0,
        "first_minibatch_logp_diff": 0.0,
    }
    assert watch.check(fine, config) == []
    bad = {**fine, "objective/entropy": 0.4, "eos_rate": 0.1, "completions/mean_length": 10.0}
    assert [alarm.rule for alarm in watch.check(bad, config)] == ["min_entropy", "eos_rate"]
    assert [alarm.rule for alarm in watch.check(fine, config)] == ["length"]
    far = {**fine, "hack/length_correlation": 0.0, "hack/distinct": 0.4, "objective/kl": 30.0}
    assert [alarm.rule for alarm in watch.check(far, config)] == ["kl_warn", "distinct"]
    assert [alarm.stop for alarm in watch.check({**fine, "objective/kl": 51.0}, config)] == [True]
    adaptive = PPOConfig(kl_controller="adaptive", kl_target=6.0)
    assert adaptive.kl_limit == 18.0


def test_scores_that_overflow_abort_before_the_step(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(**adapters), lambda completions, **_: [1e300] * 8)
    before = tiny.weights(run)
    with pytest.raises(NonFiniteError):
        run.step()
    assert tiny.furthest(before, tiny.weights(run)) == 0.0


def test_critic_warm_up_and_exploded_ratios_leave_the_actor_alone(
    adapters: dict[str, Path],
) -> None:
    warm = tiny.trainer(tiny.roles(**adapters), critic_warmup=1)
    skipping = tiny.trainer(tiny.roles(**adapters), ratio_threshold=0.5)
    early = tiny.trainer(tiny.roles(**adapters), target_kl=1e-9, actor_lr=1e-2)
    for run, moved in ((warm, True), (skipping, False)):
        before = tiny.weights(run)
        metrics, _ = run.step()
        after = tiny.weights(run)
        assert all(torch.equal(before[n], after[n]) for n in run.roles.trainable("actor"))
        assert (tiny.furthest(before, after) > 0) == moved
    assert metrics["skipped_minibatches"] == 2
    steps = [early.step()[0] for _ in range(2)]
    assert any(m["stopped_early"] and m["opt_steps"] < 2 for m in steps)
