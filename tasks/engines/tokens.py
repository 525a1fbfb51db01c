"""Token ids in padded batches: said once for all.

Masks come from lengths and never from ids, as the padding may equal a token that occurs.
Shapes: B rows, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad(
    rows: Sequence[Sequence[int]],
    value: int = 0,
    *,
    left: bool = False,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """ids [B, T] int64 and mask [B, T] bool of rows padded with `value`, on the left or right."""
    width = max(len(row) for row in rows)
    ids = [
        [value] * (width - len(row)) + list(row) if left else [*row, *[value] * (width - len(row))]
        for row in rows
    ]
    lengths = torch.tensor([len(row) for row in rows], device=device)[:, None]
    columns = torch.arange(width, device=device)
    mask = columns >= width - lengths if left else columns < lengths
    return torch.tensor(ids, dtype=torch.long, device=device), mask


def positions(mask: Tensor) -> Tensor:
    """Position ids [B, T] of a padded batch: 0 at the first attended token."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def last_attended(hidden: Tensor, mask: Tensor) -> Tensor:
    """[B, T, H] -> [B, H] at the last attended token of rows padded on the right."""
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
