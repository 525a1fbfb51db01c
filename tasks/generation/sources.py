"""Where pairs come from, and which prompt is given to which source.

    revision    a draft is criticised and rewritten under principles (Bai et al. 2022, section 3)
    distilled   a teacher that is shown the principles and answers that keep them, against a student
                that is shown neither (context distillation: Askell et al. 2021, section 2)
    candidates  several answers of one model, ranked (Bai et al. 2022, section 4)
    people      pairs that people judged, of a file, beside those of the prompts

A prompt has one of the first three sources, drawn like its principles by weighted rendezvous
hashing: another share moves only as many prompts as it must.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from constitution.assign import draw
from constitution.schema import Principle
from storage.ids import canonical_json
from tasks.generation.calls import Answer
from tasks.prompts import Prompt

Source = Literal["revision", "distilled", "candidates", "people"]


@dataclass(frozen=True)
class Pool:
    """The answers to a prompt from which a pair is made.

    `better` are presumed to be better than `worse`; of candidates, which nothing is presumed of,
    both are all of them. `principles`: what the pair is about. `revision_id`: the revision that is
    `better`; None for other sources.
    """

    prompt: Prompt
    source: Source
    principles: tuple[Principle, ...]
    better: tuple[Answer, ...]
    worse: tuple[Answer, ...]
    revision_id: str | None = None

    @property
    def answers(self) -> tuple[Answer, ...]:
        """All of them, each once, those presumed better first."""
        return tuple({a.completion_id: a for a in (*self.better, *self.worse)}.values())

    @property
    def row_id(self) -> str:
        """What an exclusion of the whole pool names: the revision, else the prompt."""
        return self.revision_id or self.prompt.prompt_id


def source_of(prompt_id: str, shares: Mapping[Source, float]) -> Source:
    """The source of a prompt; shares are relative and at least one is above 0."""

    def drawn(source: Source) -> float:
        message = canonical_json([prompt_id, "source", source])
        return draw(blake2b(message, digest_size=8).digest(), shares[source])

    return min((source for source in sorted(shares) if shares[source] > 0), key=drawn)
