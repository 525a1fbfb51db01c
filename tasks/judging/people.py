"""What people said: pairs of their own, and verdicts that outrank programs and the judge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from storage.ids import digest
from tasks.generation.calls import Answer
from tasks.generation.labels import Verdicts
from tasks.generation.sources import Pool
from tasks.judging.gold import GoldPair


@dataclass(frozen=True)
class People:
    """Their pairs as pools, and what they said of which texts."""

    pools: tuple[Pool, ...] = ()
    verdicts: Verdicts = field(default_factory=dict)


def people(said: Iterable[GoldPair]) -> People:
    """Of a file of theirs, read as gold pairs are."""
    pools = []
    verdicts: Verdicts = {}
    for pair in said:
        first, second = _as_answer(pair.first), _as_answer(pair.second)
        better, worse = (first, second) if pair.is_first_better else (second, first)
        verdicts[pair.prompt.prompt_id, better.text, worse.text] = pair.principle or ""
        pools.append(Pool(pair.prompt, "people", (), (better,), (worse,)))
    return People(tuple(pools), verdicts)


def _as_answer(answer: Answer) -> Answer:
    """A text that no model call of ours wrote, under a name of its own."""
    text = answer.text.strip()
    return replace(answer, text=text, completion_id=f"txt_{digest(text.encode())}")
