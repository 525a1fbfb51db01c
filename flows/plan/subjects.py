"""The models that a person names: a recipe's base, or a trained checkpoint on its base."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from flows.plan.checkpoints import find_checkpoint
from flows.plan.recipe import load
from storage.errors import InputError
from storage.ids import short
from storage.ledger import Ledger
from storage.lookup import find
from storage.workspace import Workspace
from tasks.chat.manner import DEFAULT, Manner
from tasks.models import parse

BASE = "base"


@dataclass(frozen=True)
class Base:
    """A base model as it is loaded: a reference, and the settings of a recipe that it has."""

    reference: str
    quantization: Any = "nf4"
    compute: Any = "auto"
    threads: int = 0
    manner: Manner = DEFAULT

    @property
    def public_name(self) -> str:
        """The reference as others may read it: of a folder its name, not its place here."""
        known = parse(self.reference)
        return Path(known.value).name if known.kind == "folder" else known.text


@dataclass(frozen=True)
class Subject:
    """A base, or with a checkpoint's adapter on it the policy that was trained.

    label: as it is shown, "dpo ckp_1a2b3c4d" or "base". checkpoint_id, adapter: None for a base.
    """

    label: str
    base: Base
    checkpoint_id: str | None = None
    adapter: Path | None = None


def subject(ledger: Ledger, workspace: Workspace, name: str, recipe: str | None) -> Subject:
    """The model that `name` means: `base`, that of the recipe; else a checkpoint's id or ref.

    recipe: None where a base will not do. Raises InputError where it is none, no policy (sft, dpo,
    ppo), or its files are gone.
    """
    if name == BASE and recipe is None:
        rule = "a base is there as it is: only checkpoints are exported"
        raise InputError(name, rule, "give an id, or a ref as latest/dpo", "ID")
    if name == BASE and recipe is not None:
        chosen = load(recipe, {})
        known, reference = parse(chosen.model), chosen.model
        if known.kind == "checkpoint":
            reference = find_checkpoint(ledger, workspace, known.value)[2]
        loaded = chosen.quantization, chosen.compute, chosen.threads
        wanted = Base(reference, *loaded, chosen.generation.manner)
        return Subject(BASE, wanted)
    target = find(ledger, name, [] if recipe is None else [BASE])[0]
    rows = ledger.query(
        "SELECT c.stage, r.settings FROM checkpoints c LEFT JOIN runs r USING (run_id)"
        " WHERE c.checkpoint_id = ? AND c.stage IN ('sft', 'dpo', 'ppo')",
        [target],
    )
    if not rows:
        rule = "this is no checkpoint of a policy (sft, dpo, ppo)"
        raise InputError(name, rule, "give its id, a ref as latest/dpo, or base", "ID")
    checkpoint_id, adapter, reference = find_checkpoint(ledger, workspace, target)
    settings = json.loads(rows[0]["settings"] or "{}")
    used = {key: settings[key] for key in ("quantization", "compute", "threads") if key in settings}
    generation = settings.get("generation", {})
    asked = {f.name: generation[f.name] for f in fields(Manner) if f.name in generation}
    used["manner"] = Manner.of(asked)
    label = f"{rows[0]['stage']} {short(checkpoint_id)}"
    return Subject(label, Base(reference, **used), checkpoint_id, adapter)
