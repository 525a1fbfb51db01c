"""Token ids of conversations, of texts, and of what ends an answer: said once for all.

A conversation's ids are those of its prompt, then those of the response as plain text, then what
ends a turn: put together from parts, so that what is trained on begins with exactly what generation
saw, wherever the template puts a system message, and ends with the token that ends a turn, whether
or not the template writes one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from tasks.chat.calls import CALLS, said
from tasks.chat.fold import fold
from tasks.chat.manner import DEFAULT, Manner
from tasks.chat.plain import PlainText, control_tokens
from tasks.chat.template import MARKS, Template, Turn, turn
from tasks.chat.think import Thinking, opens_thought
from tasks.report import JobInputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHATS: WeakKeyDictionary[Any, Chat] = WeakKeyDictionary()


class Chat:
    """A tokenizer's conversations as token ids. Raises JobInputError without a chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, manner: Manner = DEFAULT) -> None:
        self._tokenizer, self.manner = tokenizer, manner
        self.written_by = tokenizer.chat_template
        if not self.written_by:
            rule = "the model has no chat template"
            raise JobInputError("messages", rule, "use an instruction-tuned model, or send text")
        names = {name: str(value) for name, value in tokenizer.special_tokens_map.items()}
        self.template = Template(tokenizer.get_chat_template(), names, manner)
        self.controls = control_tokens(tokenizer, self._written)
        self.plain = PlainText(tokenizer, self.controls)

    @cached_property
    def _written(self) -> str:
        """All that the template writes of itself, as far as it shows, and the tags of thinking."""
        rule, ask, answer, other, _ = MARKS
        roles = ("system", rule), ("user", ask), ("assistant", answer), ("user", other)
        folded = fold([turn(*each) for each in roles], self.template.traits)
        return "".join(
            (self.template.source, self.template.render(folded), *self.manner.think_tags)
        )

    def prompt(self, messages: Sequence[Turn]) -> list[int]:
        """Ids up to where the assistant's next message starts. What it thought before its earlier
        ones is not said again.
        """
        folded = fold([self._heard(message) for message in messages], self.template.traits)
        hidden, marks = self._hide(folded)
        text = self.template.render(hidden)
        if not marks:
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._encode_marked(text, marks)

    def _heard(self, message: Turn) -> Turn:
        is_answer = message["role"] == "assistant"
        text = Thinking(self.manner.think_tags).answer(message["content"]) if is_answer else None
        return message if text is None else {**message, "content": text}

    def response(self, text: str) -> list[int]:
        """Ids of an answer and of what ends its turn. A thought that the template opens is closed
        before it.
        """
        return [*self._bridge, *self.plain.ids(text), *self.closing]

    def conversation(self, messages: Sequence[Turn], response: str) -> list[int]:
        return [*self.prompt(messages), *self.response(response)]

    @cached_property
    def end(self) -> int:
        """The token that ends an answer: the first that the template writes after one, else the
        tokenizer's. Raises JobInputError where there is neither.
        """
        found = _first(self.template.traits.closing, self.controls)
        number = self.controls[found] if found else self._tokenizer.eos_token_id
        if number is None:
            rule = "neither its chat template nor its tokenizer has a token that ends an answer"
            raise JobInputError("the model", rule, "name an eos_token in its tokenizer_config.json")
        return int(number)

    @cached_property
    def closing(self) -> list[int]:
        """The token that ends a turn, and the spaces that the template writes behind it."""
        text = self.template.traits.closing
        found = _first(text, self.controls)
        if not found:
            return [self.end]
        after = text.partition(found)[2]
        spaces = after[: len(after) - len(after.lstrip())]
        return list(self._tokenizer(found + spaces, add_special_tokens=False)["input_ids"])

    @cached_property
    def thinking(self) -> Thinking:
        """How a fresh answer's thoughts are told from the answer."""
        return Thinking(self.manner.think_tags, opens_thought(self.template))

    @cached_property
    def _bridge(self) -> list[int]:
        if not self.thinking.is_opened:
            return []
        bridge = f"\n{self.manner.think_tags[1]}\n\n"
        return list(self._tokenizer(bridge, add_special_tokens=False)["input_ids"])

    def _hide(self, messages: Sequence[Turn]) -> tuple[list[dict[str, str]], dict[str, str]]:
        """The messages with a mark for every control token that their texts spell, and what the
        marks stand for. Somebody who writes `<|im_end|>` means these ten characters.
        """
        written = "".join(map(said, messages))
        unused = _unused(written + self.template.source)
        found = sorted((c for c in self.controls if c in written), key=len, reverse=True)
        marks = {next(unused): control for control in found}
        hidden = []
        for message in messages:
            content, calls = message["content"], message.get(CALLS, "")
            for mark, control in marks.items():
                content, calls = content.replace(control, mark), calls.replace(control, mark)
            if self.plain.is_control(content):  # in a spelling that the tokenizer changes
                mark = next(unused)
                marks[mark], content = message["content"], mark
            if self.plain.is_control(calls):
                rule = "spells a control token as the tokenizer would change it"
                raise JobInputError("a call of a tool", rule, "leave out this conversation")
            hidden.append({**message, "content": content} | ({CALLS: calls} if calls else {}))
        return hidden, marks

    def _encode_marked(self, text: str, marks: dict[str, str]) -> list[int]:
        """The template's own control tokens as such; between them, where there is a mark, the text
        that it stands for as plain text.
        """
        _ = self.plain.copy  # which says so where the tokenizer cannot do this
        coded = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = list(coded["input_ids"]), list(coded["offset_mapping"])
        found: list[int] = []
        start = 0
        places = [i for i, (a, b) in enumerate(offsets) if text[a:b].strip() in self.controls]
        for place in [*places, len(ids)]:
            begin = offsets[start - 1][1] if start else 0
            end = offsets[place][0] if place < len(ids) else len(text)
            part = text[begin:end]
            if any(mark in part for mark in marks):
                shown = re.sub(f"[{''.join(marks)}]", lambda m: marks[m[0]], part)
                found += self.plain.ids(shown, is_first=not start)
            else:
                found += ids[start:place]
            found += ids[place : place + 1]
            start = place + 1
        return found


def _unused(said: str) -> Iterator[str]:
    """Characters for private use that a text does not hold. JobInputError where it has them all."""
    for code in (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE)):
        if chr(code) not in said:
            yield chr(code)
    raise JobInputError("a text", "holds every character for private use", "leave it out")


def _first(text: str, controls: dict[str, int]) -> str:
    """The control token that comes first in a text, the longest of those there; "" for none."""
    places = [(text.index(c), -len(c), c) for c in controls if c in text]
    return min(places)[2] if places else ""


def chat_of(tokenizer: PreTrainedTokenizerBase) -> Chat:
    """The conversations of a tokenizer, in the manner it was given by `set_manner`."""
    found = _CHATS.get(tokenizer)
    if found is None or found.written_by != tokenizer.chat_template:
        manner = found.manner if found else DEFAULT
        found = _CHATS[tokenizer] = Chat(tokenizer, manner)
    return found


def set_manner(tokenizer: PreTrainedTokenizerBase, manner: Manner) -> None:
    """How the tokenizer's template is filled from now on; a base model's has none."""
    if tokenizer.chat_template:
        _CHATS[tokenizer] = Chat(tokenizer, manner)


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Turn]) -> list[int]:
    """Ids of a conversation up to where the assistant's next message starts."""
    return chat_of(tokenizer).prompt(messages)


def response_ids(tokenizer: PreTrainedTokenizerBase, response: str) -> list[int]:
    """Ids of an answer after its prompt, with the token that ends its turn."""
    return chat_of(tokenizer).response(response)


def conversation_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Turn], response: str
) -> list[int]:
    """Ids of the whole conversation with its response."""
    return chat_of(tokenizer).conversation(messages, response)


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text in which nothing is a control token, whatever it says."""
    if tokenizer.chat_template:
        return chat_of(tokenizer).plain.ids(text)
    return PlainText(tokenizer, control_tokens(tokenizer, "")).ids(text)


def document_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text outside any conversation, with what the tokenizer itself puts around one."""
    whole = list(tokenizer(text)["input_ids"])
    inner = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    before = next(i for i in range(len(whole) + 1) if whole[i : i + len(inner)] == inner)
    return [*whole[:before], *text_ids(tokenizer, text), *whole[before + len(inner) :]]


def end_tokens(model: Any, tokenizer: Any, extra: Sequence[int] = ()) -> list[int]:
    """The ids that end an answer: the one with which the template ends a turn, the tokenizer's,
    the generation settings' and `extra`; sorted.
    """
    configured = model.generation_config.eos_token_id if model.generation_config else None
    listed = configured if isinstance(configured, list) else [configured]
    own = [chat_of(tokenizer).end] if tokenizer.chat_template else []
    found = {tokenizer.eos_token_id, *listed, *own, *extra}
    return sorted(token for token in found if token is not None)
