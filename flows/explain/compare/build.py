"""A and B, whatever they are, to one report."""

from __future__ import annotations

from flows.explain.compare import checkpoints, principles, snapshots
from flows.explain.compare.report import ConstitutionDiff, Report, Side
from flows.explain.compare.sides import kept_constitution, resolve, snapshot_side
from storage.errors import InputError
from storage.ledger import Ledger

IN_FORCE = {
    "snapshot": "SELECT constitution_id AS id FROM datasets JOIN runs USING (run_id)"
    " WHERE dataset_id = ?",
    "checkpoint": "SELECT constitution_id AS id FROM checkpoints WHERE checkpoint_id = ?",
}


def compare(ledger: Ledger, a: str, b: str, limit: int) -> Report:
    """Everything that differs between what `a` and `b` name.

    limit: the most changed rows of a snapshot that come with their texts. Raises InputError where
    a name means nothing, or the two are of different kinds.
    """
    left, right = resolve(ledger, a), resolve(ledger, b)
    if left.side.kind != right.side.kind:
        rule = f"is a {right.side.kind}, and {a} is a {left.side.kind}"
        raise InputError(b, rule, "give two constitutions, two snapshots or two checkpoints")
    if left.side.id == right.side.id:
        return Report(left.side, right.side)
    if left.constitution and right.constitution:
        found = principles.compare(left.side, right.side, left.constitution, right.constitution)
        return Report(left.side, right.side, found)
    if left.side.kind == "snapshot":
        return _of_snapshots(ledger, left.side, right.side, limit)
    return _of_checkpoints(ledger, left.side, right.side, limit)


def _of_snapshots(ledger: Ledger, a: Side, b: Side, limit: int) -> Report:
    found = snapshots.compare(ledger, a, b, limit)
    constitution, notes = _in_force(ledger, a, b)
    return Report(a, b, constitution, (found,), notes=tuple(notes))


def _of_checkpoints(ledger: Ledger, a: Side, b: Side, limit: int) -> Report:
    """The checkpoints, and the snapshots of a kind that they and their parents learned from."""
    constitution, notes = _in_force(ledger, a, b)
    behind_a, behind_b = (checkpoints.snapshots_behind(ledger, side.id) for side in (a, b))
    found = []
    for kind in (kind for kind in behind_a if kind in behind_b):
        if behind_a[kind] == behind_b[kind]:
            notes.append(f"both learned from the same {kind} rows, {behind_a[kind]}")
        else:
            left = snapshot_side(ledger, f"{kind} rows of {a.name}", behind_a[kind])
            right = snapshot_side(ledger, f"{kind} rows of {b.name}", behind_b[kind])
            found.append(snapshots.compare(ledger, left, right, limit))
    for kind in sorted(behind_a.keys() ^ behind_b.keys()):
        notes.append(f"only {a.name if kind in behind_a else b.name} learned from {kind} rows")
    compared = checkpoints.compare(ledger, a, b)
    return Report(a, b, constitution, tuple(found), compared, tuple(notes))


def _in_force(ledger: Ledger, a: Side, b: Side) -> tuple[ConstitutionDiff | None, list[str]]:
    """The constitutions in force when the two were made; notes where there is nothing to show."""
    old, new = _constitution_of(ledger, a), _constitution_of(ledger, b)
    if old is None or new is None:
        unknown = [side.name for side, found in ((a, old), (b, new)) if found is None]
        return None, [f"the ledger has no constitution for {name}" for name in unknown]
    if old == new:
        return None, [f"both were made under the same constitution, {old}"]
    left, before = kept_constitution(ledger, f"constitution of {a.name}", old)
    right, after = kept_constitution(ledger, f"constitution of {b.name}", new)
    return principles.compare(left, right, before, after), []


def _constitution_of(ledger: Ledger, side: Side) -> str | None:
    found = ledger.query(IN_FORCE[side.kind], [side.id])
    return found[0]["id"] if found else None
