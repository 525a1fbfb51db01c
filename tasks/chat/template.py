"""A model's chat template: rendered as transformers does, and what it takes and writes.

Rendered in jinja2's sandbox, with the names that a template may use. So a plan can try a template
without weights and without transformers. What a template does is found out by giving it short
conversations, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError
from jinja2.utils import Namespace

from tasks.chat.calls import CALLS, RESULT, with_calls
from tasks.chat.manner import DEFAULT, Manner
from tasks.report import JobInputError

Turn = Mapping[str, str]

SWITCHES = ("enable_thinking", "thinking")
"""The names under which templates ask whether the model is to think aloud."""
FAILURES = (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a template raises that does not like what it is given."""
FIX = "use another model, or mend chat_template.jinja in a copy of its folder"
MARKS = "solonrule", "solonask", "solonanswer", "solonother", "solonreply"
"""Texts of the conversations that are tried: words, which no template changes."""


class Refusal(JobInputError):
    """A template does not take a conversation."""


class _Generation(Extension):
    """`{% generation %}` marks what an assistant wrote; here it is only what stands in it."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Namespace(Namespace):
    """Jinja's, without names that reach into Python."""

    def __init__(*args: Any, **values: Any) -> None:
        self, *given = args
        if any(name.startswith("_") for name in dict(*given, **values)):
            raise SecurityError("a template may not use names that begin with _")
        Namespace.__init__(self, *given, **values)

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError("a template may not use names that begin with _")
        super().__setitem__(name, value)


def _raise(message: str) -> NoReturn:
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _environment() -> ImmutableSandboxedEnvironment:
    found = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    found.filters["tojson"] = _to_json
    return found


def _functions(now: datetime) -> dict[str, Any]:
    """What templates may call."""
    return {
        "raise_exception": _raise,
        "strftime_now": lambda form: now.strftime(str(form)),
        "namespace": _Namespace,
        "dict": lambda *args, **values: dict(*args, **values),
    }


@dataclass(frozen=True)
class Traits:
    """What a template takes, and what it writes of itself.

    takes_system: a system message that comes first is taken, and kept. takes_later_system: also one
    in the middle. takes_neighbours: also two turns of one role, one after the other. opening: what
    stands between the last question and the answer. closing: what stands after the last answer.
    takes_calls: calls of tools and what these gave are taken, and kept.
    """

    takes_system: bool
    takes_later_system: bool
    takes_neighbours: bool
    opening: str
    closing: str
    takes_calls: bool = False


class Template:
    """A chat template with the names of special tokens that it may write, and how it is filled.

    Raises Refusal where it cannot be read.
    """

    def __init__(self, source: str, names: Mapping[str, str], manner: Manner = DEFAULT) -> None:
        self.source, self.manner = source, manner
        self._names = dict(names)
        environment = _environment()
        try:
            # before it has functions: what is known is not among the names that are asked for
            self.asks_for = frozenset(meta.find_undeclared_variables(environment.parse(source)))
            environment.globals |= _functions(manner.now)
            self._compiled = environment.from_string(source)
        except TemplateSyntaxError as error:
            rule = f"line {error.lineno} of the chat template cannot be read ({error.message})"
            raise Refusal("messages", rule, FIX) from None

    @property
    def reads_clock(self) -> bool:
        return "strftime_now" in self.asks_for

    @property
    def has_switch(self) -> bool:
        """Whether it asks if the model is to think aloud."""
        return not self.asks_for.isdisjoint(SWITCHES)

    @property
    def filling(self) -> dict[str, Any]:
        """What of the manner changes what this template writes: part of a model's identity."""
        thinking, date = self.manner.thinking, self.manner.date
        asked = {"thinking": thinking} if self.has_switch and thinking is not None else {}
        return asked | ({"date": date} if self.reads_clock else {})

    def render(self, messages: Sequence[Turn], *, opening: bool = True) -> str:
        """The text of a conversation; with `opening` up to where the assistant's answer starts.

        Raises Refusal where the template does not take it, with the template's own words.
        """
        thinking = self.manner.thinking
        switches = {} if thinking is None else dict.fromkeys(SWITCHES, thinking)
        try:
            return self._compiled.render(
                messages=with_calls(messages, as_text=False),
                tools=None,
                documents=None,
                add_generation_prompt=opening,
                **self._names,
                **switches,
            )
        except FAILURES as error:
            roles = ", ".join(message["role"] for message in messages) or "none"
            words = " ".join(str(error).split())[:200] or type(error).__name__
            rule = f"the model's chat template refuses this conversation: {words}"
            raise Refusal(f"turns of {roles}", rule, FIX) from None

    def takes(self, messages: Sequence[Turn], *, opening: bool = True) -> bool:
        """Whether the template renders these messages, and leaves nothing of them out."""
        try:
            text = self.render(messages, opening=opening)
        except Refusal:
            return False
        return all(message["content"] in text for message in messages)

    @cached_property
    def traits(self) -> Traits:
        """Found out by trying. Raises Refusal where it takes not even a question by itself."""
        rule, ask, answer, other, reply = MARKS
        question, answered = turn("user", ask), [turn("user", ask), turn("assistant", answer)]
        first = turn("system", rule)
        longer = [*answered, turn("user", other)]
        opened = self.render([question])
        if ask not in opened:
            rule = "the model's chat template leaves out what is asked"
            raise Refusal("messages", rule, FIX)
        return Traits(
            takes_system=self.takes([first, question]) and self.takes([first, *longer]),
            takes_later_system=self.takes([*answered, first, turn("user", other)]),
            takes_neighbours=self.takes([question, turn("user", other)])
            and self.takes([*answered, turn("assistant", reply), turn("user", other)]),
            opening=opened.rpartition(ask)[2],
            closing=self._closing(answered),
            takes_calls=self._takes_calls(question),
        )

    def _takes_calls(self, question: Turn) -> bool:
        """Whether name and argument of a call, and what came of it, are written."""
        rule, _, answer, other, reply = MARKS
        calls = json.dumps([{"name": rule, "arguments": {"a": reply}}])
        called = turn("assistant", "") | {CALLS: calls}
        talk = [question, called, turn(RESULT, answer), turn("user", other)]
        try:
            text = self.render(talk)
        except Refusal:
            return False
        return all(mark in text for mark in MARKS)

    def _closing(self, answered: Sequence[Turn]) -> str:
        """What is written after an answer; nothing where that cannot be told."""
        try:
            return self.render(answered, opening=False).rpartition(answered[-1]["content"])[2]
        except Refusal:
            return ""


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
