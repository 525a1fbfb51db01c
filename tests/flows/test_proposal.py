"""What a proposed edit is shown against, and where it may be written."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from constitution.load import load
from flows.serve.forms import PrincipleEdit
from flows.serve.proposal import Proposal, kept_until_settled, propose
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


def used(workspace: Workspace, file: str, critique: str, **facts: Any) -> str:
    """A run of a recipe that names that file, then with that critique; the constitution's id."""
    path = workspace.root / "words.yaml"
    path.write_text(WORDS.format(name="default", critique=critique))
    ledger = Ledger(workspace.ledger)
    found = record_constitution(ledger, load(path), "words.yaml")
    run: dict[str, Any] = {"recipe": "r", "state": "completed", "until": None}
    run |= {"settings": json.dumps({"constitution": file})}
    run |= {"run_id": f"run_{critique}", "constitution_id": found, "started_at": now()}
    with ledger.transaction() as con:
        insert(con, "runs", [run | facts])
    return found


def critique_before(workspace: Workspace, proposal: Proposal) -> str | None:
    before = proposal.words_before(Ledger(workspace.ledger))
    return before.principle("be-concise").critique if before else None


def test_an_edit_is_shown_against_the_file_it_is_written_into(
    workspace: Workspace, file: Path
) -> None:
    """Not against the principle of that slug in the constitution that was run last."""
    used(workspace, str(file), "An older wording.")
    used(workspace, "default", "Another recipe's wording.")
    assert critique_before(workspace, propose(workspace, "run", str(file), EDIT)) == (
        "Say what is long."
    )


def test_a_file_edited_by_hand_is_shown_against_its_own_last_use(
    workspace: Workspace, file: Path
) -> None:
    """Constitutions are copied, and most copies are called `default` inside: the file tells."""
    proposal = propose(workspace, "run", str(file), None)
    assert critique_before(workspace, proposal) is None
    used(workspace, str(file), "An older wording.")
    used(workspace, "default", "Another recipe's wording.")
    assert critique_before(workspace, proposal) == "An older wording."
    used(workspace, str(file), "Only tried on a few prompts.", until="revisions")
    used(workspace, str(file), "In a run that failed.", state="failed")
    assert critique_before(workspace, proposal) == "An older wording."
    in_force = used(workspace, str(file), "In force.")
    used(workspace, str(file), "Run later, by somebody else.")
    point(Ledger(workspace.ledger), "r/constitution", in_force)
    assert critique_before(workspace, proposal) == "In force."


def test_an_edit_is_not_written_through_a_link(
    workspace: Workspace, file: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    with pytest.raises(InputError, match="would be written into"):
        propose(workspace, "run", str(link), EDIT)
    assert propose(workspace, "run", str(link), None).before == file.read_text()


def test_an_edit_is_not_written_out_of_the_workspace_by_a_linked_folder(
    workspace: Workspace, file: Path
) -> None:
    (workspace.root / "words").symlink_to(file.parent)
    with pytest.raises(InputError, match="would be written into"):
        propose(workspace, "run", str(workspace.root / "words" / file.name), EDIT)


@pytest.mark.parametrize("end", [None, InputError("x", "no", "y"), KeyboardInterrupt()])
def test_a_proposal_is_kept_only_while_it_waits(
    workspace: Workspace, file: Path, end: BaseException | None
) -> None:
    """A pause ends a flow by what is no Exception, as Ctrl-C does."""
    kept = workspace.state / "amend" / "run"
    with suppress(BaseException), kept_until_settled(workspace, "run"):
        propose(workspace, "run", str(file), EDIT)
        assert kept.is_dir()
        if end:
            raise end
    assert kept.exists() is isinstance(end, KeyboardInterrupt)
