"""One reviewer before the queue. Every verdict is in the ledger before the next pair is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from storage.errors import InputError
from storage.ledger import Ledger, now_after
from tasks.review.agreement import agreement
from tasks.review.queue import Item, queue, without
from tasks.review.record import keep, standing, undo
from tasks.review.say import Said, checked_name, said_by, verdict_of
from tasks.review.verdicts import Subject, Verdict, by_subject, settle


class Desk:
    """`skipped`: ids of subjects that come last, in the order in which they were skipped.
    `next_id`: that of the one to show first, as its verdict was just undone.
    """

    def __init__(
        self,
        ledger: Ledger,
        items: Sequence[Item],
        author: str,
        skipped: Iterable[str] = (),
        next_id: str | None = None,
    ) -> None:
        self.ledger, self.items, self.author = ledger, items, checked_name(author)
        self.skipped, self.next_id = list(skipped), next_id
        self._subjects = {item.subject.subject_id: item.subject for item in items}

    @property
    def verdicts(self) -> list[Verdict]:
        """All that count and are about these items, of every reviewer."""
        return [v for v in standing(self.ledger) if v.subject.subject_id in self._subjects]

    def waiting(self) -> list[Item]:
        """What this reviewer has said nothing of, in the order in which it is shown."""
        verdicts = self.verdicts
        left = without(queue(self.items, verdicts), verdicts, self.author)
        place = {subject_id: n for n, subject_id in enumerate(self.skipped)}

        def rank(item: Item) -> tuple[bool, int]:
            own = item.subject.subject_id
            return own != self.next_id, place.get(own, -1)

        return sorted(left, key=rank)

    def say(self, subject_id: str, said: Said, edited: str | None = None) -> Verdict:
        """Keep a verdict on what was shown as A and B. One that says what counts already is none.

        Raises InputError for a subject that is not here, and for an edited text that is none.
        """
        subject = self._subjects.get(subject_id)
        if subject is None:
            fix = "open the queue again"
            raise InputError(subject_id, "these answers are not among the rows any more", fix)
        before = self.verdicts
        own = [verdict.said_at for verdict in before if verdict.author == self.author]
        at = now_after(max(own, default=None))
        verdict = verdict_of(subject, said, self.author, edited, said_at=at)
        if not any(verdict.says(other) for other in before):
            keep(self.ledger, [verdict])
        self.next_id = None
        return verdict

    def skip(self, subject_id: str) -> None:
        self.skipped = [*(other for other in self.skipped if other != subject_id), subject_id]
        self.next_id = None

    def undo(self) -> Verdict | None:
        """Take back this reviewer's last verdict here and show its pair next; None without any."""
        own = [verdict for verdict in self.verdicts if verdict.author == self.author]
        if not own:
            return None
        undo(self.ledger, own[-1])
        self.next_id = own[-1].subject.subject_id
        return own[-1]

    def done(self) -> int:
        return sum(verdict.author == self.author for verdict in self.verdicts)


def status(items: Sequence[Item], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """How far reviewers are and how far they agree, as `solon review --status --json` promises it.

    `verdicts`: all that count; `elsewhere`: those about answers that are not among the rows now.
    """
    here = {item.subject.subject_id for item in items}
    own = [verdict for verdict in verdicts if verdict.subject.subject_id in here]
    names = list(dict.fromkeys(verdict.author for verdict in own))
    settled = [settle(given) for given in by_subject(own).values()]
    return {
        "pairs": len(here),
        "reviewed": len(settled),
        "elsewhere": len(verdicts) - len(own),
        "reviewers": [{"name": n, "verdicts": sum(v.author == n for v in own)} for n in names],
        "agreement": agreement(own).to_json(),
        "disputed": [
            {
                "id": one.subject.subject_id,
                "said": {v.author: said_by(v) for v in one.verdicts},
                "preference": _of_a(one.subject, one.preference),
                "left_out": one.reason or None,
            }
            for one in settled
            if len({verdict.answer for verdict in one.verdicts}) > 1
        ],
    }


def _of_a(subject: Subject, preference: float | None) -> float | None:
    """The preference for what is shown as A."""
    return 1.0 - preference if preference is not None and subject.is_turned else preference
