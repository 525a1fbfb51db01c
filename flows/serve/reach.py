"""What a run of a deployment may name: whoever has the login fills in its form.

Files are read and written with the rights of the server's owner, and what is read may be shown in
the UI. So a form and its overrides may name what ships, what the ledger holds, files of the
workspace, links followed, but for Prefect's folder with the login, and those of the folders in
SOLON_DATA (with `:` between them), which the server's owner sets; no server, and no argument of
vLLM, since some name files or run code. A recipe in the
workspace's folder `recipes`, or the project's beside the workspace, may name any file: its author
has the owner's rights already.
"""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.runtime import deployment

from flows.plan import recipe as recipes
from flows.plan.constitutions import REF
from flows.plan.parts import ServerSettings
from flows.plan.recipe_file import SETS, names, own_names
from flows.serve.offered import slugs
from storage.errors import InputError
from storage.workspace import Workspace
from tasks import models
from tasks.prompts.source import OWN

DATA = "SOLON_DATA"
FIX = "name it in a recipe of the workspace's folder recipes"


def choices() -> dict[str, list[str]]:
    """What a form offers for a parameter of that name: names, no paths."""
    return {"recipe": names(), "constitution": constitutions(), "slug": slugs()}


def constitutions() -> list[str]:
    """Those that ship, and the one that is in force for the recipe."""
    files = importlib.resources.files("constitution").iterdir()
    shipped = sorted(f.name[:-5] for f in files if f.name.endswith(".yaml"))
    return [*shipped, f"{REF}constitution"]


def check_form(
    recipe: str, overrides: Mapping[str, Any] | None, constitution: str | None = None
) -> None:
    """Raise InputError where a run of a deployment names what it may not; other runs may all."""
    if not deployment.get_id():
        return
    _check_choice("recipe", recipe)
    before, now = recipes.load(recipe), recipes.load(recipe, overrides)
    if constitution is not None:
        _check_choice("constitution", constitution)
    if now.constitution != before.constitution:
        _check_choice("constitution", now.constitution)
    prompts = now.prompts.path
    if prompts not in (before.prompts.path, *OWN) and not prompts.startswith("hub:"):
        _check_inside("prompts.path", prompts)
    for name in ("prompts.more", *SETS, "judge.gold", "evaluation.probes"):
        for value in now.files()[name]:
            if value and value not in (*before.files()[name], *own_names(name)):
                _check_inside(name, value)
    if now.vllm.arguments != before.vllm.arguments:
        rule = "a form takes no arguments of a program"
        raise InputError(" ".join(now.vllm.arguments), rule, FIX, "vllm.arguments")
    known = _sources(before).values()
    for name, source in _sources(now).items():
        if source not in known:
            _check_source(name, source)


def _sources(recipe: recipes.Recipe) -> dict[str, str | ServerSettings | None]:
    """The models and servers that a recipe names, by key."""
    named = {f"models.{role}": source for role, source in recipe.models.named().items()}
    return {"model": recipe.model, "server": recipe.server, **named}


def _check_source(name: str, source: str | ServerSettings | None) -> None:
    if isinstance(source, ServerSettings):
        rule = "a form names no server: it would be sent prompts, and a key"
        raise InputError(", ".join(source.base_urls), rule, FIX, name)
    reference = models.parse(source) if source else None
    if reference and reference.kind == "folder":
        _check_inside(name, reference.value)


def _check_choice(name: str, value: str) -> None:
    allowed = names() if name == "recipe" else constitutions()
    if value not in allowed:
        rule = f"a form takes one of {', '.join(allowed)}"
        raise InputError(value, rule, FIX, name)


def _check_inside(name: str, value: str) -> None:
    workspace = Workspace.open()
    try:
        path = Path(value).expanduser().resolve()
    except (OSError, ValueError, RuntimeError):
        raise InputError(value, "no file can have this name", "check the path", name) from None
    given = [Path(each).resolve() for each in os.environ.get(DATA, "").split(os.pathsep) if each]
    is_inside = any(path.is_relative_to(root) for root in (workspace.root.resolve(), *given))
    if not is_inside or path.is_relative_to(workspace.prefect.resolve()):
        raise InputError(value, f"a form takes files of the workspace and {DATA} only", FIX, name)


def check_unasked(path: Path | None) -> None:
    """Raise InputError where a run of a deployment would write to a file outside, asking nobody."""
    if path and deployment.get_id():
        root = Workspace.open().root.resolve()
        if not path.resolve().is_relative_to(root):
            rule = "an edit of a file outside the workspace is not written without being asked for"
            raise InputError(str(path), rule, "leave approve at ask", "approve")
