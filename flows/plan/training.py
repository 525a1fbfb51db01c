"""What a plan says of a stage before it is trained: rows, steps, seconds and memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from flows.plan.inputs import Inputs
from flows.plan.measured import CHARS_A_TOKEN
from flows.plan.memory import memory_of
from flows.plan.needs import Need
from flows.plan.plan import Range, Training
from flows.plan.sizes import sized
from flows.plan.steps import Stage
from flows.plan.tempo import Tempo, limits_of
from flows.plan.work import SEQUENCES, work_of
from tasks.generation.method import Role

TEMPLATE_TOKENS = 9  # around a prompt, as it is kept: a row that is there is counted so
FILLED = 0.6  # of its limit that an answer fills, where none was made yet


class TrainingPlanner:
    """Of one recipe's stages."""

    def __init__(self, inputs: Inputs, tempo: Tempo) -> None:
        self.inputs, self.tempo = inputs, tempo

    def of(self, stage: Stage, need: Need | None) -> Training:
        """Exact in rows and steps where the rows are known, as a need has them."""
        if need:
            known = need.snapshot
            rows, held_out = (len(known.training),) * 2, (len(known.held_out),) * 2
            settings, row_tokens = need.settings, self._row_tokens(stage, need)
        else:
            rows, held_out = self._most_rows(stage)
            settings, row_tokens = self._settings(stage), self._row_tokens(stage, None)
        least, most = (
            work_of(stage, settings, rows[side], held_out[side], row_tokens) for side in (0, 1)
        )
        return Training(
            rows,
            held_out,
            (least.steps, most.steps),
            self.tempo.stage(stage, (least.tokens, most.tokens)),
            self._memory(stage, settings, row_tokens),
        )

    def _settings(self, stage: Stage) -> Mapping[str, Any]:
        given: dict[str, Any] = getattr(self.inputs.recipe, stage)
        count = len(self.inputs.prompt_snapshot.training)
        return sized(given, count) if stage == "ppo" else given

    def _row_tokens(self, stage: Stage, need: Need | None) -> float:
        known = self.tempo.measured.row_tokens(need.snapshot.training) if need else None
        if known is not None:
            return known
        prompt = self._prompt_tokens
        return prompt if stage == "ppo" else SEQUENCES[stage] * (prompt + self._answer_tokens())

    @cached_property
    def _prompt_tokens(self) -> float:
        prompts = self.inputs.prompts
        chars = sum(len(message["content"]) for prompt in prompts for message in prompt.messages)
        return chars / CHARS_A_TOKEN / max(len(prompts), 1) + TEMPLATE_TOKENS

    def _answer_tokens(self) -> float:
        """Of an answer that is learned: a teacher's where there is one, else a revision."""
        recipe = self.inputs.recipe
        role: Role = "revision" if recipe.pairs.shares.revision else "teacher"
        limit = limits_of(recipe)[role]
        model_id = self.inputs.hands.of(role).model_id
        found = self.tempo.measured.calls(model_id, {role: limit}).get(role)
        return found.tokens if found else FILLED * limit

    def _memory(
        self, stage: Stage, settings: Mapping[str, Any], row_tokens: float
    ) -> tuple[float, float] | None:
        rate, size = self.tempo.rate(stage), self.tempo.parameters("")
        if rate and rate.peak_bytes:
            return rate.peak_bytes, rate.peak_bytes
        if size is None:
            return None
        return memory_of(settings, stage, row_tokens, size, self.inputs.recipe.quantization)

    def _most_rows(self, stage: Stage) -> tuple[Range, Range]:
        """Rows to train on and held out as [min, max] before any is made; PPO's are known."""
        known = self.inputs.prompt_snapshot
        if stage == "ppo":
            return (len(known.training),) * 2, (len(known.held_out),) * 2
        most = [0, 0]
        for (source, is_held_out), count in self._sources.items():
            most[is_held_out] += count * self._most_of(stage, source)
        brought, is_sft = self.inputs.people, stage == "sft"
        people = sum(len(each.demonstrations) for each in brought.demonstrated if is_sft)
        people += sum(len(each.pairs) for each in brought.judged if not is_sft)
        return (0, most[0] + people), (0, most[1])

    @cached_property
    def _sources(self) -> Counter[tuple[str, bool]]:
        """How many prompts each source of pairs has, to train on and held out."""
        held_out, method = set(self.inputs.prompt_snapshot.held_out), self.inputs.method
        prompts = self.inputs.prompts
        return Counter((method.source(p), p.prompt_id in held_out) for p in prompts)

    def _most_of(self, stage: Stage, source: str) -> int:
        """Rows that a prompt of this source gives at most."""
        recipe = self.inputs.recipe
        if stage != "sft":
            return 1
        if source == "distilled":
            return min(recipe.pairs.examples, recipe.pairs.samples)
        rounds = recipe.generation.rounds if recipe.snapshots.sft_rounds == "all" else 1
        return rounds if source == "revision" else 0
