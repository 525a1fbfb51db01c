"""What a verdict is made of, and which way each measure of it points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.explain.run_report import names
from flows.explain.run_report.facts import Figure, Gate, Trust

EVEN = 0.5  # a win rate of two policies of which none is better


@dataclass(frozen=True)
class Evidence:
    """See RunReport. `gated`: what the gates say of each policy, in one sentence; `candidate`: the
    policy that the recipe would promote.
    """

    policies: Sequence[str]
    figures: Mapping[str, Mapping[str, Figure]]
    gates: Sequence[Gate]
    gated: Mapping[str, str]
    equal: Sequence[str]
    reward_model: Trust
    judge: Trust
    candidate: str = "ppo"

    def figure(self, policy: str, metric: str) -> Figure | None:
        return self.figures.get(policy, {}).get(metric)

    def difference(self, policy: str, metric: str) -> Figure | None:
        """To the base, question by question, or the ratio; of a win rate, what it exceeds even by.

        None where it was not measured.
        """
        rate = self.figure(policy, metric)
        if rate and names.is_win_rate(metric):
            low, high = (None if end is None else end - EVEN for end in (rate.low, rate.high))
            return Figure(rate.value - EVEN, low, high, rate.n)
        return self.figure(policy, names.difference(metric))

    def counts(self, metric: str) -> bool:
        """Whether a measure is evidence at all."""
        if metric == "reward":
            return self.reward_model.is_tested
        return self.judge.is_tested if names.is_win_rate(metric) else True

    def verdict_of(self, policy: str, metric: str) -> int:
        """1 where a policy is clearly better than the base by a measure, -1 worse, 0 neither."""
        gap, is_higher = self.difference(policy, metric), names.is_higher_better(metric)
        if gap is None or is_higher is None or not self.counts(metric):
            return 0
        return gap.side(names.unmoved(metric)) * (1 if is_higher else -1)

    def failed(self, policy: str) -> set[str]:
        """The measures by which it misses a bound."""
        return {g.metric for g in self.gates if g.policy == policy and not g.is_passed}

    def is_passed(self, policy: str) -> bool:
        """Whether it keeps every bound that it was held against, which must be some."""
        own = [gate.is_passed for gate in self.gates if gate.policy == policy]
        return bool(own) and all(own)
