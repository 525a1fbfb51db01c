"""Dataset rows -> token ids of prompts, and the order in which they are visited.

A row has `messages` (chat, last from the user) or `prompt` (text), and may have an `id`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from tasks.chat.tokens import document_ids, prompt_ids
from tasks.training.settings import require


@dataclass(frozen=True)
class Prompt:
    """One prompt: its token ids, the chat or text they come from, and the row's id."""

    ids: list[int]
    source: list[dict[str, str]] | str
    id: Any = None


def encode_prompt(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Prompt:
    """Token ids of one row. Chats end in the template's opening of an assistant message."""
    source = row.get("messages", row.get("prompt"))
    require(source is not None, row.get("id", dict(row)), "has no prompt", "give it messages")
    is_text = isinstance(source, str)
    ids = document_ids(tokenizer, source) if is_text else prompt_ids(tokenizer, source)
    return Prompt(ids, source, row.get("id"))


def encode_prompts(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    policy: str,
) -> tuple[list[Prompt], int]:
    """All rows, and how many were dropped (or cut on the left) for being over ``max_tokens``."""
    prompts, long = [], 0
    for prompt in (encode_prompt(row, tokenizer) for row in rows):
        if len(prompt.ids) > max_tokens:
            long += 1
            if policy == "drop":
                continue
            prompt = replace(prompt, ids=prompt.ids[-max_tokens:])
        prompts.append(prompt)
    rule = "no prompt is left to train on"
    require(bool(prompts), f"{long} long prompts", rule, "raise max_prompt_tokens")
    return prompts, long


def derive_seed(*parts: object) -> int:
    """63-bit seed from any values: a draw names what it is for and depends on none before it."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def permutation(count: int, *parts: object) -> list[int]:
    """A random order of range(count), derived from ``parts``."""
    generator = torch.Generator().manual_seed(derive_seed(*parts))
    return torch.randperm(count, generator=generator).tolist()


@dataclass
class PromptSampler:
    """Endless seeded permutations; what a batch leaves of an epoch starts the next batch."""

    count: int
    seed: int
    epoch: int = 0
    cursor: int = 0

    def take(self, size: int) -> list[int]:
        """The next ``size`` indices; every index comes once per epoch."""
        taken: list[int] = []
        while len(taken) < size:
            order = permutation(self.count, self.seed, "order", self.epoch)
            chunk = order[self.cursor : self.cursor + size - len(taken)]
            taken += chunk
            self.cursor += len(chunk)
            if self.cursor == self.count:
                self.epoch, self.cursor = self.epoch + 1, 0
        return taken
