"""Completions as padded batches, measured with actor, reference and critic.

Layout: prompts are padded on the left to P, completions on the right to T, so completion token t of
every row is column P + t. Masks come from lengths, never from ids: pad may equal EOS.

Departures from TRL 1.12's PPO: (1) old log-probabilities come from a forward of the training kind,
not from sampling, so the first ratio of an update is exactly 1; (2) sampling is the engine's
(`tasks.engines.sampling`): a row's text depends on its seed and not on its batch, and no random
state needs saving.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tasks.engines.logprobs import token_logprobs
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.maths import completion_mask, value_mask
from tasks.training.ppo.roles import Roles


@dataclass
class Tokens:
    """Prompts and completions of B rows."""

    prompt_ids: Tensor
    """[B, P], padded on the left."""
    prompt_mask: Tensor
    """[B, P] bool."""
    completion_ids: Tensor
    """[B, T], padded on the right."""
    lengths: Tensor
    """[B] completion tokens, the first EOS included."""
    terminated: Tensor
    """[B] bool: ended by an EOS rather than by the limit."""

    @property
    def mask(self) -> Tensor:
        """[B, T] bool: real completion tokens."""
        return completion_mask(self.lengths, self.completion_ids.shape[1])

    @property
    def inputs(self) -> tuple[Tensor, Tensor, int]:
        """ids [B, P + T], attention mask [B, P + T], T: what every forward takes."""
        ids = torch.cat([self.prompt_ids, self.completion_ids], 1)
        mask = torch.cat([self.prompt_mask, self.mask], 1).long()
        return ids, mask, self.completion_ids.shape[1]

    def rows(self, index: Tensor | slice) -> Self:
        """The given rows, in their order."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def parts(self, size: int) -> Iterator[Self]:
        """All rows, at most ``size`` at a time."""
        return (self.rows(part) for part in chunks(len(self.lengths), size))

    def texts(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """Completions as text, without special tokens."""
        return tokenizer.batch_decode(
            self.ids_lists(), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def ids_lists(self) -> list[list[int]]:
        """Completion ids without padding, the EOS included."""
        pairs = zip(self.completion_ids.tolist(), self.lengths.tolist(), strict=True)
        return [ids[:length] for ids, length in pairs]


@dataclass
class Rollout(Tokens):
    """Tokens and what the roles say of them before the update, each [B, T], 0 outside the mask."""

    logprobs: Tensor
    ref_logprobs: Tensor
    values: Tensor
    entropy: Tensor


@torch.no_grad()
def measure(roles: Roles, tokens: Tokens, config: PPOConfig) -> Rollout:
    """Old and reference log-probabilities, values and entropy, one role after the other."""
    roles.train(False)
    logprobs, entropy = _logprobs(roles, "actor", tokens, config)
    reference, _ = _logprobs(roles, "reference", tokens, config)
    values = critic_values(roles, tokens, config)
    slots = value_mask(tokens.lengths, values.shape[1], config.reward_position)
    return Rollout(
        **vars(tokens),
        logprobs=torch.where(tokens.mask, logprobs, 0),
        ref_logprobs=torch.where(tokens.mask, reference, 0),
        values=torch.where(slots, values, 0),
        entropy=torch.where(tokens.mask, entropy, 0),
    )


@torch.no_grad()
def critic_values(roles: Roles, tokens: Tokens, config: PPOConfig) -> Tensor:
    """Values [B, T] before each completion token; meaningless outside the mask."""
    with roles.use("critic"):
        parts = tokens.parts(config.micro_batch_size)
        return torch.cat([roles.values(*part.inputs) for part in parts])


def _logprobs(roles: Roles, role: str, tokens: Tokens, config: PPOConfig) -> tuple[Tensor, Tensor]:
    with roles.use(role):
        results = [
            token_logprobs(roles.logits(*part.inputs), part.completion_ids, config.temperature)
            for part in tokens.parts(config.micro_batch_size)
        ]
    return torch.cat([r[0] for r in results]), torch.cat([r[1] for r in results])


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover range(count)."""
    return (slice(start, start + size) for start in range(0, count, size))
