"""Which engine a run takes, and a run through a vLLM that it starts by itself (a false one)."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan.input_checks import check_inputs
from flows.plan.recipe import load
from flows.run import engines
from flows.run.workers import Workers
from storage.errors import InputError
from storage.ledger import Ledger
from tasks.engines.child import WorkerEngine
from tasks.engines.engine import Engine
from tasks.engines.relay import Relay
from tasks.engines.vllm import VllmEngine
from tasks.engines.vllm_server import VllmServer
from tasks.evaluation.answers import Policy
from tasks.models import PreparedModel
from tests.tasks import fake_vllm

from .conftest import Solon
from .world import World


@pytest.mark.parametrize(
    ("wanted", "gpus", "found", "kind"),
    [
        ("auto", ["NVIDIA H100"], "/bin/vllm", "vllm"),
        ("auto", ["NVIDIA H100"], None, "transformers"),
        ("auto", [], "/bin/vllm", "transformers"),
        ("transformers", ["NVIDIA H100"], "/bin/vllm", "transformers"),
        ("vllm", [], "/bin/vllm", "vllm"),
        ("scripted", ["NVIDIA H100"], "/bin/vllm", "transformers"),
    ],
)
def test_what_auto_means(
    wanted: str, gpus: list[str], found: str | None, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "gpus", lambda: gpus)
    monkeypatch.setattr(engines, "find_vllm", lambda: found and Path(found))
    assert load("demo").generation.engine == "auto"
    assert engines.kind_of(load("demo", {"generation.engine": wanted})) == kind


def test_the_engine_changes_no_id(tmp_path: Path) -> None:
    ids = {
        World(tmp_path / name, **{"generation.engine": name}).inputs.method.model_id
        for name in ("auto", "transformers", "vllm")
    }
    assert len(ids) == 1


def test_a_vllm_that_is_not_there_is_said_before_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOLON_VLLM", str(tmp_path / "vllm"))
    world = World(tmp_path, **{"generation.engine": "vllm"})
    with pytest.raises(InputError, match="this is no executable; set SOLON_VLLM"):
        check_inputs(world.inputs, None)


@pytest.mark.parametrize(
    "argument",
    ["--host=0.0.0.0", "--port", "--trust_remote_code", "--trust-remote", "--api-key=s3cret"],
)
def test_arguments_do_not_open_the_server(argument: str) -> None:
    with pytest.raises(InputError, match="is none of a recipe's business") as error:
        load("demo", {"vllm.arguments": ["--enforce-eager", argument]})
    assert "s3cret" not in str(error.value)
    given = ["--enforce-eager", "--max-num-seqs", "8"]
    assert load("demo", {"vllm.arguments": given}).vllm.arguments == tuple(given)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_an_evaluation_keeps_the_vllm_of_an_unquantized_base(
    quantization: str, tmp_path: Path
) -> None:
    world = World(tmp_path, **{"generation.engine": "vllm", "quantization": quantization})
    workers = Workers(world.inputs, world.workspace, world.ledger, "run_1")
    (tmp_path / "config.json").write_text("{}")
    workers._prepared[world.inputs.recipe.model] = PreparedModel("mdl_1", tmp_path, None, "one")
    own = world.inputs.method.model_id
    (tmp_path / "adapter_config.json").write_text('{"r": 64}')
    server = server_of(workers.generator(own))
    assert server.serving.rank == (16 if quantization == "none" else 0)
    evaluator = workers.evaluator([Policy("base", "mdl_1")])
    if quantization == "nf4":
        assert isinstance(evaluator, WorkerEngine)
        return
    assert server_of(evaluator) is server
    larger = server_of(workers.evaluator([Policy("sft", "mdl_2", tmp_path, "ckp_1")]))
    assert larger is not server
    assert larger.serving.rank == 64
    assert server_of(workers.generator(own)) is larger


def server_of(engine: Engine) -> VllmServer:
    writer = engine._writer if isinstance(engine, Relay) else engine
    assert isinstance(writer, VllmEngine)
    return writer.server


@pytest.mark.slow
def test_a_run_starts_its_vllm_once_and_ends_it(solon: Solon, tmp_path: Path) -> None:
    solon.env["SOLON_VLLM"] = str(fake_vllm.write(tmp_path))
    given = ["--recipe", "smoke", "--set", "prompts.limit=6", "--set", "judge.use=true"]
    solon.run("refresh", *given, "--set", "generation.engine=vllm")
    ledger = Ledger(solon.home / "ledger.duckdb")
    made = ledger.query("SELECT DISTINCT engine, step FROM completions ORDER BY step")
    assert [(row["engine"], row["step"]) for row in made] == [
        ("vllm", step) for step in ("critique", "draft", "revision")
    ]
    assert ledger.query("SELECT DISTINCT engine FROM comparisons") == [{"engine": "vllm"}]
    (log,) = (solon.home / "logs").rglob("vllm.log")
    assert log.read_text().count("started") == 1
    assert not any(fake_vllm.is_alive(pid) for pid in fake_vllm.family(log))
    plan = solon.json("plan", *given, "--until", "pairs")
    assert all(step["to_generate"] == [0, 0] for step in plan["steps"])
