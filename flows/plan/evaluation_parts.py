"""The parts of a recipe that measure: what is asked of every policy, and what it must be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from flows.plan.parts import Part, Positive, as_tuple
from storage.nearest import meant
from tasks.evaluation.figures import Other
from tasks.evaluation.gate_rules import QUESTIONS, Rule, in_force, is_metric, metric_names
from tasks.evaluation.metrics import higher_is_better
from tasks.evaluation.probes import names as probe_names


def _probes(value: Any) -> Any:
    if value == "all":
        return probe_names()
    return (value,) if isinstance(value, str) else value


class EvaluationSettings(Part):
    """What every policy is asked, and how (see tasks/evaluation/metrics.py)."""

    prompts: Positive = Field(64, description="Held-out prompts at most")
    answers: int = Field(1, ge=1, le=64, description="Answers a question")
    probes: Annotated[tuple[str, ...], BeforeValidator(_probes)] = Field(
        (), description="Names of probes, or files of questions; `all` for all that ship"
    )
    probe_questions: Positive | None = Field(None, description="Questions a probe at most")
    perplexity: bool = Field(True, description="Whether ordinary text is read")
    max_new_tokens: Positive = Field(128, description="Longest answer, in tokens")
    temperature: float = Field(1.0, ge=0, le=10, description="1 is what PPO samples at")
    batch_size: Positive = Field(64, description="Rows in a batch: memory and speed only")
    shown: int = Field(6, ge=0, description="Prompts shown side by side in the report")


class RuleSettings(Part):
    """What one metric must be (see tasks/evaluation/gate_rules.py); only what is written counts."""

    min: float | None = Field(None, description="The number itself at least")
    max: float | None = Field(None, description="The number itself at most")
    no_worse_than: Annotated[tuple[Other, ...], BeforeValidator(as_tuple)] = Field(
        (), description="base, parent, champion, or several: not worse than these"
    )
    margin: float = Field(0.0, ge=0, description="By how much it may be worse")
    min_ratio: float | None = Field(None, gt=0, description="Over that of `to` at least")
    max_ratio: float | None = Field(None, gt=0, description="Over that of `to` at most")
    max_rise: float | None = Field(None, ge=0, description="Above that of `to` at most")
    to: Other = Field("base", description="Whose number ratios and rises are relative to")
    excused_by: str | None = Field(
        None, description="A metric; while it has not fallen, a smaller ratio does no harm"
    )

    @model_serializer(mode="wrap")
    def _written(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in whole(self).items() if name in self.model_fields_set}


class GateSettings(Part):
    """What a trained model must be, to take the place of the champion (see run/gate.py)."""

    candidate: Literal["sft", "dpo", "ppo"] = Field(
        "ppo", description="Whose checkpoint may become champion"
    )
    questions: int = Field(QUESTIONS, ge=2, description="What a verdict must rest on at least")
    rules: dict[str, RuleSettings | None] = Field(
        {}, description="By metric, beside the rules that hold by default; null: no rule on it"
    )

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, value: Any) -> Any:
        if isinstance(value, dict) and "max_kl" in value:
            given = value["max_kl"]
            raise ValueError(f"max_kl is a rule now: write rules.kl.max={given} in its place")
        return value

    @field_validator("rules")
    @classmethod
    def _on_metrics(cls, value: dict[str, RuleSettings | None]) -> dict[str, RuleSettings | None]:
        for metric, rule in value.items():
            for name in (metric, rule.excused_by if rule else None):
                if name is not None and not is_metric(name):
                    fix = meant(name, metric_names().split(", "), f"use {metric_names()}")
                    raise ValueError(f"{name}: no metric has this name; {fix}")
            if rule and rule.no_worse_than and higher_is_better(metric) is None:
                rule_of = "no_worse_than says nothing of it, as neither more nor less is better"
                raise ValueError(f"{metric}: {rule_of}: use min_ratio, max_ratio or max_rise")
        return value

    def in_force(self) -> list[Rule]:
        """The rules that hold, those by default among them."""
        rules = self.rules.items()
        return in_force({name: rule.model_dump() if rule else None for name, rule in rules})
