"""Real servers, from drafts to an evaluation: `transformers serve`, and vLLM where there is one.

What is said means nothing, how it is asked does. The model is the embedded one: vLLM has no
attention as small as the tiny random one's, and no answer of that one ends where it is not sampled.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from flows.plan.recipe import load
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.models import prepare
from tests.tasks.fake_vllm import is_alive

from .conftest import Solon, until
from .prefect_db import seed

SERVE = Path(sys.executable).with_name("transformers")
TINY: dict[str, Any] = {
    "prompts.limit": 8,
    "prompts.held_out_percent": 40,
    "quantization": "none",
    "generation.max_new_tokens": "{draft: 12, critique: 12, revision: 12}",
    "judge.use": "true",
    "judge.few_shot": "false",
    "ppo.max_prompt_tokens": 256,
    "evaluation.prompts": 2,
    "evaluation.max_new_tokens": 8,
    **{f"{stage}.max_steps": 1 for stage in ("sft", "reward", "dpo")},
    **{f"{stage}.batch_size": 2 for stage in ("sft", "reward", "dpo")},
    **{f"{stage}.max_length": 512 for stage in ("sft", "reward", "dpo")},
    "ppo.updates": 1,
    "ppo.batch_size": 4,
    "ppo.calibration_samples": 4,
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1900)]


def options(**more: Any) -> list[str]:
    given = TINY | {key.replace("__", "."): value for key, value in more.items()}
    return [text for key, value in given.items() for text in ("--set", f"{key}={value}")]


@pytest.fixture
def embedded(solon: Solon, packaged: Path) -> Path:
    """The folder of the embedded model, in the workspace: what it writes ends now and then."""
    seed(solon.home)
    shutil.copytree(packaged / "models", solon.home / "models")
    return prepare(load("demo").model, Workspace(solon.home).create()).path


def engines_of(ledger: Ledger) -> set[tuple[str, str]]:
    """(engine, step) of all completions, and `comparison` of all comparisons."""
    found = ledger.query("SELECT DISTINCT engine, step FROM completions")
    judged = ledger.query("SELECT DISTINCT engine FROM comparisons")
    return {(row["engine"], row["step"]) for row in found} | {
        (row["engine"], "comparison") for row in judged
    }


@pytest.mark.skipif(
    "SOLON_VLLM" not in os.environ, reason="SOLON_VLLM, the path of a real vllm, is not set"
)
def test_vllm_drafts_judges_and_answers_with_adapters(solon: Solon) -> None:
    own_model = {
        "model": load("demo").model,
        "prompts__limit": 14,
        "generation__max_prompt_tokens": 2400,
        "generation__max_new_tokens": "{draft: 32, critique: 24, revision: 32}",
    }
    vllm = {"vllm__memory_share": 0.2, "vllm__arguments": "[--enforce-eager]"}
    asked = options(generation__engine="vllm", **own_model, **vllm)
    solon.run("run", "--recipe", "smoke", *asked, hang_s=1800)
    ledger = Ledger(solon.home / "ledger.duckdb")
    own = ("draft", "critique", "revision", "answer", "comparison")
    assert engines_of(ledger) >= {("vllm", step) for step in own}
    answers = "SELECT DISTINCT model_id FROM completions WHERE engine = 'vllm' AND step = 'answer'"
    assert len(ledger.query(answers)) == 4  # the base, SFT, DPO, PPO
    log = next((solon.home / "logs").rglob("vllm.log")).read_text(errors="replace")
    assert "POST /v1/load_lora_adapter" in log
    processes = {int(pid) for pid in re.findall(r"^\(\w+ pid=(\d+)\)", log, re.MULTILINE)}
    assert len(processes) >= 4  # a server and its engine, twice
    assert not [pid for pid in processes if is_alive(pid)]
    same = options(generation__engine="transformers", **own_model)
    plan = solon.json("plan", "--recipe", "smoke", *same)
    assert all(step["to_generate"] == [0, 0] for step in plan["steps"])


@pytest.fixture
def served(solon: Solon, embedded: Path) -> Iterator[tuple[str, Path]]:
    """(address, folder) of a model that `transformers serve` serves."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    log = solon.home / "serve.log"
    with log.open("wb") as out:
        command = [str(SERVE), "serve", str(embedded), "--host", "127.0.0.1", "--port", str(port)]
        cache = solon.home / "hub"  # whose models it lists: without the folder it lists none
        cache.mkdir()
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_CACHE": str(cache)}
        environment = os.environ | offline
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        until(lambda: _listens(port) or process.poll() is not None, "transformers serve")
        if "Missing dependencies for serving" in log.read_text(errors="replace"):
            pytest.skip("transformers[serving] is not installed")
        assert process.poll() is None, log.read_text()
        yield f"http://127.0.0.1:{port}/v1", embedded
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(
    not SERVE.is_file() or find_spec("openai") is None,
    reason="transformers[serving] is not installed",
)
def test_transformers_serve_drafts_judges_and_its_rows_are_trained_on(
    solon: Solon, served: tuple[str, Path]
) -> None:
    url, folder = served
    asked = options(
        generation__engine="openai",
        server__base_urls=url,
        server__model=folder,
        server__concurrency=2,
        judge__verdicts="sampled",
        judge__samples=1,
        model=load("demo").model,
        prompts__limit=20,
        generation__max_new_tokens="{draft: 24, critique: 24, revision: 128}",  # some end by then
        pairs__whole=False,
    )
    solon.run("run", "--recipe", "smoke", *asked, hang_s=1800)
    ledger = Ledger(solon.home / "ledger.duckdb")
    assert engines_of(ledger) >= {
        ("openai", "draft"),
        ("openai", "critique"),
        ("openai", "revision"),
        ("openai", "comparison"),
        ("transformers", "answer"),
    }
    stages = ledger.query("SELECT stage FROM checkpoints")
    assert {row["stage"] for row in stages} == {"sft", "reward", "dpo", "ppo", "evaluate"}
