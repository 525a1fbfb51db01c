"""Whether the word of a reward model or of a judge is evidence: how often it was right."""

from __future__ import annotations

from collections.abc import Mapping

from flows.explain.run_report.facts import FEWEST, Figure, Trust
from tasks.intervals import wilson

CHANCE = 0.5


def of_reward_model(found: Mapping[str, Figure] | None, has_changed: bool) -> Trust:
    """By what was measured of its checkpoint; None: there is none."""
    name, vain = "the reward model", "its scores are no evidence"
    if found is None:
        return Trust(False, "there is no reward model")
    if not has_changed:
        return Trust(False, f"{name}'s training changed no weight: {vain}")
    right, pairs = found.get("eval_accuracy"), found.get("held_out")
    if right is None or not pairs or not pairs.value:
        return Trust(False, f"{name} was not tested on held-out pairs: {vain}")
    n = int(pairs.value)
    return _tested(name, Figure(right.value, *wilson(right.value * n, n), n), vain)


def of_judge(card: Mapping[str, Figure]) -> Trust:
    """By its report card."""
    name, vain = "the judge", "its win rates are no evidence"
    if "accuracy" not in card:
        rule = "was not tested on pairs of which the better response is known"
        return Trust(False, f"{name} {rule}: {vain}")
    return _tested(name, card["accuracy"], vain)


def _tested(name: str, right: Figure, vain: str) -> Trust:
    ends = "" if right.low is None else f", {right.low:.2f} to {right.high:.2f}"
    said = f"{name} is right on {right.value:.2f} of {right.n} held-out pairs{ends}"
    if right.n < FEWEST:
        return Trust(False, f"{said}: too few to say more, so {vain}", right)
    side = right.side(CHANCE)
    if side <= 0:
        word = "worse than chance" if side else "not clearly better than chance"
        return Trust(False, f"{said}: {word}, so {vain}", right)
    return Trust(True, said, right)
