"""Rows into batches of similar length, and batches into halves where memory does not hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def plan_batches(
    rows: Sequence[T], width: Callable[[T], int], tokens: int, limit: int
) -> Iterator[list[T]]:
    """Groups of similar `width`, widest first, in the order given where widths are equal.

    A group has at most `limit` rows, and rows x widest <= `tokens`; at least one row. Groups are of
    one size where widths allow it: a few rows that are left over would take as long as many.
    """
    ordered = sorted(rows, key=width, reverse=True)
    start = 0
    while start < len(ordered):
        left = len(ordered) - start
        most = max(1, min(limit, tokens // max(1, width(ordered[start]))))
        size = math.ceil(left / math.ceil(left / most))
        yield ordered[start : start + size]
        start += size


def in_halves(run: Callable[[list[T]], list[R]], batch: list[T]) -> list[R]:
    """`run(batch)`, or that of its two halves where memory does not hold the whole."""
    try:
        return run(batch)
    except RuntimeError as error:
        if len(batch) == 1 or not _is_memory_error(error):
            raise
    if torch.cuda.is_available():  # outside `except`: the error held the tensors
        torch.cuda.empty_cache()
    half = len(batch) // 2
    return in_halves(run, batch[:half]) + in_halves(run, batch[half:])


def _is_memory_error(error: RuntimeError) -> bool:
    return "out of memory" in str(error) or "can't allocate memory" in str(error)
