"""What people brought: pairs that they judged, as verdicts that outrank programs and the judge, and
demonstrations, which SFT learns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from storage.ids import digest
from tasks.chat.think import Thinking
from tasks.generation.assemble import Example, Pair
from tasks.generation.calls import Answer
from tasks.generation.labels import Verdicts
from tasks.generation.sets import BroughtSet, SetKind, SetRow
from tasks.generation.sources import Pool
from tasks.judging.demonstrations import Demonstration, read_demonstrations
from tasks.judging.gold import GoldPair, read_judged
from tasks.prompts.files import file_digest
from tasks.prompts.rows import Exclusion
from tasks.prompts.source import files_of


@dataclass(frozen=True)
class SetSource:
    """A set as a recipe names it: `path` as `prompts.path`, `columns` {ours: theirs}."""

    path: str
    source: str
    licence: str | None = None
    ratio: float | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Judged:
    """A set of pairs that people judged, and its rows that are none."""

    own: BroughtSet
    pairs: Sequence[GoldPair]
    left_out: Sequence[Exclusion]

    @property
    def pools(self) -> list[Pool]:
        return [
            Pool(pair.prompt, "people", (), (better,), (worse,))
            for pair in self.pairs
            for better, worse in [_sides(pair)]
        ]

    def set_rows(self, made: Iterable[Pair]) -> list[SetRow]:
        """Where each of the pairs that were made of it stands."""
        places = {}
        for pair in self.pairs:
            better, worse = _sides(pair)
            key = pair.prompt.prompt_id, frozenset((better.text, worse.text))
            places[key] = pair.prompt.line, pair.principle
        found = {
            pair.pair_id: places[pair.prompt_id, frozenset((pair.chosen.text, pair.rejected.text))]
            for pair in made
        }
        return [SetRow(row_id, *place) for row_id, place in found.items()]


@dataclass(frozen=True)
class Demonstrated:
    """A set of demonstrations, and its rows that are none."""

    own: BroughtSet
    demonstrations: Sequence[Demonstration]
    left_out: Sequence[Exclusion]

    def set_rows(self, made: Iterable[Example]) -> list[SetRow]:
        """Where each of the examples that were made of it stands."""
        lines = {found.example_id: found.prompt.line for found in self.demonstrations}
        return [SetRow(e.example_id, lines[e.example_id]) for e in made]


@dataclass(frozen=True)
class People:
    """Their sets, in the recipe's order, and what they said of which texts."""

    judged: Sequence[Judged] = ()
    demonstrated: Sequence[Demonstrated] = ()
    verdicts: Verdicts = field(default_factory=dict)

    @property
    def every(self) -> list[Judged | Demonstrated]:
        return [*self.judged, *self.demonstrated]

    @property
    def sets(self) -> list[BroughtSet]:
        return [brought.own for brought in self.every]

    @property
    def left_out(self) -> list[Exclusion]:
        return [row for brought in self.every for row in brought.left_out]


def people(
    pairs: Iterable[SetSource], demonstrations: Iterable[SetSource], thinking: Thinking
) -> People:
    """Read the sets of a recipe. Raises InputError for one that holds no row of its kind."""
    judged, demonstrated = [], []
    for source in pairs:
        said, left_out = read_judged(source.path, thinking, source.columns, source.encoding)
        judged.append(Judged(_set("preferences", source, len(said)), said, left_out))
    for source in demonstrations:
        named = source.path, thinking, source.columns, source.encoding
        shown, left_out = read_demonstrations(*named)
        own = _set("demonstrations", source, len(shown))
        demonstrated.append(Demonstrated(own, shown, left_out))
    return People(judged, demonstrated, _verdicts(judged))


def _set(kind: SetKind, source: SetSource, count: int) -> BroughtSet:
    files = [file_digest(path) for _, path in files_of(source.path)]
    return BroughtSet(
        kind,
        source.path,
        digest("".join(files).encode()),
        source.source,
        source.licence,
        source.ratio,
        count,
    )


def _verdicts(judged: Iterable[Judged]) -> Verdicts:
    verdicts: Verdicts = {}
    for brought in judged:
        for pair in brought.pairs:
            better, worse = _sides(pair)
            verdicts[pair.prompt.prompt_id, better.text, worse.text] = pair.principle or ""
    return verdicts


def _sides(pair: GoldPair) -> tuple[Answer, Answer]:
    first, second = _as_answer(pair.first), _as_answer(pair.second)
    return (first, second) if pair.is_first_better else (second, first)


def _as_answer(answer: Answer) -> Answer:
    """A text that no model call of ours wrote, under a name of its own."""
    text = answer.text.strip()
    return replace(answer, text=text, completion_id=f"txt_{digest(text.encode())}")
