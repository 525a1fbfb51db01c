"""Rows that are nearly the same text, and training rows that overlap held-out prompts.

Equal texts are found first. For the others: MinHash (Broder 1997) of runs of three words,
candidates by locality-sensitive hashing (`datasketch`), kept where the Jaccard likeness of the runs
themselves is at least the threshold, so that no pair is there by chance of a hash. A pair at the
threshold is missed now and then; one far above it hardly ever.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import xxhash
from datasketch import LeanMinHash, MinHash, MinHashLSH

from tasks.hygiene.findings import SHOWN, Finding

ALIKE = 0.8  # Jaccard likeness of two texts' runs of words
RUN = 3  # words
PERMUTATIONS = 64
MISSED_WEIGH_MORE = (0.1, 0.9)  # against candidates in vain, which are looked at anyway
LOOSEST = 0.95  # likeness at which candidates are taken at the latest
_SEED = 1

Shingles = frozenset[int]


def near_duplicates(texts: Mapping[str, str], threshold: float = ALIKE) -> list[list[str]]:
    """Groups of two and more row ids whose texts are alike, the first of each group in the order
    of `texts`; likeness is passed on (a like b, b like c: one group)."""
    groups = _Groups()
    by_text: dict[str, str] = {}
    for row_id, text in texts.items():
        groups.join(row_id, by_text.setdefault(_plain(text), row_id))
    unlike = {row_id: shingles(text) for text, row_id in by_text.items()}
    for a, b in _alike(unlike, unlike, threshold):
        groups.join(a, b)
    return groups.of(texts)


def overlaps(
    training: Mapping[str, str], held_out: Mapping[str, str], threshold: float = ALIKE
) -> list[tuple[str, str]]:
    """(training id, held-out id) of prompts on both sides of the split that are alike."""
    ours = {row_id: shingles(_plain(text)) for row_id, text in training.items()}
    theirs = {row_id: shingles(_plain(text)) for row_id, text in held_out.items()}
    return sorted(set(_alike(ours, theirs, threshold)))


def duplicates_finding(texts: Mapping[str, str], threshold: float = ALIKE) -> Finding:
    """`count`: rows that are alike to an earlier one."""
    groups = near_duplicates(texts, threshold)
    examples = tuple(" ".join(texts[group[0]].split())[:100] for group in groups[:SHOWN])
    return Finding("near_duplicates", threshold, sum(len(g) - 1 for g in groups), examples)


def overlap_finding(
    training: Mapping[str, str], held_out: Mapping[str, str], threshold: float = ALIKE
) -> Finding:
    """`count`: training prompts that are alike to a held-out one."""
    found = dict(overlaps(training, held_out, threshold))
    examples = tuple(" ".join(training[row].split())[:100] for row in list(found)[:SHOWN])
    return Finding("overlap", threshold, len(found), examples)


def shingles(text: str) -> Shingles:
    """Hashes of every run of three words; of a shorter text its words."""
    words = _plain(text).split()
    runs = [" ".join(words[at : at + RUN]) for at in range(len(words) - RUN + 1)] or words
    return frozenset(xxhash.xxh32_intdigest(run.encode()) for run in runs)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _alike(
    ours: Mapping[str, Shingles], theirs: Mapping[str, Shingles], threshold: float
) -> list[tuple[str, str]]:
    """(id of ours, id of theirs) whose likeness is at least the threshold; none is its own."""
    index = MinHashLSH(
        threshold=min(threshold, LOOSEST), num_perm=PERMUTATIONS, weights=MISSED_WEIGH_MORE
    )
    with index.insertion_session() as session:
        for row_id, sketch in _sketches(theirs).items():
            session.insert(row_id, sketch, check_duplication=False)
    mine = _sketches(ours)
    return [
        (row_id, other)
        for row_id, sketch in mine.items()
        for other in index.query(sketch)
        if other != row_id and _likeness(ours[row_id], theirs[other]) >= threshold
    ]


def _sketches(rows: Mapping[str, Shingles]) -> dict[str, LeanMinHash]:
    hashes = MinHash.bulk(
        [np.fromiter(runs, dtype=np.uint64, count=len(runs)) for runs in rows.values()],
        num_perm=PERMUTATIONS,
        seed=_SEED,
        hashfunc=int,
    )
    return {row: LeanMinHash(found) for row, found in zip(rows, hashes, strict=True)}


def _likeness(a: Shingles, b: Shingles) -> float:
    return len(a & b) / (len(a | b) or 1)


class _Groups:
    """Sets of ids that are joined step by step."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def _root(self, row_id: str) -> str:
        while (parent := self._parent.setdefault(row_id, row_id)) != row_id:
            row_id = parent
        return row_id

    def join(self, a: str, b: str) -> None:
        self._parent[self._root(a)] = self._root(b)

    def of(self, row_ids: Sequence[str] | Mapping[str, str]) -> list[list[str]]:
        found: defaultdict[str, list[str]] = defaultdict(list)
        for row_id in row_ids:
            found[self._root(row_id)].append(row_id)
        return [group for group in found.values() if len(group) > 1]
