"""Other models and servers in single roles: what they are asked, what it costs, what an edit of one
reaches, and that the rows of all other roles stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.explain.lineage_text import lineage_lines
from flows.explain.row_story import story_lines
from flows.explain.run_report import read
from flows.explain.run_report.subject import Subject
from flows.explain.show import plan_lines
from flows.explain.why import story
from flows.plan.chat import Seen
from flows.plan.first_rates import RUN_S, START_S
from flows.plan.hands import SCRIPTED_MODEL, Hand
from flows.plan.inputs import Inputs
from flows.plan.plan import Plan
from flows.plan.planner import Planner
from flows.plan.recipe import load
from flows.run import workers as run_workers
from flows.run.workers import Workers
from flows.serve import reach
from storage.errors import InputError
from storage.ids import content_id
from storage.ledger import insert, now
from storage.lineage import summary
from tasks import models
from tasks.chat.think import ALOUD
from tasks.engines.known import Known, keep
from tasks.engines.wire import Abilities
from tasks.generation.record import record_model
from tasks.machine import machine_name

from .world import EVERY_SOURCE, JUDGE, World

TINY = "random:tiny"
SERVER = {"base_urls": "http://127.0.0.1:9/v1", "model": "critic"}
MODELS_OF = "SELECT DISTINCT step, model_id FROM completions ORDER BY ALL"


def folder(path: Path, weights: bytes = b"1") -> str:
    """A folder that is named and never loaded."""
    path.mkdir(exist_ok=True)
    (path / "model.safetensors").write_bytes(weights)
    (path / "config.json").write_text("{}")
    return str(path)


def to_make(plan: Plan) -> dict[str, tuple[int, int]]:
    return {name: step.to_generate for name, step in plan.steps.items() if step.to_generate[1]}


def ids(world: World, step: str) -> set[str]:
    rows = world.ledger.query("SELECT completion_id FROM completions WHERE step = ?", [step])
    return {row["completion_id"] for row in rows}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "home", **{"prompts.limit": 24})
    world.run(world.inputs)
    return world


def test_another_critic_costs_the_critics_rows_and_what_hangs_from_them(world: World) -> None:
    drafts, before = ids(world, "draft"), world.plan(world.inputs)
    other = world.read(**{"models.critique": TINY})
    tiny = models.identify(TINY, world.workspace).model_id
    plan = world.plan(other)
    assert to_make(plan) == {"critiques": (24, 24), "revisions": (0, 24), "pairs": (0, 24)}
    assert {(c["step"], c["component"], c["root"]) for c in plan.why} == {
        ("critique", "models.critique", "models.critique")
    }
    assert plan.steps["critiques"].by_model == {tiny: (24, 24)}
    assert f"critiques: 24 asked of {TINY} (" in "\n".join(plan_lines(plan))

    made = world.run(other)
    assert made["drafts"] == 0
    assert made["critiques0"] == 24
    assert ids(world, "draft") == drafts
    asked = {step: model_id for step, model_id in map(dict.values, world.ledger.query(MODELS_OF))}
    assert asked["revision"] == asked["draft"] == SCRIPTED_MODEL
    assert asked["critique"] == tiny or len(ids(world, "critique")) == 48
    assert world.plan(other).is_empty
    assert world.plan(world.inputs).to_json()["steps"] == before.to_json()["steps"]


@pytest.mark.parametrize(
    ("role", "first", "behind"),
    [
        ("draft", "drafts", {"critiques", "revisions"}),
        ("critique", "critiques", {"revisions"}),
        ("revision", "revisions", set()),
        ("teacher", "samples", set()),
        ("judge", "comparisons", set()),
    ],
)
def test_a_role_reaches_its_own_rows_and_those_behind_them(
    tmp_path: Path, role: str, first: str, behind: set[str]
) -> None:
    world = World(tmp_path / "home", **EVERY_SOURCE | {"prompts.limit": 24})
    world.run(world.inputs, engine=JUDGE)
    other = world.read(**{f"models.{role}": TINY})
    plan = world.plan(other)
    surely = {name for name, span in to_make(plan).items() if span[0]}
    assert first in surely
    assert {cause["component"] for cause in plan.why} == {f"models.{role}"}
    made = world.run(other, engine=JUDGE)
    low, high = plan.cost["calls"]
    assert low <= sum(made.values()) <= high
    levels = {name.rstrip("0") for name, count in made.items() if count}
    assert {first} <= levels <= {first, *behind, "comparisons"}
    assert world.plan(other).is_empty
    assert world.plan(world.inputs).is_empty


def test_the_teacher_is_another_and_the_student_is_not(tmp_path: Path) -> None:
    only = {"pairs.shares.revision": 0, "pairs.shares.distilled": 1, "prompts.limit": 6}
    world = World(tmp_path / "home", **only, **{"models.teacher": TINY})
    tiny = str(models.identify(TINY, world.workspace).model_id)
    plan = world.plan(world.inputs)
    assert plan.steps["samples"].by_model == {tiny: (24, 24), SCRIPTED_MODEL: (24, 24)}
    world.run(world.inputs)
    rows = [tuple(row.values()) for row in world.ledger.query(MODELS_OF)]
    assert rows == [("sample", SCRIPTED_MODEL), ("teacher", tiny)]


def test_an_unused_role_is_asked_for_nothing(world: World) -> None:
    other = world.read(**{"models.teacher": TINY, "models.judge": SERVER})
    assert [hand.kind for hand in other.asked] == ["scripted"]
    assert world.plan(other).is_empty


def known_server(world: World, settings: Mapping[str, Any]) -> None:
    can = Abilities(top_logprobs=20)
    report = {"id": settings["model"]}
    keep(world.workspace, settings["base_urls"], Known(settings["model"], report, (), can))


def test_servers_are_planned_before_they_were_asked_and_priced_apart(world: World) -> None:
    priced = SERVER | {"price_out": 2.0}
    other = SERVER | {"model": "reviser", "price_out": 4.0}
    plan = world.plan(world.read(**{"models.critique": priced, "models.revision": other}))
    spans = {name: plan.steps[name].by_model for name in ("critiques", "revisions")}
    assert [list(span.values()) for span in spans.values()] == [[(24, 24)], [(24, 24)]]
    assert len({model_id for span in spans.values() for model_id in span}) == 2
    limits = world.inputs.recipe.generation.max_new_tokens
    out = 24 * (2 * limits.critique + 4 * limits.revision) / 1e6
    assert plan.cost["money"] == [pytest.approx(out, abs=1e-4)] * 2
    assert "critiques: 24 asked of critic" in "\n".join(plan_lines(plan)).splitlines()
    known_server(world, SERVER)
    known = world.read(**{"models.critique": SERVER})
    assert known.hands.of("critique").model_id == content_id(
        "model", ["server", "critic", {"id": "critic"}]
    )


def ran(world: World, inputs: Inputs) -> None:
    """Say in the ledger which recipe and machine the rows are of."""
    run = {"run_id": "run_test", "recipe": "smoke", "state": "completed", "started_at": now()}
    settings = inputs.recipe.model_dump_json()
    with world.ledger.transaction() as con:
        insert(con, "runs", [run | {"settings": settings, "machine": machine_name()}])


def test_seconds_are_those_of_each_model(world: World) -> None:
    other = world.read(**{"models.critique": TINY})
    ran(world, other)
    assert world.plan(other).cost["seconds"] is None  # nobody knows what this critic takes
    world.run(other)
    with world.ledger.transaction() as con:
        con.execute(
            "UPDATE completions SET duration_s = CASE model_id WHEN ? THEN 2 ELSE 5 END",
            [SCRIPTED_MODEL],
        )
    more = world.plan(world.read(**{"models.critique": TINY, "prompts.limit": 30}))
    starts = RUN_S + START_S
    assert more.cost["seconds"] == [starts + 6 * (2 + 5 + 2)] * 2


def test_why_names_who_did_what(world: World) -> None:
    other = world.read(**{"models.critique": TINY})
    world.run(other)
    ran(world, other)
    for hand in other.asked:
        record_model(world.ledger, hand.model_id, hand.kind, hand.reference)
    pair = world.rows.preferences.training[0]
    with world.ledger.transaction() as con:
        lines = list(lineage_lines(summary(con, [pair], "up"), "up"))
        told = story(con, pair)
    assert told is not None
    assert any(line.endswith(f"{TINY} (critique)") for line in lines)
    assert any(line.endswith("scripted (draft, revision)") for line in lines)
    shown = "\n".join(str(line) for line in story_lines(told))
    assert shown.index("scripted; temp") < shown.index(f"{TINY}; temp")
    assert told["why"]["root"]["component"] == "models.critique"


class Loaded:
    """A worker's engine that only counts how many are there."""

    there: list[str] = []  # noqa: RUF012
    most = 0

    def __init__(self, path: Path, log: Path, **options: Any) -> None:
        self.path, self.adapters = str(path), options["adapters"]
        self.there.append(self.path)
        Loaded.most = max(Loaded.most, len(self.there))

    def close(self) -> None:
        self.there.remove(self.path)


@pytest.fixture
def workers(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Workers]:
    def prepared(reference: str, *_: object) -> models.PreparedModel:
        found = str(models.identify(reference, world.workspace).model_id)
        return models.PreparedModel(found, Path(reference), None, reference)

    monkeypatch.setattr("flows.run.engines.WorkerEngine", Loaded)
    monkeypatch.setattr(run_workers, "prepare_model", prepared)
    monkeypatch.setattr(run_workers, "check_folder", lambda *_: None)
    monkeypatch.setattr(run_workers, "server_engine", lambda *_: Loaded.__new__(Loaded))
    monkeypatch.setattr(Loaded, "there", [])
    monkeypatch.setattr(Loaded, "most", 0)

    def make(**overrides: Any) -> Workers:
        return Workers(world.read(**overrides), world.workspace, world.ledger, "run_test")

    return make


def test_one_model_has_its_weights_loaded_at_a_time(
    workers: Callable[..., Workers], tmp_path: Path
) -> None:
    critic, reviser = folder(tmp_path / "critic"), folder(tmp_path / "reviser", b"2")
    made = workers(**{"models.critique": critic, "models.revision": reviser})
    scripted, *others = [hand.model_id for hand in made.inputs.asked]
    first = made.generator(scripted)
    engines = [made.generator(model_id) for model_id in (*others, *others)]
    assert Loaded.most == 1
    assert Loaded.there == [reviser]
    assert made.generator(others[-1]) is engines[-1]
    assert made.generator(scripted) is first
    made.end_engine()
    assert Loaded.there == []


def test_models_on_one_base_share_its_weights(
    workers: Callable[..., Workers], tmp_path: Path
) -> None:
    made = workers(**{"models.draft": folder(tmp_path / "base")})
    base = made.inputs.hands.named["draft"]
    info = models.ModelInfo("mdl_adapter", "checkpoint", "critic", base.model_id)
    critic = Hand("mdl_adapter", str(tmp_path / "adapter"), ALOUD, Seen(info, None, None))
    hands = replace(made.inputs.hands, named={"draft": base, "critique": critic})
    made.inputs = replace(made.inputs, hands=hands)
    path = Path(str(base.source))
    made._prepared = {
        str(base.source): models.PreparedModel("x", path, None, "x"),
        str(critic.source): models.PreparedModel("y", path, tmp_path / "adapter", "y"),
    }
    engine = made.generator(base.model_id)
    assert made.generator(critic.model_id) is engine
    assert list(engine.adapters) == ["mdl_adapter"]


def test_a_checkpoint_falls_by_who_was_asked(world: World) -> None:
    ran(world, world.inputs)
    before = str(world.plan(world.inputs).steps["pairs"].id)
    for name, roots in ((SERVER, ["models.critique"]), (None, ["dataset"])):
        other = world.read(**{"models.critique": name})
        planner = Planner(other, world.workspace, world.ledger)
        planner._add_why("sft", "dataset", before, "dst_new")
        assert [cause["root"] for cause in planner.plan.why] == roots


BAD = [
    (
        {"models.critic": TINY},
        "models.critic: no recipe has this key; did you mean models.critique?",
    ),
    ({"models.critique": "pickle:x"}, "models.critique: pickle:x: not a model reference"),
    ({"models.critique": ""}, "not a model reference"),
    ({"models.judge": {"model": "x"}}, "models.judge.base_urls: the recipe must have this key"),
    ({"models.judge": {**SERVER, "key": "x"}}, "models.judge.key: no recipe has this key"),
    ({"models.judge": 3}, "models.judge"),
    ({"models.judge.base_urls": "s3cret", "models.judge.model": "x"}, "an address is http"),
]


@pytest.mark.parametrize(("overrides", "line"), BAD)
def test_a_bad_role_is_one_clear_line(overrides: dict[str, Any], line: str) -> None:
    with pytest.raises(InputError) as caught:
        load("smoke", overrides)
    assert line in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_reference_that_names_nothing_says_whose_it_is(world: World) -> None:
    with pytest.raises(InputError, match=r"models\.critique: .*/nowhere: there is no such folder"):
        world.read(**{"models.critique": "/nowhere"})


def test_a_role_in_single_values_is_a_server(world: World) -> None:
    urls = ["http://127.0.0.1:9", "http://127.0.0.1:10"]
    inputs = world.read(**{"models.draft.base_urls": urls, "models.draft.model": "x"})
    assert inputs.hands.of("draft").kind == "server"
    assert inputs.hands.of("critique").kind == "scripted"


def test_a_finding_in_a_file_has_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\nmodel: random:tiny\nmodels:\n  draft: random:tiny\n  critic: x\n")
    with pytest.raises(InputError, match=r"mine\.yaml:5: models\.critic: no recipe has this key"):
        load(str(path))
    path.write_text("name: mine\nmodel: random:tiny\nmodels: {judge: {base_urls: nowhere}}\n")
    with pytest.raises(InputError, match=r"mine\.yaml:3: models\.judge\.base_urls: an address"):
        load(str(path))
    with pytest.raises(InputError, match=r"mine\.yaml: prompts\.limit=0"):
        load(str(path), {"models.judge": TINY, "prompts.limit": 0})


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"models.critique": SERVER}, "models.critique: http://127.0.0.1:9/v1: a form names no"),
        ({"models.judge": "/elsewhere"}, "models.judge: /elsewhere: a form takes files of the"),
        ({"models.judge": "owner/name", "models.draft": TINY}, ""),
    ],
)
def test_a_form_names_what_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], line: str
) -> None:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path))
    monkeypatch.setattr(reach.deployment, "get_id", lambda: "a deployment's")
    if not line:
        reach.check_form("smoke", overrides)
        return
    with pytest.raises(InputError) as caught:
        reach.check_form("smoke", overrides)
    assert line in str(caught.value)


def test_a_report_names_who_else_was_asked() -> None:
    recipe = load("smoke", {"models.critique": "./critic", "models.judge": SERVER})
    run = {"run_id": "run_1", "settings": recipe.model_dump_json()}
    about = Subject(None, run).about(read.settings(run))
    assert about.others == {"critique": "./critic", "judge": "critic"}
