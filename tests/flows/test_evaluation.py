"""An evaluation planned, made and made again, with scripted policies and a scripted judge."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.plan.input_checks import check_inputs
from flows.plan.recipe import load
from flows.run import ask, progress
from storage.artifacts import artifact_path
from storage.errors import InputError, SolonError
from storage.ids import content_id
from tasks.evaluation.probes import names

from .evaluated import Evaluated, Silent
from .world import EVERY_SOURCE

SETTINGS = {
    "prompts.limit": 40,
    "evaluation.prompts": 3,
    "evaluation.answers": 2,
    "evaluation.max_new_tokens": 24,
    "quantization": "none",
}
CHAMPION = content_id("checkpoint", "champion")


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "complete_chunk", ask.complete_chunk.fn)
    monkeypatch.setattr(progress, "_current", Silent())


@pytest.fixture
def world(tmp_path: Path) -> Evaluated:
    return Evaluated(tmp_path / "home", **SETTINGS)


def test_every_question_is_asked_as_often_as_the_recipe_says(world: Evaluated) -> None:
    found = world.evaluate(world.inputs)
    rows = found.rows()
    assert len(rows) == found.made("evaluate").generated == 4 * 3 * 2
    places = {(row["policy"], row["question_id"], row["sample"]) for row in rows}
    assert len(places) == len(rows)
    assert len({row["completion_id"] for row in rows}) == len(rows)
    assert {row["probe"] for row in rows} == {"held-out"}
    by_sample = {row["sample"]: row["text"] for row in rows[:2]}
    assert len(set(by_sample.values())) == 2
    figures = found.figures
    assert figures["dpo", "tokens"]["n"] == 3
    assert figures["dpo", "tokens_minus_parent"]["n"] == 3
    assert figures["base", "perplexity"]["value"] == pytest.approx(2.0)  # of the scripted engine
    assert figures["base", "perplexity"]["n"] == 24


QUESTIONS = [
    {"probe": "helpfulness", "prompt": f"What is {n} plus {n}?", "accept": [str(2 * n)]}
    for n in range(4)
]


def probe_file(folder: Path, questions: list[dict[str, Any]]) -> str:
    path = folder / "sums.jsonl"
    path.write_text("".join(json.dumps(question) + "\n" for question in questions))
    return str(path)


def test_probes_are_asked_of_every_policy_and_scored_by_program(
    world: Evaluated, tmp_path: Path
) -> None:
    probes = ["helpfulness", probe_file(tmp_path, QUESTIONS)]
    inputs = world.read(**{"evaluation.probes": probes, "evaluation.probe_questions": 3})
    world.checkpoints(inputs)
    assert world.plan_all(inputs).steps["evaluate"].to_generate == (4 * 9 * 2,) * 2
    found = world.evaluate(inputs)
    assert found.made("evaluate").generated == 4 * 9 * 2
    own = [row for row in found.rows() if row["probe"] != "held-out"]
    assert {row["probe"] for row in own} == {"helpfulness", "sums"}
    assert all(row["score"] is not None and row["reason"] for row in own)
    assert {(row["reward"], row["kl"]) for row in own} == {(None, None)}
    kept = world.ledger.query("SELECT prompt_id FROM prompts")
    assert {row["prompt_id"] for row in own} <= {row["prompt_id"] for row in kept}
    figures = found.figures
    assert figures["ppo", "probe:sums"]["n"] == figures["base", "stability:sums"]["n"] == 3
    assert ("dpo", "probe:helpfulness_minus_parent") in figures
    assert figures["ppo", "tokens"]["n"] == 3, "of held-out answers alone"


def test_an_edited_probe_is_asked_anew_and_no_other(world: Evaluated, tmp_path: Path) -> None:
    probes = ["helpfulness", probe_file(tmp_path, QUESTIONS)]
    settings = {"evaluation.probes": probes, "evaluation.probe_questions": 4}
    first = world.evaluate(world.read(**settings))
    probe_file(tmp_path, [QUESTIONS[0] | {"accept": ["none"]}, *QUESTIONS[1:]])
    rescored = world.evaluate(world.read(**settings))
    assert rescored.id != first.id
    assert rescored.made("evaluate").generated == 0, "the same words, another expectation"
    probe_file(tmp_path, [*QUESTIONS[:3], QUESTIONS[3] | {"prompt": "What is three plus three?"}])
    edited = world.read(**settings)
    assert world.plan_all(edited).steps["evaluate"].to_generate == (4 * 2, 4 * 2)
    again = world.evaluate(edited)
    assert again.made("evaluate").generated == 4 * 2
    (new,) = {row["prompt"] for row in again.rows()} - {row["prompt"] for row in first.rows()}
    assert new == "What is three plus three?"


def test_two_probes_of_one_name_and_one_that_is_none_are_refused(
    world: Evaluated, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    two = [probe_file(folder, QUESTIONS) for folder in (tmp_path, tmp_path / "other")]
    for probes, said in (
        (two, "is called sums too"),
        (["no-such"], "none of all, instruction-following"),
    ):
        with pytest.raises(InputError, match=said):
            check_inputs(world.read(**{"evaluation.probes": probes}), None)


def test_a_recipe_names_one_probe_several_or_all() -> None:
    given: dict[Any, tuple[str, ...]] = {
        "all": names(), "format": ("format",), ("format", "harmful"): ("format", "harmful"), (): ()
    }  # fmt: skip
    for value, expected in given.items():
        named = list(value) if isinstance(value, tuple) else value
        assert load("smoke", {"evaluation.probes": named}).evaluation.probes == expected
    assert load("smoke").evaluation.probes == ()


def test_policies_draw_the_same_numbers_sample_by_sample(world: Evaluated) -> None:
    world.evaluate(world.inputs)
    seeds: dict[Any, set[int]] = {}
    asked = [call for call in world.engine.calls if call.max_new_tokens == 24]
    for call in asked:
        seeds.setdefault(call.adapter, set()).add(call.seed)
    assert len(seeds) == 4
    assert len({frozenset(own) for own in seeds.values()}) == 1
    assert len(seeds[None]) == 3 * 2


def test_the_plan_is_what_happens(world: Evaluated) -> None:
    inputs = world.inputs
    step = world.plan_all(inputs).steps["evaluate"]
    assert (step.to_generate, step.to_train) == ((6, 24), (1, 1))
    world.checkpoints(inputs)
    step = world.plan_all(inputs).steps["evaluate"]
    assert (step.to_generate, step.to_train, step.reused) == ((24, 24), (1, 1), 0)
    assert world.evaluate(inputs).made("evaluate").generated == 24
    step = world.plan_all(inputs).steps["evaluate"]
    assert (step.to_generate, step.to_train, step.reused) == ((0, 0), (0, 0), 24)


def test_one_more_answer_a_question_asks_for_that_one_only(world: Evaluated) -> None:
    world.evaluate(world.inputs)
    more = world.read(**{"evaluation.answers": 3})
    assert world.plan_all(more).steps["evaluate"].to_generate == (12, 12)
    made = world.evaluate(more).made("evaluate")
    assert (made.generated, made.reused) == (12, 24)


@pytest.mark.parametrize("setting", [{"evaluation.shown": 2}, {"evaluation.batch_size": 3}])
def test_what_changes_no_row_changes_no_id(world: Evaluated, setting: dict[str, Any]) -> None:
    first = world.evaluate(world.inputs)
    assert world.plan_all(world.read(**setting)).steps["evaluate"].id == first.id


def test_without_ordinary_text_there_is_no_perplexity(world: Evaluated) -> None:
    found = world.evaluate(world.read(**{"evaluation.perplexity": False}))
    assert found.rows("nlls.jsonl") == []
    assert not [metric for _, metric in found.figures if metric.startswith("perplexity")]


def test_the_champion_is_a_policy_where_it_is_none_of_the_runs(world: Evaluated) -> None:
    inputs = world.inputs
    alone = world.evaluate(inputs)
    world.champion(CHAMPION, inputs)
    step = world.plan_all(inputs).steps["evaluate"]
    assert (step.to_generate, step.to_train, step.reused) == ((6, 6), (1, 1), 24)
    found = world.evaluate(inputs)
    assert found.id != alone.id
    assert found.made("evaluate").generated == 6
    assert {row["policy"] for row in found.rows()} == {"base", "sft", "dpo", "ppo", "champion"}
    assert {p for p, m in found.figures if m == "tokens_minus_champion"} == {"sft", "dpo", "ppo"}
    assert ("champion", "tokens_minus_base") in found.figures
    world.champion(world.checkpoints(inputs)["ppo"], inputs)
    assert world.plan_all(inputs).steps["evaluate"].id == alone.id


def test_a_champion_of_another_base_or_without_files_is_left_out(world: Evaluated) -> None:
    alone = world.evaluate(world.inputs)
    world.champion(CHAMPION, world.inputs)
    with world.ledger.transaction() as con:
        con.execute("UPDATE checkpoints SET base_model_id = 'mdl_other' WHERE stage = 'dpo'")
    assert world.plan_all(world.inputs).steps["evaluate"].id == alone.id
    with world.ledger.transaction() as con:
        base = world.inputs.base_model_id
        con.execute("UPDATE checkpoints SET base_model_id = ? WHERE stage = 'dpo'", [base])
    assert world.plan_all(world.inputs).steps["evaluate"].id != alone.id
    (artifact_path(world.workspace, CHAMPION) / "MANIFEST.json").write_text("{")
    with pytest.raises(SolonError, match=f"champion {CHAMPION}: its files are damaged"):
        world.plan_all(world.inputs)  # a gate would be passed that was never asked
    shutil.rmtree(artifact_path(world.workspace, CHAMPION))
    assert world.plan_all(world.inputs).steps["evaluate"].id == alone.id


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., Evaluated]:
    def make(**more: Any) -> Evaluated:
        return Evaluated(tmp_path / "home", **(SETTINGS | EVERY_SOURCE | more))

    return make


def test_the_judge_compares_each_policy_with_base_parent_and_champion(
    judged: Callable[..., Evaluated],
) -> None:
    """It likes the shorter one, wherever it stands."""
    world = judged()
    world.champion(CHAMPION, world.inputs)
    world.checkpoints(world.inputs)
    planned = world.plan_all(world.inputs).steps["comparisons"].to_generate
    found = world.evaluate(world.inputs)
    made = found.made("comparisons").generated
    assert planned[0] <= made <= planned[1]
    wins = found.rows("wins.jsonl")
    assert {(win["policy"], win["other"]) for win in wins} == {
        *(("sft", "base"), ("dpo", "base"), ("dpo", "sft"), ("ppo", "base"), ("ppo", "sft")),
        *((policy, "champion") for policy in ("sft", "dpo", "ppo")),
        ("champion", "base"),
    }
    assert len(wins) == 9 * 3  # pairs of policies and prompts, of which the first sample
    texts = {
        (row["policy"], row["question_id"]): row["text"]
        for row in found.rows()
        if row["sample"] == 0
    }
    for win in wins:
        own, other = (len(texts[win[k], win["question_id"]].split()) for k in ("policy", "other"))
        assert own == other or (win["preference"] > 0.5) == (own < other)
    rate = found.figures["ppo", "win_rate:parent"]
    of_pair = [win for win in wins if (win["policy"], win["other"]) == ("ppo", "sft")]
    points = [
        0.5 if w["preference"] in (None, 0.5) else float(w["preference"] > 0.5) for w in of_pair
    ]
    assert (rate["value"], rate["n"]) == (pytest.approx(sum(points) / 3), 3)
    assert any(metric.startswith("win_rate:base:") for _, metric in found.figures)
    assert world.evaluate(world.inputs).made("comparisons").generated == 0


def test_where_all_answers_are_there_the_comparisons_are_planned_exactly(
    judged: Callable[..., Evaluated],
) -> None:
    world = judged()
    world.evaluate(world.inputs)
    with world.ledger.transaction() as con:
        con.execute(
            "DELETE FROM comparisons USING answers WHERE first_completion_id IS NOT NULL"
            " AND first_completion_id = completion_id"
        )
    other = world.read(**{"judge.abstain": 0.2})
    planned = world.plan_all(other).steps["comparisons"].to_generate
    made = world.evaluate(other).made("comparisons").generated
    assert planned == (made, made)
    assert made > 0


def test_a_copy_of_the_champion_ties_with_it(judged: Callable[..., Evaluated]) -> None:
    world = judged()
    dpo = world.checkpoints(world.inputs)["dpo"]
    world.champion(CHAMPION, world.inputs, words=dpo)
    found = world.evaluate(world.inputs).figures
    for metric in ("win_rate:champion", "win_rate_by_length:champion"):
        assert found["dpo", metric]["value"] == pytest.approx(0.5)
        assert found["dpo", metric]["low"] <= 0.5 <= found["dpo", metric]["high"]
    assert found["dpo", "tokens_minus_champion"]["value"] == 0.0
