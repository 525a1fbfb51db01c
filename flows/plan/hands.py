"""Who is asked in which role: one model in all of them, or others where a recipe names them.

A model is ours, by its reference, or one behind servers. Its id is part of every row that it gives,
so the rows of a role change with the model of that role and with no other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flows.plan.chat import Seen, thinking_of
from flows.plan.parts import ServerSettings
from storage.errors import InputError
from storage.ids import canonical_json, content_id, digest
from storage.workspace import Workspace
from tasks import models
from tasks.chat.manner import Manner
from tasks.chat.think import Thinking
from tasks.engines import known as servers
from tasks.engines.known import Known
from tasks.generation.method import Role

UNKNOWN_MODEL = "mdl_not-yet-downloaded"
UNKNOWN_SERVER = "mdl_server-not-yet-asked"
SCRIPTED_MODEL = content_id("model", "scripted")
Source = str | ServerSettings | None  # a model's reference, its servers, or the scripted engine


@dataclass(frozen=True)
class Hand:
    """A model that is asked.

    `model_id` stands for it while it is not known, before a download or the first word with its
    servers. `seen`: of a reference; `server`: of servers that were asked. `thinking`: how its
    thoughts are told from its answers.
    """

    model_id: str
    source: Source
    thinking: Thinking
    seen: Seen | None = None
    server: Known | None = None

    @property
    def info(self) -> models.ModelInfo | None:
        return self.seen.info if self.seen else None

    @property
    def is_known(self) -> bool:
        if isinstance(self.source, str):
            return self.info is not None and self.info.model_id is not None
        return self.source is None or self.server is not None

    @property
    def kind(self) -> str:
        """As the table `models` has it."""
        if isinstance(self.source, str):
            return self.info.kind if self.info else "unknown"
        return "server" if self.source else "scripted"

    @property
    def reference(self) -> str:
        """What people call it."""
        if isinstance(self.source, ServerSettings):
            return self.server.reference if self.server else self.source.model
        return self.source or "scripted"

    @property
    def weights_id(self) -> str | None:
        """The id of the weights that are loaded for it here: of an adapter its base's."""
        return (self.info.base_model_id or self.model_id) if self.info else None


@dataclass(frozen=True)
class Hands:
    """`own`: who is asked in every role in which `named` has no other."""

    own: Hand
    named: Mapping[Role, Hand] = field(default_factory=dict)

    def of(self, role: Role) -> Hand:
        return self.named.get(role, self.own)

    @property
    def others(self) -> dict[Role, str]:
        """The model ids of the roles that are named."""
        return {role: hand.model_id for role, hand in self.named.items()}


def read_hands(
    own: Source,
    named: Mapping[Role, Source],
    workspace: Workspace,
    manner: Manner,
    see: Callable[[str], Seen],
) -> Hands:
    """Who is asked, by what a recipe says of it; InputError where a reference names nothing."""

    def hand(source: Source, where: str) -> Hand:
        if source is None:
            return Hand(SCRIPTED_MODEL, None, aloud)
        if isinstance(source, ServerSettings):
            return _behind_servers(source, aloud, workspace)
        try:
            return _ours(source, see(source), manner)
        except InputError as error:
            raise InputError(error.value, error.rule, error.fix, where) from None

    aloud = thinking_of(None, manner)
    others = {role: hand(source, f"models.{role}") for role, source in named.items()}
    return Hands(hand(own, "model"), others)


def _ours(reference: str, seen: Seen, manner: Manner) -> Hand:
    stand_in = f"{UNKNOWN_MODEL}-{digest(reference.encode())}"
    thinking = thinking_of(seen.template, manner)
    return Hand(seen.info.model_id or stand_in, reference, thinking, seen)


def _behind_servers(settings: ServerSettings, thinking: Thinking, workspace: Workspace) -> Hand:
    server = servers.look_up(workspace, settings.base_urls, settings.model)
    named = digest(canonical_json([settings.base_urls, settings.model]))
    model_id = server.model_id if server else f"{UNKNOWN_SERVER}-{named}"
    return Hand(model_id, settings, thinking, server=server)
