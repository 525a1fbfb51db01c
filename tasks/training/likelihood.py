"""Log-probabilities of a batch's response tokens, with a gradient to the hidden states.

TRL 1.16 scores every position on a CPU, prompt and padding too, and computes the gradient in
float32. Here only response positions pass through the head, some at a time. As the head is frozen,
all that a backward needs is d log p(y) / dh = (onehot(y) - softmax(hW)) W, which is computed with
the logits while they are there: what is kept of a token is as large as its hidden state.

Shapes: B rows, T tokens, N positions to score, H hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from tasks.engines.logprobs import widen

LOGITS_AT_ONCE = 1 << 25  # in float32: an eighth of a gigabyte

SCALES = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
    "output_multiplier",
)
"""Of a model's config: what is done to logits after the head."""


def has_plain_head(causal: PreTrainedModel) -> bool:
    """Whether logits are the last hidden states times a frozen head, and nothing else."""
    config, head = causal.config.get_text_config(), causal.get_output_embeddings()
    is_frozen = head is not None and not any(p.requires_grad for p in head.parameters())
    return is_frozen and all(getattr(config, name, None) in (None, 1.0) for name in SCALES)


def token_logprobs(model: PeftModel, ids: Tensor, mask: Tensor, scored: Tensor) -> Tensor:
    """log p of the scored ones of ids [B, T] given those before them: [B, T - 1], 0 elsewhere.

    mask, scored: [B, T], of rows padded on the right; the first token of a row is never scored.
    By the head that TRL's trainer put on the model where more is done to logits than is known here.
    """
    causal = cast(PreTrainedModel, model.get_base_model())
    if not has_plain_head(causal):
        labels = ids.masked_fill(scored == 0, -100)
        fused = {"labels": labels, "use_cache": False, "fused_lm_head": True}
        theirs: Tensor = model(input_ids=ids, attention_mask=mask, **fused).log_probs
        return theirs
    decoder: Any = causal.base_model
    head: Any = causal.get_output_embeddings()
    hidden = decoder(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    wanted = scored[:, 1:].bool()
    found = _HeadLogprobs.apply(
        hidden[:, :-1][wanted], head.weight, getattr(head, "bias", None), ids[:, 1:][wanted]
    )
    return found.new_zeros(wanted.shape).masked_scatter(wanted, found)


class _HeadLogprobs(torch.autograd.Function):
    """log p [N] float32 of targets [N] from hidden states [N, H]; the head gets no gradient."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Any, targets: Tensor) -> Tensor:
        found, slopes = [], []
        rows = max(1, LOGITS_AT_ONCE // len(weight))
        for states, chosen in zip(hidden.split(rows), targets[:, None].split(rows), strict=True):
            logits = widen(torch.nn.functional.linear(states, weight, bias))
            logprobs = logits.log_softmax(-1)  # [rows, V]
            found.append(logprobs.gather(-1, chosen)[:, 0])
            if ctx.needs_input_grad[0]:
                slope = logprobs.exp_().neg_()
                slope.scatter_add_(-1, chosen, slope.new_ones(chosen.shape))
                slopes.append(slope.to(weight.dtype) @ weight)
        if slopes:
            ctx.save_for_backward(torch.cat(slopes))
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (slopes,) = ctx.saved_tensors
        return (slopes * gradients[0][:, None]).to(slopes.dtype), None, None, None
