"""A LoRA layer's forward and backward, keeping for the backward little more than the layer's input.

peft's layer turns its input into the float32 of its adapter, and autograd keeps that copy: one for
each of a block's seven layers, although most of them share their input. Here the input is kept as
it came, and made float32 anew in the backward. Every number comes out as peft's does, to the bit.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as PlainLinear
from peft.tuners.lora import LoraLayer
from torch import Tensor
from torch.autograd.function import once_differentiable


def keep_inputs_only(model: PeftModel) -> None:
    """Have every linear LoRA layer of the model compute by `_Update`; which adapter is active may
    change at any time. Layers that do more than add one update are left to peft."""
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and isinstance(layer.get_base_layer(), torch.nn.Linear):
            layer.forward = partial(_forward, layer, layer.forward)  # type: ignore[attr-defined]


def _forward(layer: Any, theirs: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The layer's output [..., out] of x [..., in]."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    is_more = layer.disable_adapters or layer.merged or layer.lora_variant or args or kwargs
    if is_more or len(active) != 1 or not _is_plain(layer, active[0]):
        return theirs(x, *args, **kwargs)
    (name,) = active
    result = layer.base_layer(x)
    update = _Update.apply(
        x, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )
    if not isinstance(layer, PlainLinear):
        update = update.to(result.dtype)  # as peft's 4-bit layer rounds
    return (result + update).to(result.dtype)


def _is_plain(layer: Any, name: str) -> bool:
    """Whether an adapter of the layer is two products and nothing more."""
    has_dropout = isinstance(layer.lora_dropout[name], torch.nn.Dropout)
    return not has_dropout and layer.lora_B[name].bias is None


class _Update(torch.autograd.Function):
    """scale * B(A x), float32 [..., out], of x [..., in] of any type, A [r, in] and B [out, r]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        inner = torch.nn.functional.linear(x.to(a.dtype), a)
        ctx.save_for_backward(x, a, b, inner)
        ctx.scale = scale
        return _scaled(torch.nn.functional.linear(inner, b), scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, a, b, inner = ctx.saved_tensors
        rows = _scaled(gradient, ctx.scale).reshape(-1, len(b))
        inwards = rows @ b  # [N, r]
        to_b = rows.t() @ inner.reshape(-1, len(a))
        to_a = inwards.t() @ x.reshape(-1, x.shape[-1]).to(a.dtype)
        to_x = (inwards @ a).to(x.dtype).view(x.shape) if ctx.needs_input_grad[0] else None
        return to_x, to_a, to_b, None


def _scaled(values: Tensor, scale: float) -> Tensor:
    return values if scale == 1 else values * scale
