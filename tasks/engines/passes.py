"""Forward passes that give texts their log-probabilities.

Two ways, equal but for rounding: several texts after one prompt (the options of a question) share
one pass of the prompt, of whose last position alone logits are kept; a long text by itself goes
through in one piece with its prompt. What all prompts begin with is computed once (see prefix.py).

Shapes: R prompts, N texts, P prefix tokens, C tokens of the longest text, V vocabulary. Rows are
laid out as [prefix][padding][rest of the prompt][text][padding].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tasks.engines.logprobs import logprobs_of
from tasks.engines.prefix import Prefix, new_cache
from tasks.engines.tokens import pad, positions

Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Text:
    """A tokenised text to score: `index` is its place in the call."""

    index: int
    tokens: list[int]
    temperature: float


@dataclass(frozen=True)
class Question:
    """A tokenised prompt and the texts after it."""

    prompt: list[int]
    texts: list[Text]

    @property
    def longest(self) -> int:
        """Tokens of its longest text."""
        return max(len(text.tokens) for text in self.texts)

    @property
    def has_options(self) -> bool:
        """Whether it is worth a pass of the prompt by itself."""
        return len(self.texts) > 1 or self.longest == 1

    @property
    def width(self) -> int:
        """Positions that it takes up in a batch: single tokens need no rows of their own."""
        if self.longest <= 1:
            return len(self.prompt) + 1
        return len(self.texts) * (len(self.prompt) + self.longest)

    def split(self) -> list[Question]:
        """One question for each text."""
        return [Question(self.prompt, [text]) for text in self.texts]


@torch.inference_mode()
def score_options(
    model: PreTrainedModel, prefix: Prefix | None, questions: list[Question]
) -> Items:
    """A pass of the prompts, then one of the texts without their last tokens, if any is left."""
    left, mask = _prompts(questions, prefix, model.device)
    longest = max(question.longest for question in questions)
    room = left.shape[1] + longest
    cache = prefix.cache(len(questions), room) if prefix else new_cache(model, room)
    asked = {"past_key_values": cache, "use_cache": True}
    logits: Tensor = model(
        input_ids=left,
        attention_mask=mask,
        position_ids=positions(mask)[:, -left.shape[1] :],
        logits_to_keep=1,
        **asked,
    ).logits  # [R, 1, V]
    rows = [row for row, question in enumerate(questions) for _ in question.texts]
    chosen = torch.tensor(rows, device=model.device)
    texts = [text for question in questions for text in question.texts]
    right, right_mask = pad([text.tokens for text in texts], device=model.device)
    logits = logits[chosen]  # [N, 1, V]
    if longest > 1:
        cache.batch_select_indices(chosen)
        mask = torch.cat([mask[chosen], right_mask[:, :-1].long()], 1)
        after = model(
            input_ids=right[:, :-1],
            attention_mask=mask,
            position_ids=positions(mask)[:, -(longest - 1) :],
            **asked,
        ).logits
        logits = torch.cat([logits, after], 1)  # [N, C, V]
    return _items(texts, logits[:, :longest], right)


@torch.inference_mode()
def score_texts(model: PreTrainedModel, prefix: Prefix | None, questions: list[Question]) -> Items:
    """One pass of prompts and texts, one text a question: logits of C + 1 positions will do."""
    left, mask = _prompts(questions, prefix, model.device)
    texts = [text for question in questions for text in question.texts]
    right, right_mask = pad([text.tokens for text in texts], device=model.device)
    ids, mask = torch.cat([left, right], 1), torch.cat([mask, right_mask.long()], 1)
    cached = {"past_key_values": prefix.cache(len(questions), ids.shape[1])} if prefix else {}
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions(mask)[:, -ids.shape[1] :],
        logits_to_keep=right.shape[1] + 1,
        **cached,
    ).logits[:, :-1]  # [N, C, V]
    return _items(texts, logits, right)


def _prompts(
    questions: Sequence[Question], prefix: Prefix | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """What follows the prefix, padded on its left, and the mask [R, P + padded] of all."""
    shared = len(prefix.tokens) if prefix else 0
    ids, rest = pad([q.prompt[shared:] for q in questions], left=True, device=device)
    return ids, torch.cat([rest.new_ones((len(questions), shared)), rest], 1).long()


def _items(texts: Sequence[Text], logits: Tensor, ids: Tensor) -> Items:
    """Scores from the logits [N, C, V] that predict the texts' ids [N, C]."""
    temperatures = torch.tensor([text.temperature for text in texts], device=ids.device)
    found = logprobs_of(logits, ids, temperatures[:, None, None]).tolist()
    best = (logits.gather(-1, ids[..., None]).squeeze(-1) == logits.amax(-1)).tolist()
    return [
        _item(text, row[: len(text.tokens)], all(first[: len(text.tokens)]))
        for text, row, first in zip(texts, found, best, strict=True)
    ]


def _item(text: Text, logprobs: list[float], is_greedy: bool) -> dict[str, Any]:
    value = sum(logprobs)
    return {"index": text.index, "value": value, "logprobs": logprobs, "is_greedy": is_greedy}
