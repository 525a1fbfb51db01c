"""The decode loop: one batch of tokenised prompts in, their tokens out.

Written here rather than left to transformers' `generate` for four gains: prompts can start from a
shared prefix's cache, a prompt that is answered several times is read once, a finished row leaves
the batch at once (on a GPU in halves, see `tasks/engines/graphs.py`), and each row has its own
settings and draw.

Layout of the B rows: [prefix, P positions][padding][rest of the prompt], S positions after the
prefix, attention mask 1…1 0…0 1…1, positions counted over the ones. Every row ends at the same
column, from which it grows to the right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from tasks.engines.graphs import FixedSteps, is_worth_it, moves
from tasks.engines.prefix import Prefix, is_plain, new_cache
from tasks.engines.sampling import Draws, choose
from tasks.engines.tokens import pad, positions


@dataclass(frozen=True)
class Prompt:
    """A tokenised request. `index` is its place in the call, `tokens` the whole prompt's ids."""

    index: int
    tokens: list[int]
    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...]


@dataclass
class Rows:
    """The rows still being written: next ids [B, T], mask [B, columns so far], positions [B, T]."""

    alive: list[int]
    ids: Tensor
    mask: Tensor
    positions: Tensor
    draws: Draws

    def keep(self, kept: Tensor) -> None:
        """Go on with these rows only (indices into the current ones)."""
        self.alive = [self.alive[row] for row in kept.tolist()]
        self.ids, self.mask, self.positions = self.ids[kept], self.mask[kept], self.positions[kept]
        self.draws = self.draws.rows(kept)


def lay_out(
    prompts: Sequence[Prompt], prefix_length: int, top_k: int, device: torch.device
) -> Rows:
    """Pad what follows the prefix on its left, to the longest."""
    ids, rest = pad([p.tokens[prefix_length:] for p in prompts], left=True, device=device)
    prefix = rest.new_ones((len(prompts), prefix_length))
    mask = torch.cat([prefix, rest], 1).long()
    places = positions(mask)[:, prefix_length:]
    draws = Draws.of(
        [prompt.temperature for prompt in prompts],
        [prompt.top_p for prompt in prompts],
        [prompt.seed for prompt in prompts],
        str(device),
        top_k,
    )
    return Rows(list(range(len(prompts))), ids, mask, places, draws)


@torch.no_grad()
def decode(
    model: PreTrainedModel,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    finished: Callable[[Prompt, list[int]], bool],
    prefix: Prefix | None = None,
    top_k: int = 0,
) -> list[list[int]]:
    """New tokens of each prompt, in order: at least 1, at most `max_new_tokens`.

    `prefix` must be the start of every prompt. `finished(prompt, tokens)` is asked after every
    token; the token it says yes to is the last one, and is included. `top_k`: see `Draws`.
    A caller that never trains can wrap it in `torch.inference_mode()`, which is a little faster;
    without that, no tensor that the model keeps (a rotary cache) is barred from a later backward.
    """
    rows = lay_out(prompts, len(prefix.tokens) if prefix else 0, top_k, model.device)
    logits, cache = _read(model, prompts, rows, max_new_tokens, prefix)
    can_drop = is_plain(cache)
    is_fixed = is_worth_it(model, cache, max_new_tokens)
    fixed = FixedSteps(model, cache, rows.mask) if is_fixed else None
    written: list[list[int]] = [[] for _ in prompts]
    done = [False] * len(prompts)
    for step in range(max_new_tokens):
        if step:
            ahead = fixed.next(rows.ids, rows.positions) if fixed else None
            if ahead is None:  # nothing is fixed, or no longer
                fixed, ahead = None, _next(model, rows, cache)
            logits = ahead
        chosen = choose(logits, rows.draws, step)
        for row, token in zip(rows.alive, chosen.tolist(), strict=True):
            if not done[row]:
                written[row].append(token)
                done[row] = finished(prompts[row], written[row])
        if all(done):
            break
        rows.ids, rows.positions = chosen[:, None], rows.positions[:, -1:] + 1
        rows.mask = torch.cat([rows.mask, rows.mask.new_ones((len(chosen), 1))], dim=1)
        going_on = [n for n, row in enumerate(rows.alive) if not done[row]]
        left, now = len(going_on), len(rows.alive)
        if can_drop and (moves(left, now, max_new_tokens - step - 1) if fixed else left < now):
            kept = torch.tensor(going_on, device=model.device)
            cache.batch_select_indices(kept)
            rows.keep(kept)
            if fixed:
                fixed.keep(kept)
    return written


def _read(
    model: PreTrainedModel,
    prompts: Sequence[Prompt],
    rows: Rows,
    new: int,
    prefix: Prefix | None,
) -> tuple[Tensor, DynamicCache]:
    """Logits [B, V] after the prompts and the cache to go on from; equal prompts are read once."""
    room = rows.ids.shape[1] + new
    places: dict[tuple[int, ...], int] = {}
    given = [places.setdefault(tuple(prompt.tokens), len(places)) for prompt in prompts]
    distinct = len(places) if is_plain(new_cache(model, 0)) else len(prompts)
    cache = prefix.cache(distinct, room) if prefix else new_cache(model, room)
    if distinct == len(prompts):
        return _next(model, rows, cache), cache
    first = torch.tensor([given.index(place) for place in range(distinct)], device=rows.ids.device)
    asked = replace(
        rows, ids=rows.ids[first], mask=rows.mask[first], positions=rows.positions[first]
    )
    logits = _next(model, asked, cache)
    back = torch.tensor(given, device=rows.ids.device)
    cache.batch_select_indices(back)
    return logits[back], cache


def _next(model: PreTrainedModel, rows: Rows, cache: DynamicCache) -> Tensor:
    """Logits [B, V] after the rows' ids, which join the cache."""
    logits: Tensor = model(
        input_ids=rows.ids,
        attention_mask=rows.mask,
        position_ids=rows.positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    return logits[:, -1]
