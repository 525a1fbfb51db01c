"""How much of a set that people brought goes into a snapshot: so many rows for every one made here.

Which of them is decided by their ids alone: a row more made here adds rows and takes none away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.prompts import is_held_out


@dataclass
class Members:
    """Rows split by the prompt they belong to, so that no prompt is on both sides."""

    held_out_percent: int
    training: set[str] = field(default_factory=set)
    held_out: set[str] = field(default_factory=set)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self.training or row_id in self.held_out

    def add(self, prompts: Mapping[str, str]) -> None:
        """Take rows in: the prompt's id by the row's."""
        for row_id, prompt_id in prompts.items():
            is_out = is_held_out(prompt_id, self.held_out_percent)
            (self.held_out if is_out else self.training).add(row_id)


@dataclass(frozen=True)
class Shared:
    """The rows of a set, of which at most `ratio` for every row made here are taken."""

    ratio: float
    prompts: Mapping[str, str]


def mixed(own: Members, sets: Sequence[Shared]) -> tuple[Members, list[str]]:
    """The rows made here with those of the sets, and the ids of those that are over the ratio.

    Counted for each side of the split by itself; rows that were made here as well count as own.
    """
    found = Members(own.held_out_percent, set(own.training), set(own.held_out))
    over: list[str] = []
    for shared in sets:
        theirs = Members(own.held_out_percent)
        theirs.add({row: prompt for row, prompt in shared.prompts.items() if row not in own})
        for side in ("training", "held_out"):
            of_side = sorted(getattr(theirs, side))
            most = round(shared.ratio * len(getattr(own, side)))
            getattr(found, side).update(of_side[:most])
            over += of_side[most:]
    return found, [row_id for row_id in dict.fromkeys(over) if row_id not in found]
