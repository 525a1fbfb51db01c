"""What a run report holds, and the JSON contract of `solon report --json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from flows.explain.run_report.evidence import Evidence
from flows.explain.run_report.facts import Bin, Data, Figure, Moved, Stage


@dataclass(frozen=True)
class About:
    """What a report is on. `id`: the evaluation's, else the run's. `others`: who else was asked,
    by role.
    """

    id: str
    run_id: str | None
    evaluation_id: str | None
    recipe: str
    constitution: str
    constitution_id: str
    model: str
    model_id: str
    made_at: str
    commit: str
    others: Mapping[str, str]


@dataclass(frozen=True)
class RunReport:
    """The whole report. `said`: the verdict on the best policy, then what there is to say of it and
    the others; `cautions`: what the figures cannot carry.

    checkpoints: by stage. judge: measures of its report card, and its `reliability`. lengths:
    tokens of every held-out answer by policy. left_out: (step, reason, rows). standard: figures of
    standard tasks by policy and task/metric, of those that were asked any. settings: the recipe's,
    by path.
    """

    about: About
    said: tuple[str, ...]
    cautions: tuple[str, ...]
    evidence: Evidence
    checkpoints: Mapping[str, str]
    judge: Mapping[str, Figure]
    reliability: tuple[Bin, ...]
    gains: tuple[Moved, ...]
    regressions: tuple[Moved, ...]
    shown: tuple[Moved, ...]
    lengths: Mapping[str, Sequence[int]]
    stages: tuple[Stage, ...]
    data: Data
    left_out: tuple[tuple[str, str, int], ...]
    standard: Mapping[str, Mapping[str, Figure]]
    settings: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The contract of `--json`: `verdict`, what `about` and `evidence` hold, and the other
        fields of this class but `said`; keys stay.
        """
        own = asdict(self)
        first, *also = own.pop("said")
        about, evidence = own.pop("about"), own.pop("evidence")
        return {**about, "verdict": first, "also": also, **evidence, **own}
