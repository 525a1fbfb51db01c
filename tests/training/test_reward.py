"""Reward model: its formulas by hand, what it pools, what it saves, soft targets, resuming."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch

from tasks.chat.tokens import conversation_ids
from tasks.training import loop, reward
from tasks.training.base import attach_adapter, lora_config
from tasks.training.preference import accuracy, bradley_terry, calibration_error, correlation
from tasks.training.scoring import (
    load_scorer,
    pad_right,
    score_conversations,
    score_ids,
)
from tasks.training.settings import TrainingInputError

HEAD = "base_model.model.score.weight"


def pairs(count: int, start: int = 0, preference: float = 0.9) -> list[dict[str, Any]]:
    return [
        {
            "id": f"p{n}",
            "messages": [{"role": "user", "content": "q" * (1 + n % 5)}],
            "chosen": "a" * (1 + n % 4),
            "rejected": "b" * (1 + n % 3),
            "preference": preference,
        }
        for n in range(start, start + count)
    ]


def test_soft_loss_by_hand():
    margins, preferences = torch.tensor([0.0, 2.0, 2.0]), torch.tensor([0.3, 1.0, 0.25])
    good, bad = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    wanted = [math.log(2), good, 0.25 * good + 0.75 * bad]
    assert bradley_terry(margins, preferences).tolist() == pytest.approx(wanted, abs=1e-6)
    best = torch.tensor([math.log(0.8 / 0.2)], requires_grad=True)
    bradley_terry(best, torch.tensor([0.8])).sum().backward()
    assert best.grad is not None
    assert best.grad.item() == pytest.approx(0, abs=1e-6)


def test_accuracy_calibration_and_correlation_by_hand():
    margins = torch.tensor([1.0, -1.0, 0.0, 5.0])
    assert accuracy(margins, torch.tensor([0.9, 0.2, 0.7, 0.5])) == pytest.approx(2 / 3)
    assert accuracy(margins, torch.full([4], 0.5)) is None
    sure = torch.tensor([math.log(3.0)] * 4)  # P = 0.75
    assert calibration_error(sure, torch.full([4], 0.75)) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure, torch.full([4], 0.5)) == pytest.approx(0.25, abs=1e-6)
    hits = torch.tensor([1.0, 1.0, 1.0, 0.0])
    assert calibration_error(sure, hits) == pytest.approx(0, abs=1e-6)
    assert correlation(torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 2, 1])) == pytest.approx(-1)
    assert correlation(torch.tensor([1.0, 1]), torch.tensor([3.0, 2])) is None


@pytest.fixture
def scorer(tiny: Path) -> Any:
    base, tokenizer = load_scorer({"path": str(tiny), "quantization": "none"}, seed=1)
    return attach_adapter(base, lora_config(4, 4, head=True)).eval(), tokenizer


def test_score_is_the_head_on_the_last_attended_token(scorer):
    model, tokenizer = scorer
    ids = conversation_ids(tokenizer, [{"role": "user", "content": "q"}], "abc")
    assert tokenizer.decode(ids[-2:]) == "<|im_end|>\n"
    base = model.get_base_model()
    hidden = base.model(torch.tensor([ids])).last_hidden_state
    wanted = hidden[0, -1] @ base.score.modules_to_save["default"].weight[0]
    assert score_ids(model, [ids], 1).item() == pytest.approx(wanted.item(), abs=1e-5)


def test_padding_equal_to_eos_moves_no_score(scorer):
    """Also with a row that ends in pad == eos, where the usual pooling steps back one token."""
    model, tokenizer = scorer
    eos = tokenizer.eos_token_id
    rows = [[5, 6, 7, eos], [9], [3, eos, 4, 5, 6, 7, 8, 9]]
    alone = torch.cat([score_ids(model, [row], 1) for row in rows])
    assert score_ids(model, rows, 3).tolist() == pytest.approx(alone.tolist(), abs=1e-5)
    batch = pad_right(rows)
    batch["input_ids"][batch["attention_mask"] == 0] = eos
    padded = model(**batch).logits.squeeze(-1)
    assert padded.tolist() == pytest.approx(alone.tolist(), abs=1e-5)
    usual = type(model.get_base_model()).forward(model.get_base_model(), **batch).logits
    assert abs(usual[0].item() - alone[0].item()) > 1e-2


def test_trains_all_it_should_learns_and_reloads_to_the_same_scores(stage, monkeypatch):
    seen: dict[str, Any] = {}

    def train(trainer: Any, *rest: Any) -> Any:
        seen["model"] = trainer.model
        seen["before"] = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
        return loop.train(trainer, *rest)

    monkeypatch.setattr(reward, "train", train)
    run = stage("reward").data(pairs(16), pairs(8, 16))
    metrics = run.run(max_steps=25, learning_rate=1e-2)["metrics"]
    for name, parameter in seen["model"].named_parameters():
        assert torch.equal(parameter, seen["before"][name]) != parameter.requires_grad, name
    assert metrics["eval_accuracy"] == 1.0
    assert metrics["eval_loss"] < metrics["eval_loss_first"]
    assert metrics["eval_margin"] == pytest.approx(
        metrics["eval_score_chosen"] - metrics["eval_score_rejected"], abs=1e-5
    )
    assert -1 <= metrics["eval_length_correlation"] <= 1
    assert 0 <= metrics["eval_calibration_error"] < 0.3

    head = run.adapter()[HEAD]
    assert (head.shape, head.dtype) == ((1, 64), torch.float32)
    probes = json.loads((run.out / "reward_probe.json").read_text())["probes"]
    assert len(probes) == 8
    base, tokenizer = load_scorer(run.spec["model"])
    again = attach_adapter(base, lora_config(1, 1, head=True), run.out / "adapter").eval()
    scores = score_conversations(again, tokenizer, [p["messages"] for p in probes], 1)
    assert scores == pytest.approx([p["score"] for p in probes], abs=1e-5)
    assert len({round(score, 3) for score in scores}) > 4


def test_probes_hold_on_a_causal_host(stage):
    """PPO's view: the adapter on a causal base, the head from the file, the last token."""
    from peft import PeftModel

    from tasks.training.base import load_base

    run = stage("reward").data(pairs(8), [])
    run.run(max_steps=2, learning_rate=1e-2)
    base, tokenizer = load_base(run.spec["model"])
    host = PeftModel.from_pretrained(base, run.out / "adapter", adapter_name="reward").eval()
    head = run.adapter()[HEAD][0]
    for probe in json.loads((run.out / "reward_probe.json").read_text())["probes"]:
        ids = tokenizer.apply_chat_template(probe["messages"], tokenize=True, return_dict=False)
        decoder: Any = host.get_base_model().model
        hidden = decoder(torch.tensor([ids])).last_hidden_state[0, -1]
        assert (hidden.float() @ head).item() == pytest.approx(probe["score"], abs=1e-5)


def test_loss_uses_the_soft_preference(stage):
    """With p = 1/2 a margin can only hurt: the trained loss is at least ln 2."""
    run = stage("reward").data(pairs(8, preference=0.5), pairs(4, preference=0.5))
    metrics = run.run(max_steps=6, learning_rate=1e-2)["metrics"]
    assert all(r["loss"] >= math.log(2) - 1e-6 for r in run.logged() if "loss" in r)
    assert "eval_accuracy" not in metrics


def test_accumulated_batches_give_the_loss_and_gradient_of_the_whole(stage):
    whole = stage("reward", "whole").data(pairs(4), [])
    parts = stage("reward", "parts").data(pairs(4), [])
    whole.run(max_steps=1, batch_size=4)
    parts.run(max_steps=1, batch_size=1, gradient_accumulation=4)
    for name in ("loss", "grad_norm"):
        assert parts.logged()[0][name] == pytest.approx(whole.logged()[0][name], rel=2e-2)


def test_can_start_from_the_sft_adapter(stage, tiny: Path):
    base, _ = load_scorer({"path": str(tiny), "quantization": "nf4"})
    model = attach_adapter(base, lora_config(2, 6, head=True))
    sft = stage("sft")
    sft.data(
        [{"id": "r", "messages": [{"role": "user", "content": "q"}], "response": "a"}] * 4, []
    ).run(max_steps=3, learning_rate=1e-2)
    base, _ = load_scorer({"path": str(tiny), "quantization": "nf4"})
    settings = reward.RewardSettings(lora_r=16, start="sft")
    model = reward.attach_scorer(base, settings, str(sft.out / "adapter"))
    state = reward.adapter_state(model)
    assert state.keys() - sft.adapter().keys() == {HEAD}
    assert all(torch.equal(state[name], tensor) for name, tensor in sft.adapter().items())
    assert all(p.requires_grad for n, p in model.named_parameters() if ".default." in n)


def test_refuses_bad_input(stage):
    with pytest.raises(TrainingInputError, match="start=sft: needs an SFT adapter"):
        stage("reward").data(pairs(2), []).run(start="sft")
    with pytest.raises(TrainingInputError, match=r"preference 1\.5 is no probability"):
        stage("reward", "p").data(pairs(2, preference=1.5), []).run()
    long = {**pairs(1)[0], "rejected": "x" * 80}
    with pytest.raises(TrainingInputError, match="all 1 rows are over max_length"):
        stage("reward", "long").data([long], []).run()


def test_interrupted_equals_uninterrupted(stage):
    settings = {"max_steps": 5, "save_steps": 2, "eval_steps": 2, "learning_rate": 1e-2}
    straight = stage("reward", "straight").data(pairs(10), pairs(4, 10))
    wanted = straight.run(**settings)["metrics"]
    broken = stage("reward", "broken").data(pairs(10), pairs(4, 10))
    with pytest.raises(KeyboardInterrupt):
        broken.run(**settings, stop_at=4)
    metrics = broken.run(**settings)["metrics"]
    assert metrics == {**wanted, "resumed_from_step": 2.0}
    assert broken.logged() == straight.logged()
    assert all(torch.equal(broken.adapter()[n], t) for n, t in straight.adapter().items())
