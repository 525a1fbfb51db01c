"""The queue, a pair and the reviewers' agreement as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from flows.explain.compare.text import one_line, visible
from flows.explain.compare.words import difference
from storage.ids import short
from tasks.review.queue import Item

NARROW = 80  # columns below which A stands above B
LINE_CHARS = 200
DISPUTED = 20  # pairs that are told one by one
MARKED = "bold underline"
KEYS = "a A is better · b B is better · t tie · n both bad · e edit · s skip · u undo · q quit"
DECIDED = (
    "several reviewers: half of them or more say both bad, and there is no pair; else the mean over"
    " the others (a tie is 1/2), and even is no pair"
)


def marked(item: Item) -> dict[Literal["a", "b"], list[tuple[str, bool]]]:
    """Both answers in pieces, and whether the other answer has not got a piece."""
    a, b = item.subject.shown
    pieces = difference(visible(a), visible(b))
    own: dict[Literal["a", "b"], str] = {"a": "removed", "b": "added"}
    return {
        side: [(p.text, p.kind == kind) for p in pieces if p.kind in ("same", kind)]
        for side, kind in own.items()
    }


def item_lines(item: Item, place: str, width: int) -> Iterator[RenderableType]:
    """The prompt, what it is looked at under, and both answers, their differences marked."""
    yield Text(f"\n── {place} " + "─" * 20, style="dim")
    for turn in item.messages:
        yield Text.assemble((f"{turn['role']}: ", "dim"), visible(turn["content"]))
    for principle in item.principles:
        title = one_line(principle.title, LINE_CHARS)
        asked = one_line(principle.comparison, LINE_CHARS)
        yield Text.assemble(("under ", "dim"), (title, "italic"), (f": {asked}", "dim"))
    texts = {side: _text(pieces) for side, pieces in marked(item).items()}
    if width < NARROW:
        for side, text in texts.items():
            yield Text(f"\n{side.upper()}", style="bold")
            yield text
        return
    beside = Table(expand=True, show_lines=False)
    for side in texts:
        beside.add_column(side.upper(), ratio=1, overflow="fold")
    beside.add_row(*texts.values())
    yield beside


def _text(pieces: Sequence[tuple[str, bool]]) -> Text:
    return Text.assemble(*((text, MARKED if is_own else "") for text, is_own in pieces))


def status_lines(found: dict[str, Any], is_done: bool = True) -> Iterator[str]:
    """Who said how much, how far they agree and, for one who is done, what becomes of the
    pairs that they disagree about.
    """
    yield f"reviewed: {found['reviewed']} of {found['pairs']} pairs"
    for reviewer in found["reviewers"]:
        name = one_line(reviewer["name"], 60)
        yield f"  {name}: {_count(reviewer['verdicts'], 'verdict')}"
    if found["elsewhere"]:
        yield f"  and {_count(found['elsewhere'], 'verdict')} on answers that no row has now"
    yield from agreement_lines(found["agreement"])
    if found["disputed"] and is_done:
        yield from _disputed(found["disputed"])


def _disputed(found: list[dict[str, Any]]) -> Iterator[str]:
    for one in found[:DISPUTED]:
        said = ", ".join(f"{one_line(name, 40)} {word}" for name, word in one["said"].items())
        end = f"left out ({one['left_out']})" if one["left_out"] else _decided(one["preference"])
        yield f"  {short(one['id'])}: {said}: {end}"
    if len(found) > DISPUTED:
        yield f"  and {len(found) - DISPUTED} more: --status --json has them all"
    yield DECIDED


def agreement_lines(found: dict[str, Any]) -> Iterator[str]:
    if not found["n"]:
        yield "agreement: no pair has verdicts of two reviewers yet"
        return
    figure = "not defined, all said the same" if found["value"] is None else f"{found['value']:.2f}"
    share, n = f"{found['share']:.0%}", _count(found["n"], "pair")
    yield f"agreement: {share} of answers equal, {found['measure']} {figure} (n = {n})"


def _decided(preference: float) -> str:
    side, sure = ("a", preference) if preference > 0.5 else ("b", 1 - preference)
    return f"{side} with {sure:.2f}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
