"""The checkpoint that a reference or a person names, on the base it was trained on."""

from __future__ import annotations

import json
from pathlib import Path

from flows.plan.chat import filled
from storage.artifacts import artifact_path, is_whole
from storage.errors import InputError
from storage.ids import short
from storage.ledger import Ledger
from storage.lookup import names_like
from storage.nearest import meant
from storage.own_refs import target
from storage.workspace import Workspace
from tasks import models


def find_checkpoint(ledger: Ledger, workspace: Workspace, name: str) -> tuple[str, Path, str]:
    """(checkpoint id, its adapter's folder, its base's reference) of a checkpoint id or ref."""
    found = ledger.query(
        "SELECT c.checkpoint_id, m.reference, c.base_model_id, c.components FROM checkpoints c"
        " JOIN models m ON m.model_id = c.base_model_id"
        " WHERE starts_with(c.checkpoint_id, nullif(?, '')) AND c.stage IN ('sft', 'dpo', 'ppo')",
        [target(ledger, name) or name],
    )
    if len(found) > 1:
        raise InputError(name, "several checkpoints' ids begin so", "give more digits", "model")
    if not found:
        rule = "no checkpoint of a policy has this id or ref"
        fix = meant(name, names_like(ledger, name), "see solon why latest/ppo")
        raise InputError(name, rule, fix, "model")
    checkpoint_id = found[0]["checkpoint_id"]
    path = artifact_path(workspace, checkpoint_id)
    if not is_whole(path):
        rule = "its files are gone or damaged"
        raise InputError(checkpoint_id, rule, "run the recipe that made it: it is mended", "model")
    _check_base(workspace, **found[0])
    return checkpoint_id, path / "adapter", found[0]["reference"]


def _check_base(
    workspace: Workspace, checkpoint_id: str, reference: str, base_model_id: str, components: str
) -> None:
    """Raise InputError where a checkpoint's base is another model now than the one it was trained
    on: other files in the folder, or a path that means another folder from here.
    """
    now = models.identify(reference, workspace).model_id
    filling = json.loads(components or "{}").get("chat", {})
    if now is not None and filled(now, filling) != base_model_id:
        rule = f"is another model now than the base that {short(checkpoint_id)} was trained on"
        raise InputError(reference, rule, "put the base back, or train on the new one", "model")
