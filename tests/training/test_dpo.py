"""DPO: the reference is the SFT adapter, checked before the first step; margins by hand."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from trl.trainer.utils import add_fused_lm_head, use_adapter

from tasks.training import dpo, likelihood, loop
from tasks.training.base import (
    adapter_state,
    attach_adapter,
    load_base,
    load_tokenizer,
    lora_config,
)
from tasks.training.dpo import ReferenceMismatch
from tasks.training.settings import TrainingInputError


def pairs(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "id": f"p{n}",
            "messages": [{"role": "user", "content": "q" * (1 + n % 5)}],
            "chosen": "a" * (1 + n % 4),
            "rejected": "b" * (1 + n % 3),
            "preference": 0.9,
        }
        for n in range(start, start + count)
    ]


@pytest.fixture(scope="module")
def sft_adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float32 adapter far from both the base and its own bfloat16 rounding."""
    from tasks.training.base import attach_adapter, load_base, lora_config, save_adapter

    torch.manual_seed(11)
    base, _ = load_base({"path": str(tiny), "quantization": "nf4"})
    model = attach_adapter(base, lora_config(4, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    folder = tmp_path_factory.mktemp("sft_adapter")
    save_adapter(model, folder, "tiny")
    return folder


@pytest.fixture
def trainers(monkeypatch) -> list[Any]:
    """The trainers of every dpo.run, caught as they pass the reference check."""
    caught: list[Any] = []
    check = dpo.check_reference

    def spy(trainer: Any, rows: Any) -> None:
        caught.append(trainer)
        check(trainer, rows)

    monkeypatch.setattr(dpo, "check_reference", spy)
    return caught


def start(stage: Any, sft_adapter: Path, name: str = "run") -> Any:
    run = stage("dpo", name).data(pairs(10), pairs(5, 10))
    run.spec["adapters"] = {"sft": str(sft_adapter)}
    return run


def test_policy_moves_and_the_reference_stays_the_sft_adapter(stage, sft_adapter, trainers):
    from safetensors.torch import load_file

    sft = load_file(sft_adapter / "adapter_model.safetensors")
    run = start(stage, sft_adapter)
    metrics = run.run(max_steps=4, learning_rate=1e-2, beta=0.1)["metrics"]
    model = trainers[0].model
    reference = adapter_state(model, "ref")
    assert reference.keys() == sft.keys()
    assert all(torch.equal(reference[n], t) for n, t in sft.items())
    assert {p.dtype for n, p in model.named_parameters() if ".lora_" in n} == {torch.float32}
    assert not any(p.requires_grad for n, p in model.named_parameters() if ".default." not in n)
    assert all(not torch.equal(run.adapter()[n], t) for n, t in sft.items())
    assert metrics["eval_loss_first"] == pytest.approx(math.log(2), abs=1e-6)
    assert metrics["eval_loss"] < math.log(2)
    assert metrics["loss_first"] == pytest.approx(math.log(2), abs=1e-6)


def test_reference_is_not_the_bare_base(stage, sft_adapter, trainers):
    start(stage, sft_adapter).run(max_steps=1)
    trainer = trainers[0]
    rows = [dpo.paired(load_tokenizer(trainer.model.config.name_or_path), p) for p in pairs(3)]
    reference = dpo.response_logprobs(trainer, rows, 3, reference=True)
    with use_adapter(trainer.model, None):
        bare = dpo.response_logprobs(trainer, rows, 3)
    assert (reference - bare).abs().min() > 0.1


def test_held_out_numbers_by_hand(stage, sft_adapter, trainers):
    """Log-probabilities from plain logits of single rows, DPO's loss against p = 0.9 from them."""
    run = start(stage, sft_adapter)
    metrics = run.run(max_steps=3, learning_rate=1e-2, beta=0.3, batch_size=8)["metrics"]
    model = trainers[0].model.eval()
    tokenizer = load_tokenizer(run.spec["model"]["path"])

    def logprob(row: dict[str, Any], side: str, adapter: str) -> float:
        prompt, answer = row["prompt_ids"], row[side]
        with torch.no_grad(), use_adapter(model, adapter):
            logits = model(torch.tensor([prompt + answer])).logits.float().log_softmax(-1)[0]
        return sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(answer))

    margins = []
    for row in (dpo.paired(tokenizer, pair) for pair in pairs(5, 10)):
        chosen, rejected = (
            logprob(row, side, "default") - logprob(row, side, "ref")
            for side in ("chosen_ids", "rejected_ids")
        )
        margins.append(0.3 * (chosen - rejected))
    assert metrics["eval_accuracy"] == sum(m > 0 for m in margins) / 5
    assert metrics["eval_margin"] == pytest.approx(sum(margins) / 5, abs=2e-2)
    losses = [0.9 * math.log1p(math.exp(-m)) + 0.1 * math.log1p(math.exp(m)) for m in margins]
    assert metrics["eval_loss"] == pytest.approx(sum(losses) / 5, abs=2e-2)


def test_a_changed_reference_stops_the_stage(stage, sft_adapter, monkeypatch):
    check = dpo.check_reference

    def changed(trainer: Any, rows: Any) -> None:
        weights = adapter_state(trainer.model, "ref")
        next(iter(weights.values())).add_(1e-2)
        check(trainer, rows)

    monkeypatch.setattr(dpo, "check_reference", changed)
    with pytest.raises(ReferenceMismatch, match="must be a copy of the adapter"):
        start(stage, sft_adapter).run(max_steps=1)


def test_a_rounded_policy_stops_the_stage(stage, sft_adapter, monkeypatch):
    """What TRL does to a QLoRA policy unguarded: bfloat16, beside a float32 reference."""
    monkeypatch.setattr(loop, "float32_adapters", lambda model: nullcontext())
    with pytest.raises(ReferenceMismatch):
        start(stage, sft_adapter).run(max_steps=1)


def test_without_an_sft_adapter_the_reference_is_the_base(stage, trainers):
    run = stage("dpo").data(pairs(8), [])
    run.run(max_steps=2, learning_rate=1e-2)
    model = trainers[0].model
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        with use_adapter(model, "ref"):
            reference = model(ids).logits
        with use_adapter(model, None):
            assert torch.equal(model(ids).logits, reference)
        assert not torch.equal(model(ids).logits, reference)


def test_too_long_pairs_are_dropped_and_counted(stage, sft_adapter):
    long = {**pairs(1)[0], "chosen": "x" * 80}
    run = start(stage, sft_adapter).data([*pairs(5), long], [])
    metrics = run.run(max_steps=1)["metrics"]
    assert (metrics["examples"], metrics["dropped_too_long"]) == (5, 1)
    with pytest.raises(TrainingInputError, match="all 1 rows are over max_length"):
        stage("dpo", "all").data([long], []).run()


def test_unknown_setting_and_missing_adapter_are_refused(stage, tmp_path):
    with pytest.raises(TrainingInputError, match="betta: is no setting of DpoSettings"):
        stage("dpo").data(pairs(2), []).run(betta=0.1)
    run = stage("dpo", "gone").data(pairs(2), [])
    run.spec["adapters"] = {"sft": str(tmp_path / "gone")}
    with pytest.raises(TrainingInputError, match="holds no adapter"):
        run.run()


def test_interrupted_equals_uninterrupted(stage, sft_adapter, trainers):
    settings = {"max_steps": 5, "save_steps": 2, "eval_steps": 2, "learning_rate": 1e-2}
    straight = start(stage, sft_adapter, "straight")
    wanted = straight.run(**settings)["metrics"]
    broken = start(stage, sft_adapter, "broken")
    with pytest.raises(KeyboardInterrupt):
        broken.run(**settings, stop_at=4)
    metrics = broken.run(**settings)["metrics"]
    assert metrics == {**wanted, "resumed_from_step": 2.0}
    assert broken.logged() == straight.logged()
    assert all(torch.equal(broken.adapter()[n], t) for n, t in straight.adapter().items())
    first, last = (adapter_state(trainers[i].model, "ref") for i in (0, -1))
    assert all(torch.equal(first[n], last[n]) for n in first)


def test_logprobs_are_those_of_the_whole_logits(tiny, sft_adapter, monkeypatch):
    """Values and gradients, however many positions go through the head at once."""
    base, tokenizer = load_base({"path": str(tiny), "quantization": "none", "compute": "float32"})
    model = attach_adapter(base, lora_config(4, 4), sft_adapter)
    trained = [p for p in model.parameters() if p.requires_grad]
    rows = [dpo.paired(tokenizer, row) for row in pairs(3)]
    batch = dpo.collate(rows)
    labels = batch["input_ids"][:, 1:]
    weights = torch.rand(labels.shape, generator=torch.Generator().manual_seed(5))

    def gradients(logprobs: Any) -> list[Any]:
        return list(torch.autograd.grad((logprobs * weights).sum(), trained))

    whole = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
    expected = whole.log_softmax(-1).gather(-1, labels[..., None])[..., 0]
    expected = expected * batch["completion_mask"][:, 1:]
    wanted = gradients(expected)
    for at_once in (1 << 25, 5 * whole.shape[-1]):
        monkeypatch.setattr(likelihood, "LOGITS_AT_ONCE", at_once)
        found = dpo.token_logprobs(model, batch)
        assert torch.allclose(found, expected, atol=1e-5)
        for one, other in zip(gradients(found), wanted, strict=True):
            assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)


def test_logits_that_are_scaled_go_through_trls_head(tiny, sft_adapter):
    """`likelihood` would leave the scale out: such a model's config names it."""
    base, tokenizer = load_base({"path": str(tiny), "quantization": "none"})
    assert likelihood.has_plain_head(base)
    base.config.logit_scale = 0.5
    assert not likelihood.has_plain_head(base)
    add_fused_lm_head(base)
    model = attach_adapter(base, lora_config(4, 4), sft_adapter)
    batch = dpo.collate([dpo.paired(tokenizer, row) for row in pairs(2)])
    scaled = dpo.token_logprobs(model, batch)
    base.config.logit_scale = None
    assert not torch.allclose(dpo.token_logprobs(model, batch), scaled, atol=0.01)
