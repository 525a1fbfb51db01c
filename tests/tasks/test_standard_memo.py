"""What standard tasks ask: once a model, in the order asked, and never lost by a kill."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from storage.ledger import Ledger
from tasks.engines.engine import Batch, Completion, Continuation, Request, Score
from tasks.engines.scripted import ScriptedEngine
from tasks.standard.memo import Asker, Question


class Heard(ScriptedEngine):
    """Keeps what it is asked, and answers from the last to the first; `dies_after` batches."""

    def __init__(self, dies_after: int | None = None) -> None:
        super().__init__(batch_rows=2)
        self.asked: list[Request | Continuation] = []
        self.dies_after = dies_after

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        assert len({request.max_new_tokens for request in requests}) == 1
        for number, batch in enumerate(reversed(list(super().generate(requests)))):
            if number == self.dies_after:
                raise RuntimeError("the engine died")
            self.asked += [requests[item.index] for item in batch.items]
            yield batch

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        self.asked += continuations
        return super().score(continuations)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.duckdb")


def written(text: str, limit: int = 8, room: int = 100) -> Question:
    return Question(Request(None, text, 0.0, 1.0, (), limit, room, 0))


def scored(text: str) -> Question:
    return Question(Continuation((), text, False, context="before"))


QUESTIONS = [written("one"), written("two", 5), written("three"), written("one"), written("four")]


def test_replies_keep_the_order_and_equal_questions_are_asked_once(ledger: Ledger) -> None:
    engine = Heard()
    asker = Asker(ledger, engine, "mdl_1", "ckp_1")
    replies = asker.ask(QUESTIONS)
    (single,) = ScriptedEngine().generate([QUESTIONS[2].asked])  # type: ignore[list-item]
    assert replies[2].text == single.items[0].text
    assert replies[0] == replies[3]
    assert (len(engine.asked), asker.total, asker.reused) == (4, 4, 0)
    assert {asked.adapter for asked in engine.asked} == {"ckp_1"}


def test_what_a_model_was_asked_is_not_asked_again_but_another_is(ledger: Ledger) -> None:
    first = Asker(ledger, Heard(), "mdl_1", "ckp_1").ask([*QUESTIONS, scored("a b")])
    engine = Heard()
    again = Asker(ledger, engine, "mdl_1")
    assert again.ask([*QUESTIONS, scored("a b")]) == first
    assert (engine.asked, again.reused) == ([], 5)
    Asker(ledger, engine, "mdl_2").ask([scored("a b"), scored("a c")])
    assert len(engine.asked) == 2
    assert first[-1].text is None
    assert first[-1].logprob == pytest.approx(-1.386, abs=1e-3)


def test_a_death_loses_no_batch_that_was_answered(ledger: Ledger) -> None:
    same = [question for question in QUESTIONS if question != QUESTIONS[1]]
    with pytest.raises(RuntimeError):
        Asker(ledger, Heard(dies_after=1), "mdl_1").ask(same)
    engine = Heard()
    asker = Asker(ledger, engine, "mdl_1")
    assert all(reply.text for reply in asker.ask(same))
    assert (asker.reused, len(engine.asked)) == (1, 2)  # a batch of one, then one of two


def test_what_does_not_fit_is_counted(ledger: Ledger) -> None:
    asker = Asker(ledger, Heard(), "mdl_1")
    (long, _) = asker.ask([written("much too long", room=2), written("two")])
    assert (long.text, long.finish_reason, asker.refused) == ("", "too_long", 1)


def test_the_adapter_is_no_part_of_a_question_and_everything_else_is() -> None:
    asked = QUESTIONS[0].asked
    assert isinstance(asked, Request)
    same = Question(replace(asked, adapter="ckp_1"))
    others = [Question(replace(asked, stop=("x",))), written("one", 9), scored("one")]
    assert same.request_id == QUESTIONS[0].request_id
    assert len({question.request_id for question in [same, *others]}) == 4
