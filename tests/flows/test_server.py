"""A recipe whose answers come from a server, through the command line: its rows, price and key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.plan.recipe import load
from storage.errors import InputError
from storage.ledger import Ledger
from tests.tasks.fake_vllm import command_lines
from tests.tasks.scripted_server import MODEL, ScriptedServer

from .conftest import Solon
from .world import World

KEY = "sk-planted-51d0e8"
ENGINE = {"generation.engine": "openai", "server.model": MODEL}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(key=KEY, faults={"drop": 0.1}) as server:
        yield server


def options(url: str) -> list[str]:
    given = {
        **ENGINE,
        "server.base_urls": url,
        "server.key_env": "PLANTED_KEY",
        "server.price_in": 3,
        "server.price_out": 15,
        "prompts.limit": 12,
        "judge.use": "true",
        "pairs.evidence": "required",
    }
    return [text for key, value in given.items() for text in ("--set", f"{key}={value}")]


@pytest.mark.slow
def test_rows_come_from_the_server_and_the_key_goes_nowhere(
    solon: Solon, server: ScriptedServer
) -> None:
    solon.env["PLANTED_KEY"] = KEY
    seen: list[str] = []
    server.before = lambda server: None if len(seen) > 3 else seen.append(command_lines())
    given = ["--recipe", "smoke", *options(server.url)]
    before = solon.json("plan", *given, "--until", "pairs")
    assert not (solon.home / "servers").exists()
    assert not server.answers
    assert 0 < before["cost"]["money"][0] <= before["cost"]["money"][1]

    out, err = solon.run("refresh", *given)
    ledger = Ledger(solon.home / "ledger.duckdb")
    assert ledger.query("SELECT DISTINCT kind, reference FROM models WHERE kind = 'server'") == [
        {"kind": "server", "reference": f"{MODEL} owned_by=tests"}
    ]
    made = "SELECT DISTINCT engine, device, step FROM completions ORDER BY step"
    assert [tuple(row.values()) for row in ledger.query(made)] == [
        ("openai", "server", step) for step in ("critique", "draft", "revision")
    ]
    judged = "SELECT count(*) AS n FROM comparisons WHERE preference IS NOT NULL"
    assert ledger.query(judged)[0]["n"]
    asked = [body["messages"][-1]["content"] for _, _, body in server.answers if "seed" in body]
    assert len(asked) >= 12 * 3

    server.kill()
    after = solon.json("plan", *given, "--until", "pairs")
    assert all(step["to_generate"] == [0, 0] for step in after["steps"])
    assert after["cost"]["money"] == [0, 0]
    more = ["--set", "prompts.limit=14"]
    lines = solon.run("refresh", *given, *more, code=1)[1].strip().splitlines()
    assert not any("Traceback" in line for line in lines)
    assert lines[-1].startswith("error: no server answers (http://127.0.0.1:")
    assert seen
    assert KEY not in out + err + "".join(seen) + "".join(lines)
    for path in solon.home.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"server.base_urls": "http://me:s3cret@host/v1"}, "an address holds no password"),
        ({"server.base_urls": "http://host/v1?key=s3cret"}, "an address holds no password"),
        ({"server.base_urls": "s3cret"}, "an address is http"),
        ({"server.base_urls": []}, "an address or a list"),
        ({"server.key_env": "sk-s3cret"}, "the name of an environment variable"),
        ({"server.key_env": ["s3cret"]}, "the name of an environment variable"),
        ({"server.key": "s3cret"}, "server.key: no recipe has this key"),
        ({"generation.engine": "transformers"}, "generation.engine=openai only"),
    ],
)
def test_what_may_be_a_secret_is_refused_and_not_repeated(
    settings: dict[str, object], line: str
) -> None:
    given = {**ENGINE, "server.base_urls": "http://localhost:8000", **settings}
    with pytest.raises(InputError) as error:
        load("smoke", given)
    assert line in str(error.value)
    assert "s3cret" not in str(error.value)


def test_the_engine_needs_a_server_and_addresses_get_their_path() -> None:
    with pytest.raises(InputError, match="needs a server"):
        load("smoke", {"generation.engine": "openai"})
    found = load("smoke", {**ENGINE, "server.base_urls": ["http://a:1", "https://b/x/"]}).server
    assert found
    assert found.base_urls == ("http://a:1/v1", "https://b/x")


def test_a_server_that_was_not_asked_yet_can_be_planned(tmp_path: Path) -> None:
    given = {**ENGINE, "server.base_urls": "http://localhost:8000", "server.price_out": 2.0}
    world = World(tmp_path, **given)
    cost = world.plan(world.inputs).cost
    assert cost["money"][1] == pytest.approx(cost["tokens"][1] * 2 / 1e6, abs=1e-4)
