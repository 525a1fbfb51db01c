"""Does it teach? What the evidence behind the pairs says, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

BROKEN = "give it worked examples, more samples or a better teacher"
KEPT = "it needs no teaching, or a stricter rule"


def headline(teaching: Mapping[str, Any]) -> str:
    """The share of pairs to train on that have evidence, and of which kind."""
    pairs, share = teaching["pairs"], teaching["share_with_evidence"]
    if share is None:
        return "does it teach? there are no pairs to train on"
    backed = round(share * pairs)
    kinds = [
        f"{count} by {kind}"
        for kind, count in sorted(teaching["by_evidence"].items())
        if kind != "none"
    ]
    said = f" ({', '.join(kinds)})" if kinds else ""
    turned = f"; {teaching['turned']} turned round" if teaching["turned"] else ""
    return f"does it teach? {backed} of {pairs} pairs have evidence, {share:.0%}{said}{turned}"


def hints(teaching: Mapping[str, Any]) -> Iterator[str]:
    """What to do about principles whose prompts give nothing to learn."""
    for slug, lesson in teaching["principles"].items():
        for count, verb, advice in (
            (lesson["all_break"], "break", BROKEN),
            (lesson["all_keep"], "keep", KEPT),
        ):
            if 2 * count > lesson["prompts"]:
                of = f"of {count} of {lesson['prompts']} prompts"
                yield f"nothing to learn on {slug}: all answers {of} {verb} it: {advice}"


def lines(teaching: Mapping[str, Any]) -> list[str]:
    return [headline(teaching), *hints(teaching)]
