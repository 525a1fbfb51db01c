"""What a model thinks aloud, and what it answers: the ledger keeps both, all else reads answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.chat.manner import THINK_TAGS
from tasks.chat.template import Template


@dataclass(frozen=True)
class Thinking:
    """How a model's thoughts are told from its answers.

    tags: around a thought. is_opened: the chat template itself opens one before every answer, so
    that a text without a closing tag is all thought.
    """

    tags: tuple[str, str] = THINK_TAGS
    is_opened: bool = False

    def answer(self, text: str) -> str | None:
        """The text without its thoughts, and then without spaces around it; None where a thought
        has no end.

        A closing tag alone ends a thought as well: some templates write the tag that opens it.
        """
        opening, closing = self.tags
        if closing not in text and (self.is_opened or opening in text):
            return None
        if closing not in text:
            return text
        left = re.sub(f"{re.escape(opening)}.*?{re.escape(closing)}", "", text, flags=re.DOTALL)
        left = left.rpartition(closing)[2]
        return None if opening in left else left.strip()


ALOUD = Thinking()


def opens_thought(template: Template) -> bool:
    """Whether the template itself begins a thought before each answer."""
    opening, closing = template.manner.think_tags
    _, is_begun, after = template.traits.opening.rpartition(opening)
    return bool(is_begun) and closing not in after
