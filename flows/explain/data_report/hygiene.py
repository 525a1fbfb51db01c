"""The rules of hygiene over the rows to train on, each with what it found in words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flows.explain.data_report.report import Check, DataRow
from tasks.hygiene.findings import SHOWN, Finding, control_tokens, length_bias, openings, refusals
from tasks.hygiene.rows import CUT, cut_alike, switches_language

START = 100  # characters of an example


def checks(
    rows: Sequence[DataRow], held_out: Sequence[DataRow], tell: Callable[[str], None]
) -> tuple[Check, ...]:
    """Every rule that applies; none where there is nothing to train on."""
    if not rows:
        return ()
    found = [_duplicates(rows, tell), _overlap(rows, held_out, tell)]
    if rows[0].rejected is not None:
        found += [_overused(rows, tell), _lengths(rows)]
    found += [_openings(rows), _cut(rows), _control_tokens(rows)]
    tell("looking for refusals")
    found.append(_refusals(rows))
    if rows[0].rejected is not None:
        tell("looking at languages")
        found.append(_languages(rows))
    return tuple(found)


def _control_tokens(rows: Sequence[DataRow]) -> Check:
    found = control_tokens("\n".join((r.prompt, r.chosen, r.rejected or "")) for r in rows)
    return Check(found, len(rows), "rows that spell one: it is encoded as ordinary text", False)


def _duplicates(rows: Sequence[DataRow], tell: Callable[[str], None]) -> Check:
    tell("looking for near duplicates")
    from tasks.hygiene.duplicates import duplicates_finding

    found = duplicates_finding({row.id: row.chosen for row in rows})
    said = "answers to learn that are nearly one that stands before them"
    return Check(found, len(rows), said, found.count > 0)


def _overlap(
    rows: Sequence[DataRow], held_out: Sequence[DataRow], tell: Callable[[str], None]
) -> Check:
    tell("comparing with held-out prompts")
    from tasks.hygiene.duplicates import overlap_finding

    training, theirs = ({row.prompt_id: row.prompt for row in side} for side in (rows, held_out))
    found = overlap_finding(training, theirs)
    said = "prompts to train on that are nearly a held-out one"
    return Check(found, len(training), said, found.count > 0)


def _overused(rows: Sequence[DataRow], tell: Callable[[str], None]) -> Check:
    tell("weighing phrases")
    from tasks.hygiene.overused import overused

    found = overused(_texts(rows))
    said = "phrases that chosen answers have more often than rejected ones, beyond that z-score"
    return Check(found, len(rows), said, found.count > 0)


def _lengths(rows: Sequence[DataRow]) -> Check:
    found = length_bias(_texts(rows))
    low, high = found.words_interval
    share = "no pair is of unequal length"
    if found.longer is not None:
        share = f"chosen is longer in {found.longer:.0%} of the pairs of unequal length"
    said = f"{share}; by {found.words:+.1f} words on average ({low:+.1f} to {high:+.1f})"
    return Check(found.finding, len(rows), said, found.finding.count > 0)


def _openings(rows: Sequence[DataRow]) -> Check:
    found = openings(row.chosen for row in rows)
    said = "answers to learn whose first words more than that share of them begin with"
    return Check(found, len(rows), said, found.count > 0)


def _cut(rows: Sequence[DataRow]) -> Check:
    """Rows of which a side was cut at the limit; of a pair what counts is that one side was."""
    chosen = [row for row in rows if row.chosen_end == CUT]
    rejected = [row for row in rows if row.rejected_end == CUT]
    if rows[0].rejected is None:
        odd, said = chosen, "answers to learn that were cut at the limit"
    else:
        odd = [r for r in rows if not cut_alike(r.chosen_end or "", r.rejected_end or "")]
        said = (
            f"pairs with one side cut at the limit ({len(chosen)} chosen, {len(rejected)} rejected"
            " are cut): they teach that cut is worse, or better"
        )
    examples = tuple(_start(r.chosen if r.chosen_end == CUT else r.rejected or "") for r in odd)
    return Check(Finding("cut", 0, len(odd), examples[:SHOWN]), len(rows), said, bool(odd))


def _refusals(rows: Sequence[DataRow]) -> Check:
    found = refusals((row.prompt, row.chosen) for row in rows)
    said = "answers to learn that decline; odd above that share"
    return Check(found, len(rows), said, found.count > found.threshold * len(rows))


def _languages(rows: Sequence[DataRow]) -> Check:
    odd = [r for r in rows if switches_language(r.prompt, r.rejected or "", r.chosen)]
    examples = tuple(_start(row.chosen) for row in odd[:SHOWN])
    said = "chosen answers in another language than both their prompt and the rejected one"
    return Check(Finding("language", 0, len(odd), examples), len(rows), said, bool(odd))


def _texts(rows: Sequence[DataRow]) -> list[tuple[str, str]]:
    return [(row.chosen, row.rejected or "") for row in rows]


def _start(text: str) -> str:
    return " ".join(text.split())[:START]
