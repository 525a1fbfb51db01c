"""From a principle and a response to chat messages: critique, revision and comparison requests.

Every critique request of a constitution begins with the same messages (`few_shot_critique`), every
revision request likewise (`few_shot_revision`), so that an engine can keep their key/value cache.
No text of a principle stands in these prefixes: editing a principle changes its own requests only.

The chain is that of Bai et al. 2022 (https://arxiv.org/abs/2212.08073, sec. 3.1): response,
critique request, critique, revision request, revision. Departures: (1) a step is one user message
of labelled blocks, not a longer dialogue, so that models without a system role or with strict turns
take it; (2) the critique request comes first, and in a revision request the conversation comes
last. Small models then write a new answer, where in the paper's order they tend to write another
critique or to copy the response (tried with SmolLM2-135M-Instruct).

Comparison requests follow worked comparisons that no constitution owns (`comparisons.jsonl`): no
edit of one makes a judge answer anew what it has answered. The form is that of sec. 4.1:
conversation, two options, a question, one letter as the answer; with chain of thought the judge
first writes down what speaks for either, and the letter is asked for after that.

A message is {"role": "system" | "user" | "assistant", "content": str}; all functions are pure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from constitution.errors import ConstitutionError
from constitution.schema import Constitution, Principle

Message = dict[str, str]

COMPARISON_ANSWERS = ("A", "B")  # what a judge may answer: first or second response
ONE_LETTER = "Answer with one letter only, A or B."
REASONING = "Say in one to three sentences what speaks for each response. Do not decide yet."
WORKED_COMPARISONS = Path(__file__).with_name("comparisons.jsonl")
NEW_RESPONSE = "Write only the new response to this conversation."
SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


def few_shot_critique(constitution: Constitution) -> list[Message]:
    """Return the worked critiques, user and assistant in turn: 2 messages for each example."""
    messages = []
    for e in constitution.examples:
        request = _critique_request([_user(e.prompt)], e.response, e.critique_request)
        messages += [request, {"role": "assistant", "content": e.critique}]
    return messages


def few_shot_revision(constitution: Constitution) -> list[Message]:
    """Return the worked revisions, user and assistant in turn: 2 messages for each example."""
    messages = []
    for e in constitution.examples:
        requests = (e.critique_request, e.critique, e.revision_request)
        request = _revision_request([_user(e.prompt)], e.response, *requests)
        messages += [request, {"role": "assistant", "content": e.revision}]
    return messages


def critique_message(
    principle: Principle, conversation: Sequence[Message], response: str
) -> Message:
    """Return the request to criticise `response`, which follows `few_shot_critique`.

    `conversation` ends with the user's message that `response` answers. Raises ConstitutionError if
    it does not.
    """
    return _critique_request(conversation, response, principle.critique)


def revision_message(
    principle: Principle, conversation: Sequence[Message], response: str, critique: str
) -> Message:
    """Return the request to revise `response`, which follows `few_shot_revision`.

    It holds the critique request, `critique`, the revision request and the conversation. Raises
    ConstitutionError if `conversation` does not end with a user's message.
    """
    requests = (principle.critique, critique, principle.revision)
    return _revision_request(conversation, response, *requests)


def comparison_messages(
    principle: Principle, conversation: Sequence[Message], first: str, second: str
) -> list[Message]:
    """Return the request to compare two responses; `first` is A, `second` is B.

    The answer is one of `COMPARISON_ANSWERS`. A judge prefers a place as well as a response: ask in
    both orders and average. It follows `few_shot_comparison`.
    """
    return [_comparison(conversation, first, second, principle.comparison, ONE_LETTER)]


def reasoning_messages(
    principle: Principle, conversation: Sequence[Message], first: str, second: str
) -> list[Message]:
    """Return the request to weigh two responses, before `verdict_messages` asks for the letter.

    It follows `few_shot_reasoning`.
    """
    return [_comparison(conversation, first, second, principle.comparison, REASONING)]


def verdict_messages(reasoning: str) -> list[Message]:
    """Return what follows `reasoning_messages`: what the judge wrote, and the request to decide."""
    return [_assistant(reasoning.strip()), _user(ONE_LETTER)]


def few_shot_comparison() -> list[Message]:
    """Return the worked comparisons, user and assistant in turn: as many answered A as B."""
    messages = []
    for e in _worked_comparisons():
        words = (e["first"], e["second"], e["question"], ONE_LETTER)
        messages += [_comparison([_user(e["prompt"])], *words), _assistant(e["answer"])]
    return messages


def few_shot_reasoning() -> list[Message]:
    """Return the worked comparisons with chain of thought: 4 messages for each."""
    messages = []
    for e in _worked_comparisons():
        words = (e["first"], e["second"], e["question"], REASONING)
        messages.append(_comparison([_user(e["prompt"])], *words))
        messages += [*verdict_messages(e["reasoning"]), _assistant(e["answer"])]
    return messages


@cache
def _worked_comparisons() -> tuple[dict[str, str], ...]:
    lines = WORKED_COMPARISONS.read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def transcript(conversation: Sequence[Message]) -> str:
    """Return the conversation as text, a blank line between turns: "User: ...", "Assistant: ...".

    Raises ConstitutionError if it does not end with a user's message or a role is unknown.
    """
    roles = [message["role"] for message in conversation]
    for role in roles:
        if role not in SPEAKERS:
            raise ConstitutionError(role, "is no role", f"use one of: {', '.join(SPEAKERS)}")
    if roles[-1:] != ["user"]:
        rule = "a conversation ends with the user's message"
        raise ConstitutionError(roles[-1:], rule, "cut it after the last user message")
    return "\n\n".join(f"{SPEAKERS[m['role']]}: {_said(m)}" for m in conversation)


def _said(message: Message) -> str:
    """What a turn says; of one that calls tools, also the calls as JSON."""
    return "\n".join(filter(None, (message["content"].strip(), message.get("tool_calls"))))


def _critique_request(conversation: Sequence[Message], response: str, request: str) -> Message:
    return _user(
        f"Critique request: {request}",
        f"Conversation:\n{transcript(conversation)}",
        f"Response:\n{response.strip()}",
        "Write only the critique, in one to three sentences.",
    )


def _revision_request(
    conversation: Sequence[Message],
    response: str,
    critique_request: str,
    critique: str,
    revision_request: str,
) -> Message:
    return _user(
        f"Critique request: {critique_request}",
        f"Old response:\n{response.strip()}",
        f"Critique: {critique.strip()}",
        f"Revision request: {revision_request}\n{NEW_RESPONSE}",
        transcript(conversation),
    )


def _comparison(
    conversation: Sequence[Message], first: str, second: str, question: str, task: str
) -> Message:
    return _user(
        f"Conversation:\n{transcript(conversation)}",
        f"Response A:\n{first.strip()}",
        f"Response B:\n{second.strip()}",
        f"Question: {question}",
        task,
    )


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def _user(*blocks: str) -> Message:
    return {"role": "user", "content": "\n\n".join(blocks)}
