"""Where recipes are: those that ship, a workspace's own, the one of the project around it.

Relative paths in a recipe's file count from that file. Those in one that ships are names.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from constitution.load import packaged
from flows.plan.recipe_yaml import read_yaml
from storage.errors import InputError, SolonError
from storage.nearest import meant
from storage.workspace import Workspace
from tasks.evaluation.probes import names as probe_names
from tasks.generation.method import ROLES
from tasks.prompts.source import OWN

RECIPES = importlib.resources.files("flows") / "recipes"
MAX_BYTES = 1 << 20
PROJECT = "recipe.yaml"
"""The recipe of a folder: what commands that name none use, where it is in the current one."""
FIRST = "demo"
"""The recipe that is used where there is none."""
# What may be a file's path, by key: a name of our own, a reference, or such a path.
MODELS = ("model", *(f"models.{role}" for role in ROLES))
SETS = ("pairs.people", "pairs.demonstrations")
FILES = ("constitution", "prompts.path", "prompts.more", *SETS, "judge.gold", "evaluation.probes")
PATHS = (*MODELS, *FILES)


@dataclass(frozen=True)
class RecipeFile:
    """A recipe as it is written. `where` names it in errors; `lines`: of every key path, from 1."""

    where: str
    content: dict[str, Any]
    lines: Mapping[str, int]


def files() -> dict[str, Traversable]:
    """The file of every recipe by name: those in the workspace's `recipes/`, that of the project
    whose workspace it is, and those that ship.

    The latter count where both have a name, so that a name in a document means one thing.
    """
    root = Workspace.open().root
    own = (root / "recipes").glob("*.yaml")
    shipped = (path for path in RECIPES.iterdir() if path.name.endswith(".yaml"))
    return _project(root.parent / PROJECT) | {p.name[:-5]: p for p in (*own, *shipped)}


def names() -> list[str]:
    """What a form offers, sorted."""
    return sorted(files())


def chosen(recipe: str) -> str:
    """The recipe that a command means which names none: that of the current folder, else demo."""
    if recipe:
        return recipe
    return PROJECT if Path(PROJECT).is_file() else FIRST


def name_of(recipe: str) -> str:
    """What a recipe calls itself. InputError where there is none."""
    return str(read(recipe).content.get("name", recipe))


def called(recipe: str) -> str:
    """What a recipe calls itself; what it was given as, where it cannot be read."""
    try:
        return name_of(recipe)
    except SolonError:
        return recipe


def project_name(path: Path = Path(PROJECT)) -> str:
    """What a project's recipe, the current folder's, calls itself; empty where there is none."""
    return next(iter(_project(path)), "")


def _project(path: Path) -> dict[str, Traversable]:
    try:
        content = read_yaml(path.read_bytes()[:MAX_BYTES]).value
    except (OSError, InputError):
        return {}
    name = content.get("name") if isinstance(content, dict) else None
    return {name: path} if isinstance(name, str) else {}


def read(name: str) -> RecipeFile:
    """The recipe of that name, or of that file. InputError where there is none, or no mapping."""
    known = files()
    path = known.get(name, Path(name))
    data = _bytes(name, path, known)
    if len(data) > MAX_BYTES:
        raise InputError(name, f"a recipe has at most {MAX_BYTES} bytes", "name another", "recipe")
    written = read_yaml(data, name)
    content = written.value
    if not isinstance(content, dict):
        raise InputError(name, "a recipe is a mapping of keys", "see solon recipe")
    as_settings(content, "prompts")
    if isinstance(path, Path) and path.parent != RECIPES:
        count_from(path.parent, content)
    return RecipeFile(path.name if name in known else name, content, written.lines)


def _bytes(name: str, path: Traversable, known: Mapping[str, Traversable]) -> bytes:
    try:
        if not path.is_file():
            raise _no_recipe(name, known)
        if not path.name.endswith((".yaml", ".yml")):
            raise InputError(name, "a recipe is a .yaml file", "rename it", "recipe")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        rule = f"the recipe cannot be read ({error.strerror})"
        raise InputError(name, rule, "name another file", "recipe") from None


def _no_recipe(name: str, known: Mapping[str, Traversable]) -> InputError:
    """Of a path, where it was looked for; of a name, which there are."""
    fix = f"use {', '.join(sorted(known))}, or a .yaml file"
    if not name.endswith((".yaml", ".yml")):
        return InputError(name, "no recipe has this name", meant(name, known, fix), "recipe")
    folder = Path(name).parent.absolute()
    there = [path.name for pattern in ("*.yaml", "*.yml") for path in folder.glob(pattern)]
    rule = f"no such file in {folder}"
    return InputError(name, rule, meant(Path(name).name, there, fix), "recipe")


def as_settings(content: dict[str, Any], key: str) -> None:
    """`prompts: file.csv` is short for `prompts: {path: file.csv}`."""
    if key == "prompts" and isinstance(content.get(key), str):
        content[key] = {"path": content[key]}


def count_from(folder: Path, content: dict[str, Any]) -> None:
    """Turn the relative paths of a recipe in `folder` into such from the current folder."""
    if folder == Path():
        return
    for key in PATHS:
        *parents, last = key.split(".")
        place: Any = content
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if isinstance(place, dict) and last in place:
            place[last] = _joined(key, place[last], folder)


def _joined(key: str, value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_joined(key, each, folder) for each in value]
    if key in SETS and isinstance(value, dict) and "path" in value:
        return value | {"path": _joined(key, value["path"], folder)}
    if not isinstance(value, str) or not is_path(key, value, folder):
        return value
    path = folder / value
    return str(path.absolute() if key in MODELS else path)


def is_path(key: str, value: str, folder: Path = Path()) -> bool:
    """Whether a value of one of `PATHS` is a path that counts from `folder`, and no name."""
    if not value or value.startswith(("~", "/")):
        return False
    try:
        is_there = (folder / value).exists()
    except (OSError, ValueError):
        return False
    if key in (*SETS, "judge.gold"):
        return not value.startswith("hub:")
    if key in MODELS:
        return value.startswith(".") or (is_there and ":" not in value)
    is_like_one = "." in value or "/" in value or is_there
    return is_like_one and ":" not in value and value not in own_names(key)


def own_names(key: str) -> list[str]:
    """What a value of one of `PATHS` names without being a path: what ships."""
    if key == "constitution":
        return packaged()
    if key == "evaluation.probes":
        return ["all", *probe_names()]
    return sorted(OWN) if key == "prompts.path" else []
