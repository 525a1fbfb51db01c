"""The edges of the lineage: those of the view `lineage_edges`, each with the table it stands in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from storage.ids import kind_of

Direction = Literal["up", "down"]

MANY = frozenset({"pair", "example", "revision", "completion", "prompt"})
# Where the rows of a kind are: table and key. Every kind comes before those it is made from, but
# that a model may be made from a checkpoint.
HOMES = {
    "checkpoint": ("checkpoints", "checkpoint_id"),
    "dataset": ("datasets", "dataset_id"),
    "pair": ("pairs", "pair_id"),
    "example": ("examples", "example_id"),
    "revision": ("revisions", "revision_id"),
    "completion": ("completions", "completion_id"),
    "model": ("models", "model_id"),
    "constitution": ("constitutions", "constitution_id"),
    "principle": ("principles", "principle_id"),
    "few_shot": ("few_shots", "few_shot_id"),
    "prompt": ("prompts", "prompt_id"),
}
KINDS = tuple(HOMES)
PARENTS = (
    "(SELECT checkpoint_id, unnest(parent_ids) AS parent_id, unnest(parent_roles) AS parent_role"
    " FROM checkpoints)"
)


@dataclass(frozen=True)
class Edge:
    """One kind of edge: `child_column` of a table was made from `parent_column` beside it."""

    child: str
    parent: str
    role: str  # an SQL expression
    table: str
    child_column: str
    parent_column: str
    only: str = "true"  # an SQL condition on the table's rows

    def ends(self, direction: Direction) -> tuple[tuple[str, str], tuple[str, str]]:
        """(kind, column) where a step of the walk starts, and where it arrives."""
        child, parent = (self.child, self.child_column), (self.parent, self.parent_column)
        return (child, parent) if direction == "up" else (parent, child)


def _members(kind: str, prefix: str) -> Edge:
    only = f"starts_with(row_id, '{prefix}_')"
    return Edge("dataset", kind, "'row'", "dataset_rows", "dataset_id", "row_id", only)


EDGES = (
    Edge("completion", "model", "'model'", "completions", "completion_id", "model_id"),
    Edge("completion", "prompt", "'prompt'", "completions", "completion_id", "prompt_id"),
    Edge("completion", "few_shot", "'examples'", "completions", "completion_id", "few_shot_id"),
    # Of the principle that asked first: one whose revision request alone is new asks nothing here.
    Edge(
        "completion",
        "principle",
        "'principle'",
        "completions",
        "completion_id",
        "principle_id",
        "step = 'critique'",
    ),
    *(
        Edge("completion", parent, f"'{role}'", "revisions", child_column, parent_column)
        for child_column, parent, role, parent_column in (
            ("revision_completion_id", "principle", "principle", "principle_id"),
            ("revision_completion_id", "completion", "critique", "critique_completion_id"),
            ("revision_completion_id", "completion", "response", "response_completion_id"),
            ("critique_completion_id", "completion", "response", "response_completion_id"),
        )
    ),
    Edge(
        "revision",
        "completion",
        "'completion'",
        "revisions",
        "revision_id",
        "revision_completion_id",
    ),
    Edge("example", "revision", "'revision'", "revisions", "example_id", "revision_id"),
    Edge("pair", "revision", "'revision'", "revisions", "pair_id", "revision_id"),
    Edge("pair", "completion", "'rejected'", "pairs", "pair_id", "rejected_completion_id"),
    _members("pair", "par"),
    _members("example", "exm"),
    _members("prompt", "prm"),
    Edge("model", "model", "'base'", "models", "model_id", "base_model_id"),
    Edge("model", "checkpoint", "'checkpoint'", "models", "model_id", "checkpoint_id"),
    Edge("checkpoint", "dataset", "'dataset'", "checkpoints", "checkpoint_id", "dataset_id"),
    Edge("checkpoint", "model", "'base'", "checkpoints", "checkpoint_id", "base_model_id"),
    Edge(
        "checkpoint",
        "constitution",
        "'constitution'",
        "checkpoints",
        "checkpoint_id",
        "constitution_id",
    ),
    Edge("checkpoint", "checkpoint", "parent_role", PARENTS, "checkpoint_id", "parent_id"),
)


def table_kind(row_id: str) -> str:
    """The kind under which an id is walked: evaluations are rows of `checkpoints`."""
    kind = kind_of(row_id) or ""
    return "checkpoint" if kind == "evaluation" else kind
