"""The memo of comparisons: what the ledger has is looked up, the rest is asked and committed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from constitution.render import COMPARISON_ANSWERS
from storage.ids import content_id, seed_of
from storage.ledger import Ledger, Row, insert, now
from tasks.engines.engine import Continuation, Engine, Request
from tasks.generation import memo as completions
from tasks.generation.calls import Answer
from tasks.generation.memo import OnProgress, committing
from tasks.judging.comparisons import Comparison, Judged
from tasks.judging.figures import Orders, normalised, unparsed, vote

KNOWN = "SELECT c.* FROM wanted JOIN comparisons c USING (comparison_id)"
VERDICT_TOKENS = 4  # a letter, what may stand around it, and the end


@dataclass
class Asked:
    """A comparison that is being asked; of its lists the first item is forward, the other backward.

    `letters`: of each order the log-probabilities of A and B; `texts`: the sampled verdicts.
    """

    comparison: Comparison
    reasoning: tuple[Answer, ...]
    letters: list[list[float | None]] = field(default_factory=lambda: [[None, None], [None, None]])
    texts: list[list[str]] = field(default_factory=lambda: [[], []])
    waiting: int = 0  # items that have not come yet
    duration_s: float = 0.0

    @property
    def requests(self) -> list[tuple[int, list[dict[str, str]]]]:
        """(order, conversation) of what can be asked: all but what was too long to reason about."""
        found = enumerate(self.comparison.verdict_requests(self.reasoning))
        return [(n, messages) for n, messages in found if not self._is_refused(n)]

    def _is_refused(self, order: int) -> bool:
        return bool(self.reasoning) and self.reasoning[order].finish_reason == "too_long"

    @property
    def judged(self) -> Judged:
        forward, backward = self._shares()
        orders = Orders(forward, None if backward is None else 1.0 - backward)
        texts = [text for order in self.texts for text in order]
        return Judged(self.comparison.comparison_id, orders, len(texts), unparsed(texts))

    def _shares(self) -> list[float | None]:
        """What was said for the response shown first, in each order."""
        if self.comparison.judge.verdicts == "sampled":
            return [vote(texts) for texts in self.texts]
        return [None if a is None or b is None else normalised(a, b) for a, b in self.letters]


def look_up(ledger: Ledger, comparisons: Sequence[Comparison]) -> dict[str, Judged]:
    """What the ledger has of these comparisons, by comparison id."""
    wanted = list(dict.fromkeys(comparison.comparison_id for comparison in comparisons))
    found = ledger.query(KNOWN, wanted={"comparison_id": wanted}) if wanted else []
    return {row["comparison_id"]: _judged(row) for row in found}


def complete(
    ledger: Ledger,
    engine: Engine,
    run_id: str,
    comparisons: Sequence[Comparison],
    on_progress: OnProgress = lambda done, tokens: None,
) -> dict[str, Judged]:
    """Have comparisons of one judge judged, and commit them about once a second, as they come.

    With chain of thought the reasoning is looked up or generated first, as completions of step
    `judgement`. Returns figures by comparison id; where another run was first, its figures.
    """
    unique = list({comparison.comparison_id: comparison for comparison in comparisons}.values())
    if not unique:
        return {}
    reasoning = _reasoning(ledger, engine, run_id, unique)
    asked = [
        Asked(c, tuple(reasoning[call.completion_id] for call in c.reasoning_calls)) for c in unique
    ]
    ask = _by_samples if unique[0].judge.verdicts == "sampled" else _by_logprobs
    judged: dict[str, Judged] = {}
    with committing(partial(_commit, ledger, engine, run_id, judged)) as keep:
        for made in ask(engine, asked):
            judged |= {one.comparison.comparison_id: one.judged for one in made}
            keep(made)
            on_progress(len(judged), 0)
    return judged


def _reasoning(
    ledger: Ledger, engine: Engine, run_id: str, comparisons: Sequence[Comparison]
) -> dict[str, Answer]:
    calls = [call for comparison in comparisons for call in comparison.reasoning_calls]
    found = completions.look_up(ledger, calls)
    missing = [call for call in calls if call.completion_id not in found]
    return found | (completions.complete(ledger, engine, run_id, missing) if missing else {})


def _by_logprobs(engine: Engine, asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Comparisons as they are answered: both letters in both orders, no text generated."""
    places, continuations = [], []
    for one in asked:
        for order, messages in one.requests:
            for letter, option in enumerate(COMPARISON_ANSWERS):
                places.append((one, order, letter))
                adapter = _adapter(one, engine)
                continuations.append(Continuation(messages, option, False, adapter=adapter))
    yield _count(asked, [one for one, *_ in places])
    for batch in engine.score(continuations):
        done = []
        for item in batch.items:
            one, order, letter = places[item.index]
            if math.isfinite(item.value):  # else the request was too long to be read
                one.letters[order][letter] = item.value
            done += _came(one, batch.duration_s / len(batch.items))
        yield done


def _by_samples(engine: Engine, asked: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Comparisons as they are answered: n sampled verdicts in each order."""
    places, requests = [], []
    for one in asked:
        judge, row_id = one.comparison.judge, one.comparison.comparison_id
        for order, messages in one.requests:
            for sample in range(judge.samples):
                places.append((one, order))
                requests.append(
                    Request(
                        messages=messages,
                        text=None,
                        temperature=judge.temperature,
                        top_p=1.0,
                        stop=(),
                        max_new_tokens=VERDICT_TOKENS,
                        max_prompt_tokens=judge.max_prompt_tokens,
                        seed=seed_of(content_id("comparison", [row_id, order, sample])),
                        adapter=_adapter(one, engine),
                    )
                )
    yield _count(asked, [one for one, _ in places])
    for batch in engine.generate(requests):
        done = []
        for item in batch.items:
            one, order = places[item.index]
            if item.finish_reason != "too_long":
                one.texts[order].append(item.text)
            done += _came(one, batch.duration_s / len(batch.items))
        yield done


def _adapter(one: Asked, engine: Engine) -> str | None:
    model_id = one.comparison.judge.model_id
    return model_id if model_id in engine.adapters else None


def _count(asked: Sequence[Asked], waited_for: Sequence[Asked]) -> list[Asked]:
    """Note how many items each comparison waits for; returns those that wait for none."""
    for one in waited_for:
        one.waiting += 1
    return [one for one in asked if not one.waiting]


def _came(one: Asked, seconds: float) -> list[Asked]:
    """Note that an item has come; returns the comparison where it was the last."""
    one.duration_s += seconds
    one.waiting -= 1
    return [] if one.waiting else [one]


def _judged(row: Row) -> Judged:
    verdicts = len(row["forward_verdicts"]) + len(row["backward_verdicts"])
    orders = Orders(row["forward"], row["backward"])
    return Judged(row["comparison_id"], orders, verdicts, row["unparsed"])


def _commit(
    ledger: Ledger, engine: Engine, run_id: str, judged: dict[str, Judged], made: Sequence[Asked]
) -> None:
    """Commit what was judged; where another run had done so before, its figures replace ours."""
    judge, at = made[0].comparison.judge, now()
    shared = {
        "model_id": judge.model_id,
        "few_shot_id": judge.few_shot_id,
        "run_id": run_id,
        "method": judge.verdicts,
        "engine": engine.name,
        "device": engine.device,
        "dtype": engine.dtype,
        "created_at": at,
    }
    with ledger.transaction() as con:
        if judge.few_shot_id:
            messages = json.dumps(judge.examples, ensure_ascii=False)
            row = {"few_shot_id": judge.few_shot_id, "messages": messages}
            insert(con, "few_shots", [row])
        gained = insert(con, "comparisons", [shared | _row(one) for one in made])
    if gained < len(made):
        judged |= look_up(ledger, [one.comparison for one in made])


def _row(one: Asked) -> dict[str, Any]:
    comparison, found = one.comparison, one.judged
    forward, backward = one.reasoning or (None, None)
    return {
        "comparison_id": comparison.comparison_id,
        "prompt_id": comparison.prompt.prompt_id,
        "principle_id": comparison.principle_id,
        "first_completion_id": comparison.first.completion_id or None,
        "first_cut_at": comparison.first.cut_at,
        "second_completion_id": comparison.second.completion_id or None,
        "second_cut_at": comparison.second.cut_at,
        "forward": found.orders.forward,
        "backward": found.orders.backward,
        "preference": found.orders.preference,
        "forward_reasoning_id": forward.completion_id if forward else None,
        "forward_reasoning_cut_at": forward.cut_at if forward else None,
        "backward_reasoning_id": backward.completion_id if backward else None,
        "backward_reasoning_cut_at": backward.cut_at if backward else None,
        "forward_verdicts": one.texts[0],
        "backward_verdicts": one.texts[1],
        "unparsed": found.unparsed,
        "duration_s": one.duration_s,
    }
