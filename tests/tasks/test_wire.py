"""What goes to a server and comes back, message by message."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from tasks.engines import wire
from tasks.engines.engine import Continuation, Request
from tasks.engines.wire import Abilities, Broken, Refused

ASKED = Request(({"role": "user", "content": "why?"},), None, 1.0, 0.9, ("END",), 20, 100, 1 << 63)


def body(reason: str | None = "stop", text: str | None = "so", **usage: int) -> dict[str, Any]:
    choice = {"message": {"content": text}, "finish_reason": reason}
    return {"choices": [choice], "usage": usage}


def test_a_request_says_what_the_server_understands() -> None:
    path, sent = wire.generation(ASKED, "m", Abilities())
    assert path == "/chat/completions"
    assert sent["seed"] == 0
    assert (sent["max_tokens"], sent["stop"], sent["top_p"]) == (20, ["END"], 0.9)
    newer = wire.generation(ASKED, "m", Abilities(seeds=False, limit="max_completion_tokens"))[1]
    assert "seed" not in newer
    assert newer["max_completion_tokens"] == 20


@pytest.mark.parametrize(
    ("reason", "ends"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "length"), ("eos_token", "stop")],
)
def test_how_an_answer_ended(reason: str, ends: str) -> None:
    found = wire.completion(3, ASKED, body(reason, prompt_tokens=5, completion_tokens=7))
    assert (found.index, found.text, found.finish_reason) == (3, "so", ends)
    assert (found.prompt_tokens, found.completion_tokens) == (5, 7)


@pytest.mark.parametrize(
    "half",
    [body(None), body("abort"), {"choices": []}, {"error": {"message": "no"}}, {"choices": [{}]}],
)
def test_half_an_answer_is_none(half: dict[str, Any]) -> None:
    with pytest.raises(Broken):
        wire.completion(0, ASKED, half)


def test_who_counts_no_tokens_may_have_used_them_all() -> None:
    assert wire.completion(0, ASKED, body()).completion_tokens == 20
    assert wire.completion(0, ASKED, body(completion_tokens=21)).completion_tokens == 20


def test_a_stop_string_and_what_follows_are_cut() -> None:
    assert wire.completion(0, ASKED, body(text="so be it END or not")).text == "so be it "
    assert wire.completion(0, ASKED, body(text=None)).text == ""


@pytest.mark.parametrize(
    ("status", "message", "code", "is_too_long"),
    [
        (400, "This model's maximum context length is 8192 tokens. However, you", "", True),
        (400, "x", "context_length_exceeded", True),
        (400, "the request exceeds the available context size", "", True),
        (400, "the prompt (9000 tokens) is too long", "", True),
        (400, "Input length (9000) exceeds model's max_model_len", "", True),
        (413, "", "", True),
        (400, "temperature must be at most 2", "", False),
        (401, "context length", "", False),
    ],
)
def test_which_refusals_say_that_a_prompt_is_too_long(
    status: int, message: str, code: str, is_too_long: bool
) -> None:
    found = wire.refused(0, ASKED, Refused(status, message, code))
    assert (found is not None and found.finish_reason == "too_long") == is_too_long


def test_a_filtered_prompt_has_a_cut_answer() -> None:
    found = wire.refused(0, ASKED, Refused(400, "no", "content_filter"))
    assert found
    assert (found.text, found.finish_reason) == ("", "length")


def test_an_option_that_is_not_told_has_at_most_what_is_left() -> None:
    top = [{"token": "A", "logprob": math.log(0.9)}, {"token": "x", "logprob": math.log(0.09)}]
    told = {"choices": [{"logprobs": {"content": [{**top[0], "top_logprobs": top}]}}]}
    options = [Continuation(({"role": "user", "content": "?"},), option, False) for option in "AB"]
    found = wire.option_scores(list(enumerate(options)), told)
    assert [score.value for score in found] == pytest.approx([math.log(0.9), math.log(0.01)])


def test_given_text_is_scored_without_its_first_token_and_what_was_added() -> None:
    told = {"tokens": ["on", "e two", " more"], "token_logprobs": [None, -1.0, -9.0]}
    found = wire.echo_score(0, "one two", {"choices": [{"logprobs": told}]})
    assert found.logprobs == [-1.0]


def test_two_servers_can_do_what_both_can() -> None:
    one = Abilities(True, 20, 0)
    assert one.both(replace(one, seeds=False, top_logprobs=5, echo=1)) == Abilities(False, 5, None)
