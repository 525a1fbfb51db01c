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
Equal draws go to the slug that sorts first. In round r the principles that the same prompt met in
earlier rounds are left out; when all have been met, the next round starts with all of them again.
"""

from __future__ import annotations

import hashlib
import json
import math

from constitution.errors import ConstitutionError
from constitution.schema import Constitution, Principle


def assign(
    constitution: Constitution, prompt_id: str, round: int, category: str | None = None
) -> Principle:
    """Return the principle of (prompt, round); `round` counts from 0.

    Only enabled principles take part, and of those with `applies_to` only the ones that name the
    category. Without a category every enabled principle takes part. Raises ConstitutionError if
    none is left, or if the round is negative.
    """
    if round < 0:
        raise ConstitutionError(round, "a round is counted from 0", "give 0 or more")
    candidates = applicable(constitution, category)
    if not candidates:
        rule = f"no enabled principle of {constitution.name!r} applies to this category"
        raise ConstitutionError(category, rule, "add one without applies_to")
    first = round - round % len(candidates)  # the round in which this pass over all began
    left = {p.slug: p for p in candidates}
    for earlier in range(first, round):
        del left[_winner(left, prompt_id, earlier)]
    return left[_winner(left, prompt_id, round)]


def applicable(constitution: Constitution, category: str | None = None) -> tuple[Principle, ...]:
    """Return the enabled principles that may be assigned to a prompt of this category."""
    return tuple(
        p
        for p in constitution.enabled
        if category is None or not p.applies_to or category in p.applies_to
    )


def _winner(candidates: dict[str, Principle], prompt_id: str, round: int) -> str:
    return min(
        (draw(prompt_id, round, slug, principle.weight), slug)
        for slug, principle in candidates.items()
    )[1]


def draw(prompt_id: str, round: int, slug: str, weight: float) -> float:
    """Return the principle's draw for (prompt, round), 0 or more; the smallest wins."""
    message = json.dumps([prompt_id, round, slug], ensure_ascii=False, separators=(",", ":"))
    digest = hashlib.blake2b(message.encode("utf-8"), digest_size=8).digest()
    u = ((int.from_bytes(digest, "big") >> 11) + 1) / 2**53
    return -math.log(u) / weight
