"""The servers of a recipe: how they are reached, what they are, and the engine that asks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flows.plan.parts import ServerSettings
from flows.run import progress
from storage.errors import SolonError
from storage.workspace import Workspace
from tasks.engines.abilities import ask
from tasks.engines.address import key_of
from tasks.engines.client import Access
from tasks.engines.engine import Engine
from tasks.engines.known import Known
from tasks.engines.openai import OpenAIEngine


def access_of(settings: ServerSettings) -> Access:
    """Raises InputError where the variable with the key is not set."""
    return Access(
        settings.base_urls,
        key_of(settings.key_env),
        settings.concurrency,
        settings.timeout_s,
        settings.retries,
    )


def ask_servers(settings: ServerSettings, workspace: Workspace) -> Known:
    """What the servers are and can do, kept in the workspace. InputError or SolonError."""
    return ask(access_of(settings), settings.model, workspace)


def server_engine(
    settings: ServerSettings,
    model_id: str,
    workspace: Workspace,
    on_event: Callable[[dict[str, Any]], None],
) -> Engine:
    """The engine of some servers, which must be the model of this id, as the inputs were read.

    Raises InputError or SolonError where they are not there, refuse, or are another model.
    """
    known = ask_servers(settings, workspace)
    if known.model_id != model_id:
        raise SolonError(f"the server reports {known.reference} now: run again")
    if not known.abilities.seeds:
        said = "the server repeats no draw: an answer that is lost comes back in other words"
        progress.current().say(said)
    return OpenAIEngine(
        access_of(settings),
        settings.model,
        known.abilities,
        adapters={name: name for name in known.names if name != settings.model},
        on_event=on_event,
    )
