"""The reward model: a decoder and a float32 scalar head, pooled at the last attended token.

What is scored is the prompt, the response and the end of its turn, as in training, right-padded.
With ChatML the pooled token is the newline after `<|im_end|>`. The position comes from the
attention mask: transformers pools at the last id that is not pad, which is another token as soon as
pad equals a token that occurs (SmolLM2: pad == eos == `<|im_end|>`).
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

from tasks.chat.tokens import conversation_ids
from tasks.engines.tokens import last_attended, pad
from tasks.training.base import load_base
from tasks.training.rows import Message


def load_scorer(
    model: dict[str, Any], seed: int = 0
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base with a fresh scalar head in place of `lm_head`, and its tokenizer.

    The head [1, H] is drawn from N(0, 1 / (H + 1)) as in Stiennon et al. 2020, so that scores
    start near unit scale, and stays float32 whatever the base is.
    """
    base, tokenizer = load_base(model, with_head=True)
    head: torch.nn.Linear = base.score  # type: ignore[assignment]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(head.weight.shape, generator=generator) / (head.in_features + 1) ** 0.5
    head.weight = torch.nn.Parameter(drawn.to(head.weight.device), requires_grad=False)
    base.forward = MethodType(_forward, base)  # type: ignore[method-assign]
    return base, tokenizer


def _forward(
    self: Any, input_ids: Tensor, attention_mask: Tensor, **_: Any
) -> SequenceClassifierOutputWithPast:
    """logits [B, 1]: float32 scores of right-padded ids [B, T], at the last attended token."""
    decoder = getattr(self, self.base_model_prefix)
    hidden = decoder(input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
    pooled = last_attended(hidden, attention_mask).float()
    return SequenceClassifierOutputWithPast(logits=self.score(pooled))


def pad_right(
    sequences: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> dict[str, Tensor]:
    """input_ids and attention_mask [B, T]; padding is id 0, which the mask hides."""
    input_ids, mask = pad(sequences, device=device)
    return {"input_ids": input_ids, "attention_mask": mask.long()}


@torch.no_grad()
def score_ids(scorer: PeftModel, sequences: Sequence[Sequence[int]], batch_size: int) -> Tensor:
    """Scores [N] (float32, CPU) of tokenised conversations, in the order given."""
    was_training = scorer.training
    scorer.eval()
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    scores = torch.empty(len(sequences))
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        logits = scorer(**pad_right([sequences[row] for row in rows], scorer.device)).logits
        scores[rows] = logits.squeeze(-1).float().cpu()
    scorer.train(was_training)
    return scores


def score_conversations(
    scorer: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    conversations: Sequence[Sequence[Message]],
    batch_size: int = 8,
) -> list[float]:
    """Scores of conversations that end with an assistant's message."""
    ids = [
        conversation_ids(tokenizer, messages[:-1], messages[-1]["content"])
        for messages in conversations
    ]
    return score_ids(scorer, ids, batch_size).tolist()
