"""What the server does by itself: mark runs whose process is gone, and tell somebody.

The alerts are off until there is somebody to tell. Make a notification block in the UI (Blocks,
say Slack Webhook named `team`), set SOLON_ALERT_BLOCK=slack-webhook/team (the type's slug, a slash,
the block's name) and start `solon serve` again: from then on they are on and use it. Automations
are found by name and are otherwise left as they are: edit them in the UI as you like.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.run.gate import GATE_FAILED, RESOURCE
from flows.serve.server import HEARTBEAT_S, TAG

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

BLOCK = "SOLON_ALERT_BLOCK"
HEARTBEAT = "prefect.flow-run.heartbeat"
# After these no heartbeat is to be expected: a suspended run has no process.
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")
RUNS = {"prefect.resource.id": "prefect.flow-run.*"}
OURS = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
NIGHTLY = {"prefect.resource.role": "flow", "prefect.resource.name": "nightly"}

# Crashed for a run that goes on in name only, so that it blocks no other one.
ZOMBIES = AutomationCore(
    name="solon zombies",
    description="Sets a run to Crashed whose process is gone, so that it holds no device.",
    trigger=EventTrigger(
        after={HEARTBEAT},
        expect={HEARTBEAT, *(f"prefect.flow-run.{name}" for name in ENDS)},
        match=RUNS,
        match_related=OURS,
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        within=timedelta(seconds=3 * HEARTBEAT_S),
    ),
    actions=[
        ChangeFlowRunState(
            state=StateType.CRASHED,
            message=f"No heartbeat for {3 * HEARTBEAT_S} seconds: its process is gone.",
        )
    ],
)
# What somebody is told.
ALERTS = {
    "solon alert: failed": EventTrigger(
        expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
        match=RUNS,
        match_related=OURS,
        posture=Posture.Reactive,
    ),
    "solon alert: gate": EventTrigger(
        expect={GATE_FAILED}, match={"prefect.resource.id": RESOURCE}, posture=Posture.Reactive
    ),
    "solon alert: late": EventTrigger(
        expect={"prefect.flow-run.Completed"},
        match=RUNS,
        match_related=NIGHTLY,
        posture=Posture.Proactive,
        within=timedelta(hours=26),  # a day and two hours for the run itself
    ),
}

HOW = f"Off, and tells nobody, until {BLOCK} names a notification block at `solon serve`."
TOLD = {
    "solon alert: failed": f"A run of Solon failed or crashed. {HOW}",
    "solon alert: gate": f"A night's candidate did not pass its gates. {HOW}",
    "solon alert: late": f"No night has ended for 26 hours. {HOW}",
}


def ensure() -> list[str]:
    """Make the automations that are not there; returns lines to show.

    Alerts are off and tell nobody where there is no block.
    """
    with get_client(sync_client=True) as client:
        _ensure(client, ZOMBIES)
        block, lines = _alert_block(client)
        for name, trigger in ALERTS.items():
            action = block.model_copy(update={"subject": name}) if block else DoNothing()
            alert = AutomationCore(
                name=name,
                description=TOLD[name],
                enabled=bool(block),
                trigger=trigger,
                actions=[action],
            )
            _ensure(client, alert)
    return lines


def _alert_block(client: SyncPrefectClient) -> tuple[SendNotification | None, list[str]]:
    """The notification that SOLON_ALERT_BLOCK asks for, and what there is to say about it."""
    named = os.environ.get(BLOCK)
    if not named:
        return None, []
    slug, _, name = named.partition("/")
    try:
        document = client.read_block_document_by_name(name, slug)
    except ObjectNotFound:
        fix = "make it in the UI and start again"
        return None, [f"alerts    off: {BLOCK}={named}: there is no such block; {fix}"]
    body = "{{ event.event }}: {{ event.resource.name or event.resource.id }}"
    return SendNotification(block_document_id=document.id, body=body), []


def _ensure(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Make an automation, or fill in somebody to tell where it had nobody."""
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return
    has_nobody = any(isinstance(action, DoNothing) for action in found[0].actions)
    if has_nobody and wanted.enabled:
        client.update_automation(found[0].id, wanted)
