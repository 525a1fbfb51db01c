"""What makes training lean changes no number: adapters, attention, the head's input."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch.autograd.graph import saved_tensors_hooks
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tasks.engines.load import AdaptedModel
from tasks.training import attention
from tasks.training.base import attach_adapter, load_base, lora_config
from tasks.training.lora import keep_inputs_only

IDS = torch.arange(48).view(3, 16)


def adapted(tiny: Path, quantization: str, compute: str) -> PeftModel:
    base, _ = load_base({"path": str(tiny), "quantization": quantization, "compute": compute})
    torch.manual_seed(0)
    model = attach_adapter(base, lora_config(4, 8))  # scale 2
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.1)
    return model


def numbers(model: PeftModel) -> list[torch.Tensor]:
    """Logits, and the gradients of all that is trained."""
    output = model(IDS, labels=IDS)
    output.loss.backward()
    return [output.logits, *(p.grad for p in model.parameters() if p.grad is not None)]


KINDS = [("nf4", "float32"), ("nf4", "bfloat16"), ("none", "float32"), ("none", "bfloat16")]


@pytest.mark.parametrize(("quantization", "compute"), KINDS)
def test_an_adapter_has_the_logits_and_gradients_of_pefts(tiny: Path, quantization, compute):
    """To the last bit, and it keeps less: one copy of what several layers are given."""
    kept, found = [], []
    for is_lean in (False, True):
        model = adapted(tiny, quantization, compute)
        if is_lean:
            keep_inputs_only(model)
        stored: dict[int, int] = {}

        def note(tensor: torch.Tensor, stored: dict[int, int] = stored) -> torch.Tensor:
            stored[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with saved_tensors_hooks(note, lambda tensor: tensor):
            found.append(numbers(model))
        kept.append(sum(stored.values()))
    assert len(found[0]) == len(found[1]) > 20
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    if compute == "bfloat16":
        assert kept[1] < kept[0]


def test_a_layer_with_another_update_than_loras_is_left_to_peft(tiny: Path):
    """DoRA's is not one that can be added, and two active adapters are two updates."""
    from peft import LoraConfig, get_peft_model

    base, _ = load_base({"path": str(tiny), "quantization": "none"})
    dora = LoraConfig(r=4, use_dora=True, target_modules="all-linear", task_type="CAUSAL_LM")
    torch.manual_seed(0)
    model: Any = get_peft_model(base, dora)
    model.add_adapter("second", lora_config(4, 4))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data.normal_(std=0.1)

    def logits() -> Iterator[torch.Tensor]:
        for names in (["default"], ["second"], ["default", "second"]):
            model.base_model.set_adapter(names)
            yield model(IDS).logits
        with model.disable_adapter():
            yield model(IDS).logits

    with torch.no_grad():
        before = list(logits())
        keep_inputs_only(model)
        after = list(logits())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert not torch.equal(before[0], before[1])


@pytest.mark.parametrize("tokens", [attention.LONGEST, attention.LONGEST + 1])
def test_short_rows_attend_in_float32(tokens: int):
    """Closer to the true numbers than bfloat16 is, in the output and in the gradients."""
    torch.manual_seed(0)
    given = [torch.randn(2, 3, tokens, 8) for _ in range(3)]
    mask = torch.ones(2, 1, tokens, tokens, dtype=torch.bool).tril()

    def attended(how, dtype: torch.dtype) -> list[torch.Tensor]:
        sides = [side.to(dtype).requires_grad_() for side in given]
        found, _ = how(torch.nn.Module(), *sides, attention_mask=mask)  # so some models call it
        found.float().square().sum().backward()
        return [found.detach(), *(side.grad for side in sides if side.grad is not None)]

    true = attended(sdpa_attention_forward, torch.float64)
    ours = attended(attention.attend, torch.bfloat16)
    theirs = attended(sdpa_attention_forward, torch.bfloat16)

    def errors(found: list[torch.Tensor]) -> list[float]:
        return [(a.double() - b).abs().mean().item() for a, b in zip(found, true, strict=True)]

    if tokens > attention.LONGEST:
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    else:
        assert all(a < b for a, b in zip(errors(ours)[1:], errors(theirs)[1:], strict=True))
        assert {tensor.dtype for tensor in ours} == {torch.bfloat16}


def test_the_models_that_are_trained_on_attend_so(tiny: Path, monkeypatch):
    seen: list[torch.Size] = []

    def look(query: torch.Tensor, key: torch.Tensor) -> bool:
        seen.append(query.shape)
        return False

    monkeypatch.setattr(attention, "_is_short", look)
    base, _ = load_base({"path": str(tiny), "quantization": "none"})
    base(IDS)
    assert seen


def test_the_head_is_given_rows_without_gaps(tiny: Path):
    """Of a view with gaps torch makes a product for each row, with a copy of the head for each."""
    trained, _ = load_base({"path": str(tiny), "quantization": "nf4"})
    for model in (trained, AdaptedModel({"path": str(tiny)}).base):
        seen: list[torch.Tensor] = []
        head = model.get_output_embeddings()
        head.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        with torch.no_grad():
            logits = model(IDS, logits_to_keep=2).logits
        (hidden,) = seen
        assert hidden.shape[:2] == logits.shape[:2] == (3, 2)
        assert hidden.is_contiguous()
