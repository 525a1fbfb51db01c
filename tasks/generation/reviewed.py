"""What reviewers say of a pool's answers: a pair with their labels, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Set
from itertools import combinations

from storage.ids import digest
from tasks.generation.calls import Answer, principle_id
from tasks.generation.labels import Contest, Label
from tasks.generation.sources import Pool
from tasks.review.verdicts import Reviews, Settled, Subject, subject_of

SPOILT = "spoilt_for_people"


def subject_in(pool: Pool, one: Answer, other: Answer) -> Subject:
    """What a verdict on two answers of a pool is about."""
    principles = map(principle_id, pool.principles)
    return subject_of(pool.prompt.prompt_id, one.text, other.text, principles)


def by_reviewers(
    pool: Pool, reviews: Reviews, fault_of: Callable[[Answer], str | None], losers: Set[str]
) -> Contest | tuple[str, str] | None:
    """The first two answers of which reviewers prefer one that has no fault and whose other one may
    lose; else why they leave the pool without a pair, and who; None where they said nothing.
    """
    found = _settled(pool, reviews)
    for one, other, settled in found:
        if settled.preference is not None:
            contest = _contest(pool, one, other, settled)
            if contest.is_edited or not fault_of(contest.chosen):
                if contest.rejected.completion_id in losers:
                    return contest
    for *_, settled in found:
        return settled.reason or SPOILT, settled.authors
    return None


def _settled(pool: Pool, reviews: Reviews) -> list[tuple[Answer, Answer, Settled]]:
    if pool.prompt.prompt_id not in reviews:
        return []
    every = combinations(pool.answers, 2)
    known = ((x, y, reviews.of(subject_in(pool, x, y))) for x, y in every)
    return [(x, y, settled) for x, y, settled in known if settled]


def _contest(pool: Pool, one: Answer, other: Answer, settled: Settled) -> Contest:
    """The pair that reviewers prefer; a label for each who says which is better."""
    is_first = settled.better == "first"
    is_one = one.text.strip() == settled.subject.text(settled.better)
    better, worse = (one, other) if is_one else (other, one)
    slug = pool.principles[0].slug if len(pool.principles) == 1 else ""
    figures = ((v, v.preference) for v in settled.verdicts)
    labels = tuple(
        Label("people", slug, p if is_first else 1.0 - p, verdict_id=v.verdict_id)
        for v, p in figures
        if p is not None
    )
    is_turned = better not in pool.better or worse not in pool.worse
    mean = settled.preference or 0.0
    preference = mean if is_first else 1.0 - mean
    if settled.edited is None:
        return Contest(better, worse, labels, is_turned, preference)
    return Contest(_written(settled.edited), worse, labels, is_turned, preference, is_edited=True)


def _written(text: str) -> Answer:
    """A text that a person wrote, under a name of its own."""
    return Answer(f"txt_{digest(text.encode())}", text, "stop", 0)
