"""Signs that a run goes wrong: KL too far, entropy gone, completions that no longer end or repeat.

Only `kl_stop` ends a run; the others are warnings. The thresholds are engineering choices without a
published source, except that reward models are known to be over-optimised as KL grows
(https://arxiv.org/abs/2210.10760).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tasks.training.ppo.config import PPOConfig

LENGTH_CORRELATION = 0.6
"""Correlation of score and length above which, three updates in a row, length is being rewarded."""


class Alarm(NamedTuple):
    """A rule that fired: its name, whether it ends the run, and a line for the log."""

    rule: str
    stop: bool
    message: str


@dataclass
class Watch:
    """Remembers the first update's levels and how long length has paid; part of the saved state."""

    first: dict[str, float] = field(default_factory=dict)
    streak: int = 0

    def check(self, metrics: Mapping[str, float], config: PPOConfig) -> list[Alarm]:
        """Alarms of one update; its metrics become the baseline if it is the first."""
        if not self.first:
            names = ("objective/entropy", "eos_rate", "hack/distinct")
            self.first = {name: metrics[name] for name in names}
        correlated = abs(metrics["hack/length_correlation"]) > LENGTH_CORRELATION
        self.streak = self.streak + 1 if correlated else 0

        def ratio(name: str) -> float:
            return metrics[name] / self.first[name] if self.first[name] > 0 else 1.0

        kl, limit = metrics["objective/kl"], config.kl_limit
        at_limit = metrics["completions/mean_length"] >= 0.95 * config.max_new_tokens
        drift = metrics["first_minibatch_logp_diff"]
        rules = {
            "kl_stop": (kl > limit, f"sequence KL {kl:.1f} is above kl_stop = {limit:g}: stopping"),
            "kl_warn": (
                config.kl_warn < kl <= limit,
                f"sequence KL {kl:.1f} is above kl_warn = {config.kl_warn:g}",
            ),
            "min_entropy": (ratio("objective/entropy") < 0.25, "entropy fell below a quarter"),
            "eos_rate": (ratio("eos_rate") < 0.5 and at_limit, "completions stopped ending"),
            "length": (self.streak >= 3, "the score follows the length"),
            "distinct": (ratio("hack/distinct") < 0.5, "distinct bigrams fell below half"),
            "off_policy_logprobs": (
                drift > 0.02,
                "training and rollout log-probabilities differ by more than 0.02",
            ),
        }
        return [
            Alarm(rule, rule == "kl_stop", message)
            for rule, (fired, message) in rules.items()
            if fired
        ]
