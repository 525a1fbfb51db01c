"""Requests to completions: tokenised, batched by length, decoded, cut where they end.

What is exact: every draw depends on its own request only. On a CPU in float32 logits differ between
batches by rounding alone (about 1e-6), so texts agree but for near ties; in bfloat16 and on a GPU
near ties are common.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from tasks.chat.tokens import document_ids, end_tokens, prompt_ids
from tasks.engines.batches import in_halves, plan_batches
from tasks.engines.decode import Prompt, decode
from tasks.engines.load import AdaptedModel
from tasks.engines.prefix import Prefix, shared_prefix
from tasks.report import JobInputError

NO_LIMIT = 1 << 30
CUT_CHARACTER = "\ufffd"  # what is shown of one whose bytes are not all there
Items = list[dict[str, Any]]


class Generator:
    """Answers requests (fields of `tasks.engines.engine.Request`) with a loaded model.

    Batches are held under `batch_tokens` >= rows x (longest prompt after the shared prefix +
    max_new_tokens), and under `batch_rows`.
    """

    def __init__(
        self, model: AdaptedModel, batch_tokens: int = 16384, batch_rows: int = 128
    ) -> None:
        self.model, self.tokenizer = model, model.tokenizer
        self.batch_tokens, self.batch_rows = batch_tokens, batch_rows
        self.ends = end_tokens(model.base, model.tokenizer)
        self.context = context_of(model.base)

    def answer(self, requests: Sequence[dict[str, Any]]) -> Iterator[tuple[Items, float]]:
        """Yield (completions, seconds) batch by batch; prompts that are too long come first."""
        new = _one_limit(requests)
        refused: list[Prompt] = []
        fitting: dict[str | None, list[Prompt]] = {}  # by adapter
        for index, request in enumerate(requests):
            prompt = self._tokenize(index, request)
            room = min(request["max_prompt_tokens"], self.context - new)
            fits = len(prompt.tokens) <= room
            (fitting.setdefault(request["adapter"], []) if fits else refused).append(prompt)
        if refused:
            yield [_item(prompt, "", "too_long", 0) for prompt in refused], 0.0
        for adapter, own in fitting.items():
            with self.model.use(adapter) as model:
                yield from self._generate(model, own, new)

    def _generate(
        self, model: PreTrainedModel, prompts: list[Prompt], new: int
    ) -> Iterator[tuple[Items, float]]:
        started = time.perf_counter()
        prefix = shared_prefix(model, [prompt.tokens for prompt in prompts])
        shared = len(prefix.tokens) if prefix else 0
        run = partial(self._run, model, new, prefix)
        batches = plan_batches(
            sorted(prompts, key=lambda p: p.tokens),  # equal ones side by side: read once
            lambda p: len(p.tokens) - shared + new,
            self.batch_tokens,
            self.batch_rows,
        )
        for batch in batches:
            items = in_halves(run, batch)
            yield items, time.perf_counter() - started
            started = time.perf_counter()

    @torch.inference_mode()
    def _run(
        self, model: PreTrainedModel, new: int, prefix: Prefix | None, batch: list[Prompt]
    ) -> Items:
        written = decode(model, batch, new, self._is_finished, prefix)
        return [self._finish(p, tokens) for p, tokens in zip(batch, written, strict=True)]

    def _tokenize(self, index: int, request: dict[str, Any]) -> Prompt:
        """Messages go through the chat template, raw text through the tokenizer alone."""
        if request["messages"] is None:
            tokens = document_ids(self.tokenizer, request["text"])
        else:
            tokens = prompt_ids(self.tokenizer, request["messages"])
        if not tokens:
            rule = "the prompt is empty"
            raise JobInputError(f"request {index}", rule, "send at least one token")
        return Prompt(
            index,
            tokens,
            request["temperature"],
            request["top_p"],
            request["seed"],
            tuple(filter(None, request["stop"])),
        )

    def _is_finished(self, prompt: Prompt, tokens: list[int]) -> bool:
        """True after an end token, or when a stop string shows in the last few tokens' text."""
        if tokens[-1] in self.ends:
            return True
        if not prompt.stop:
            return False
        # a token is at least a byte, or special
        window = max(len(stop.encode()) for stop in prompt.stop) + 16
        text = self._text(tokens[-window:])
        return any(stop in text for stop in prompt.stop)

    def _finish(self, prompt: Prompt, tokens: list[int]) -> dict[str, Any]:
        ended = tokens[-1] in self.ends
        text = self._text(tokens[:-1] if ended else tokens)
        cuts = [position for stop in prompt.stop if (position := text.find(stop)) >= 0]
        text = text[: min(cuts)] if cuts else text
        if not (ended or cuts):
            text = text.rstrip(CUT_CHARACTER)
        return _item(prompt, text, "stop" if ended or cuts else "length", len(tokens))

    def _text(self, tokens: list[int]) -> str:
        text = self.tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return str(text)


def context_of(model: PreTrainedModel) -> int:
    """The most tokens a model reads."""
    config = model.config.get_text_config()
    return getattr(config, "max_position_embeddings", None) or NO_LIMIT


def _one_limit(requests: Sequence[dict[str, Any]]) -> int:
    limits = {request["max_new_tokens"] for request in requests}
    if len(limits) != 1 or min(limits) < 1:
        rule = "max_new_tokens must be one number >= 1 for a call"
        raise JobInputError(sorted(limits), rule, "split the call")
    return int(limits.pop())


def _item(prompt: Prompt, text: str, reason: str, tokens: int) -> dict[str, Any]:
    return {
        "index": prompt.index,
        "text": text,
        "finish_reason": reason,
        "prompt_tokens": len(prompt.tokens),
        "completion_tokens": tokens,
    }
