"""The step of a batch with every shape fixed: captured once on a GPU, then replayed without Python.

A token of a small batch takes a GPU a few milliseconds and Python ten times as long. So on CUDA the
step after the first is recorded as a graph: the cache is all of its room, of which a mask shows
what is written, and the inputs are overwritten in place. What differs from the loop that grows:
1. rows that are finished stay until at most half are left, as a graph is of one size; those left
   then move together and are captured anew, at most log2(B) times. A row's draws depend on its own
   seed and step, so it is the same row whenever that happens;
2. what cannot be captured goes on as it would on a CPU, from the same cache, and so does all that
   this process writes after it; one line on stderr (a worker's log) says so.

A capture costs about two steps as Python makes them. Fewer than SHORTEST new tokens are not worth
one, and rows do not move for fewer than WORTH_MOVING more: smaller batches save less.

Shapes: B rows, R positions of room, V tokens in the vocabulary.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import DynamicCache

from tasks.engines.prefix import is_plain

SHORTEST = 16
WORTH_MOVING = 64
DEVICE = "cuda"
MASKED = ("sdpa", "eager")  # attention that takes a mask of numbers
ALIGNED = 8  # CUDA's attention copies a mask whose rows do not begin at multiples of this

_gave_up = False


def is_worth_it(model: PreTrainedModel, cache: DynamicCache, new: int) -> bool:
    """Whether `new` tokens a row should be written in fixed steps."""
    can_be_fixed = (
        is_plain(cache)
        and model._can_compile_fullgraph  # transformers' word for it: no step depends on values
        and model.config._attn_implementation in MASKED
    )
    return model.device.type == DEVICE and not _gave_up and new >= SHORTEST and can_be_fixed


def moves(left: int, rows: int, steps: int) -> bool:
    """Whether the `left` of `rows` that go on should leave the others behind, `steps` to go."""
    return 2 * left <= rows and steps >= WORTH_MOVING


class FixedSteps:
    """Makes the next logits of the rows in `cache`, whose layers it fixes. mask [B, columns]."""

    _ids: Tensor
    _positions: Tensor

    def __init__(self, model: PreTrainedModel, cache: DynamicCache, mask: Tensor) -> None:
        self._model, self._cache, self._column = model, cache, mask.shape[1]
        self._layers: list[Any] = list(cache.layers)
        self._place = mask.new_zeros(1)
        for layer in self._layers:
            layer.fix(self._place)
        keys, self._room = self._layers[0].keys, self._layers[0].room
        aligned = -(-self._room // ALIGNED) * ALIGNED
        hidden = torch.finfo(keys.dtype).min  # the mask is added to attention's scores
        self._mask = keys.new_full((len(mask), 1, 1, aligned), hidden)
        self._mask[:, 0, 0, : self._column].masked_fill_(mask.bool(), 0)
        self._replay: Callable[[], Tensor] | None = None

    def next(self, ids: Tensor, positions: Tensor) -> Tensor | None:
        """Logits [B, V] after `ids` [B, 1] at `positions` [B, 1]; the next call overwrites them.

        None where the step cannot be captured: the cache then grows again, without these ids.
        """
        self._place.fill_(self._column)
        self._mask[..., self._column] = 0
        self._column += 1
        if self._replay is not None:
            self._ids.copy_(ids)
            self._positions.copy_(positions)
            return self._replay()
        self._ids, self._positions = ids.clone(), positions.clone()
        try:
            return self._captured()
        except torch.OutOfMemoryError:
            raise  # of the batch, not of the model: whoever made it can halve it
        except (RuntimeError, ValueError) as error:
            self._give_up(error)
            return None

    def keep(self, kept: Tensor) -> None:
        """Go on with these rows only, which the cache has been cut to."""
        self._replay = None
        self._mask = self._mask[kept]

    def _step(self) -> Tensor:
        """One call of the model. Any number of calls leave what one leaves: nothing moves on."""
        logits: Tensor = self._model(
            input_ids=self._ids,
            attention_mask=self._mask[..., : self._room],
            position_ids=self._positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits[:, -1]

    def _captured(self) -> Tensor:
        """The logits of the first replay, which must be those of the step but for rounding."""
        expected, replay = capture(self._step)
        logits = replay()
        if not (logits - expected).abs().max() <= 0.1 * expected.abs().max():
            raise RuntimeError("its logits are not those of the step")
        self._replay = replay
        return logits

    def _give_up(self, error: Exception) -> None:
        global _gave_up
        _gave_up = True
        for layer in self._layers:
            layer.grow(self._column - 1)
        why = " ".join(str(error).split())[:200]
        print(f"CUDA graph: not captured, goes on without: {why}", file=sys.stderr, flush=True)


def capture(step: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], Tensor]]:
    """What `step` gives, and the replay of a CUDA graph of it, which gives the same tensor always.

    As torch's notes on CUDA graphs have it: run once on a stream aside, so that kernels are loaded
    and workspaces there, then recorded. `step` may only use tensors that stay where they are.
    """
    ours, aside, graph = torch.cuda.current_stream(), _aside(), torch.cuda.CUDAGraph()
    with torch.cuda.stream(ours):  # a recording that fails leaves its own stream the current one
        aside.wait_stream(ours)
        with torch.cuda.stream(aside):
            expected = step()
        ours.wait_stream(aside)
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            output = step()

    def replay() -> Tensor:
        graph.replay()
        return output

    return expected, replay


@cache
def _aside() -> torch.cuda.Stream:
    """One for all captures: cuBLAS keeps a workspace for every stream that it has seen."""
    return torch.cuda.Stream()
