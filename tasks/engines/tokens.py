"""Token ids of conversations, in padded batches, and the ids that end an answer: said once for all.

Masks come from lengths and never from ids, as the padding may equal a token that occurs.
Shapes: B rows, T tokens of the longest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tasks.report import JobInputError


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any]) -> list[int]:
    """Ids of a conversation up to where the assistant's next message starts."""
    return _rendered(tokenizer, list(messages), True)


def conversation_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Any], response: str
) -> list[int]:
    """Ids of the whole conversation with its response, ending as the template ends a message."""
    return _rendered(tokenizer, [*messages, {"role": "assistant", "content": response}], False)


def _rendered(
    tokenizer: PreTrainedTokenizerBase, messages: list[Any], has_opening: bool
) -> list[int]:
    if not tokenizer.chat_template:
        rule = "the model has no chat template"
        raise JobInputError("messages", rule, "use an instruction-tuned model, or send text")
    if hidden := _hidden_controls(tokenizer, messages):
        messages, marks = hidden
        rendered = str(
            tokenizer.apply_chat_template(
                messages, add_generation_prompt=has_opening, tokenize=False
            )
        )
        parts = re.split(f"({'|'.join(marks)})", rendered)
        plain = [
            text_ids(tokenizer, marks[part])
            if part in marks
            else list(tokenizer(part, add_special_tokens=False)["input_ids"])
            for part in parts
            if part
        ]
        return [token for part in plain for token in part]
    ids = tokenizer.apply_chat_template(
        messages, add_generation_prompt=has_opening, tokenize=True, return_dict=False
    )
    return list(ids)


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Ids of a text in which nothing is a control token, whatever it says."""
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return list(ids)


def _hidden_controls(
    tokenizer: PreTrainedTokenizerBase, messages: list[Any]
) -> tuple[list[Any], dict[str, str]] | None:
    """The messages with a mark for each spelling of a control token in what they say, and what
    the marks stand for; None where there are none.

    Somebody who writes `<|im_end|>` means these ten characters, and ends no turn.
    """
    controls = {str(t.content) for t in tokenizer.added_tokens_decoder.values() if t.special}
    said = "".join(str(message["content"]) for message in messages)
    found = sorted((c for c in controls if c and c in said), key=len, reverse=True)
    if not found:
        return None
    unused = (chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in said)
    marks = dict(zip(unused, found, strict=False))
    cleaned = []
    for message in messages:
        content = str(message["content"])
        for mark, control in marks.items():
            content = content.replace(control, mark)
        cleaned.append({**message, "content": content})
    return cleaned, marks


def pad(
    rows: Sequence[Sequence[int]],
    value: int = 0,
    *,
    left: bool = False,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """ids [B, T] int64 and mask [B, T] bool of rows padded with `value`, on the left or right."""
    width = max(len(row) for row in rows)
    ids = [
        [value] * (width - len(row)) + list(row) if left else [*row, *[value] * (width - len(row))]
        for row in rows
    ]
    lengths = torch.tensor([len(row) for row in rows], device=device)[:, None]
    columns = torch.arange(width, device=device)
    mask = columns >= width - lengths if left else columns < lengths
    return torch.tensor(ids, dtype=torch.long, device=device), mask


def positions(mask: Tensor) -> Tensor:
    """Position ids [B, T] of a padded batch: 0 at the first attended token."""
    return (mask.long().cumsum(-1) - 1).clamp(min=0)


def last_attended(hidden: Tensor, mask: Tensor) -> Tensor:
    """[B, T, H] -> [B, H] at the last attended token of rows padded on the right."""
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]


def end_tokens(model: Any, tokenizer: Any, extra: Sequence[int] = ()) -> list[int]:
    """The ids that end an answer: the tokenizer's, the generation settings' and `extra`; sorted."""
    configured = model.generation_config.eos_token_id if model.generation_config else None
    listed = configured if isinstance(configured, list) else [configured]
    found = {tokenizer.eos_token_id, *listed, *extra}
    return sorted(token for token in found if token is not None)
