"""The engines by which a recipe's own model is asked: the embedded one, or a vLLM of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from flows.plan.recipe import Recipe
from storage.errors import InputError
from tasks.engines.child import WorkerEngine
from tasks.engines.vllm import VllmEngine
from tasks.engines.vllm_command import Serving, find_vllm
from tasks.engines.vllm_server import VllmServer
from tasks.machine import gpus
from tasks.models import PreparedModel

OnEvent = Callable[[dict[str, Any]], None]
Kind = Literal["transformers", "vllm", "openai", "scripted"]


def kind_of(recipe: Recipe) -> Kind:
    """The recipe's engine; on this machine, where it leaves that open."""
    wanted = recipe.generation.engine
    if wanted != "auto":
        return wanted
    return "vllm" if gpus() and find_vllm() else "transformers"


def embedded_engine(
    model: PreparedModel,
    recipe: Recipe,
    adapters: Mapping[str, Path],
    quantization: Any,
    rows: int,
    log_path: Path,
    on_event: OnEvent,
) -> WorkerEngine:
    """The model in a worker process. InputError where a request would not fit its context."""
    check_context(model.path, recipe)
    return WorkerEngine(
        model.path,
        log_path,
        adapters=adapters,
        quantization=quantization,
        dtype=recipe.compute,
        batch_tokens=recipe.generation.batch_tokens,
        batch_rows=rows,
        threads=recipe.threads,
        on_event=on_event,
    )


def vllm_server(
    model: PreparedModel,
    recipe: Recipe,
    adapters: Mapping[str, Path],
    log_path: Path,
    on_event: OnEvent,
) -> VllmServer:
    """A vLLM of the model, not started yet, that can have these adapters and, where the base is
    not quantized to be trained, those of the run. InputError as `embedded_engine`.
    """
    check_context(model.path, recipe)
    ranks = [_rank(folder) for folder in adapters.values()]
    if recipe.quantization == "none":
        ranks += [stage["lora_r"] for stage in (recipe.sft, recipe.dpo, recipe.ppo)]
    settings = recipe.vllm
    serving = Serving(
        settings.memory_share,
        settings.max_model_len or longest(recipe),
        recipe.compute,
        max(ranks, default=0),
        settings.start_s,
        settings.arguments,
    )
    return VllmServer(model.path, model.path.name, log_path, serving, on_event)


def vllm_engine(
    server: VllmServer, recipe: Recipe, adapters: Mapping[str, Path], on_event: OnEvent
) -> VllmEngine:
    return VllmEngine(server, adapters, concurrency=recipe.vllm.concurrency, on_event=on_event)


def longest(recipe: Recipe) -> int:
    """Tokens of the longest request and answer that the recipe allows."""
    generation = recipe.generation
    answers = [*generation.max_new_tokens.model_dump().values(), recipe.evaluation.max_new_tokens]
    if recipe.pairs.shares.distilled or recipe.pairs.shares.candidates:
        answers.append(recipe.pairs.max_new_tokens)
    return int(generation.max_prompt_tokens + max(answers))


def check_context(model: Path, recipe: Recipe) -> None:
    """Raise InputError where the longest request and answer do not fit the model's context."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    context, worst = config.get("max_position_embeddings"), longest(recipe)
    if context and worst > context:
        raise InputError(
            worst,
            f"max_prompt_tokens plus the longest answer must fit the context of {context} tokens",
            "lower generation.max_prompt_tokens",
            "generation",
        )


def _rank(adapter: Path) -> int:
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return max(int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values()), 1)
