"""What a comparison found: plain values, and the JSON contract of `solon diff --json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from flows.explain.compare.words import Piece

Kind = Literal["constitution", "snapshot", "checkpoint"]
Change = Literal["added", "removed", "changed"]
Effect = Literal["every_row", "rows", "assignment", "judging", "teaching", "choosing", "none"]

# In brief, and what that means; the worst first.
EFFECTS: dict[Effect, tuple[str, str]] = {
    "every_row": ("regenerates every row", "it is part of every request to the model"),
    "rows": ("regenerates its rows", "these words reach the model in the rows of their principle"),
    "assignment": ("moves assignment", "rows that come to it or leave it are regenerated"),
    "judging": ("judged anew", "no row is regenerated; a judge is asked again"),
    "teaching": ("taught anew", "a teacher that is shown it is asked again; no other row changes"),
    "choosing": ("chosen anew", "no model is asked; other answers may be chosen and rejected"),
    "none": ("costs nothing", "it reaches no model and moves no row"),
}


@dataclass(frozen=True)
class Side:
    """One of the two things compared; `name` is how it was asked for."""

    name: str
    kind: Kind
    id: str
    label: str


@dataclass(frozen=True)
class FieldChange:
    """A field that differs: text, number, flag or list. None: that side lacks it."""

    field: str
    before: Any
    after: Any
    effect: Effect
    pieces: list[Piece]


@dataclass(frozen=True)
class PrincipleChange:
    """A principle that one side lacks, with its words, or the fields of one that differ."""

    slug: str
    title: str
    change: Change
    effect: Effect
    fields: tuple[FieldChange, ...] = ()


@dataclass(frozen=True)
class ConstitutionDiff:
    """`fields` are those of the whole: name, version, order, examples, rounds."""

    a: Side
    b: Side
    principles: tuple[PrincipleChange, ...]
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True)
class Use:
    """What a principle did in a snapshot.

    no_change_rate: revisions that said the same as the draft (of an SFT snapshot: as the response
    of their round), of all in [0, 1]; edit_distance: Levenshtein from response to revision over
    the longer one's bytes, mean of `sampled` rows; words, characters: mean of the better response.
    """

    rows: int
    unchanged: int
    no_change_rate: float | None
    edit_distance: float | None
    sampled: int
    words: float | None
    characters: float | None


@dataclass(frozen=True)
class PrincipleUse:
    slug: str
    a: Use | None
    b: Use | None


@dataclass(frozen=True)
class Row:
    """A row of a snapshot as text; `rejected` is None in an SFT snapshot."""

    principle: str | None
    response: str
    rejected: str | None


@dataclass(frozen=True)
class TextChange:
    """A row of a prompt whose rows differ; a side is None where it has one row less."""

    prompt_id: str
    prompt: str
    is_flip: bool
    a: Row | None
    b: Row | None


@dataclass(frozen=True)
class SnapshotDiff:
    """Two snapshots of one kind. The states are counts of prompts.

    left_out: changed rows that are not among `texts`; ranked: the changed rows, first by id, among
    which the largest edits were looked for.
    """

    a: Side
    b: Side
    rows: str
    same: int
    changed: int
    appeared: int
    vanished: int
    moved_split: int
    flips: int | None
    principles: tuple[PrincipleUse, ...]
    texts: tuple[TextChange, ...]
    left_out: int
    ranked: int


@dataclass(frozen=True)
class ComponentChange:
    """A component of a checkpoint's key that differs; nested ones by dotted name."""

    component: str
    before: Any
    after: Any


@dataclass(frozen=True)
class Measure:
    """A number, its 95 % interval where it has one, and the rows behind it."""

    value: float | None
    low: float | None
    high: float | None
    sample_count: int | None


@dataclass(frozen=True)
class MetricRow:
    name: str
    a: Measure | None
    b: Measure | None


@dataclass(frozen=True)
class CheckpointDiff:
    components: tuple[ComponentChange, ...]
    metrics: tuple[MetricRow, ...]


@dataclass(frozen=True)
class Report:
    """The whole comparison. `notes`: what a reader should know about what is not here."""

    a: Side
    b: Side
    constitution: ConstitutionDiff | None = None
    snapshots: tuple[SnapshotDiff, ...] = ()
    checkpoint: CheckpointDiff | None = None
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        return self.a.id == self.b.id

    def to_json(self) -> dict[str, Any]:
        """The contract of `--json`: the fields of this class and of those it holds; keys stay."""
        return {"kind": self.a.kind, "same": self.same, **asdict(self)}


def as_text(value: Any) -> str:
    """A field's value in words: lists with commas, yes and no, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {as_text(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(as_text(part) for part in value)
    return str(value)
