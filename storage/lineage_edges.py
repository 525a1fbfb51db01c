"""The edges of the lineage: those of the view `lineage_edges`, each with the table it stands in."""

from __future__ import annotations

import re
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
ASKED = "step = 'critique'"
PAIRS, EXAMPLES, PROMPTS = (f"starts_with(row_id, '{p}_')" for p in ("par", "exm", "prm"))


@dataclass(frozen=True)
class Edge:
    """One kind of edge: the child of a table's row was made from the parent beside it."""

    child: str
    parent: str
    role: str  # an SQL expression
    table: str
    child_name: str
    parent_name: str
    only: str = "true"  # an SQL condition on the table's rows

    def ends(self, direction: Direction) -> tuple[tuple[str, str], tuple[str, str]]:
        """(kind, column) where a step of the walk starts, and where it arrives."""
        child = self.child, f"{self.child_name}_id"
        parent = self.parent, f"{self.parent_name}_id"
        return (child, parent) if direction == "up" else (parent, child)


# Child, parent, role, table, the columns of both without their `_id`, and which rows.
# A critique belongs to the principle that asked first: one whose revision request alone is new
# asks nothing there.
_TABLE = f"""
completion  model         'model'         completions   completion           model
completion  prompt        'prompt'        completions   completion           prompt
completion  few_shot      'examples'      completions   completion           few_shot
completion  principle     'principle'     completions   completion           principle  {ASKED}
completion  principle     'principle'     revisions     revision_completion  principle
completion  completion    'critique'      revisions     revision_completion  critique_completion
completion  completion    'response'      revisions     revision_completion  response_completion
completion  completion    'response'      revisions     critique_completion  response_completion
revision    completion    'completion'    revisions     revision             revision_completion
example     revision      'revision'      revisions     example              revision
pair        revision      'revision'      revisions     pair                 revision
pair        completion    'rejected'      pairs         pair                 rejected_completion
dataset     pair          'row'           dataset_rows  dataset              row  {PAIRS}
dataset     example       'row'           dataset_rows  dataset              row  {EXAMPLES}
dataset     prompt        'row'           dataset_rows  dataset              row  {PROMPTS}
model       model         'base'          models        model                base_model
model       checkpoint    'checkpoint'    models        model                checkpoint
checkpoint  dataset       'dataset'       checkpoints   checkpoint           dataset
checkpoint  model         'base'          checkpoints   checkpoint           base_model
checkpoint  constitution  'constitution'  checkpoints   checkpoint           constitution
checkpoint  checkpoint    parent_role     {PARENTS}     checkpoint           parent
"""
EDGES = tuple(Edge(*re.split("  +", line)) for line in _TABLE.strip().splitlines())


def table_kind(row_id: str) -> str:
    """The kind under which an id is walked: evaluations are rows of `checkpoints`."""
    kind = kind_of(row_id) or ""
    return "checkpoint" if kind == "evaluation" else kind
