"""Win rates worked by hand, and with the difference in length taken out."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.evaluation.resampling import bootstrap
from tasks.evaluation.wins import Win, controlled, win_rows
from tasks.intervals import wilson


def win(question: int, preference: float | None, gap: int = 0, policy: str = "ppo") -> Win:
    by = {"calm": preference, "brief": 1.0}
    return Win(policy, "base", str(question), preference, by, 100 + gap, 100)


def rates(wins: list[Win]) -> dict[str, dict]:
    found = win_rows("ppo", {"base": "base", "parent": "sft"}, wins, 0)
    return {row["metric"]: row for row in found}


def test_wins_ties_and_losses_by_hand() -> None:
    wins = [win(0, 0.9), win(1, 0.51), win(2, 0.1), win(3, None), win(4, 0.5)]
    found = rates([*wins, win(9, 1.0, policy="sft")])
    assert set(found) == {
        *("win_rate:base", "win_rate_by_length:base"),
        *("win_rate:base:calm", "win_rate:base:brief"),
    }
    rate = found["win_rate:base"]
    assert (rate["value"], rate["n"]) == (pytest.approx(3 / 5), 5)
    assert (rate["low"], rate["high"]) == bootstrap([1.0, 1.0, 0.0, 0.5, 0.5])
    brief = found["win_rate:base:brief"]
    assert (brief["value"], brief["low"], brief["high"]) == (1.0, *wilson(5, 5))


def test_one_comparison_has_no_interval() -> None:
    found = rates([win(0, 0.9)])
    assert {(row["low"], row["high"]) for row in found.values()} == {(None, None)}


def test_a_policy_that_wins_by_length_alone_ties_at_equal_length() -> None:
    generator = np.random.default_rng(0)
    gaps = generator.integers(-50, 200, 200)
    wins = [win(n, float(gap > 0), int(gap)) for n, gap in enumerate(gaps)]
    found = rates(wins)
    assert found["win_rate:base"]["value"] > 0.7
    fair = found["win_rate_by_length:base"]
    assert fair["value"] < 0.6
    assert fair["low"] <= 0.5 <= fair["high"] + 0.05


def test_a_policy_that_wins_whatever_the_length_keeps_its_rate() -> None:
    generator = np.random.default_rng(1)
    wins = [
        win(n, float(generator.random() < 0.8), int(generator.integers(-50, 200)))
        for n in range(400)
    ]
    found = rates(wins)
    fair, raw = found["win_rate_by_length:base"], found["win_rate:base"]
    assert fair["value"] == pytest.approx(raw["value"], abs=0.05)
    assert fair["low"] < 0.8 < fair["high"]


def test_the_fit_is_the_maximum_of_its_likelihood() -> None:
    generator = np.random.default_rng(2)
    scaled = generator.uniform(-1, 1, 500)
    won = (generator.random(500) < 1 / (1 + np.exp(-(0.4 + 1.5 * scaled)))).astype(float)
    (found,) = controlled(won, scaled, np.ones((1, 500)))
    grid = np.linspace(-0.5, 1.5, 201)
    slopes = np.linspace(0.5, 2.5, 201)
    x = grid[:, None, None] + slopes[None, :, None] * scaled
    likelihood = (won * x - np.logaddexp(0, x)).sum(-1)
    best = grid[np.unravel_index(likelihood.argmax(), likelihood.shape)[0]]
    assert np.log(found / (1 - found)) == pytest.approx(best, abs=0.02)


def test_always_winning_is_nearly_one_and_not_beyond() -> None:
    found = rates([win(n, 1.0, n - 3) for n in range(8)])["win_rate_by_length:base"]
    assert 0.9 < found["value"] < 1.0
    assert found["value"] <= found["high"] <= 1.0
