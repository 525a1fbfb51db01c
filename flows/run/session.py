"""What the steps of one run share."""

from __future__ import annotations

from dataclasses import dataclass, field

from flows.plan.inputs import Inputs
from flows.plan.recipe import Recipe
from flows.run.results import Results
from flows.run.workers import Workers
from storage.ledger import Ledger
from storage.workspace import Workspace


@dataclass
class Session:
    """One run: what it is made of, what it did so far, and the processes that do it."""

    inputs: Inputs
    workspace: Workspace
    ledger: Ledger
    run_id: str
    results: Results = field(init=False)
    workers: Workers = field(init=False)

    def __post_init__(self) -> None:
        self.results = Results(self.ledger, self.run_id)
        self.workers = Workers(self.inputs, self.workspace, self.ledger, self.run_id)

    @property
    def recipe(self) -> Recipe:
        return self.inputs.recipe
