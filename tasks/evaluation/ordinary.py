"""Ordinary text that no policy is trained on: whether a model still reads English as it did.

24 passages of our own prose, 97 to 113 words each: stories, explanations, news, letters and
instructions. They are scored as raw text, outside any conversation. As an assistant's answer they
would tell how far the manner of answering moved, which training is meant to move; raw text has no
such manner, so what rises here is lost ability. The first token is not scored, as nothing stands
before it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from storage.ids import content_id
from tasks.evaluation.scores import Wanted
from tasks.generation.calls import Answer

FILE = Path(__file__).with_name("ordinary.jsonl")


@dataclass(frozen=True)
class Passage:
    """A text by itself; `passage_id` is its place in the memo of scores, as of a completion."""

    text: str

    @cached_property
    def passage_id(self) -> str:
        return content_id("passage", self.text)

    def wanted(self, model_id: str) -> Wanted:
        """Its mean negative log-probability a token under a model."""
        answer = Answer(self.passage_id, self.text, "length", 0)  # no end of a turn follows it
        return Wanted(answer, (), "nll", model_id, 1.0)


@cache
def passages() -> tuple[Passage, ...]:
    """Those that ship, in file order."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return tuple(Passage(json.loads(line)["text"]) for line in lines)
