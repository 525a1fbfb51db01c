"""The engine of a vLLM of our own, with an executable that only looks like one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.errors import InputError, SolonError
from tasks.chat.manner import DEFAULT
from tasks.engines import vllm_server
from tasks.engines.engine import Completion, Continuation, Request
from tasks.engines.relay import Relay
from tasks.engines.scripted import ScriptedEngine
from tasks.engines.vllm import VllmEngine, Words
from tasks.engines.vllm_command import Serving, command, find_vllm
from tasks.engines.vllm_server import VllmServer, last_words

from . import fake_vllm
from .fake_vllm import ROOT, command_lines, family, is_alive

HANG_S = 60.0


def request(text: str = "why?", **changed: Any) -> Request:
    given: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "stop": (), "max_new_tokens": 40}
    given |= {"max_prompt_tokens": 1000, "seed": 7}
    return Request(({"role": "user", "content": text},), None, **(given | changed))


def gone(pids: list[int]) -> bool:
    end = time.monotonic() + HANG_S
    while any(is_alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(is_alive(pid) for pid in pids)


def answered(engine: VllmEngine | Relay, requests: list[Request]) -> list[Completion]:
    items = [item for batch in engine.generate(requests) for item in batch.items]
    return sorted(items, key=lambda item: item.index)


@pytest.fixture(autouse=True)
def executable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOLON_VLLM", str(fake_vllm.write(tmp_path)))
    monkeypatch.delenv("FAKE_VLLM", raising=False)
    monkeypatch.setattr(vllm_server, "LOOK_EVERY_S", 0.05)
    return tmp_path / "vllm"


Make = Callable[..., VllmServer]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[VllmServer] = []

    def one(said: list[str] | None = None, **serving: Any) -> VllmServer:
        def hear(event: dict[str, Any]) -> None:
            if said is not None:
                said.append(event["message"])

        log = tmp_path / "logs" / "vllm.log"
        made.append(VllmServer(tmp_path, "mdl_1", log, Serving(**serving), hear))
        return made[-1]

    yield one
    for server in made:
        server.close()


def test_it_answers_as_the_base_and_as_its_adapters_and_leaves_nothing(make: Make) -> None:
    said: list[str] = []
    server = make(said, rank=16, arguments=("--deaf",))
    engine = VllmEngine(server, {"mdl_2": Path("/adapters/sft")})
    requests = [request(f"question {n}", seed=n) for n in range(20)]
    requests += [request("tuned?", adapter="mdl_2")]
    own = [item for batch in ScriptedEngine().generate(requests) for item in batch.items]
    assert answered(engine, requests) == own
    assert server.loaded == {"mdl_2"}
    options = [Continuation([{"role": "user", "content": "A or B?"}], o, False) for o in "AB"]
    scores = [item.value for batch in engine.score(options) for item in batch.items]
    assert scores[0] > scores[1]
    assert (engine.name, engine.device) == ("vllm", server.device)
    shown, log = command_lines(), server.log_path.read_text()
    assert "deaf-child-of-vllm" in shown
    assert server.key not in shown + log + repr(server.__dict__["serving"])
    assert "--enable-lora" in log
    assert "--max-lora-rank 16" in log
    assert log.splitlines()[1].endswith(" 1")  # it is offline
    pids = family(server.log_path)
    assert all(is_alive(pid) for pid in pids)
    engine.close()
    server.close()
    assert not any(is_alive(pid) for pid in pids)
    assert said[0].startswith("vLLM loads")
    assert said[1].startswith("vLLM is ready after")


def test_it_is_started_again_after_it_was_ended(make: Make) -> None:
    server = make()
    engine = VllmEngine(server, {"mdl_2": Path("/a")})
    first = answered(engine, [request(adapter="mdl_2")])
    before = family(server.log_path)
    server.close()
    assert answered(engine, [request(adapter="mdl_2")]) == first
    assert family(server.log_path) != before
    engine.close()


def test_a_start_that_fails_says_why(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", "dies")
    server = make()
    with pytest.raises(SolonError) as error:
        answered(VllmEngine(server, {}), [request()])
    told = f"vLLM ended with exit code 1: ValueError: no such layer (log: {server.log_path})"
    assert str(error.value) == told
    assert gone(family(server.log_path))


def test_a_start_that_never_ends_is_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM", "sleeps")
    monkeypatch.setattr(vllm_server, "SAY_EVERY_S", 0.2)
    said: list[str] = []
    server = make(said, start_s=2.0)
    with pytest.raises(SolonError, match=r"not ready after 2 s: raise vllm\.start_s \(log: "):
        answered(VllmEngine(server, {}), [request()])
    assert not any(is_alive(pid) for pid in family(server.log_path))
    assert any(line.endswith(" s") and "loads" in line for line in said)


def test_one_that_dies_while_it_answers_says_why(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM", "dies later")
    server = make()
    engine = VllmEngine(server, {}, concurrency=2)
    came: list[int] = []
    answers = engine.generate([request(str(n)) for n in range(40)])
    with pytest.raises(SolonError, match=r"exit code 3: MemoryError: no block left \(log: "):
        came.extend(item.index for batch in answers for item in batch.items)
    assert 0 < len(came) < 40
    assert gone(family(server.log_path))


def test_killing_the_parent_ends_the_server_and_its_child(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from tasks.engines.vllm_server import Serving, VllmServer
        log = Path(sys.argv[1])
        server = VllmServer(log.parent, "m", log, Serving(), lambda event: None)
        server.start()
        print("up", flush=True)
        time.sleep(600)
        """)
    )
    log = tmp_path / "vllm.log"
    parent = subprocess.Popen(
        [sys.executable, str(script), str(log)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "up\n"
    pids = family(log)
    assert len(pids) == 2
    assert all(is_alive(pid) for pid in pids)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pids)


def test_a_writer_gives_way_to_a_scorer(make: Make) -> None:
    server = make()
    relay = Relay(VllmEngine(server, {}), ScriptedEngine(), server.close)
    assert answered(relay, [request()])
    assert (relay.name, server.is_up) == ("vllm", True)
    list(relay.score([Continuation((), "one two", False)]))
    assert (relay.name, server.is_up) == ("scripted", False)
    assert answered(relay, [request()])
    assert relay.name == "vllm"
    relay.close()


def test_where_it_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "vllm"
    assert find_vllm() == named
    monkeypatch.delenv("SOLON_VLLM")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert find_vllm() == named
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_vllm() is None
    monkeypatch.setenv("SOLON_VLLM", "/nowhere/vllm")
    with pytest.raises(InputError, match=r"/nowhere/vllm: this is no executable; set SOLON_VLLM"):
        find_vllm()


def test_what_it_is_called_with(tmp_path: Path) -> None:
    asked = command(
        Path("/bin/vllm"),
        tmp_path,
        "m",
        8000,
        Serving(memory_share=0.5, max_model_len=700, rank=20, arguments=("--enforce-eager",)),
    )
    text = " ".join(asked)
    assert text.startswith(f"/bin/vllm serve {tmp_path} --enable-prefix-caching")
    for part in (
        "--host 127.0.0.1",
        "--gpu-memory-utilization 0.5",
        "--max-model-len 700",
        "--max-lora-rank 32",
        "--generation-config vllm",
    ):
        assert part in text
    assert asked[-1] == "--enforce-eager"
    assert "--enable-lora" not in command(Path("v"), tmp_path, "m", 1, Serving())


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", "(the log is empty)"),
        ("one\ntwo\n\n", "two"),
        ("vllm serve: error: unrecognized arguments: --x", "unrecognized arguments: --x"),
        (
            "(Worker pid=1) ERROR 11-28 15:06:54 [a.py:1] RuntimeError: no memory\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n",
            "RuntimeError: no memory",
        ),
    ],
)
def test_last_words(log: str, line: str) -> None:
    assert last_words(log).endswith(line)


def test_ids_that_end_an_answer(tmp_path: Path) -> None:
    assert Words(tmp_path, DEFAULT).fields["stop_token_ids"] == []
    (tmp_path / "config.json").write_text('{"eos_token_id": 2}')
    assert Words(tmp_path, DEFAULT).fields["stop_token_ids"] == [2]
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [5, 7]}')
    assert Words(tmp_path, DEFAULT).fields["stop_token_ids"] == [5, 7]
    added = [{"id": 9, "content": "<end>", "special": False}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    template = "{% for m in messages %}{{ m.role + m.content + '<end>' }}{% endfor %}"
    (tmp_path / "chat_template.jinja").write_text(template)
    assert Words(tmp_path, DEFAULT).fields["stop_token_ids"] == [5, 7, 9]


def test_a_marker_that_somebody_writes_is_none(tmp_path: Path, make: Make) -> None:
    added = [
        {"id": 1, "content": "<|im_end|>", "special": True},
        {"id": 2, "content": "so", "special": False},
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    engine = VllmEngine(make(), {})
    found = answered(engine, [request("so <|im_end|> it ends"), request("so it ends")])
    sent = [request("so <\u200b|im_end|> it ends"), request("so it ends")]
    own = [item for batch in ScriptedEngine().generate(sent) for item in batch.items]
    assert found == own
    engine.close()
