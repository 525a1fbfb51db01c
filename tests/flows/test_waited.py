"""A checkpoint is of the run that made it first, whoever waits for it or repairs it later."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flows.plan.needs import Need, stage_needs
from flows.run import stages
from flows.run.session import Session
from storage.artifacts import artifact_path
from storage.ledger import Row
from tasks.generation.record import record_constitution

from .world import World, reworded

ADAPTER = "adapter.bin"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home", **{"prompts.limit": 4, "pairs.evidence": "presumed"})
    world.run(world.inputs)
    return world


def session(world: World, name: str, slug: str, meanwhile: Callable[[], None]) -> Session:
    """A run under words of its own; `meanwhile` happens while it waits for the device."""
    inputs = world.edit(reworded(slug, "comparison"))  # asks for the same rows and checkpoints
    record_constitution(world.ledger, inputs.constitution, name)

    def hold_device() -> bool:
        meanwhile()
        return True

    nothing = lambda: None  # noqa: E731
    workers = SimpleNamespace(end_engine=nothing, hold_device=hold_device, release=nothing)
    made = SimpleNamespace(
        inputs=inputs,
        workspace=world.workspace,
        ledger=world.ledger,
        run_id=f"run_{name}",
        workers=workers,
    )
    return cast(Session, made)


def train(session: Session, need: Need, device: str) -> None:
    def produce(out: Path) -> dict[str, Any]:
        (out / ADAPTER).write_bytes(b"weights")
        return {"metrics": {"loss": 1.0}, "device": device, "dtype": "float32"}

    stages._make(session, need, produce)


def needed(world: World) -> tuple[Need, list[str]]:
    need = stage_needs(world.inputs, world.rows)["sft"]
    return need, [principle.slug for principle in world.inputs.constitution.principles]


def kept(world: World, need: Need) -> Row:
    found = "SELECT run_id, constitution_id, device FROM checkpoints WHERE checkpoint_id = ?"
    (row,) = world.ledger.query(found, [need.id])
    return row


def test_a_run_that_waited_writes_nothing_over_that_of_another(world: World) -> None:
    need, slugs = needed(world)
    first = session(world, "first", slugs[0], lambda: None)
    other = session(world, "other", slugs[1], partial(train, first, need, "cpu"))
    train(other, need, "gpu")
    assert kept(world, need) == {
        "run_id": "run_first",
        "constitution_id": first.inputs.constitution_id,
        "device": "cpu",
    }


def test_a_run_that_repairs_is_not_the_one_that_made(world: World) -> None:
    need, slugs = needed(world)
    first = session(world, "first", slugs[0], lambda: None)
    train(first, need, "cpu")
    (artifact_path(world.workspace, need.id) / ADAPTER).write_bytes(b"damaged")
    train(session(world, "other", slugs[1], lambda: None), need, "gpu")
    assert kept(world, need) == {
        "run_id": "run_first",
        "constitution_id": first.inputs.constitution_id,
        "device": "gpu",  # of the weights that are there now
    }
