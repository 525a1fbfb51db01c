"""The engine of OpenAI-compatible servers, against servers that misbehave in every way."""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.errors import InputError, SolonError
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.engines import abilities
from tasks.engines.client import Access
from tasks.engines.engine import Batch, Completion, Continuation, Request
from tasks.engines.openai import OpenAIEngine
from tasks.engines.scripted import ScriptedEngine
from tasks.engines.wire import SEEDS, Abilities
from tasks.generation.calls import CallForm, Sampling
from tasks.generation.memo import complete

from .fake_vllm import command_lines
from .scripted_server import MODEL, ScriptedServer

KEY = "sk-planted-7f3a9c"
ALL = Abilities(seeds=True, top_logprobs=20, echo=1)
SAMPLING = Sampling(1.0, 1.0, 40, 1000)


def request(text: str = "why?", **changed: Any) -> Request:
    messages = ({"role": "user", "content": text},)
    given: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "stop": (), "max_new_tokens": 40}
    return Request(messages, None, **(given | {"max_prompt_tokens": 1000, "seed": 7} | changed))


class Undisturbed(ScriptedEngine):
    """What a server without faults would say."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        return super().generate([replace(r, seed=r.seed % SEEDS) for r in requests])


def access(*servers: ScriptedServer | str, **changed: Any) -> Access:
    urls = tuple(s if isinstance(s, str) else s.url for s in servers)
    given: dict[str, Any] = {"concurrency": 4, "timeout_s": 0.5, "retries": 10, "pace_s": 0.01}
    return Access(urls, **(given | changed))


def engine_of(*servers: ScriptedServer | str, **changed: Any) -> OpenAIEngine:
    return OpenAIEngine(access(*servers, **changed), MODEL, ALL)


def answered(engine: OpenAIEngine, requests: list[Request]) -> list[Completion]:
    try:
        items = [item for batch in engine.generate(requests) for item in batch.items]
    finally:
        engine.close()
    return sorted(items, key=lambda item: item.index)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def test_it_answers_as_the_model_behind_it(server: ScriptedServer) -> None:
    requests = [request(f"question {n}", seed=n) for n in range(40)]
    own = [item for batch in ScriptedEngine().generate(requests) for item in batch.items]
    assert answered(engine_of(server), requests) == own
    assert server.most_busy <= 4


def test_raw_text_goes_out_as_raw_text(server: ScriptedServer) -> None:
    raw = Request(None, "Once upon", 0.0, 1.0, (), 5, 1000, 1)
    assert answered(engine_of(server), [raw])[0].completion_tokens <= 5
    assert server.answers[0][1].endswith("/v1/completions")


def test_2000_rows_through_three_faulty_servers_one_killed_half_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    form = CallForm("draft", "mdl_1", SAMPLING)
    calls = [form.call(f"prm_{n}", ({"role": "user", "content": f"q {n}"},)) for n in range(2000)]
    undisturbed = complete(Ledger(tmp_path / "a.duckdb"), Undisturbed(), "run_1", calls)
    shown: list[str] = []

    def kill_half_way(server: ScriptedServer) -> None:
        if len(server.answers) >= 333 and not server.is_dead:
            shown.append(command_lines())
            server.kill()

    said: list[str] = []
    with ExitStack() as stack:
        servers = [
            stack.enter_context(server)
            for server in (
                ScriptedServer(faults={"drop": 1 / 3}, key=KEY),
                ScriptedServer(faults={"busy": 0.05, "error": 0.05, "half": 0.05}, key=KEY),
                ScriptedServer(faults={"hang": 0.005}, key=KEY, before=kill_half_way),
            )
        ]
        wrong = stack.enter_context(ScriptedServer(answers_as="another", key=KEY))
        engine = OpenAIEngine(
            access(*servers, wrong, key=KEY, concurrency=8, pace_s=0.02),
            MODEL,
            ALL,
            on_event=lambda event: said.append(event["message"]),
        )
        ledger = Ledger(tmp_path / "b.duckdb")
        made = complete(ledger, engine, "run_1", calls)
        engine.close()
        assert servers[2].is_dead
        assert all(servers[0].seen["drop"] and servers[1].seen[f] for f in ("busy", "half"))
    assert made == undisturbed
    rows = ledger.query("SELECT completion_id FROM completions")
    assert sorted(row["completion_id"] for row in rows) == sorted(undisturbed)
    assert any("'another' answered in place of" in line for line in said)
    assert shown
    assert KEY not in "".join([*said, *shown, caplog.text])
    for path in tmp_path.rglob("*"):
        assert KEY.encode() not in path.read_bytes(), path


def test_where_none_is_left_what_came_is_kept_and_the_next_run_goes_on(tmp_path: Path) -> None:
    form = CallForm("draft", "mdl_1", SAMPLING)
    calls = [form.call(f"prm_{n}", ({"role": "user", "content": f"q {n}"},)) for n in range(60)]
    ledger = Ledger(tmp_path / "a.duckdb")

    def kill_half_way(server: ScriptedServer) -> None:
        if len(server.answers) >= 30:
            server.kill()

    with ScriptedServer(before=kill_half_way) as server:
        engine = engine_of(server, retries=3)
        with pytest.raises(SolonError, match=r"no server answers \(http.* run again") as error:
            complete(ledger, engine, "run_1", calls)
        assert "\n" not in str(error.value)
        engine.close()
        came = ledger.query("SELECT completion_id FROM completions")
        assert len(came) == len(server.answers) >= 30
    with ScriptedServer() as server:
        engine = engine_of(server)
        missing = [c for c in calls if c.completion_id not in {r["completion_id"] for r in came}]
        complete(ledger, engine, "run_2", missing)
        engine.close()
        assert len(server.answers) == len(calls) - len(came)


def test_a_server_that_comes_back_is_asked_again() -> None:
    with ScriptedServer() as good, ScriptedServer(status=(503, {"detail": "loading"})) as late:
        engine = engine_of(good, late)
        requests = [request(f"question {n}") for n in range(20)]
        list(engine.generate(requests))
        assert not late.answers
        late.status = None
        time.sleep(0.2)
        answered(engine, [request(f"question {n}") for n in range(200)])
        assert late.answers


def test_retry_after_is_obeyed() -> None:
    asked: list[float] = []

    def note(server: ScriptedServer) -> None:
        asked.append(time.monotonic())
        server.faults = {"busy": 1.0} if len(asked) == 1 else {}

    with ScriptedServer(before=note) as server:
        assert answered(engine_of(server, pace_s=0.0001), [request()])
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 0.05


def test_a_refusal_is_one_line_without_the_key(server: ScriptedServer) -> None:
    server.key = "another"
    with pytest.raises(InputError) as error:
        answered(engine_of(server, key=KEY), [request()])
    assert str(error.value).startswith("server: scripted-chat: the server refuses (401: Incorrect")
    assert KEY not in str(error.value)
    assert server.seen == {"": 1}


def test_another_models_answer_is_refused() -> None:
    with ScriptedServer(answers_as="gpt-small") as server:
        with pytest.raises(SolonError, match="'gpt-small' answered in place of 'scripted-chat'"):
            answered(engine_of(server), [request()])
        assert len(server.answers) == 1


def test_a_request_that_always_fails_ends_in_one_line() -> None:
    with ScriptedServer(faults={"error": 1.0}) as server:
        with pytest.raises(SolonError, match="500 overloaded") as error:
            answered(engine_of(server, retries=3, key=KEY), [request()])
    assert KEY not in str(error.value)


def test_a_prompt_too_long_for_server_or_recipe_is_not_answered() -> None:
    with ScriptedServer(context=50) as server:
        long, longer = request("word " * 30, max_prompt_tokens=20), request("word " * 60)
        found = answered(engine_of(server), [request(), long, longer])
    assert [item.finish_reason == "too_long" for item in found] == [False, True, True]
    assert [item.prompt_tokens for item in found] == [1, 30, 1001]


def test_options_and_raw_text_are_scored(server: ScriptedServer) -> None:
    asked = [{"role": "user", "content": "A or B?"}]
    options = [Continuation(asked, option, False) for option in ("A", "B", "Z", "Y")]
    engine = engine_of(server)
    batches = list(engine.score([*options, Continuation((), "one two three", False)]))
    scores = {item.index: item for batch in batches for item in batch.items}
    assert len(server.answers) == 2
    engine.close()
    assert [scores[n].value for n in (0, 1)] == pytest.approx([math.log(0.6), math.log(0.2)])
    assert scores[2].value == scores[3].value < -12
    assert scores[4].logprobs == pytest.approx([math.log(0.5)] * 2)


def test_what_a_server_cannot_tell_is_one_line(server: ScriptedServer) -> None:
    engine = OpenAIEngine(access(server), MODEL, Abilities())
    with pytest.raises(InputError, match=r"no log-probabilities of an answer.* judge\.verdicts"):
        engine.score([Continuation([{"role": "user", "content": "?"}], "A", False)])
    engine = OpenAIEngine(access(server), MODEL, ALL)
    for asked in ({"is_ended": True}, {"temperature": 0.5}, {"context": "before it"}):
        with pytest.raises(InputError, match="at temperature 1, no end of a turn and no part"):
            engine.score([replace(Continuation((), "so", False), **asked)])


def test_what_servers_can_do_is_asked_once_and_kept(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "home")
    with (
        ScriptedServer(report={"root": "/m/x"}) as full,
        ScriptedServer(
            report={"root": "/m/x"}, seeds=False, top_logprobs=5, echo=False, adapters=("tuned",)
        ) as poor,
    ):
        known = abilities.ask(access(full), MODEL, workspace)
        assert known.abilities == ALL
        asked = len(full.answers)
        both = abilities.ask(access(full, poor), MODEL, workspace)
        assert len(full.answers) == asked
        assert both.abilities == Abilities(seeds=False, top_logprobs=5, echo=None)
        assert both.model_id == known.model_id
        assert "tuned" in abilities.ask(access(poor), MODEL, workspace).names
        full.report["root"] = "/m/y"
        with pytest.raises(SolonError, match=r"root=/m/y .* now, .*root=/m/x .* before"):
            abilities.ask(access(full), MODEL, workspace)
        assert abilities.ask(access(full), MODEL, workspace).model_id != known.model_id
        with pytest.raises(InputError, match="another one"):
            abilities.ask(access(full, poor), MODEL, workspace)


def test_servers_that_are_not_there_are_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(SolonError, match=r"no server answers \(http://127"):
            abilities.ask(access(url), MODEL, Workspace(tmp_path))


def test_whoever_leaves_early_leaves_nothing_running(server: ScriptedServer) -> None:
    engine = engine_of(server, concurrency=1)
    answers: Any = engine.generate([request(f"question {n}") for n in range(500)])
    next(answers)
    answers.close()
    time.sleep(0.05)
    asked = len(server.answers)
    time.sleep(0.1)
    assert len(server.answers) == asked < 500
    assert len(answered(engine, [request()])) == 1


def test_the_key_is_not_shown(server: ScriptedServer) -> None:
    assert KEY not in repr(access(server, key=KEY))
