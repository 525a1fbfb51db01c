"""Log-probabilities and entropy against a log-softmax in float64, and what has a gradient."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tasks.engines.logprobs import token_logprobs, widen  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_they_are_the_log_softmax_in_float32_or_wider(dtype: Any, temperature: float):
    torch.manual_seed(0)
    logits = (torch.randn(2, 3, 50) * 5).to(dtype)
    ids = torch.randint(50, (2, 3))
    found, entropy = token_logprobs(logits, ids, temperature)
    wanted = (logits.double() / temperature).log_softmax(-1)
    assert found.dtype == entropy.dtype == widen(logits).dtype
    for row in range(2):
        for place in range(3):
            whole = wanted[row, place]
            assert float(found[row, place]) == pytest.approx(
                float(whole[ids[row, place]]), abs=1e-5
            )
            by_hand = -sum(float(p.exp() * p) for p in whole)
            assert float(entropy[row, place]) == pytest.approx(by_hand, abs=1e-4)


def test_the_entropy_has_a_gradient_only_where_asked():
    logits = torch.randn(1, 2, 5, requires_grad=True)
    ids = torch.zeros(1, 2, dtype=torch.long)
    found, entropy = token_logprobs(logits, ids, 1.0)
    assert (found.requires_grad, entropy.requires_grad) == (True, False)
    assert token_logprobs(logits, ids, 1.0, entropy_grad=True)[1].requires_grad
    with torch.no_grad():
        assert not token_logprobs(logits, ids, 1.0, entropy_grad=True)[1].requires_grad
