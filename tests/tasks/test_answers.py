"""An evaluation's answers: what is scored of them, their rows, and the memo of scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from storage.ids import seed_of
from storage.ledger import Ledger
from tasks.engines.engine import Batch, Continuation, Score
from tasks.engines.scripted import ScriptedEngine
from tasks.evaluation import scores
from tasks.evaluation.answers import Answered, Policy, row_of, wanted_scores
from tasks.evaluation.metrics import summarise
from tasks.evaluation.ordinary import passages
from tasks.evaluation.probes import Question, Scored
from tasks.evaluation.rows import HELD_OUT
from tasks.generation.calls import Answer, CallForm, Sampling
from tasks.prompts import Prompt

SAMPLING = Sampling(temperature=0.7, top_p=1.0, max_new_tokens=30, max_prompt_tokens=100)
BASE, SFT, TWIN, PPO = (
    Policy(name, model)
    for name, model in (("base", "mdl_b"), ("sft", "mdl_s"), ("dpo", "mdl_s"), ("ppo", "mdl_p"))
)
REWARD = Policy("reward", "mdl_r")


def answered(
    policy: Policy, text: str = "It is so.", reason: str = "stop", probe: str = HELD_OUT
) -> Answered:
    asked = {"role": "user", "content": "Is it?"}
    call = CallForm("answer", policy.model_id, SAMPLING, same_draws=True).call("prm_1", (asked,))
    cut_at = {"stop": 0, "length": 30, "too_long": -1}[reason]
    answer = Answer(call.completion_id, text, reason, 4, cut_at)
    return Answered(policy, Question(probe, Prompt((asked,), "c", "file", 1)), call, answer)


class Counting(ScriptedEngine):
    """The scripted engine, keeping what it was asked to score."""

    adapters = ("mdl_s", "mdl_p", "mdl_r")

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Continuation] = []

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        self.asked += continuations
        return super().score(continuations)

    def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        self.asked += continuations
        return super().reward(continuations)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.duckdb")


def test_policies_have_answers_of_their_own_and_draw_the_same_numbers() -> None:
    base, sft, twin = (answered(policy).call for policy in (BASE, SFT, TWIN))
    assert len({base.completion_id, sft.completion_id}) == 2
    assert twin.completion_id == sft.completion_id
    assert seed_of(base.draw_id) == seed_of(sft.draw_id)
    plain = CallForm("answer", "mdl_b", SAMPLING).call("prm_1", base.messages)
    assert plain.completion_id == base.completion_id == plain.draw_id != base.draw_id


def test_what_is_scored_of_each_answer() -> None:
    cases = {BASE: ["mdl_b", "mdl_s", "mdl_r"], SFT: ["mdl_r"], TWIN: ["mdl_r"]}
    for policy, models in cases.items():
        wanted = list(wanted_scores([answered(policy)], SFT, REWARD))
        assert [w.model_id for w in wanted] == models
        assert [w.measure for w in wanted] == ["logprob"] * (len(models) - 1) + ["reward"]
        assert {w.temperature for w in wanted} == {0.7}
    assert list(wanted_scores([answered(BASE, "", "too_long")], SFT, REWARD)) == []


def test_a_row_holds_the_difference_to_sft_which_is_0_for_its_twin() -> None:
    known = {"mdl_p": -3.0, "mdl_s": -4.5, "mdl_r": 0.25}
    rows = [row_of(answered(p), SFT, REWARD, lambda w: known[w.model_id]) for p in (SFT, TWIN, PPO)]
    assert [(row["kl"], row["reward"]) for row in rows] == [(0.0, 0.25), (0.0, 0.25), (1.5, 0.25)]
    assert set(rows[0]) == {
        *("policy", "probe", "question_id", "prompt_id", "sample", "completion_id", "category"),
        *("prompt", "text", "finish_reason", "tokens", "reward", "kl", "score", "reason"),
    }
    long = row_of(answered(PPO, "", "too_long"), SFT, REWARD, lambda w: known[w.model_id])
    assert (long["kl"], long["reward"], long["text"]) == (None, None, "")
    assert {row["n"] for row in summarise([*rows, long]) if row["metric"] == "kl"} == {1}


def test_an_answer_to_a_probe_is_scored_by_its_program_alone() -> None:
    found = answered(PPO, probe="helpfulness")
    assert list(wanted_scores([found], SFT, REWARD)) == []
    row = row_of(found, SFT, REWARD, lambda w: 0.0, Scored(0.5, "half right"))
    assert (row["score"], row["reason"], row["reward"], row["kl"]) == (
        0.5,
        "half right",
        None,
        None,
    )
    assert row["probe"] == "helpfulness"
    untold = row_of(found, SFT, REWARD, lambda w: 0.0)
    assert (untold["score"], untold["reason"]) == (None, None)


def test_ordinary_text_is_read_as_it_is_by_every_model_and_kept(ledger: Ledger) -> None:
    engine, texts = Counting(), passages()
    assert len({passage.passage_id for passage in texts}) == 24
    assert all(60 <= len(passage.text.split()) <= 120 for passage in texts)
    wanted = [text.wanted(policy.model_id) for text in texts for policy in (BASE, SFT)]
    made = scores.complete(ledger, engine, "run_1", wanted)
    assert {(asked.messages, asked.is_ended) for asked in engine.asked} == {((), False)}
    assert {asked.adapter for asked in engine.asked} == {None, "mdl_s"}
    assert list(made.values()) == pytest.approx([math.log(2)] * 48)  # a mean, whatever the length
    assert scores.look_up(ledger, wanted) == made


def test_scores_are_asked_once_and_kept_with_who_gave_them(ledger: Ledger) -> None:
    engine, found = Counting(), [answered(BASE), answered(PPO, "No.", "length"), answered(SFT)]
    wanted = list(wanted_scores(found, SFT, REWARD))
    made = scores.complete(ledger, engine, "run_1", [*wanted, *wanted])
    assert len(engine.asked) == len(made) == len(wanted) == 7
    assert {asked.adapter for asked in engine.asked} == {None, "mdl_s", "mdl_p", "mdl_r"}
    assert {asked.text for asked in engine.asked if not asked.is_ended} == {"No."}
    assert scores.look_up(ledger, wanted) == made
    rows = ledger.query("SELECT DISTINCT run_id, device, dtype FROM scores")
    assert rows == [{"run_id": "run_1", "device": "none", "dtype": "none"}]
    longer = [w for w in wanted_scores([answered(PPO, "No. Never.")], SFT, REWARD)]
    assert scores.look_up(ledger, longer) == {}, "another text of the same completion"


def test_scores_that_came_before_a_failure_are_kept(ledger: Ledger) -> None:
    class Failing(Counting):
        def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
            raise RuntimeError("gone")

    wanted = list(wanted_scores([answered(BASE)], SFT, REWARD))
    with pytest.raises(RuntimeError, match="gone"):
        scores.complete(ledger, Failing(), "run_1", wanted)
    assert [key.measure for key in scores.look_up(ledger, wanted)] == ["logprob"] * 2
