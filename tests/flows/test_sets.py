"""What people bring to a recipe: sets of pairs and of demonstrations, ratio and licence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.explain.export import export_snapshot
from flows.plan.planner import Planner
from flows.plan.recipe import load
from storage.errors import InputError
from storage.ids import content_id
from storage.lineage import trace
from tasks.generation.mixing import Members, Shared, mixed
from tests.flows.world import World

SNAPSHOT = "SELECT row_id, is_held_out FROM dataset_rows WHERE dataset_id = ?"


def shown(tmp_path: Path, count: int = 60) -> str:
    path = tmp_path / "shown.jsonl"
    rows = [{"question": f"Number {n}?", "answer": f"In short, it is {n}."} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def made(tmp_path: Path, **settings: Any) -> World:
    world = World(tmp_path / "home", **settings)
    world.run(world.inputs)
    return world


def theirs(world: World) -> tuple[int, int]:
    """How many demonstrations of people are to train on and held out, in the last run's rows."""
    sql = "SELECT example_id AS id FROM examples WHERE source = 'people'"
    own = {row["id"] for row in world.ledger.query(sql)}
    return len(own & set(world.rows.sft.training)), len(own & set(world.rows.sft.held_out))


def test_demonstrations_are_learned_in_sft_alone(tmp_path: Path) -> None:
    plain = made(tmp_path / "plain")
    path = shown(tmp_path)
    world = made(tmp_path, **{"pairs.demonstrations": path})
    assert sum(theirs(world)) == 60
    assert min(theirs(world)) > 0
    assert world.rows.preferences == plain.rows.preferences
    assert world.rows.sft.row_count == plain.rows.sft.row_count + 60
    assert world.plan(world.inputs).is_empty
    rows = world.ledger.query("SELECT completion_id FROM examples WHERE source = 'people'")
    assert {row["completion_id"] for row in rows} == {None}


def test_a_ratio_takes_the_same_rows_and_says_what_is_over(tmp_path: Path) -> None:
    path = shown(tmp_path)
    sets = [{"path": path, "ratio": 0.25, "licence": "MIT", "source": "numbers"}]
    world = made(tmp_path, **{"pairs.demonstrations": sets})
    training, held_out = theirs(world)
    own = len(world.rows.sft.training) - training, len(world.rows.sft.held_out) - held_out
    assert (training, held_out) == (round(own[0] / 4), round(own[1] / 4))
    assert world.rows.left_out["examples", "over_ratio"] == 60 - training - held_out
    before = set(world.rows.sft.training)
    half = world.read(**{"pairs.demonstrations": [sets[0] | {"ratio": 0.5}]})
    assert not world.plan(half).is_empty
    world.run(half)
    assert before < set(world.rows.sft.training)
    assert theirs(world)[0] == round(own[0] / 2)


def test_set_licence_and_ratio_are_on_every_row(tmp_path: Path) -> None:
    sets = [{"path": shown(tmp_path), "ratio": 0.5, "licence": "MIT", "source": "numbers"}]
    world = made(tmp_path, **{"pairs.demonstrations": sets})
    out = tmp_path / "sft.jsonl"
    export_snapshot(world.ledger, world.rows.sft.dataset_id, "trl", out)
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    said = {(r["set"], r["licence"], r["ratio"]) for r in rows if r["source"] == "people"}
    assert said == {("numbers", "MIT", "0.5")}
    (own,) = [
        node
        for node in trace(world.ledger, world.rows.sft.dataset_id, "up")["nodes"].values()
        if node["kind"] == "set"
    ]
    assert (own["label"], own["licence"], own["ratio"]) == ("numbers", "MIT", 0.5)
    licensed = world.read(**{"pairs.demonstrations": [sets[0] | {"licence": "MIT, asked"}]})
    plan = world.plan(licensed)
    assert (plan.is_made, plan.is_empty) == (True, False)  # only to be written down
    world.run(licensed)
    assert world.plan(licensed).is_empty


def test_pairs_at_a_ratio_teach_as_many_as_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "said.jsonl"
    said = [{"prompt": f"Say {n}.", "chosen": f"It is {n}.", "rejected": "No."} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in said), encoding="utf-8")
    own = {"constitution": "checkable", "pairs.shares.distilled": 1}
    plain = made(tmp_path / "plain", **own).rows
    sets = {"path": str(path), "ratio": 0.5}
    world = made(tmp_path, **own, **{"pairs.people": sets})
    taken = round(len(plain.preferences.training) / 2)
    assert len(world.rows.preferences.training) == len(plain.preferences.training) + taken
    assert world.rows.teaching.by_source["people"] == taken
    assert world.rows.teaching.pairs == len(world.rows.preferences.training)
    assert world.plan(world.inputs).is_empty


def test_a_plan_names_the_key_that_changed(tmp_path: Path) -> None:
    """The run behind a snapshot had other sets."""
    world = made(tmp_path)
    settings = world.inputs.recipe.model_dump_json()
    before = world.rows.sft.dataset_id
    with world.ledger.transaction() as con:
        con.execute(
            "INSERT INTO runs BY NAME SELECT 'run_test' AS run_id, 'smoke' AS recipe,"
            " 'completed' AS state, now() AS started_at, ?::JSON AS settings",
            [settings],
        )
    told = world.read(**{"pairs.demonstrations": shown(tmp_path)})
    planner = Planner(told, world.workspace, world.ledger)
    assert planner._root("dataset", before) == "pairs.demonstrations"
    assert (
        Planner(world.inputs, world.workspace, world.ledger)._root("dataset", before) == "dataset"
    )


def test_paths_of_sets_count_from_the_recipe(tmp_path: Path) -> None:
    text = (
        "name: x\nmodel: random:tiny\npairs:\n  people: a.csv\n  demonstrations: [b.csv, {path: c}]"
    )
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    found = load(str(tmp_path / "recipe.yaml")).files()
    assert found["pairs.people"] == [str(tmp_path / "a.csv")]
    assert found["pairs.demonstrations"] == [str(tmp_path / "b.csv"), str(tmp_path / "c")]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"path": "x", "ratio": 0}, "pairs.people.0.ratio=0"),
        ({"path": "x", "licens": "MIT"}, "no recipe has this key"),
        ({"ratio": 1}, "pairs.people.0.path"),
        ({"path": "x", "columns": {"good": "Gut"}}, "good: no column of ours has this name"),
    ],
)
def test_a_bad_set_is_refused_in_one_line(value: Any, rule: str) -> None:
    with pytest.raises(InputError, match=rule) as caught:
        load("smoke", {"pairs.people": value})
    assert "\n" not in str(caught.value)


ids = st.lists(st.integers(0, 400), unique=True, max_size=40).map(
    lambda numbers: {content_id("example", n): content_id("prompt", n) for n in numbers}
)


@given(ids, ids, st.floats(0.1, 3), ids)
def test_one_row_more_takes_none_away(
    own: dict[str, str], set_: dict[str, str], ratio: float, more: dict[str, str]
) -> None:
    def of(prompts: dict[str, str]) -> Members:
        members = Members(20)
        members.add(prompts)
        return members

    few, over = mixed(of(own), [Shared(ratio, set_)])
    every = few.training | few.held_out
    assert every | set(over) == own.keys() | set_.keys()
    assert not every & set(over)
    many, _ = mixed(
        of(own | {k: v for k, v in more.items() if k not in set_}), [Shared(ratio, set_)]
    )
    assert few.training <= many.training
    assert few.held_out <= many.held_out


def test_a_run_keeps_sets_with_their_rows(tmp_path: Path) -> None:
    """As a run does it, by itself: what people brought, and nothing of a model."""
    from flows.run.data import DataSide
    from flows.run.session import Session

    said = tmp_path / "said.jsonl"
    said.write_text('{"prompt": "Why?", "chosen": "So.", "rejected": "No.", "principle": "kind"}')
    sets = [{"path": shown(tmp_path, 8), "ratio": 1.0, "licence": "MIT", "source": "numbers"}]
    world = World(tmp_path / "home", **{"pairs.people": str(said), "pairs.demonstrations": sets})
    session = Session(world.inputs, world.workspace, world.ledger, "run_test")
    DataSide(session)._take_people()
    kept = world.ledger.query(
        "SELECT s.source, s.licence, ratio, kind, run_id, count(w.row_id) AS n,"
        " any_value(principle) AS p FROM sets s JOIN set_rows w USING (set_id)"
        " GROUP BY ALL ORDER BY kind"
    )
    assert [tuple(row.values()) for row in kept] == [
        ("numbers", "MIT", 1.0, "demonstrations", "run_test", 8, None),
        (str(said), None, None, "preferences", "run_test", 1, "kind"),
    ]
    counts = "SELECT (SELECT count(*) FROM pairs) AS p, (SELECT count(*) FROM examples) AS e"
    assert world.ledger.query(counts) == [{"p": 1, "e": 8}]
