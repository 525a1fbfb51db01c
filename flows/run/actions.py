"""What a model trained by DPO knows of actions: the Q-value of each, after the history before it.

Pairs of actions after one history (turns of a conversation, calls of tools and what came back) are
pairs like any other, and DPO on them makes of the policy a step-level Q-function (Zhai et al. 2024,
arXiv:2409.09345): Q(h, a) = beta * log(pi(a | h) / pi_ref(a | h)), in nats times beta, the end of
the turn counted. What the history alone adds to it is the same for all its actions (Rafailov et al.
2024, arXiv:2404.12358), so values compare the actions after one history, not those of two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.plan.subjects import Subject, subject
from storage.errors import InputError
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.engines.engine import Continuation, Engine, Message
from tasks.prompts.columns import TURN_COLUMNS
from tasks.prompts.files import iter_rows
from tasks.prompts.rows import SURROGATE, to_prompt
from tasks.prompts.turns import RowError, turn_list

MAX_CHARS = 100_000  # of a history
HISTORIES = (*TURN_COLUMNS, "prompt")


@dataclass(frozen=True)
class Decision:
    """A history and the actions, two or more, that could come next."""

    messages: Sequence[Message]
    actions: tuple[str, ...]


@dataclass(frozen=True)
class Valued:
    """An action, log pi and log pi_ref of it in nats, and its Q-value."""

    action: str
    logprob: float
    reference_logprob: float
    q: float


@dataclass(frozen=True)
class QModel:
    """A policy that DPO made, what it started from (a base's Subject has no checkpoint), and DPO's
    beta. is_per_token: its loss counted log-ratios per token, and so do its values.
    """

    policy: Subject
    reference: Subject
    beta: float
    is_per_token: bool


def q_model(ledger: Ledger, workspace: Workspace, policy: Subject) -> QModel:
    """The Q-function of a checkpoint. Raises InputError for one that DPO did not make."""
    rows = ledger.query(
        "SELECT components, parent_ids, parent_roles FROM checkpoints"
        " WHERE checkpoint_id = ? AND stage = 'dpo'",
        [policy.checkpoint_id],
    )
    if not rows:
        rule = "no DPO made it: it has no Q-values"
        raise InputError(policy.label, rule, "give a checkpoint of DPO, as latest/dpo", "ID")
    settings = json.loads(rows[0]["components"])["settings"]
    parents = dict(zip(rows[0]["parent_roles"], rows[0]["parent_ids"], strict=True))
    reference = Subject("base", policy.base)
    if "sft" in parents:
        reference = subject(ledger, workspace, parents["sft"], None)
    loss = settings.get("loss_type", "sigmoid")
    return QModel(policy, reference, float(settings["beta"]), loss != "sigmoid")


def q_values(
    engine: Engine,
    model: QModel,
    decisions: Sequence[Decision],
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[list[Valued]]:
    """Each decision's actions with their values, in the order given.

    engine: of the policy's base, with the adapters of both. on_progress: told how many of two
    log-probabilities an action are there.
    """
    adapters = (model.policy.checkpoint_id, model.reference.checkpoint_id)
    asked = [
        Continuation(decision.messages, action, is_ended=True, adapter=adapter)
        for adapter in adapters
        for decision in decisions
        for action in decision.actions
    ]
    found: dict[int, tuple[float, int]] = {}
    for batch in engine.score(asked):
        found |= {item.index: (item.value, len(item.logprobs)) for item in batch.items}
        on_progress(len(found))
    half = len(asked) // 2
    sides = iter([(*found[place], found[place + half][0]) for place in range(half)])

    def valued(action: str) -> Valued:
        logprob, tokens, before = next(sides)
        ratio = (logprob - before) / (tokens if model.is_per_token else 1)
        return Valued(action, logprob, before, model.beta * ratio)

    return [[valued(action) for action in decision.actions] for decision in decisions]


def read_decisions(path: Path) -> Iterator[Decision]:
    """The rows {"messages" or "prompt", "actions": [text, text, …]} of a file, in its order.

    Raises InputError, with file and line, at the first row that is none.
    """
    line = 0
    for line, row in iter_rows(path):
        try:
            if isinstance(row, RowError):
                raise row
            prompt = to_prompt(row, str(path), line, MAX_CHARS, tools=True)
            _check_end(row)
            yield decision(prompt.messages, row.get("actions"), f"{path}:{line}")
        except RowError as error:
            fix = "mend or remove the row"
            raise InputError(error.reason, error.detail, fix, f"{path}:{line}") from None
    if not line:
        raise InputError(path, "there is no row in it", "write one decision a line", "--file")


def _check_end(row: dict[str, Any]) -> None:
    """Raise RowError unless the user spoke last: later turns would be left out of what is asked."""
    for column, turns in row.items():
        is_history = str(column).strip().casefold() in HISTORIES and isinstance(turns, list)
        if is_history and turns and turn_list(turns, column, False)[-1]["role"] != "user":
            rule = "its last turn is not the user's: actions are valued after one that is"
            raise RowError(f"`{column}`", rule)


def _is_plain(text: str) -> bool:
    return "\0" not in text and not SURROGATE.search(text)


def decision(messages: Sequence[Message], actions: object, where: str) -> Decision:
    """Raises InputError unless actions are two texts or more, none empty and none given twice."""
    texts = list(actions) if isinstance(actions, list | tuple) else []
    is_text = all(isinstance(text, str) and text.strip() and _is_plain(text) for text in texts)
    if len(texts) < 2 or not is_text or len(set(texts)) < len(texts):
        rule = "actions are two texts or more, none empty, none twice, all of them UTF-8"
        raise InputError(actions, rule, "list what could come next", where)
    return Decision(messages, tuple(texts))
