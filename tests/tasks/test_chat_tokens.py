"""Ids by parts: of prompts, answers and what ends them; no text forges a token or a turn."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from tasks.chat.manner import Manner
from tasks.chat.tokens import (
    Chat,
    chat_of,
    conversation_ids,
    document_ids,
    prompt_ids,
    response_ids,
    text_ids,
)
from tasks.report import JobInputError

from .chat_families import ENDS, KINDS, PLAIN, SPECIAL, TEMPLATES, family, tokenizer_of

ASK = [{"role": "user", "content": "what is the capital of Spain ?"}]
LONGER = [
    *ASK,
    {"role": "assistant", "content": "Madrid ."},
    {"role": "user", "content": "hello : I"},
]


def rendered(tokenizer: Any, messages: list[Any], opening: bool = True) -> list[int]:
    found: list[int] = tokenizer.apply_chat_template(
        messages, add_generation_prompt=opening, return_dict=False
    )
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"llama"}))
def test_a_prompt_is_what_transformers_makes_of_it(name: str, kind: str) -> None:
    """But for Llama's, which has today's date."""
    tokenizer = family(name, kind)
    for messages in (ASK, LONGER):
        assert prompt_ids(tokenizer, messages) == rendered(tokenizer, messages)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_what_is_trained_on_begins_with_what_generation_saw_and_ends_the_turn(
    name: str, kind: str
) -> None:
    tokenizer = family(name, kind)
    messages = [{"role": "system", "content": "hello"}, *LONGER]
    prompt, whole = (
        prompt_ids(tokenizer, messages),
        conversation_ids(tokenizer, messages, "Madrid ."),
    )
    assert whole[: len(prompt)] == prompt
    end = tokenizer.convert_tokens_to_ids(ENDS[name])
    assert chat_of(tokenizer).end == end
    rest = whole[len(prompt) :]
    assert rest.count(end) == 1
    assert not tokenizer.decode(rest[rest.index(end) + 1 :]).strip()
    assert rest == response_ids(tokenizer, "Madrid .")


@pytest.mark.parametrize("name", ["chatml", "qwen"])
def test_a_template_without_faults_is_trained_on_as_it_renders(name: str) -> None:
    tokenizer = family(name)
    for answer in ("Madrid.", "In short, yes.\n\nWhy?", "é 漢字 🙂"):
        messages = [*LONGER, {"role": "assistant", "content": answer}]
        whole = rendered(tokenizer, messages, opening=False)
        assert conversation_ids(tokenizer, LONGER, answer) == whole


def test_system_text_in_the_last_user_turn_stays_in_what_is_trained_on() -> None:
    tokenizer = family("mistral")
    messages = [{"role": "system", "content": "hello hello"}, *ASK]
    whole = tokenizer.decode(conversation_ids(tokenizer, messages, "Madrid ."))
    assert "hello hello\n\nwhat is" in whole
    assert whole.endswith("[/INST]Madrid .</s>")


def test_a_template_without_an_end_has_the_tokenizers() -> None:
    tokenizer = family("chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "")
    assert response_ids(tokenizer, "x")[-1] == tokenizer.eos_token_id


def test_a_model_without_any_end_is_refused() -> None:
    tokenizer = family("chatml", "ours")
    tokenizer.chat_template = "{% for turn in messages %}{{ turn['content'] }}\n{% endfor %}"
    tokenizer.eos_token = None
    with pytest.raises(JobInputError, match="a token that ends an answer"):
        response_ids(tokenizer, "x")


def test_a_bos_is_written_once() -> None:
    for kind in KINDS:
        tokenizer = family("mistral", kind)
        assert prompt_ids(tokenizer, LONGER).count(tokenizer.bos_token_id) == 1
        assert document_ids(tokenizer, "<s>hello").count(tokenizer.bos_token_id) == 0


def test_a_thought_that_the_template_opens_is_closed_before_an_answer_to_learn() -> None:
    tokenizer = family("reasoner")
    whole = tokenizer.decode(conversation_ids(tokenizer, ASK, "Madrid"))
    assert whole.endswith("<|assistant|><think>\n\n</think>\n\nMadrid</s>")


def test_the_switch_for_thinking_is_the_same_in_prompt_and_training() -> None:
    tokenizer = family("qwen")
    for thinking, end in ((False, "assistant\n<think>\n\n</think>\n\n"), (True, "assistant\n")):
        chat = Chat(tokenizer, Manner(thinking=thinking))
        assert tokenizer.decode(chat.prompt(ASK)).endswith(end)
        whole = tokenizer.decode(chat.conversation(ASK, "Madrid"))
        assert whole.endswith(f"{end}Madrid<|im_end|>\n")


# Pieces from which forgeries are made: whole tokens, halves, wide forms, marks, the anchor.
PIECES = [*SPECIAL, *PLAIN, "<|im_", "end|>", "<|", "|>", "\ue000", "\U0010fff0", "<s", "unk>", " "]
PIECES += ["＜start_of_turn＞", "<think", "[UNK]", "<unk>", "<0x0A>", "\n", "user", "\0", "▁", "漢"]
TEXTS = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)), max_size=8).map("".join)


def forged(chat: Chat, ids: list[int], unknown: int | None) -> list[int]:
    known = set(chat.controls.values()) - {unknown}
    return [number for number in ids if number in known]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("gemma", "bytes"),
        ("qwen", "words"),
        ("gemma", "unigram"),
        ("mistral", "pieces"),
        ("qwen", "ours"),
    ],
)
@settings(max_examples=60, deadline=None)
@given(asked=TEXTS, said=TEXTS, answer=TEXTS)
def test_no_text_adds_a_control_token_or_a_turn(
    name: str, kind: str, asked: str, said: str, answer: str
) -> None:
    tokenizer = family(name, kind)
    chat, unknown = chat_of(tokenizer), tokenizer.unk_token_id
    texts = [asked, said, answer]
    if kind == "ours":
        unknown = None

    def turns(first: str, second: str, third: str) -> list[dict[str, str]]:
        roles = ("system", first), ("user", first), ("assistant", second), ("user", third)
        return [{"role": role, "content": text} for role, text in roles]

    usual = forged(chat, chat.prompt(turns("x", "y", "z")), unknown)
    assert forged(chat, chat.prompt(turns(*texts)), unknown) == usual
    assert forged(chat, text_ids(tokenizer, answer), unknown) == []
    end = chat.response(answer)
    assert forged(chat, end, unknown) == [chat.end]


def test_spelt_out_tokens_keep_the_text() -> None:
    """As far as a tokenizer gives texts back at all."""
    for kind in ("bytes", "pieces"):
        tokenizer = family("gemma", kind)
        text = "hello <end_of_turn> <think> hello"
        assert tokenizer.decode(text_ids(tokenizer, text)).strip() == text
        shown = tokenizer.decode(prompt_ids(tokenizer, [{"role": "user", "content": text}]))
        assert text in shown


def test_added_tokens_of_ordinary_text_stay() -> None:
    tokenizer = tokenizer_of("bytes")
    tokenizer.add_tokens(["    "])
    tokenizer.chat_template = TEMPLATES["chatml"]
    number = tokenizer.convert_tokens_to_ids("    ")
    assert number in text_ids(tokenizer, "a    b")
    assert number in text_ids(tokenizer, "a    <|im_end|>")
    tokenizer_of.cache_clear()
