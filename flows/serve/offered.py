"""What there is in a workspace to be chosen in a form: its recipes, and their principles."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from constitution.errors import ConstitutionError
from constitution.load import load, resolve
from constitution.schema import Constitution
from flows.plan import recipe as recipes
from flows.plan.constitutions import REF
from flows.plan.recipe_file import FIRST, PROJECT, names, project_name
from storage.errors import SolonError
from storage.ledger import Ledger
from storage.own_refs import recipes as that_ran
from storage.workspace import Workspace


def constitutions() -> dict[str, tuple[str, Constitution]]:
    """By recipe its constitution's name and content, as the file has it now; none that is one of
    the ledger's, or cannot be read.
    """
    found = {}
    for name in names():
        try:
            words = recipes.load(name).constitution
            if not words.startswith(REF):
                path = resolve(words)
                found[name] = words, _read(path, path.stat().st_mtime_ns)
        except (SolonError, ConstitutionError, OSError):
            continue
    return found


@lru_cache(maxsize=64)
def _read(path: Path, changed: int) -> Constitution:
    """A file as it is since `changed`."""
    return load(path)


def slugs() -> list[str]:
    """The principles of all recipes, by their slugs, sorted."""
    return sorted({p.slug for _, words in constitutions().values() for p in words.principles})


def likely_recipe() -> str:
    """The one that a form is preset to: the workspace's project, else the one that ran last."""
    workspace, offered = Workspace.open(), names()
    ran = that_ran(Ledger(workspace.ledger))
    likely = [project_name(workspace.root.parent / PROJECT), *ran]
    return next((name for name in likely if name in offered), FIRST)
