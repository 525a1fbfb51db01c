"""What servers said of themselves, kept in the workspace: a file for each address and model.

A model behind a server is named by what the user calls it and what the server reports of it, so a
plan knows its id without a connection once a run has asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from storage.durable import replace_text
from storage.errors import InputError
from storage.ids import content_id, digest
from storage.workspace import Workspace
from tasks.engines.wire import Abilities, Json

# Of what `/v1/models` says: what tells one model from another, not when or how it was started.
REPORTED = ("id", "root", "parent", "owned_by", "meta")


@dataclass(frozen=True)
class Known:
    """A model behind servers. `names`: all that they list, adapters among them."""

    model: str
    report: Mapping[str, Any]
    names: tuple[str, ...]
    abilities: Abilities

    @property
    def model_id(self) -> str:
        return content_id("model", ["server", self.model, dict(self.report)])

    @property
    def reference(self) -> str:
        """The model's name, and what the server reports beside it."""
        told = [f"{key}={value}" for key, value in self.report.items() if value != self.model]
        return " ".join([self.model, *told])


def look_up(workspace: Workspace, base_urls: Sequence[str], model: str) -> Known | None:
    """What was kept of these servers, as far as it was; None where nothing was.

    Raises InputError where two of them hold different models.
    """
    found = {url: _read(_path(workspace, url, model)) for url in base_urls}
    return agreed({url: known for url, known in found.items() if known})


def keep(workspace: Workspace, url: str, known: Known) -> None:
    path = _path(workspace, url, known.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps({"url": url, **asdict(known)}, indent=1))


def agreed(found: Mapping[str, Known]) -> Known | None:
    """What all servers have in common. Raises InputError where they hold different models."""
    whole: Known | None = None
    for url, known in found.items():
        if whole is None:
            whole = known
        elif known.report != whole.report:
            rule = f"this server reports {known.reference}, another one {whole.reference}"
            fix = "name servers of one model in a recipe"
            raise InputError(url, rule, fix, "server.base_urls")
        else:
            names = tuple(name for name in whole.names if name in known.names)
            can = whole.abilities.both(known.abilities)
            whole = Known(known.model, known.report, names, can)
    return whole


def report_of(listed: Sequence[Json], model: str) -> dict[str, Any]:
    """What a server's list of models says of this one; {} where it is not in it."""
    own = next((entry for entry in listed if entry.get("id") == model), {})
    return {key: own[key] for key in REPORTED if own.get(key) is not None}


def _path(workspace: Workspace, url: str, model: str) -> Path:
    return workspace.root / "servers" / f"{digest(f'{url} {model}'.encode())}.json"


def _read(path: Path) -> Known | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        abilities = Abilities(**found["abilities"])
        return Known(found["model"], found["report"], tuple(found["names"]), abilities)
    except (OSError, ValueError, LookupError, TypeError):
        return None
