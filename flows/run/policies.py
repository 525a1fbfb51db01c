"""The models that a run's checkpoints are, kept in the ledger before they answer."""

from __future__ import annotations

from collections.abc import Iterable

from flows.plan.answers import quantized_id
from flows.run.session import Session
from tasks.evaluation.answers import Policy
from tasks.generation.record import record_model


def record_policies(session: Session, policies: Iterable[Policy]) -> None:
    """Keep the models that answer and score: the quantized base, and each adapter on it."""
    inputs, base = session.inputs, quantized_id(session.inputs)
    reference = inputs.recipe.model
    if base != inputs.base_model_id:
        name = f"{reference} ({inputs.recipe.quantization})"
        record_model(session.ledger, base, "quantized", name, inputs.base_model_id)
    for policy in policies:
        if checkpoint := policy.checkpoint_id:
            name = f"checkpoint:{checkpoint}"
            record_model(session.ledger, policy.model_id, "checkpoint", name, base, checkpoint)
