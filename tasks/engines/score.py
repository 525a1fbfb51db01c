"""Texts to numbers: log-probabilities under a model, and rewards of a reward adapter.

A text is tokenised by itself, after the prompt, as it would be sampled; where a model sampled
other tokens of the same text, these are not what is scored.
Shapes: B rows, T tokens, H hidden size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

from tasks.chat.tokens import (
    chat_of,
    conversation_ids,
    document_ids,
    prompt_ids,
    text_ids,
)
from tasks.engines.batches import in_halves, plan_batches
from tasks.engines.generate import context_of
from tasks.engines.load import AdaptedModel
from tasks.engines.passes import Items, Question, Text, score_options, score_texts
from tasks.engines.prefix import shared_prefix, takes_prefix
from tasks.engines.tokens import last_attended, pad
from tasks.report import JobInputError

LOGITS_AT_ONCE = 1 << 27  # of a batch, in float32: half a gigabyte
T = TypeVar("T")
Indexed = list[tuple[int, dict[str, Any]]]  # continuations with their places in the call


class Scorer:
    """Scores continuations (fields of `tasks.engines.engine.Continuation`) with a loaded model."""

    def __init__(
        self, model: AdaptedModel, batch_tokens: int = 16384, batch_rows: int = 128
    ) -> None:
        self.model, self.tokenizer = model, model.tokenizer
        self.batch_tokens, self.batch_rows = batch_tokens, batch_rows
        self.context = context_of(model.base)

    def score(self, continuations: Sequence[dict[str, Any]]) -> Iterator[tuple[Items, float]]:
        """Yield (scores, seconds) batch by batch: log-probabilities of each text's tokens.

        A prompt that several continuations share goes through the model once.
        """
        for adapter, own in _by_adapter(continuations):
            questions = self._questions(own)
            with self.model.use(adapter) as model:
                yield from self._score(model, questions)

    def reward(self, continuations: Sequence[dict[str, Any]]) -> Iterator[tuple[Items, float]]:
        """Yield (scores, seconds) batch by batch: rewards by each one's adapter and its head."""
        for adapter, own in _by_adapter(continuations):
            head = self.model.head(str(adapter))
            texts = [
                Text(i, conversation_ids(self.tokenizer, c["messages"], c["text"]), 1.0)
                for i, c in own
            ]
            with self.model.use(adapter) as model:
                run = partial(_rewards, model, head)
                yield from self._timed(texts, lambda text: len(text.tokens), self.batch_rows, run)

    def _questions(self, own: Indexed) -> list[Question]:
        """The continuations by prompt: each distinct conversation is tokenised once."""
        by_prompt: dict[tuple[tuple[tuple[str, str], ...], ...], Question] = {}
        by_context: dict[tuple[int, ...], Question] = {}
        raw = []
        for index, asked in own:
            temperature = asked["temperature"] or 1.0
            end = [self._end] if asked["is_ended"] else []
            if asked["context"] is not None:
                before, tokens = self._in_document(asked["context"], asked["text"])
                question = by_context.setdefault(tuple(before), Question(before, []))
                question.texts.append(Text(index, tokens + end, temperature))
                continue
            if not asked["messages"]:
                tokens = document_ids(self.tokenizer, asked["text"])
                raw.append(Question(tokens[:1], [Text(index, tokens[1:] + end, temperature)]))
                continue
            key = tuple(tuple(message.items()) for message in asked["messages"])
            if key not in by_prompt:
                by_prompt[key] = Question(prompt_ids(self.tokenizer, asked["messages"]), [])
            tokens = text_ids(self.tokenizer, asked["text"])
            by_prompt[key].texts.append(Text(index, tokens + end, temperature))
        return [*by_prompt.values(), *by_context.values(), *raw]

    @property
    def _end(self) -> int:
        """The token that ends an answer; of a model without a template that of a document."""
        has_turns = bool(self.tokenizer.chat_template)
        return chat_of(self.tokenizer).end if has_turns else self.tokenizer.eos_token_id

    def _in_document(self, context: str, text: str) -> tuple[list[int], list[int]]:
        """Tokens of a context and of the text after it, as the two are read in one piece.

        As evaluation harnesses do it: spaces at the end of the context belong to the text, whose
        words begin with them; before a document stands the token that begins one, or ends one.
        What is too long loses the beginning of its context. Raises JobInputError where the text by
        itself is too long.
        """
        own = context.rstrip()
        if own:
            before = document_ids(self.tokenizer, own)
            tokens = document_ids(self.tokenizer, context + text)[len(before) :]
        else:
            begin = self.tokenizer.bos_token_id
            before = [self.tokenizer.eos_token_id if begin is None else begin]
            tokens = text_ids(self.tokenizer, context + text)
        room = self.context - len(tokens)
        if room < 1:
            rule = f"its {len(tokens)} tokens do not fit the model's context of {self.context}"
            raise JobInputError(text[:40], rule, "leave out the task that asks it")
        return before[-room:], tokens

    def _score(
        self, model: PreTrainedModel, questions: list[Question]
    ) -> Iterator[tuple[Items, float]]:
        started = time.perf_counter()
        prefix = shared_prefix(model, [question.prompt for question in questions])
        waited = time.perf_counter() - started
        can_select = takes_prefix(model)
        options, texts = list[Question](), list[Question]()
        for question in questions:
            if question.has_options and (can_select or question.longest == 1):
                options.append(question)
            else:
                texts += question.split()
        for run, group in ((score_options, options), (score_texts, texts)):
            rows, score = self._rows(group), partial(run, model, prefix)
            for items, seconds in self._timed(group, lambda q: q.width, rows, score):
                yield items, seconds + waited
                waited = 0.0

    def _rows(self, questions: Sequence[Question]) -> int:
        """How many questions' logits may be held at once."""
        most = max((len(q.texts) * (q.longest + 1) for q in questions), default=1)
        vocabulary = self.model.base.config.get_text_config().vocab_size
        return max(1, min(self.batch_rows, LOGITS_AT_ONCE // (most * vocabulary)))

    def _timed(
        self,
        texts: Sequence[T],
        width: Callable[[T], int],
        rows: int,
        run: Callable[[list[T]], Items],
    ) -> Iterator[tuple[Items, float]]:
        for batch in plan_batches(texts, width, self.batch_tokens, rows):
            started = time.perf_counter()
            items = in_halves(run, batch)
            yield items, time.perf_counter() - started


def _by_adapter(continuations: Sequence[dict[str, Any]]) -> Iterator[tuple[str | None, Indexed]]:
    """The continuations with their places in the call, one adapter after another."""
    for adapter in dict.fromkeys(asked["adapter"] for asked in continuations):
        yield adapter, [(i, c) for i, c in enumerate(continuations) if c["adapter"] == adapter]


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
