"""What a plan says: its steps with their ranges, why each is a miss, what falls, what it costs."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from flows.plan.first_rates import Basis
from tasks.generation.teaching import Teaching

Range = tuple[int, int]
ASKING = ("drafts", "critiques", "revisions", "samples", "comparisons")


def added(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


@dataclass(frozen=True)
class Seconds:
    """At least, at most, and what that rests on: `measured` here, the `first` rates of the embedded
    model, or these `scaled` to another one or a GPU.
    """

    low: float
    high: float
    basis: Basis = "measured"
    is_on_gpu: bool = False

    def times(self, low: float, high: float) -> Seconds:
        return Seconds(self.low * low, self.high * high, self.basis, self.is_on_gpu)


@dataclass(frozen=True)
class Training:
    """What a stage trains on, all as [min, max]. `memory`: bytes that its worker takes."""

    rows: Range
    held_out: Range
    steps: Range
    seconds: Seconds | None
    memory: tuple[float, float] | None


@dataclass
class StepPlan:
    """One step of the plan. Ranges are [min, max]; `rounds` details the steps that have rounds.

    `by_model`: what is to be generated, by the id of the model that is asked; "" for one that is
    not trained yet.
    """

    step: str
    reused: int = 0
    to_generate: Range = (0, 0)
    to_train: Range = (0, 0)
    excluded: int = 0
    id: str | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    training: Training | None = None
    note: str = ""  # why a stage would not be said to be trained
    by_model: dict[str, Range] = field(default_factory=dict)

    def ask(self, model_id: str, more: Range) -> None:
        """Plan calls to a model."""
        self.to_generate = added(self.to_generate, more)
        self.by_model[model_id] = added(self.by_model.get(model_id, (0, 0)), more)


@dataclass
class Plan:
    """The steps in order, why each is a miss, and the cost.

    `falls`: the checkpoints now in use that a run would replace, certainly or perhaps. `left_out`:
    rows not used, by (step, reason). `to_record`: rows and artifacts that are there and that the
    ledger does not know yet. `teaching`: what the pairs teach, where all are known. `models`: the
    names of those that are asked in some role only, by id. `notes`: what is odd about prompts and
    principles, a line each.
    """

    steps: dict[str, StepPlan] = field(default_factory=dict)
    why: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    falls: list[dict[str, Any]] = field(default_factory=list)
    to_record: int = 0
    sft_rows_id: str | None = None
    teaching: Teaching | None = None
    models: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to generate, to train, or to write down."""
        return not self.to_record and self.is_made

    @property
    def is_made(self) -> bool:
        return all(s.to_generate[1] == 0 and s.to_train[1] == 0 for s in self.steps.values())

    def to_json(self) -> dict[str, Any]:
        steps = [asdict(step) for step in self.steps.values()]
        for step in steps:
            if not step["rounds"]:
                del step["rounds"]
            if not self.models or step["step"] not in ASKING:
                del step["by_model"]
        teaching = self.teaching.to_json() if self.teaching else None
        said = {"why": self.why, "falls": self.falls, "cost": self.cost, "teaching": teaching}
        told = {"steps": steps, "models": self.models, "notes": self.notes}
        return told | said
