"""The parts of a run report: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FEWEST = 8  # questions that can carry a verdict

Curve = list[tuple[float, float]]  # (step, value)


@dataclass(frozen=True)
class Figure:
    """A measure of a policy with its 95 % interval, of `n` questions; None: no interval."""

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def can_tell(self) -> bool:
        """Whether there are enough questions, and an interval, to say anything of it."""
        return self.low is not None and self.high is not None and self.n >= FEWEST

    def side(self, of: float = 0.0) -> int:
        """1 where the whole interval lies above a value, -1 below it, 0 where it holds it or
        where too few questions carry it.
        """
        if not self.can_tell or self.low is None or self.high is None:
            return 0
        return int(self.low > of) - int(self.high < of)


@dataclass(frozen=True)
class Gate:
    """One bound of the recipe's gate on one policy: whether it is kept, and why, in words."""

    policy: str
    checkpoint_id: str
    metric: str
    is_passed: bool
    reason: str


@dataclass(frozen=True)
class Stage:
    """A trained stage. losses: of training, first and last; held_out: its loss on held-out rows,
    before and after; None where not measured. score: of PPO's rollouts, first and last.
    `not_learned`: why it is not called trained; empty where it is. `curves`: by measure.
    """

    stage: str
    checkpoint_id: str
    dataset_id: str | None
    rows: int | None
    steps: int | None
    seconds: float | None
    loss: tuple[float, float] | None
    held_out: tuple[float, float] | None
    score: tuple[float, float] | None
    has_changed: bool
    not_learned: str = ""
    curves: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True)
class Trust:
    """Whether a model's word counts: its accuracy on held-out pairs, and that in words.

    `is_tested`: the interval lies above one half.
    """

    is_tested: bool
    said: str
    accuracy: Figure | None = None


@dataclass(frozen=True)
class Given:
    """A policy's answer: what was kept of the rules or scored, in [0, 1], and how it ended."""

    policy: str
    text: str
    score: float | None
    end: str
    samples: int


@dataclass(frozen=True)
class Moved:
    """A question with the answers of base and policies; `by`: by how much `policy` moved it."""

    question: str
    probe: str
    category: str
    prompt_id: str
    policy: str
    by: float
    because: str
    answers: tuple[Given, ...]


@dataclass(frozen=True)
class Bin:
    """Verdicts of a judge at one confidence: their mean confidence, the share right, how many."""

    confidence: float
    accuracy: float
    n: int


@dataclass(frozen=True)
class Data:
    """The rows that were trained on, in short: `said` are sentences of the data report."""

    dataset_id: str | None
    by_source: Mapping[str, int]
    by_evidence: Mapping[str, int]
    said: tuple[str, ...]
