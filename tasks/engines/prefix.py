"""The key/value cache of a batch, with room to grow and, if wanted, a prompt prefix computed once.

transformers' DynamicCache concatenates at every token, which copies the whole cache each step (most
of the time of a long prompt's step on a CPU). Here each layer reserves its room once and hands out
views, or all of it while shapes are fixed (`tasks/engines/graphs.py`). Models whose layers are not
all plain attention (sliding window, linear attention) keep the cache that transformers gives them
and take no prefix.

Shapes: keys and values [B, key/value heads, length, head size].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache, DynamicLayer

SHORTEST_PREFIX = 16


class RoomyLayer(DynamicLayer):
    """A layer's cache of at most `room` positions; `keys`, `values` are views of what is filled."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self._place: Tensor | None = None

    def reserve(self, keys: Tensor, values: Tensor, rows: int) -> None:
        """Room for `rows` rows of the heads, head sizes, type and device of `keys` and `values`."""
        self.lazy_initialization(keys, values)
        self._keys = keys.new_empty((rows, keys.shape[1], self.room, keys.shape[3]))
        self._values = values.new_empty((rows, values.shape[1], self.room, values.shape[3]))

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Append [B or 1, heads, T, head size], one row given to all; returns everything so far."""
        if self._place is not None:
            self._keys.index_copy_(2, self._place, key_states)
            self._values.index_copy_(2, self._place, value_states)
            return self._keys, self._values
        start = self.get_seq_length()
        if not self.is_initialized:
            self.reserve(key_states, value_states, key_states.shape[0])
        end = start + key_states.shape[-2]
        self._keys[:, :, start:end] = key_states
        self._values[:, :, start:end] = value_states
        return self._show(end)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep only these rows."""
        self._keys, self._values = self._keys[indices], self._values[indices]
        self._show(self.get_seq_length())

    def fix(self, place: Tensor) -> None:
        """From now on write the one column that `place` [1] names then, and return all the room,
        with zeros (which a mask can hide) where nothing is written yet."""
        end = self.get_seq_length()
        self._keys[:, :, end:], self._values[:, :, end:] = 0, 0
        self._place = place

    def grow(self, end: int) -> None:
        """Append again, after the first `end` positions."""
        self._place = None
        self._show(end)

    def _show(self, end: int) -> tuple[Tensor, Tensor]:
        self.keys, self.values = self._keys[:, :, :end], self._values[:, :, :end]
        return self.keys, self.values


def new_cache(model: PreTrainedModel, room: int) -> DynamicCache:
    """An empty cache for `model`; `room` positions where its layers are plain attention."""
    cache = DynamicCache(config=model.config)
    if is_plain(cache):
        cache.layers = [RoomyLayer(room) for _ in cache.layers]
    return cache


def is_plain(cache: DynamicCache) -> bool:
    """True if every layer is plain attention: rows can be dropped, a prefix can be shared."""
    return bool(cache.layers) and all(
        type(layer) in (DynamicLayer, RoomyLayer) for layer in cache.layers
    )


class Prefix:
    """The start that all prompts of a call share, run through the model once. `tokens` its ids."""

    def __init__(self, model: PreTrainedModel, tokens: Sequence[int]) -> None:
        self.tokens = tuple(tokens)
        self._model = model
        self._cache = new_cache(model, len(tokens))
        ids = torch.tensor([list(tokens)], device=model.device)
        with torch.inference_mode():
            model(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )

    def cache(self, rows: int, room: int) -> DynamicCache:
        """A cache for `rows` rows: this prefix, then room for `room` more positions."""
        cache = new_cache(self._model, len(self.tokens) + room)
        layers: Any = zip(cache.layers, self._cache.layers, strict=True)
        for layer, known in layers:
            layer.reserve(known.keys, known.values, rows)
            layer.update(known.keys, known.values)
        return cache


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many leading tokens all prompts share, leaving each at least one; 0 if not worth it."""
    if len(prompts) < 2:
        return 0
    ordered = sorted(map(tuple, prompts))
    first, last = ordered[0], ordered[-1]  # in lexical order these two differ the earliest
    longest = min(len(prompt) for prompt in prompts) - 1
    shared = next((n for n in range(longest) if first[n] != last[n]), max(longest, 0))
    return shared if shared >= SHORTEST_PREFIX else 0


def takes_prefix(model: PreTrainedModel) -> bool:
    """Whether the model's layers are all plain attention."""
    return is_plain(new_cache(model, 0))


def shared_prefix(model: PreTrainedModel, prompts: Sequence[Sequence[int]]) -> Prefix | None:
    """What all prompts begin with, run through the model; None where it is not worth it."""
    shared = common_prefix(prompts)
    return Prefix(model, prompts[0][:shared]) if shared and takes_prefix(model) else None
