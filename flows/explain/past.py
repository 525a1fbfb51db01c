"""All that happened to one prompt: its completions and revisions, and how they hang together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from flows.plan.causes import UPSTREAM, Asked, Cause, cause_of, role_of, shown_by, words_of
from storage.ledger import Connection, Row, rows

# Those that are there, and those that were cleared away and that others took the place of.
COLUMNS = """completion_id, cut_at, model_id, prompt_id, principle_id, few_shot_id, run_id, step,
    round, request, text, finish_reason, temperature, top_p, sample_index, created_at"""
COMPLETIONS = f"""
    SELECT c.completion_id, c.cut_at, c.model_id, c.principle_id, c.few_shot_id, c.run_id, c.step,
           c.round, c.request, c.text, c.finish_reason, c.temperature, c.top_p, c.sample_index,
           c.created_at, p.slug, p.critique, p.revision, p.comparison, m.reference, r.recipe,
           r.settings, f.messages AS worked, (
               SELECT max(p.started_at) FROM runs p
               WHERE p.recipe = r.recipe AND p.started_at < r.started_at) AS run_before
    FROM (SELECT {COLUMNS} FROM completions
          UNION ALL SELECT {COLUMNS} FROM cleared_completions) c
    LEFT JOIN principles p USING (principle_id) LEFT JOIN models m USING (model_id)
    LEFT JOIN runs r USING (run_id) LEFT JOIN few_shots f USING (few_shot_id)
    WHERE """
OF_PROMPT, OF_IDS = "c.prompt_id = ?", "c.completion_id IN (SELECT unnest(?::VARCHAR[]))"
USED = """
    SELECT unnest([chosen_completion_id, rejected_completion_id]) AS id
    FROM pairs WHERE prompt_id = $1
    UNION SELECT completion_id FROM examples WHERE prompt_id = $1"""
PARTS = ("response", "critique", "revision")
REVISIONS = """
    SELECT * FROM (FROM revisions UNION ALL BY NAME FROM cleared_revisions)
    WHERE prompt_id = ? ORDER BY created_at DESC"""
PROMPT = "SELECT messages, category, source, source_line FROM prompts WHERE prompt_id = ?"


@dataclass(frozen=True)
class Link:
    """One completion of a chain: a row of COMPLETIONS."""

    row: Row

    @property
    def place(self) -> tuple[str, int | None, str | None, int]:
        """Step, round, sample, and the model of an answer, which stands in no other's place."""
        answerer = self.row["model_id"] if self.row["step"] == "answer" else None
        return self.row["step"], self.row["round"], answerer, self.row["sample_index"]

    @cached_property
    def messages(self) -> list[dict[str, str]]:
        """The request's messages after the worked examples."""
        found: list[dict[str, str]] = json.loads(self.row["request"])
        return found

    @property
    def request(self) -> str:
        """The last message of the request, as it was rendered."""
        return self.messages[-1]["content"] if self.messages else ""

    @property
    def text(self) -> str:
        """Its text as the requests that build on it show it."""
        return str(self.row["text"]).strip()

    @property
    def asked(self) -> Asked:
        row = self.row
        settings = json.loads(row["settings"] or "{}")
        limits, named = settings.get("generation") or {}, settings.get("models") or {}
        names = ("completion_id", "step", "model_id", "principle_id", "slug", "few_shot_id")
        first = self.messages[0] if self.messages else {}
        return Asked(
            **{name: row[name] for name in names},
            temperature=row["temperature"],
            top_p=row["top_p"],
            cut_at=row["cut_at"],
            words=words_of(row["step"], row),
            shown=shown_by(row["worked"] if row["step"] == "teacher" else None),
            max_new_tokens=(limits.get("max_new_tokens") or {}).get(row["step"]),
            max_prompt_tokens=limits.get("max_prompt_tokens"),
            system=first.get("content", "") if first.get("role") == "system" else "(none)",
            is_named=bool(named.get(role_of(row["step"]))),
        )


class Change(NamedTuple):
    """Why a completion is not the one before it in its place."""

    link: Link
    before: Link | None
    cause: Cause


def _change(link: Link, before: Link | None) -> Change:
    return Change(link, before, cause_of(link.asked, before.asked if before else None))


class Past:
    """One prompt's past."""

    def __init__(self, con: Connection, prompt_id: str) -> None:
        self.revisions = rows(con, REVISIONS, [prompt_id])
        self.links = [Link(row) for row in self._completions(con, prompt_id)]
        found = rows(con, PROMPT, [prompt_id])
        self.prompt: Row = {"prompt_id": prompt_id, "messages": None} | (found[0] if found else {})

    def _completions(self, con: Connection, prompt_id: str) -> list[Row]:
        """In order of time: the prompt's, and those that it shares with a prompt that asks the
        same, under which they are kept.
        """
        found = rows(con, COMPLETIONS + OF_PROMPT, [prompt_id])
        used = {row[f"{part}_completion_id"] for row in self.revisions for part in PARTS}
        used |= {row["id"] for row in rows(con, USED, [prompt_id])} - {None}
        if shared := used - {row["completion_id"] for row in found}:
            found += rows(con, COMPLETIONS + OF_IDS, [list(shared)])
        return sorted(found, key=lambda row: row["created_at"])

    def maker(
        self, column: str, row_id: str, completion_id: str | None, revision_id: str | None = None
    ) -> Row | None:
        """The revision of this id; else, of rows that do not name theirs, the newest that gave it;
        where there are some, one with its completion.
        """
        found = [row for row in self.revisions if row["revision_id"] == revision_id]
        found = found or [row for row in self.revisions if row[column] == row_id]
        own = [row for row in found if row["revision_completion_id"] == completion_id]
        return next(iter(own or found), None)

    def _link(self, completion_id: str, shown_in: str | None, cut_at: int | None) -> list[Link]:
        """The row of a completion; none where it is not there.

        A completion that was cut has a row a limit: the one that was cut at `cut_at` is meant.
        Where that is not known, the one whose text `shown_in` holds, the longest of several, else
        the newest.
        """
        found = [link for link in self.links if link.row["completion_id"] == completion_id]
        known = [link for link in found if link.row["cut_at"] == cut_at]
        if known:
            return known[-1:]
        shown = [link for link in found if shown_in is not None and link.text in shown_in]
        return sorted(shown, key=lambda link: len(link.text))[-1:] or found[-1:]

    def chain(
        self,
        completion_id: str,
        below: int | None = None,
        shown_in: str | None = None,
        cut_at: int | None = None,
    ) -> list[Link]:
        """What led to a completion, itself last: draft, then critique and revision by round.

        below: a round that its own is before. shown_in, cut_at: see `_link`.
        """
        last = self._link(completion_id, shown_in, cut_at)
        step = last[0].row["step"] if last else "draft"
        if step not in ("critique", "revision"):
            return last
        made = [
            revision
            for revision in self.revisions
            if (below is None or revision["round"] < below)
            and revision[f"{step}_completion_id"] == completion_id
        ]
        own = [revision for revision in made if revision[f"{step}_cut_at"] == cut_at]
        for revision in own or made:
            if step == "revision":
                return self.chain_of(revision, shown_in)
            return [*self._response(revision, last), *last]
        return last

    def chain_of(self, revision: Row, shown_in: str | None = None) -> list[Link]:
        """What led to a row of `revisions`: its last link is the rewrite."""
        cut_at = revision["revision_cut_at"]
        last = self._link(revision["revision_completion_id"], shown_in, cut_at)
        asked, cut_at = last[0].request if last else None, revision["critique_cut_at"]
        critique = self._link(revision["critique_completion_id"], asked, cut_at)
        return [*self._response(revision, critique), *critique, *last]

    def _response(self, revision: Row, critique: list[Link]) -> list[Link]:
        """What led to the response that a critique was asked for."""
        asked = critique[0].request if critique else None
        response, cut_at = revision["response_completion_id"], revision["response_cut_at"]
        return self.chain(response, revision["round"], asked, cut_at)

    def changes(self, chain: list[Link]) -> tuple[Change, Change]:
        """Why the last completion of a chain was generated though one in its place was there, and
        the change above it in the chain where that began.
        """
        link = chain[-1]
        own = _change(link, self._before(link))
        if own.before is None or own.cause.component != UPSTREAM:
            return own, own
        row = own.before.row
        before = self.chain(row["completion_id"], cut_at=row["cut_at"])
        others = {other.place: other for other in before}
        for above in reversed(chain[:-1]):
            other = others.get(above.place)
            if other and any(other.row[n] != above.row[n] for n in ("completion_id", "text")):
                root = _change(above, other)
                if root.cause.component != UPSTREAM:
                    return own, root
        return own, own

    def _before(self, link: Link) -> Link | None:
        """The latest before a completion in its place: of the same recipe, if there is one; of
        another's those that the recipe's run before could reuse.
        """
        row = link.row
        earlier = [
            other
            for other in self.links  # in order of time
            if other.place == link.place and other.row["created_at"] < row["created_at"]
        ]
        own = [other for other in earlier if other.row["recipe"] == row["recipe"]]
        since = row["run_before"]
        known = [other for other in earlier if since and other.row["created_at"] < since]
        return next(reversed(own or known), None)
