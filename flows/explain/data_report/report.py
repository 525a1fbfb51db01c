"""What a data report holds: plain values, and the JSON contract of `solon data report --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tasks.generation.teaching import Teaching
from tasks.hygiene.findings import Finding


@dataclass(frozen=True)
class Verdict:
    """A label of a pair: who gave it, on which principle (None: on the whole), its probability in
    [0, 1] that the chosen response is the better one, and whether the pair was turned round.
    """

    by: str
    slug: str | None
    preference: float
    is_turned: bool


@dataclass(frozen=True)
class DataRow:
    """A row of a snapshot: an example (`rejected` is None) or a pair. `prompt`: its last turn.

    chosen_end, rejected_end: finish reasons; None where the ledger has not got the completion.
    """

    id: str
    prompt_id: str
    prompt: str
    chosen: str
    rejected: str | None
    source: str
    preference: float | None
    is_held_out: bool
    chosen_end: str | None
    rejected_end: str | None
    labels: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class PrincipleFacts:
    """The evidence on one principle among the pairs to train on.

    prompts: those it was assigned to; None in runs before that was kept. by: pairs with a label on
    it by who gave the strongest, and under "none" those made under it that have no label at all.
    agreement: the share of those with a label, of sources that presume a direction, that were not
    turned round. preference: mean of the labels on it. None: nothing to tell it from.
    """

    slug: str
    prompts: int | None
    by: dict[str, int]
    agreement: float | None
    preference: float | None


@dataclass(frozen=True)
class LeftOut:
    """Rows that the snapshot's run left out for one reason; texts of the first of them by id."""

    step: str
    reason: str
    rows: int
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Check:
    """A rule of hygiene on the rows to train on: what it found, and that in words.

    `is_odd`: whether somebody should look at it.
    """

    finding: Finding
    of: int
    said: str
    is_odd: bool


@dataclass(frozen=True)
class Measure:
    """A figure of the judge's report card, with its 95 % interval, of `n` pairs or answers."""

    name: str
    value: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class DataReport:
    """The whole report. `shown`: the first rows by id; `rows`: all to train on, not in the JSON.

    judge: its report card in the run that made the snapshot; empty where it was not examined.
    """

    id: str
    kind: str
    run_id: str
    training: int
    held_out: int
    teaching: Teaching | None  # of pairs
    examples_by_source: dict[str, int]
    principles: tuple[PrincipleFacts, ...]
    left_out: tuple[LeftOut, ...]
    hygiene: tuple[Check, ...]
    judge: tuple[Measure, ...]
    shown: tuple[DataRow, ...]
    rows: tuple[DataRow, ...]

    def to_json(self) -> dict[str, Any]:
        """The contract of `--json`: the fields of this class but `rows`; keys stay."""
        teaching = self.teaching.to_json() if self.teaching else None
        own = {
            name: value for name, value in vars(self).items() if name not in ("rows", "teaching")
        }
        nested = ("principles", "left_out", "hygiene", "judge", "shown")
        return {
            name: [asdict(part) for part in value] if name in nested else value
            for name, value in own.items()
        } | {"teaching": teaching}
