"""Texts to numbers: log-probabilities under a model, and rewards of a reward adapter.

A text is tokenised by itself, after the prompt, as it would be sampled; where a model sampled
other tokens of the same text, these are not what is scored.
Shapes: B rows, P prompt tokens, C tokens of the longest text, V vocabulary, H hidden size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from tasks.engines.batches import in_halves, plan_batches
from tasks.engines.load import AdaptedModel
from tasks.engines.logprobs import logprobs_of
from tasks.engines.tokens import conversation_ids, last_attended, pad, positions, prompt_ids

LOGITS_AT_ONCE = 1 << 27  # of a batch, in float32: half a gigabyte
Items = list[dict[str, Any]]


@dataclass(frozen=True)
class Text:
    """A tokenised continuation: `index` is its place in the call; a reward's is all `tokens`."""

    index: int
    prompt: list[int]
    tokens: list[int]
    temperature: float

    @property
    def width(self) -> int:
        return len(self.prompt) + len(self.tokens)


class Scorer:
    """Scores continuations (fields of `tasks.engines.engine.Continuation`) with a loaded model."""

    def __init__(
        self, model: AdaptedModel, batch_tokens: int = 16384, batch_rows: int = 64
    ) -> None:
        self.model, self.tokenizer = model, model.tokenizer
        self.batch_tokens, self.batch_rows = batch_tokens, batch_rows

    def score(self, continuations: Sequence[dict[str, Any]]) -> Iterator[tuple[Items, float]]:
        """Yield (scores, seconds) batch by batch: log-probabilities of each text's tokens."""
        for adapter, own in _by_adapter(continuations):
            texts = [self._text(index, asked) for index, asked in own]
            longest = max(len(text.tokens) for text in texts) + 1
            vocabulary = self.model.base.config.get_text_config().vocab_size
            rows = max(1, min(self.batch_rows, LOGITS_AT_ONCE // (longest * vocabulary)))
            with self.model.use(adapter) as model:
                yield from self._timed(texts, rows, partial(_logprobs, model))

    def reward(self, continuations: Sequence[dict[str, Any]]) -> Iterator[tuple[Items, float]]:
        """Yield (scores, seconds) batch by batch: rewards by each one's adapter and its head."""
        for adapter, own in _by_adapter(continuations):
            head = self.model.head(str(adapter))
            texts = [
                Text(i, [], conversation_ids(self.tokenizer, c["messages"], c["text"]), 1.0)
                for i, c in own
            ]
            with self.model.use(adapter) as model:
                yield from self._timed(texts, self.batch_rows, partial(_rewards, model, head))

    def _text(self, index: int, asked: dict[str, Any]) -> Text:
        tokens = list(self.tokenizer(asked["text"], add_special_tokens=False)["input_ids"])
        end = [self.tokenizer.eos_token_id] if asked["is_ended"] else []
        prompt = prompt_ids(self.tokenizer, asked["messages"])
        return Text(index, prompt, tokens + end, asked["temperature"] or 1.0)

    def _timed(
        self, texts: Sequence[Text], rows: int, run: Callable[[list[Text]], Items]
    ) -> Iterator[tuple[Items, float]]:
        for batch in plan_batches(texts, lambda text: text.width, self.batch_tokens, rows):
            started = time.perf_counter()
            items = in_halves(run, batch)
            yield items, time.perf_counter() - started


def _by_adapter(
    continuations: Sequence[dict[str, Any]],
) -> Iterator[tuple[str | None, list[tuple[int, dict[str, Any]]]]]:
    """The continuations with their places in the call, one adapter after another."""
    for adapter in dict.fromkeys(asked["adapter"] for asked in continuations):
        yield adapter, [(i, c) for i, c in enumerate(continuations) if c["adapter"] == adapter]


@torch.inference_mode()
def _logprobs(model: PreTrainedModel, texts: list[Text]) -> Items:
    """Prompts are padded on the left, texts on the right: logits of C + 1 positions will do."""
    left, left_mask = pad([text.prompt for text in texts], left=True, device=model.device)
    right, right_mask = pad([text.tokens for text in texts], device=model.device)
    mask = torch.cat([left_mask, right_mask], 1).long()
    logits = model(
        input_ids=torch.cat([left, right], 1),
        attention_mask=mask,
        position_ids=positions(mask),
        logits_to_keep=right.shape[1] + 1,
    ).logits[:, :-1]  # [B, C, V]
    temperatures = torch.tensor([text.temperature for text in texts], device=model.device)
    found = logprobs_of(logits, right, temperatures[:, None, None])
    own = [row[: len(text.tokens)] for text, row in zip(texts, found.tolist(), strict=True)]
    return [
        {"index": text.index, "value": sum(logprobs), "logprobs": logprobs}
        for text, logprobs in zip(texts, own, strict=True)
    ]


@torch.inference_mode()
def _rewards(model: PreTrainedModel, head: torch.Tensor, texts: list[Text]) -> Items:
    """The head at the last token's hidden state, in float32: see tasks/training/scoring.py."""
    ids, mask = pad([text.tokens for text in texts], device=model.device)
    decoder: Any = model.base_model
    hidden = decoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state  # [B, T, H]
    values = (last_attended(hidden, mask).float() @ head.T)[:, 0].tolist()
    return [
        {"index": text.index, "value": value, "logprobs": []}
        for text, value in zip(texts, values, strict=True)
    ]
