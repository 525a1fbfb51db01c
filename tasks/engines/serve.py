"""Job "generate": a causal language model that answers calls read from standard input.

SPEC {"job": "generate", "model": {"path", "adapter": DIR|null, "dtype":
"auto"|"float32"|"bfloat16"},
      "batch_tokens": int, "batch_rows": int, "threads": int}

After loading: event `ready` {device, dtype, context}. A call is one JSON line {"call": n,
"requests": [...]} (fields of `tasks.engines.engine.Request`); answers are `completions` {call,
items, duration_s, batch_rows} for each finished batch, then `done` {call}. The end of the input
ends the job.

Prompts are sorted by length and batched under `batch_tokens` >= rows x (longest prompt after the
shared prefix + max_new_tokens). A batch that does not fit in memory is halved and tried again.

What is exact: every draw depends on its own request only. On a CPU in float32 logits differ between
batches by rounding alone (about 1e-6), so texts agree but for near ties; in bfloat16 and on a GPU
near ties are common.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tasks.compute import compute_type
from tasks.engines.decode import Prompt, decode
from tasks.engines.prefix import Prefix, common_prefix, is_plain, new_cache
from tasks.engines.tokens import end_tokens
from tasks.report import JobInputError, Report

NO_LIMIT = 1 << 30


def load(model: dict[str, Any]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in evaluation mode, its LoRA adapter on top if there is one, and its tokenizer."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, compute_type(model.get("dtype", "auto")).dtype)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        model["path"], dtype=dtype, use_safetensors=True, device_map=device
    )
    if model.get("adapter"):
        from peft import PeftModel  # takes seconds to import, and most calls need no adapter

        loaded = PeftModel.from_pretrained(loaded, model["adapter"])
    return loaded.eval(), AutoTokenizer.from_pretrained(model["path"])


def plan_batches(
    prompts: Sequence[Prompt], shared: int, new: int, tokens: int, rows: int
) -> Iterator[list[Prompt]]:
    """Groups of similar length, longest first, within `rows` and the budget (at least one row)."""
    batch: list[Prompt] = []
    width = 0
    for prompt in sorted(prompts, key=lambda prompt: (-len(prompt.tokens), prompt.index)):
        if batch and (len(batch) == rows or (len(batch) + 1) * width > tokens):
            yield batch
            batch = []
        if not batch:
            width = len(prompt.tokens) - shared + new
        batch.append(prompt)
    if batch:
        yield batch


def is_memory_error(error: RuntimeError) -> bool:
    return "out of memory" in str(error) or "can't allocate memory" in str(error)


class Generator:
    """A loaded model and what it takes to answer calls with it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.model, self.tokenizer = load(spec["model"])
        self.batch_tokens: int = spec["batch_tokens"]
        self.batch_rows: int = spec["batch_rows"]
        self.reuse_prefix: bool = spec.get("reuse_prefix", True)
        self.ends = end_tokens(self.model, self.tokenizer)
        config = self.model.config.get_text_config()
        self.context: int = getattr(config, "max_position_embeddings", None) or NO_LIMIT

    def answer(
        self, requests: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[list[dict[str, Any]], float]]:
        """Yield (completions, seconds) batch by batch; prompts that are too long come first."""
        limits = {request["max_new_tokens"] for request in requests}
        if len(limits) != 1 or min(limits) < 1:
            raise JobInputError(
                sorted(limits),
                "max_new_tokens must be one number >= 1 for a call",
                "split the call",
            )
        new = limits.pop()
        prompts = [self._tokenize(index, request) for index, request in enumerate(requests)]
        room = [min(request["max_prompt_tokens"], self.context - new) for request in requests]
        refused = [prompt for prompt in prompts if len(prompt.tokens) > room[prompt.index]]
        if refused:
            yield [self._item(prompt, "", "too_long", 0) for prompt in refused], 0.0
        yield from self._generate(
            [prompt for prompt in prompts if len(prompt.tokens) <= room[prompt.index]], new
        )

    def _generate(
        self, prompts: list[Prompt], new: int
    ) -> Iterator[tuple[list[dict[str, Any]], float]]:
        started = time.perf_counter()
        prefix = self._prefix(prompts)
        shared = len(prefix.tokens) if prefix else 0
        for batch in plan_batches(prompts, shared, new, self.batch_tokens, self.batch_rows):
            items = self._run(batch, new, prefix)
            yield items, time.perf_counter() - started
            started = time.perf_counter()

    def _prefix(self, prompts: Sequence[Prompt]) -> Prefix | None:
        shared = common_prefix([prompt.tokens for prompt in prompts]) if self.reuse_prefix else 0
        if not shared or not is_plain(new_cache(self.model, 0)):
            return None
        return Prefix(self.model, prompts[0].tokens[:shared])

    def _run(self, batch: list[Prompt], new: int, prefix: Prefix | None) -> list[dict[str, Any]]:
        """One batch, or its two halves where memory does not hold it."""
        try:
            written = decode(self.model, batch, new, self._is_finished, prefix)
        except RuntimeError as error:
            if len(batch) == 1 or not is_memory_error(error):
                raise
        else:
            return [
                self._finish(prompt, tokens, new)
                for prompt, tokens in zip(batch, written, strict=True)
            ]
        if torch.cuda.is_available():  # outside `except`: the error held the tensors
            torch.cuda.empty_cache()
        half = len(batch) // 2
        return self._run(batch[:half], new, prefix) + self._run(batch[half:], new, prefix)

    def _tokenize(self, index: int, request: dict[str, Any]) -> Prompt:
        """Messages go through the chat template, raw text through the tokenizer alone."""
        if request["messages"] is None:
            tokens = self.tokenizer(request["text"])["input_ids"]
        elif not self.tokenizer.chat_template:
            rule = "the model has no chat template"
            raise JobInputError("messages", rule, "use an instruction-tuned model, or send text")
        else:
            text = self.tokenizer.apply_chat_template(
                request["messages"], tokenize=False, add_generation_prompt=True
            )
            tokens = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if not tokens:
            raise JobInputError(
                f"request {index}", "the prompt is empty", "send at least one token"
            )
        stop = tuple(filter(None, request["stop"]))
        return Prompt(
            index, tokens, request["temperature"], request["top_p"], request["seed"], stop
        )

    def _is_finished(self, prompt: Prompt, tokens: list[int]) -> bool:
        """True after an end token, or when a stop string shows in the last few tokens' text."""
        if tokens[-1] in self.ends:
            return True
        if not prompt.stop:
            return False
        window = (
            max(len(stop.encode()) for stop in prompt.stop) + 16
        )  # a token is at least a byte, or special
        text = self._text(tokens[-window:])
        return any(stop in text for stop in prompt.stop)

    def _finish(self, prompt: Prompt, tokens: list[int], new: int) -> dict[str, Any]:
        ended = tokens[-1] in self.ends
        text = self._text(tokens[:-1] if ended else tokens)
        cuts = [position for stop in prompt.stop if (position := text.find(stop)) >= 0]
        text = text[: min(cuts)] if cuts else text
        return self._item(prompt, text, "stop" if ended or cuts else "length", len(tokens))

    def _text(self, tokens: list[int]) -> str:
        return str(
            self.tokenizer.decode(
                tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def _item(self, prompt: Prompt, text: str, reason: str, tokens: int) -> dict[str, Any]:
        return {
            "index": prompt.index,
            "text": text,
            "finish_reason": reason,
            "prompt_tokens": len(prompt.tokens),
            "completion_tokens": tokens,
        }


def serve(generator: Generator, lines: Iterable[str] | IO[str], report: Report) -> int:
    """Answer every call in `lines`; returns how many completions were written."""
    total = 0
    for line in lines:
        call = json.loads(line)
        for items, duration_s in generator.answer(call["requests"]):
            total += len(items)
            report.event(
                "completions",
                call=call["call"],
                items=items,
                duration_s=duration_s,
                batch_rows=len(items),
            )
        report.event("done", call=call["call"])
    return total


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """See the module. Result: {"completions": how many were written}."""
    generator = Generator(spec)
    dtype = str(generator.model.dtype).removeprefix("torch.")
    report.event(
        "ready", device=generator.model.device.type, dtype=dtype, context=generator.context
    )
    return {"completions": serve(generator, sys.stdin, report)}
