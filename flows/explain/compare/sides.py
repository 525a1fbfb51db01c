"""What a person means by A and B: a constitution, a snapshot or a checkpoint."""

from __future__ import annotations

import json

from constitution.load import from_body, load, meant_file
from constitution.schema import Constitution
from flows.explain.compare.report import Side
from storage.errors import InputError
from storage.ids import kind_of
from storage.ledger import Ledger, Row
from storage.lineage import find
from tasks.generation.record import constitution_id

FIX = (
    "give a constitution (a file or a name), or the id, the start of one or the ref"
    " of a constitution, snapshot or checkpoint"
)


def resolve(ledger: Ledger, name: str) -> tuple[Side, Constitution | None]:
    """The side that `name` means and, of a constitution, its content.

    A file or packaged name first, then the ledger. InputError, ConstitutionError for a file.
    """
    path = meant_file(name)
    if path is not None:
        content = load(path)
        return _side(name, constitution_id(content), content), content
    try:
        row_id = find(ledger, name)[0]
    except InputError as error:
        raise InputError(name, error.rule, FIX) from None
    kind = kind_of(row_id)
    if kind == "constitution":
        return kept_constitution(ledger, name, row_id)
    if kind == "dataset":
        return snapshot_side(ledger, name, row_id), None
    if kind in ("checkpoint", "evaluation"):
        stage = ledger.query("SELECT stage FROM checkpoints WHERE checkpoint_id = ?", [row_id])
        if stage:
            return Side(name, "checkpoint", row_id, stage[0]["stage"]), None
    raise InputError(name, f"names a {kind or 'thing'} that has no differences to show", FIX)


def kept_constitution(ledger: Ledger, name: str, row_id: str) -> tuple[Side, Constitution]:
    """The constitution that the ledger keeps under this id; InputError where it has none."""
    found = ledger.query(
        "SELECT body, git_commit, git_author FROM constitutions WHERE constitution_id = ?", [row_id]
    )
    if not found:
        raise InputError(row_id, "the ledger has no constitution of this id", FIX)
    content = from_body(json.loads(found[0]["body"]))
    return _side(name, row_id, content, found[0]), content


def snapshot_side(ledger: Ledger, name: str, row_id: str) -> Side:
    found = ledger.query("SELECT * FROM datasets WHERE dataset_id = ?", [row_id])
    if not found:
        raise InputError(row_id, "the ledger has no snapshot of this id", FIX)
    row = found[0]
    label = f"{row['kind']}, {row['row_count']} rows to train on, {row['held_out_count']} held out"
    return Side(name, "snapshot", row_id, label)


def _side(name: str, row_id: str, content: Constitution, row: Row | None = None) -> Side:
    parts = [f"{content.name} {content.version}".strip(), f"{len(content.principles)} principles"]
    if row and row["git_commit"]:
        parts.append(f"commit {row['git_commit'][:12]} by {row['git_author']}")
    return Side(name, "constitution", row_id, ", ".join(parts))
