"""From a judge's answers to a label: orders averaged, clamped, ensembled, or an abstention.

Pure functions. A comparison is asked twice, each response shown first once; every figure is the
probability in [0, 1] that the *first* response of the comparison is better, whichever was shown
first. The chain is

    log-probabilities or sampled letters -> a figure in each order -> clamp -> mean of both orders
    -> mean over principles

1. The letters' probabilities are normalised over the two options (Bai et al. 2022, sec. 4.1).
2. Orders are averaged (Lee et al. 2023, arXiv 2309.00267; Bai et al. ask in one order).
3. Clamping is done in each order, as the paper clamps its one figure: chain of thought makes
   figures of nearly 0 or 1, and a judge that contradicts itself then comes out at one half.
4. Over principles probabilities are averaged, not log-odds: as each label of the paper draws one
   principle, the mean is the label that it would get on average; and one very sure answer (0.999
   is a log-odds of 7) does not outvote all others.
5. A judge that names different responses in the two orders, by more than a margin, abstains. So
   does one of which no letter could be read. No label is ever drawn at random.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from constitution.render import COMPARISON_ANSWERS

VERDICT = re.compile(rf"\s*({'|'.join(COMPARISON_ANSWERS)})\.?\s*")


@dataclass(frozen=True)
class Orders:
    """Probability that the first response is better, asked in both orders.

    `forward`: it was shown as A; `backward`: it was shown as B. None where no letter could be read.
    """

    forward: float | None
    backward: float | None

    @property
    def mirrored(self) -> Orders:
        """The same of the second response."""
        return Orders(_other(self.backward), _other(self.forward))

    @property
    def preference(self) -> float | None:
        """The mean of both orders; None where either is missing."""
        if self.forward is None or self.backward is None:
            return None
        return (self.forward + self.backward) / 2

    @property
    def is_consistent(self) -> bool:
        """Whether both orders name the same response."""
        if self.forward is None or self.backward is None:
            return False
        return (self.forward - 0.5) * (self.backward - 0.5) > 0

    def abstains(self, margin: float) -> bool:
        """Whether there is nothing to go by: see the module, 5."""
        if self.forward is None or self.backward is None:
            return True
        is_split = (self.forward - 0.5) * (self.backward - 0.5) < 0
        return is_split and abs(self.forward - self.backward) > margin

    def clamped(self, low: float, high: float) -> Orders:
        return Orders(_clamped(self.forward, low, high), _clamped(self.backward, low, high))


def normalised(first: float, second: float) -> float:
    """The first option's share of two log-probabilities (nats)."""
    gap = second - first
    return 1.0 / (1.0 + math.exp(gap)) if gap < 0 else math.exp(-gap) / (1.0 + math.exp(-gap))


def parsed(text: str) -> str | None:
    """The letter that a sampled verdict is; None where it is anything else.

    White space around it and one full stop after it are looked through, and nothing more: "A and B"
    or "Answer: A" is no verdict.
    """
    found = VERDICT.fullmatch(text)
    return found[1] if found else None


def vote(texts: Iterable[str]) -> float | None:
    """The share of A among sampled verdicts that can be read; None where none can."""
    letters = [letter for text in texts if (letter := parsed(text))]
    return letters.count(COMPARISON_ANSWERS[0]) / len(letters) if letters else None


def unparsed(texts: Iterable[str]) -> int:
    """How many sampled verdicts cannot be read."""
    return sum(parsed(text) is None for text in texts)


def settle(orders: Orders, limits: tuple[float, float], margin: float) -> float | None:
    """One question's preference: the mean of both clamped orders; None for an abstention.

    Whether the orders disagree is told before they are clamped.
    """
    return None if orders.abstains(margin) else orders.clamped(*limits).preference


def ensemble(preferences: Sequence[float | None]) -> float | None:
    """The mean over the questions that were answered; None where all abstained."""
    given = [preference for preference in preferences if preference is not None]
    return math.fsum(given) / len(given) if given else None


def _other(figure: float | None) -> float | None:
    return None if figure is None else 1.0 - figure


def _clamped(figure: float | None, low: float, high: float) -> float | None:
    return None if figure is None else min(max(figure, low), high)
