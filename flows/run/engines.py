"""The engines by which a recipe's own model is asked: the embedded one, or a vLLM of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from flows.plan.model_checks import longest_request
from flows.plan.recipe import Recipe
from tasks.engines.child import WorkerEngine
from tasks.engines.vllm import VllmEngine
from tasks.engines.vllm_command import Serving, find_vllm
from tasks.engines.vllm_server import VllmServer
from tasks.machine import gpus

OnEvent = Callable[[dict[str, Any]], None]


def kind_of(recipe: Recipe) -> Literal["transformers", "vllm"]:
    """How models of ours are asked; as this machine allows, where the recipe leaves that open."""
    wanted = recipe.generation.engine
    if wanted == "auto":
        return "vllm" if gpus() and find_vllm() else "transformers"
    return "vllm" if wanted == "vllm" else "transformers"


def embedded_engine(
    recipe: Recipe,
    folder: Path,
    adapters: Mapping[str, Path],
    quantization: Any,
    rows: int,
    log_path: Path,
    on_event: OnEvent,
) -> WorkerEngine:
    """The model in a worker process."""
    return WorkerEngine(
        folder,
        log_path,
        adapters=adapters,
        quantization=quantization,
        dtype=recipe.compute,
        batch_tokens=recipe.generation.batch_tokens,
        batch_rows=rows,
        threads=recipe.threads,
        chat=asdict(recipe.generation.manner),
        on_event=on_event,
    )


def vllm_server(
    recipe: Recipe,
    folder: Path,
    adapters: Mapping[str, Path],
    log_path: Path,
    on_event: OnEvent,
) -> VllmServer:
    """A vLLM of the model, not started yet, that can have these adapters and, where the base is
    not quantized to be trained, those of the run.
    """
    ranks = [_rank(folder) for folder in adapters.values()]
    if recipe.quantization == "none":
        ranks += [stage["lora_r"] for stage in (recipe.sft, recipe.ppo)]
    settings = recipe.vllm
    serving = Serving(
        settings.memory_share,
        settings.max_model_len or longest_request(recipe),
        recipe.compute,
        max(ranks, default=0),
        settings.start_s,
        settings.arguments,
    )
    return VllmServer(folder, folder.name, log_path, serving, on_event)


def vllm_engine(
    server: VllmServer, recipe: Recipe, adapters: Mapping[str, Path], on_event: OnEvent
) -> VllmEngine:
    return VllmEngine(
        server,
        adapters,
        manner=recipe.generation.manner,
        concurrency=recipe.vllm.concurrency,
        on_event=on_event,
    )


def _rank(adapter: Path) -> int:
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    return max(int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values()), 1)
