"""Rows of every source, without a model, and a run in the ledger: what people review in tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from flows.explain.review.desk import Desk
from flows.plan.inputs import Inputs
from flows.plan.reviewed import review_items
from storage.ledger import insert, now
from tasks.review.queue import Item

from .world import EVERY_SOURCE, JUDGE, World

RECIPE = "smoke"


def reviewed_world(home: Path, prompts: int = 24) -> World:
    settings: dict[str, Any] = EVERY_SOURCE | {"prompts.limit": prompts, "judge.n_principles": 1}
    world = World(home, constitution="checkable", **settings)
    world.run(world.inputs, engine=JUDGE)
    run = {
        "run_id": "run_test",
        "constitution_id": world.inputs.constitution_id,
        "recipe": world.inputs.recipe.name,
        "settings": world.inputs.recipe.model_dump_json(),
        "state": "completed",
        "started_at": now(),
    }
    with world.ledger.transaction() as con:
        insert(con, "runs", [run])
    return world


def copy_of(made: World, home: Path) -> World:
    """Its rows in a workspace of one's own."""
    shutil.copytree(made.workspace.root, home)
    world = World(home, **made.overrides)
    world.rows = made.rows
    return world


def items_of(world: World, inputs: Inputs | None = None) -> list[Item]:
    return review_items(inputs or world.inputs, world.workspace, world.ledger)


def desk_of(world: World, author: str = "Ada") -> Desk:
    return Desk(world.ledger, items_of(world), author)
