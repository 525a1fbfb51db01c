"""Text as ordinary text: a tokenizer that knows none of a model's control tokens.

Control tokens are those that are flagged as special, and added tokens that the chat template or
the tags of thinking write: `<start_of_turn>`, `<think>`. What people, data and models write is
never one of them, however it is spelt. Added tokens of ordinary text (runs of spaces, say) stay.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tasks.report import JobInputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ANCHOR = "\U0010fff0"  # a character of nobody's; before a text that is not the first


def control_tokens(tokenizer: PreTrainedTokenizerBase, written: str) -> dict[str, int]:
    """The ids of control tokens by spelling; `written`: what the template writes of itself."""
    return {
        str(token.content): number
        for number, token in tokenizer.added_tokens_decoder.items()
        if str(token.content).strip() and (token.special or str(token.content) in written)
    }


class PlainText:
    """A tokenizer's ids of texts in which nothing is a control token.

    They go through the tokenizer itself; where that makes a control token of something, through a
    copy of it in which the spellings of control tokens are no entries of the vocabulary any more.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, controls: Mapping[str, int]) -> None:
        self._tokenizer, self.controls = tokenizer, dict(controls)
        unknown = tokenizer.unk_token_id
        ends = {tokenizer.eos_token_id, tokenizer.bos_token_id}
        harmless = {unknown} - ends  # what stands for any unknown text forges nothing
        self._forbidden = set(self.controls.values()) - harmless

    def ids(self, text: str, *, is_first: bool = True) -> list[int]:
        """Raises JobInputError where a text can only be encoded with a control token.

        is_first: not after other tokens, as some tokenizers begin a first text in another way.
        """
        if is_first:
            ids = self._tokenizer(text, add_special_tokens=False, split_special_tokens=True)
            found = list(ids["input_ids"])
            if self._forbidden.isdisjoint(found):
                return found
        is_anchored = not is_first and ANCHOR not in text
        anchor, copy = (ANCHOR, self._anchored) if is_anchored else ("", self.copy)
        found = list(copy.encode(anchor + text, add_special_tokens=False).ids)[len(anchor) :]
        if not self._forbidden.isdisjoint(found):
            rule = "the model's tokenizer has only control tokens for some of its characters"
            raise JobInputError(repr(text[:40]), rule, "leave out this text, or use another model")
        return found

    def is_control(self, text: str) -> bool:
        """Whether the tokenizer by itself would make a control token of something in a text."""
        if any(control in text for control in self.controls):
            return True
        if not self._normalizes:
            return False
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return not self._forbidden.isdisjoint(ids)

    @cached_property
    def _normalizes(self) -> bool:
        """Whether another spelling may become a control token: one that is changed to it."""
        known = self._tokenizer.added_tokens_decoder.values()
        return any(token.normalized for token in known if str(token.content) in self.controls)

    @cached_property
    def _anchored(self) -> Any:
        """The copy with one token of its own, after which a text is not the first."""
        from tokenizers import AddedToken, Tokenizer

        copy = Tokenizer.from_str(self.copy.to_str())
        copy.add_special_tokens([AddedToken(ANCHOR, special=True, normalized=False)])
        return copy

    @cached_property
    def copy(self) -> Any:
        """The tokenizer without control tokens. JobInputError where it is none of `tokenizers`."""
        backend: Any = getattr(self._tokenizer, "backend_tokenizer", None)
        if backend is None:
            rule = "its tokenizer (no tokenizer.json) cannot encode control tokens as text"
            raise JobInputError("the model", rule, "save it with a fast tokenizer")
        from tokenizers import Tokenizer

        described = json.loads(backend.to_str())
        kept = [t for t in described["added_tokens"] if t["content"] not in self.controls]
        described |= {"added_tokens": kept, "post_processor": None}
        described |= {"truncation": None, "padding": None}
        _forget(described["model"], set(self.controls) - {described["model"].get("unk_token")})
        return Tokenizer.from_str(json.dumps(described))


def _forget(model: dict[str, Any], spellings: Collection[str]) -> None:
    """Rename entries of a tokenizer's vocabulary to what no text can say; their ids stay."""
    vocabulary = model.get("vocab")

    def name(token: str) -> str:
        return f"\0{token}\0{ANCHOR}\0" if token in spellings else token

    if isinstance(vocabulary, dict):
        model["vocab"] = {name(token): number for token, number in vocabulary.items()}
    elif vocabulary is not None:  # Unigram: [token, score] in the order of ids
        model["vocab"] = [[name(token), score] for token, score in vocabulary]
    if merges := model.get("merges"):
        model["merges"] = [pair for pair in merges if _joined(pair) not in spellings]


def _joined(pair: str | list[str]) -> str:
    return pair.replace(" ", "", 1) if isinstance(pair, str) else "".join(pair)
