"""What a proposed edit is shown against, and where it may be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from constitution.load import load
from flows.serve.forms import PrincipleEdit
from flows.serve.proposal import Proposal, propose
from storage.errors import InputError
from storage.ledger import Ledger, insert, now, point
from storage.workspace import Workspace
from tasks.generation.record import record_constitution

WORDS = """\
name: {name}
principles:
  - slug: be-concise
    critique: {critique}
    revision: Rewrite it.
    comparison: Which is shorter?
"""
EDIT = PrincipleEdit(slug="be-concise", critique="Name a sentence that could go.")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home").create()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "pharmacy.yaml"
    path.write_text(WORDS.format(name="pharmacy", critique="Say what is long."))
    return path


def used(workspace: Workspace, name: str, critique: str, until: str | None = None) -> str:
    """A run under a constitution with that critique request; returns the constitution's id."""
    path = workspace.root / "words.yaml"
    path.write_text(WORDS.format(name=name, critique=critique))
    ledger = Ledger(workspace.ledger)
    found = record_constitution(ledger, load(path), path.name)
    run: dict[str, Any] = {"recipe": name, "settings": "{}", "state": "completed", "until": until}
    run |= {"run_id": f"run_{critique}", "constitution_id": found, "started_at": now()}
    with ledger.transaction() as con:
        insert(con, "runs", [run])
    return found


def critique_before(workspace: Workspace, proposal: Proposal, file: Path) -> str | None:
    before = proposal.words_before(Ledger(workspace.ledger), load(file))
    return before.principle("be-concise").critique if before else None


def test_an_edit_is_shown_against_the_file_it_is_written_into(
    workspace: Workspace, file: Path
) -> None:
    """Not against the principle of that slug in the constitution that was run last."""
    used(workspace, "pharmacy", "An older wording.")
    used(workspace, "default", "Another recipe's wording.")
    proposal = propose(workspace, "run", str(file), EDIT)
    assert critique_before(workspace, proposal, file) == "Say what is long."


def test_a_file_edited_by_hand_is_shown_against_its_own_last_use(
    workspace: Workspace, file: Path
) -> None:
    proposal = propose(workspace, "run", str(file), None)
    assert critique_before(workspace, proposal, file) is None
    used(workspace, "pharmacy", "An older wording.")
    used(workspace, "default", "Another recipe's wording.")
    assert critique_before(workspace, proposal, file) == "An older wording."
    used(workspace, "pharmacy", "Only tried on a few prompts.", until="revisions")
    assert critique_before(workspace, proposal, file) == "An older wording."
    in_force = used(workspace, "pharmacy", "In force.")
    used(workspace, "pharmacy", "Run later, by somebody else.")
    point(Ledger(workspace.ledger), "constitution", in_force)
    assert critique_before(workspace, proposal, file) == "In force."


def test_an_edit_is_not_written_through_a_link(
    workspace: Workspace, file: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    with pytest.raises(InputError, match="would be written into"):
        propose(workspace, "run", str(link), EDIT)
    assert propose(workspace, "run", str(link), None).before == file.read_text()
