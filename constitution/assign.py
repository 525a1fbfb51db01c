"""Which principle a prompt meets in a round: weighted rendezvous hashing, without replacement.

Every principle draws a number for (prompt, round) from a hash of its own; the best draw wins. So an
edit of words, titles or order moves nothing, and adding or removing one of n principles moves about
1/n of the rows. (Thaler & Ravishankar 1998, "Using name-based mappings to increase hit rates",
IEEE/ACM Transactions on Networking 6(1); weights by the logarithmic method of Schindelhauer &
Schomaker 2005, "Weighted distributed hash tables", SPAA.)

The hash, exactly:

    message = JSON array [prompt_id, round, slug], UTF-8, non-ASCII kept, separators "," and ":"
    k       = first 53 bits (big-endian) of BLAKE2b(message, digest_size=8)
    u       = (k + 1) / 2**53                       in (0, 1]
    draw    = -ln(u) / weight                       exponential with rate `weight`; smallest wins

The smallest draw is the largest score -weight / ln(u) of the paper, without its division by zero.
Equal draws go to the slug that sorts first.

Candidates of round r are the enabled principles that apply to the prompt's category and that the
rounds' policy allows in r; of these, those that the prompt met least often in rounds < r take part.
So a round depends on no later one, and without a policy a prompt meets each once before any twice.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from hashlib import blake2b

from constitution.errors import ConstitutionError
from constitution.schema import Constitution, Principle

_json = json.JSONEncoder(ensure_ascii=False).encode


_Candidate = tuple[Principle, bytes]  # and what follows prompt id and round in its message


class Assigner:
    """Assigns one constitution's principles to many prompts: about 1 µs a candidate and round."""

    def __init__(self, constitution: Constitution) -> None:
        self.constitution = constitution
        self._known: dict[tuple[str | None, tuple[str, ...]], tuple[_Candidate, ...]] = {}

    def principles(
        self, prompt_id: str, rounds: int, category: str | None = None
    ) -> tuple[Principle, ...]:
        """Return the principles of rounds 0 to rounds - 1 for this prompt.

        Without a category a prompt may meet the principles of every category. Raises
        ConstitutionError if a round leaves no principle for the category.
        """
        start = f"[{_json(prompt_id)},"
        met: Counter[str] = Counter()
        chosen = []
        for round in range(rounds):
            candidates = self._candidates(round, category)
            if met:
                least = min(met[p.slug] for p, _ in candidates)
                candidates = tuple(c for c in candidates if met[c[0].slug] == least)
            winner = _winner(candidates, f"{start}{round}".encode())
            met[winner.slug] += 1
            chosen.append(winner)
        return tuple(chosen)

    def _candidates(self, round: int, category: str | None) -> tuple[_Candidate, ...]:
        """Return the candidates of the round in the order of their slugs."""
        tags = self.constitution.tags_of(round)
        known = self._known.get((category, tags))
        if known is None:
            found = sorted(applicable(self.constitution, category, tags), key=lambda p: p.slug)
            if not found:
                raise _nobody(self.constitution, round, category)
            known = tuple((p, _ending(p.slug)) for p in found)
            self._known[category, tags] = known
        return known


def assign(
    constitution: Constitution, prompt_id: str, round: int, category: str | None = None
) -> Principle:
    """Return the principle of (prompt, round); `round` counts from 0. See `Assigner.principles`.

    Raises ConstitutionError also if the round is negative.
    """
    if round < 0:
        raise ConstitutionError(round, "a round is counted from 0", "give 0 or more")
    return Assigner(constitution).principles(prompt_id, round + 1, category)[-1]


def applicable(
    constitution: Constitution, category: str | None = None, tags: tuple[str, ...] = ()
) -> tuple[Principle, ...]:
    """Return the enabled principles for a category (None: any) that have one of `tags` (() any)."""
    return tuple(
        p
        for p in constitution.enabled
        if (category is None or not p.applies_to or category in p.applies_to)
        and (not tags or not set(tags).isdisjoint(p.tags))
    )


def _winner(candidates: tuple[_Candidate, ...], start: bytes) -> Principle:
    """Return the first principle with the smallest draw; `start` is the message up to the round."""
    hashed = blake2b(start, digest_size=8)
    best, smallest = candidates[0][0], math.inf
    for principle, ending in candidates:
        own = hashed.copy()
        own.update(ending)
        drawn = draw(own.digest(), principle.weight)
        if drawn < smallest:
            best, smallest = principle, drawn
    return best


def _ending(slug: str) -> bytes:
    return f",{_json(slug)}]".encode()


def draw(digest: bytes, weight: float) -> float:
    """Exponential with rate `weight`, from the first 53 bits of a digest; the smallest wins."""
    u = ((int.from_bytes(digest, "big") >> 11) + 1) / 2**53
    return -math.log(u) / weight


def _nobody(constitution: Constitution, round: int, category: str | None) -> ConstitutionError:
    tags = constitution.tags_of(round)
    which = f"with the tags of round {round}" if tags else f"of {constitution.name!r}"
    fix = f"add one tagged {' or '.join(tags)}, or a tag" if tags else "add one without applies_to"
    rule = f"no enabled principle {which} applies to this category"
    return ConstitutionError(category, rule, fix)
