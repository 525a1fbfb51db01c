"""The rows that a page reviews: those of a recipe's last run, by the settings that it had."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from threading import Lock
from typing import Any

from pydantic import ValidationError

from flows.plan.read_inputs import read_inputs
from flows.plan.recipe import Recipe
from flows.plan.recipe_file import count_from
from flows.plan.reviewed import review_items
from storage.errors import InputError
from storage.ledger import Ledger, Row
from storage.workspace import Workspace
from tasks.review.queue import Item

KEPT_S = 300.0
LAST_RUNS = """
    SELECT recipe, run_id, state, settings, started_at FROM runs
    WHERE recipe = $1 OR $1 = '' QUALIFY row_number() OVER (
        PARTITION BY recipe ORDER BY started_at DESC) = 1
    ORDER BY started_at DESC"""


def recipes(ledger: Ledger) -> list[Row]:
    """The last run of every recipe, the newest first."""
    return ledger.query(LAST_RUNS, [""])


class Kept:
    """The items of each recipe's last run, which cost a walk over its prompts: read anew after
    another run, and after five minutes. `skipped`: subjects' ids by (recipe, reviewer), for as long
    as the server lives.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.ledger = Ledger(workspace.ledger, holder="solon review")
        self.skipped: dict[tuple[str, str], Sequence[str]] = {}
        self._lock = Lock()
        self._items: dict[str, tuple[Any, float, list[Item]]] = {}

    def items(self, recipe: str) -> list[Item]:
        """Raises InputError where the recipe has no run, or none whose rows can be reviewed."""
        found = self.ledger.query(LAST_RUNS, [recipe]) if recipe else []
        if not found:
            raise InputError(recipe, "no run of this recipe is here", "make one: solon refresh")
        run, stamp = found[0], (found[0]["run_id"], found[0]["state"])
        with self._lock:
            known = self._items.get(recipe)
            if known and known[0] == stamp and time.monotonic() - known[1] < KEPT_S:
                return known[2]
            items = self._read(run)
            self._items[recipe] = stamp, time.monotonic(), items
            return items

    def _read(self, run: Row) -> list[Item]:
        settings = json.loads(run["settings"])
        count_from(self.workspace.root.parent, settings)
        try:
            recipe = Recipe.model_validate(settings)
        except ValidationError:
            rule = "its last run was made by another version"
            raise InputError(run["recipe"], rule, "run it again: solon refresh") from None
        items = review_items(
            read_inputs(recipe, self.workspace, self.ledger), self.workspace, self.ledger
        )
        if not items:
            rule = "none of its rows can be reviewed yet"
            raise InputError(run["recipe"], rule, "make some: solon refresh")
        return items
