"""A changed constitution before anybody agreed to it: what is proposed, and what that shows.

A form's edit is kept in the workspace until it is approved: the file that people read and version
stays as it is until then. So is the text the proposal was made from: an approval holds for that
text only, also where the run was suspended for days.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from constitution.load import from_body, meant_file
from constitution.rewrite import check_unchanged, read_exactly, read_text, rewritten, write_back
from constitution.schema import Constitution, Principle
from flows.explain.compare.principles import WORDS
from flows.explain.compare.words import difference, marked
from flows.explain.preview import Previewed
from flows.plan.constitutions import REF
from flows.plan.inputs import Inputs
from flows.serve.forms import PrincipleEdit
from storage.durable import replace_text
from storage.errors import InputError
from storage.ledger import Ledger
from storage.own_refs import target
from storage.workspace import Workspace
from tasks.evaluation.escape import markdown_cell
from tasks.generation.calls import principle_id

BEFORE = "before"
MAX_TEXT_CHARS = 600
# What a recipe's runs that were more than samples used, as it names it: the one in force first,
# then the newest.
USED = """
    SELECT body, coalesce(settings->>'constitution', '') AS named
    FROM runs JOIN constitutions USING (constitution_id)
    WHERE state = 'completed' AND coalesce(until, '') NOT IN ('drafts', 'critiques', 'revisions')
        AND (recipe = $2 OR $2 = '')
    ORDER BY constitution_id IS DISTINCT FROM $1, started_at DESC"""


@dataclass(frozen=True)
class Proposal:
    """`name`: the constitution the run will use; `planned`: that to plan and try out before.

    `path` is None for a constitution of the ledger's, which no edit can change.
    """

    name: str
    planned: str
    path: Path | None = None
    before: str = ""
    after: str = ""

    @property
    def is_edit(self) -> bool:
        return self.before != self.after

    def words_before(self, ledger: Ledger) -> Constitution | None:
        """What is proposed is shown against this: of a form's edit the file as it stands, else what
        the same file held when this recipe last used it; None before its first run.
        """
        if self.is_edit:
            return read_text(self.before)
        own = (_file(self.name) or Path(self.name)).name
        for used in ledger.query(USED, [target(ledger, "constitution"), ledger.recipe]):
            if (_file(used["named"]) or Path(used["named"])).name == own:
                return from_body(json.loads(used["body"]))
        return None

    def carry_out(self) -> None:
        """Write the edit into the file, whole; nothing where it stands there already.

        Raises ConstitutionError, with nothing written, where the file is not what the proposal was
        made from.
        """
        if self.path is None:
            return
        if not self.is_edit:
            check_unchanged(self.path, self.before)
        elif read_exactly(self.path) != self.after:
            write_back(self.path, self.before, self.after)


def propose(
    workspace: Workspace, flow_run_id: str, name: str, edit: PrincipleEdit | None
) -> Proposal:
    """What a run would use: the file as it is, or with a form's edit. Kept by flow run.

    A flow that is started again after an answer gets the proposal that the answer was given to.
    Raises InputError for an edit without words, of what is no file, or through a link, and
    ConstitutionError for words that may not stand there.
    """
    path = _file(name)
    if edit is not None:
        _check_edit(edit, name, path, workspace)
    if path is None:
        return Proposal(name, name)
    folder = workspace.state / "amend" / flow_run_id
    kept, original = folder / path.name, folder / BEFORE
    if not kept.exists():
        before = read_exactly(path)
        after = rewritten(before, edit.slug, edit.changes) if edit else before
        folder.mkdir(parents=True, exist_ok=True)
        original.write_bytes(before.encode())
        replace_text(kept, after)  # last: where it is, both are whole
    texts = original.read_bytes().decode(), kept.read_bytes().decode()
    return Proposal(name, str(kept) if edit else name, path, *texts)


def _file(name: str) -> Path | None:
    """The file that a recipe's constitution means; None where it is one of the ledger's."""
    return None if name.startswith(REF) else meant_file(name)


def _check_edit(edit: PrincipleEdit, name: str, path: Path | None, workspace: Workspace) -> None:
    if path is None:
        rule = "an edit is written into a file, and this names none"
        raise InputError(name, rule, "name a file, as default or mine.yaml", "constitution")
    if not edit.changes:
        raise InputError(edit.slug, "the edit has no new words", "fill in a field", "edit")
    is_within = path.absolute().is_relative_to(workspace.root)
    leads_out = is_within and not path.resolve().is_relative_to(workspace.root.resolve())
    if path.is_symlink() or leads_out:
        rule = f"a link: the edit would be written into {path.resolve()}"
        raise InputError(str(path), rule, "name that file itself", "constitution")


@contextmanager
def kept_until_settled(workspace: Workspace, flow_run_id: str) -> Iterator[None]:
    """What the block keeps of a proposal is deleted as it ends, by a failure too; not where it
    stops to wait for an answer, which begins it anew.
    """
    try:
        yield
    except Exception:  # Prefect's signal for a pause is none
        _forget(workspace, flow_run_id)
        raise
    _forget(workspace, flow_run_id)


def _forget(workspace: Workspace, flow_run_id: str) -> None:
    shutil.rmtree(workspace.state / "amend" / flow_run_id, ignore_errors=True)


def reworded(inputs: Inputs, before: Constitution | None) -> list[tuple[Principle, Principle]]:
    """(before, now) of every principle whose words are not those before, in file order."""
    old = {p.slug: p for p in before.principles} if before else {}
    return [
        (old[p.slug], p)
        for p in inputs.constitution.principles
        if p.slug in old and principle_id(old[p.slug]) != principle_id(p)
    ]


def words_markdown(changed: Sequence[tuple[Principle, Principle]]) -> Iterator[str]:
    """The words themselves, with [-removed-] and {+added+}."""
    for before, now in changed:
        yield from ("", f"## {markdown_cell(now.slug)}", "")
        for name in WORDS:
            was, is_now = getattr(before, name), getattr(now, name)
            if was != is_now:
                yield f"- {name}: {markdown_cell(marked(difference(was, is_now)))}"


def samples_markdown(slug: str, rows: Sequence[Previewed]) -> Iterator[str]:
    """Before and after of a few prompts, side by side."""
    yield from ("", f"## Samples of {markdown_cell(slug)}")
    for row in rows:
        yield from ("", f"**{markdown_cell(row.prompt, 200)}**", "", "| | before | after |")
        yield "|---|---|---|"
        draft = markdown_cell(row.response, MAX_TEXT_CHARS)
        yield f"| draft | {draft} | {draft} |"
        for part in ("critique", "revision"):
            was = getattr(row.before, part) if row.before else "(nothing yet)"
            cells = (markdown_cell(t, MAX_TEXT_CHARS) for t in (was, getattr(row.after, part)))
            yield f"| {part} | {' | '.join(cells)} |"
