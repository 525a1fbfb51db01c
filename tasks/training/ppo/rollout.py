"""Generate completions with the actor and measure them with actor, reference and critic.

Layout: prompts are padded on the left to P, completions on the right to T, so completion token t of
every row is column P + t. Masks come from lengths, never from ids: pad may equal EOS.

Departures from TRL 1.12's PPO: (1) old log-probabilities come from a forward of the training kind,
not from `generate`, so the first ratio of an update is exactly 1; (2) sampling is Gumbel-max with
one generator a row, so a row's text does not depend on its batch and no random state needs saving.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedTokenizerBase,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tasks.engines.tokens import pad, positions
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.maths import completion_mask, value_mask
from tasks.training.ppo.roles import Roles, widen


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

    def texts(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """Completions as text, without special tokens."""
        return tokenizer.batch_decode(self.ids_lists(), skip_special_tokens=True)

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

    def rows(self, index: Tensor) -> Rollout:
        """The given rows, in their order."""
        return replace(self, **{f.name: getattr(self, f.name)[index] for f in fields(self)})


class GumbelSampler(LogitsProcessor):
    """Adds Gumbel noise, one generator a row: the argmax is then an exact sample of the softmax."""

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self._generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        noise = torch.empty_like(scores)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return scores - noise.log()


def count_tokens(completions: Tensor, stops: Sequence[int]) -> tuple[Tensor, Tensor]:
    """[B, T] ids -> lengths [B] up to and including the first stop id, and whether there was
    one."""
    ends = torch.isin(completions, torch.tensor(stops, device=completions.device))
    terminated = ends.any(1)
    first = ends.int().argmax(1) + 1
    return torch.where(terminated, first, completions.shape[1]), terminated


@torch.no_grad()
def generate(
    roles: Roles,
    role: str,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int] | None,
    stops: Sequence[int],
    pad_id: int,
    config: PPOConfig,
) -> Tokens:
    """Complete prompts with a role, in batches of ``rollout_batch_size``; no seeds: greedily."""
    device = roles.causal.device
    ids, mask = pad(prompts, pad_id, left=True, device=device)
    completions = torch.full((len(ids), config.max_new_tokens), pad_id, device=device)
    lengths = torch.zeros(len(ids), dtype=torch.long, device=device)
    terminated = torch.zeros(len(ids), dtype=torch.bool, device=device)
    settings = GenerationConfig(
        max_new_tokens=config.max_new_tokens,
        do_sample=False,
        use_cache=True,
        eos_token_id=list(stops),
        pad_token_id=pad_id,
    )
    roles.train(False)
    with roles.use(role) as causal:
        model: Any = causal
        model.generation_config = settings
        for part in chunks(len(ids), config.rollout_batch_size):
            output = model.generate(
                ids[part],
                attention_mask=mask[part].long(),
                position_ids=positions(mask[part]),
                logits_processor=_samplers(seeds[part] if seeds else None, config, device),
                generation_config=settings,
            )[:, ids.shape[1] :]
            completions[part, : output.shape[1]] = output
            lengths[part], terminated[part] = count_tokens(output, stops)
    return Tokens(ids, mask, completions[:, : int(lengths.max())], lengths, terminated)


def _samplers(
    seeds: Sequence[int] | None, config: PPOConfig, device: torch.device
) -> LogitsProcessorList:
    if seeds is None:
        return LogitsProcessorList()
    steps: list[LogitsProcessor] = [TemperatureLogitsWarper(float(config.temperature))]
    if config.top_k > 0:
        steps.append(TopKLogitsWarper(config.top_k))
    if config.top_p < 1:
        steps.append(TopPLogitsWarper(config.top_p))
    return LogitsProcessorList([*steps, GumbelSampler(seeds, device)])


def token_logprobs(
    logits: Tensor, ids: Tensor, temperature: float, *, entropy_grad: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probability of ids [b, T] and entropy [b, T] under logits [b, T, V], in float32 or
    wider."""
    logits = widen(logits) / temperature
    total = logits.logsumexp(-1)
    chosen = logits.gather(-1, ids[..., None]).squeeze(-1) - total
    with torch.set_grad_enabled(entropy_grad and torch.is_grad_enabled()):
        entropy = total - ((logits - total[..., None]).exp() * logits).sum(-1)
    return chosen, entropy


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
    ids, mask, width = tokens.inputs
    with roles.use("critic"):
        parts = chunks(len(ids), config.micro_batch_size)
        return torch.cat([roles.values(ids[p], mask[p], width) for p in parts])


def _logprobs(roles: Roles, role: str, tokens: Tokens, config: PPOConfig) -> tuple[Tensor, Tensor]:
    ids, mask, width = tokens.inputs
    with roles.use(role):
        results = [
            token_logprobs(
                roles.logits(ids[p], mask[p], width), tokens.completion_ids[p], config.temperature
            )
            for p in chunks(len(ids), config.micro_batch_size)
        ]
    return torch.cat([r[0] for r in results]), torch.cat([r[1] for r in results])


def chunks(count: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that cover range(count)."""
    return (slice(start, start + size) for start in range(0, count, size))
