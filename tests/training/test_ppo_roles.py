"""Four roles on one base: each equals a model of its own, and the reward role its stored scores."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from tasks.training.base import ADAPTER_WEIGHTS
from tasks.training.ppo.prompts import permutation
from tasks.training.ppo.roles import Roles, scalar
from tasks.training.ppo.rollout import critic_values
from tasks.training.ppo.score import RewardAdapter
from tasks.training.settings import TrainingInputError

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("ppo_tiny.py"))))


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a random SFT adapter and a random reward adapter with its head."""
    return tiny.write_adapters(tmp_path_factory.mktemp("adapters"))


def test_only_actor_critic_and_value_head_change(adapters: dict[str, Path]) -> None:
    run = tiny.trainer(tiny.roles(**adapters))
    every = {**dict(run.roles.model.named_parameters()), **prefixed(run.roles)}
    before = {name: parameter.detach().clone() for name, parameter in every.items()}
    run.step()
    changed = {name for name in every if not torch.equal(every[name], before[name])}
    trained = {**run.roles.trainable("actor"), **run.roles.trainable("critic")}
    assert changed == set(trained)
    assert {n for n, p in every.items() if p.requires_grad} == set(trained)
    assert any(".reference." in name for name in every)
    assert any(".reward." in name for name in every)


def prefixed(roles: Roles) -> dict[str, torch.nn.Parameter]:
    heads = {"value_head": roles.value_head, "reward_head": roles.reward_head}
    return {
        f"{name}.{key}": parameter
        for name, head in heads.items()
        if head is not None
        for key, parameter in head.named_parameters()
    }


IDS = torch.tensor([[5, 6, 7, 8, 9, 10]])


@pytest.mark.parametrize("fast", [True, False])
def test_roles_equal_separate_models(adapters: dict[str, Path], fast: bool) -> None:
    roles = tiny.roles(**adapters)
    assert roles.fast
    roles.fast = fast
    mask = torch.ones_like(IDS)
    sources = {"actor": "sft", "reference": "sft", "reward": "reward", "critic": "reward"}
    for role in [*sources, *reversed(sources)]:
        alone = PeftModel.from_pretrained(tiny.base(), adapters[sources[role]])
        with roles.use(role):
            assert torch.equal(roles.logits(IDS, mask, 5), alone(IDS).logits[:, :5])


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_separate_models(adapters: dict[str, Path], checkpointing: bool) -> None:
    roles = tiny.roles(**adapters)
    if checkpointing:
        roles.causal.activation_checkpointing_enable({"use_reentrant": False})
    roles.train(True)
    mask = torch.ones_like(IDS)
    with roles.use("actor"):
        roles.logits(IDS, mask, 5).square().sum().backward()
    with roles.use("critic"):
        roles.values(IDS, mask, 5).square().sum().backward()
    for role, source in (("actor", "sft"), ("critic", "reward")):
        alone = PeftModel.from_pretrained(tiny.base(), adapters[source], is_trainable=True)
        if role == "actor":
            alone(IDS).logits[:, :5].square().sum().backward()
        else:
            separate: Any = alone.get_base_model()
            hidden = separate.model(IDS).last_hidden_state
            scalar(roles.value_head, hidden)[:, :5].square().sum().backward()
        expected = {
            n.replace(".default.", f".{role}."): p.grad for n, p in alone.named_parameters()
        }
        for name, parameter in roles.trainable(role).items():
            if not name.startswith("value_head"):
                assert parameter.grad is not None
                torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("sft", [True, False])
def test_a_broken_fast_switch_is_noticed(
    adapters: dict[str, Path], sft: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def renamed(self: Roles, role: str) -> None:
        self._role = role
        for layer in self._layers:
            layer.__dict__["_current_adapter"] = [self.adapters[role]]

    chosen = adapters if sft else {"reward": adapters["reward"]}
    expected = tiny.trainer(tiny.roles(**chosen))
    monkeypatch.setattr(Roles, "_switch_fast", renamed)
    run = tiny.trainer(tiny.roles(**chosen))
    assert expected.roles.fast
    assert not run.roles.fast
    run.step()
    monkeypatch.undo()
    expected.step()
    assert tiny.furthest(tiny.weights(run), tiny.weights(expected)) == 0.0


def test_the_role_returns_after_an_exception(adapters: dict[str, Path]) -> None:
    roles = tiny.roles(**adapters)
    mask = torch.ones_like(IDS)
    before = roles.logits(IDS, mask, 5)

    def fail() -> None:
        with roles.use("reference"), roles.use("reward"):
            assert not torch.equal(roles.logits(IDS, mask, 5), before)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(roles.logits(IDS, mask, 5), before)


def test_a_reward_adapter_without_its_head_is_refused(tmp_path: Path) -> None:
    folder = tiny.write_adapter(tmp_path, 2, head=False)
    with pytest.raises(TrainingInputError, match=r"0 reward heads \(score.weight\)"):
        tiny.roles(reward=folder)


def test_an_adapter_of_another_base_is_refused(adapters: dict[str, Path], tmp_path: Path) -> None:
    weights = load_file(adapters["sft"] / ADAPTER_WEIGHTS)
    (tmp_path / "adapter_config.json").write_bytes(
        (adapters["sft"] / "adapter_config.json").read_bytes()
    )
    save_file(dict(list(weights.items())[2:]), tmp_path / ADAPTER_WEIGHTS)
    with pytest.raises(TrainingInputError, match="does not fit"):
        tiny.roles(sft=tmp_path)


def test_the_critic_starts_as_the_calibrated_reward_model(adapters: dict[str, Path]) -> None:
    roles = tiny.roles(**adapters)
    scorer = RewardAdapter(roles, tiny.tokenizer(), 4)
    run = tiny.trainer(roles, scorer, calibration_samples=8, count=8)
    prompts = [run.prompts[i] for i in permutation(8, run.seed, "calibrate")]
    tokens = run.generate(prompts, "reference", "calibrate", 0)
    raw = run.raw_scores(prompts, tokens)
    assert torch.equal(roles.value_head.weight, roles.reward_head.weight)
    before = critic_values(roles, tokens, run.config)[tokens.mask].double()
    run.calibrate()
    (norm,) = run.norms
    assert (norm.count, norm.mean) == (8, pytest.approx(float(raw.mean())))
    goal = norm.apply(raw[0])[:, None].expand(tokens.mask.shape)[tokens.mask]
    slope, intercept = np.polyfit(before.numpy(), goal.numpy(), 1)
    after = critic_values(roles, tokens, run.config)[tokens.mask].double()
    torch.testing.assert_close(after, slope * before + intercept, rtol=0, atol=1e-4)
    assert not torch.equal(roles.value_head.weight, roles.reward_head.weight)


def test_scores_equal_a_separate_model(adapters: dict[str, Path]) -> None:
    roles = tiny.roles(**adapters)
    texts = ["say a", "say bbbb", "c"]
    scores = RewardAdapter(roles, tiny.tokenizer(), 2).score(texts)
    alone: Any = PeftModel.from_pretrained(tiny.base(), adapters["reward"]).get_base_model()
    head = load_file(adapters["reward"] / ADAPTER_WEIGHTS)["base_model.model.score.weight"]
    for text, score in zip(texts, scores, strict=True):
        ids = torch.tensor([tiny.tokenizer()(text + "<eos>")["input_ids"]])
        expected = float(alone.model(ids).last_hidden_state[0, -1] @ head[0])
        assert score == pytest.approx(expected, abs=1e-5)


def probes(scorer: RewardAdapter) -> list[dict[str, Any]]:
    chats = [
        [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
        for q, a in (("hi", "hello"), ("bye", "no"), ("a longer one", "yes."))
    ]
    return [{"messages": c, "score": s} for c, s in zip(chats, scorer.score(chats), strict=True)]


def test_reward_probes(adapters: dict[str, Path], tmp_path: Path) -> None:
    scorer = RewardAdapter(tiny.roles(**adapters), tiny.tokenizer(), 2)
    file = tmp_path / "reward_probe.json"
    with pytest.raises(TrainingInputError, match="missing"):
        scorer.check_probes(file, "float32")
    kept = probes(scorer)
    file.write_text(json.dumps({"probes": kept}))
    scorer.check_probes(file, "float32")
    kept[2]["score"] += 0.02
    file.write_text(json.dumps({"probes": kept}))
    with pytest.raises(TrainingInputError, match=r"off by 0\.02"):
        scorer.check_probes(file, "float32")
    file.write_text(json.dumps({"probes": [{**kept[0], "score": float("nan")}]}))
    with pytest.raises(TrainingInputError, match="off by nan"):
        scorer.check_probes(file, "float32")


def test_probes_of_another_number_type_must_go_up_and_down_together(
    adapters: dict[str, Path], tmp_path: Path
) -> None:
    scorer = RewardAdapter(tiny.roles(**adapters), tiny.tokenizer(), 2)
    file, kept = tmp_path / "reward_probe.json", probes(scorer)

    def store(scores: list[float]) -> None:
        rows = [{**row, "score": score} for row, score in zip(kept, scores, strict=True)]
        file.write_text(json.dumps({"dtype": "bfloat16", "probes": rows}))

    scores = [row["score"] for row in kept]
    store([0.1 + 1.1 * score for score in scores])
    scorer.check_probes(file, "float32")
    with pytest.raises(TrainingInputError, match="off by"):
        scorer.check_probes(file, "bfloat16")
    store([-score for score in scores])
    with pytest.raises(TrainingInputError, match="correlation -1: scores computed in float32"):
        scorer.check_probes(file, "float32")
