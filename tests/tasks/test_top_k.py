"""Draws among the k likeliest tokens, against transformers' own filters."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from transformers import TopKLogitsWarper, TopPLogitsWarper  # noqa: E402

from tasks.engines import sampling  # noqa: E402
from tasks.engines.sampling import Draws, choose  # noqa: E402

LOGITS = torch.tensor([2.0, 1.5, 1.0, 1.0, 0.0, -1.0])


def transformers_shares(top_k: int, top_p: float) -> Any:
    scores = LOGITS[None] / 0.7
    ids = torch.zeros((1, 0), dtype=torch.long)
    if top_k:
        scores = TopKLogitsWarper(top_k)(ids, scores)
    if top_p < 1:
        scores = TopPLogitsWarper(top_p)(ids, scores)
    return scores[0].softmax(-1)


@pytest.mark.parametrize("top", [2, 64])
@pytest.mark.parametrize("top_k", [0, 1, 2, 3, 6, 99])
@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_the_draws_are_those_of_transformers(monkeypatch, top: int, top_k: int, top_p: float):
    """A tie at the k-th place keeps both; top_p counts the mass of what top_k left."""
    monkeypatch.setattr(sampling, "TOP", top)
    count = 20_000
    draws = Draws.of([0.7] * count, [top_p] * count, range(count), top_k=top_k)
    seen = Counter(choose(LOGITS.expand(count, -1), draws, 0).tolist())
    wanted = transformers_shares(top_k, top_p)
    assert {token for token, share in enumerate(wanted) if share > 0} == set(seen)
    shares = torch.tensor([seen[token] / count for token in range(len(LOGITS))])
    assert (shares - wanted).abs().max() < 0.015


def test_greedy_rows_and_rows_of_a_subset_keep_it():
    draws = Draws.of([0.0, 1.0, 1.0], [1.0, 1.0, 0.9], [1, 2, 3], top_k=1)
    logits = torch.randn(3, 40)
    assert torch.equal(choose(logits, draws, 0), logits.argmax(-1))
    left = draws.rows(torch.tensor([1]))
    assert left.top_k == 1
    assert torch.equal(choose(logits[1:2], left, 5), logits[1:2].argmax(-1))
