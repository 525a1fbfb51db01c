"""Forms as the UI draws them, how a flow is named and ends, and what a wait says; no server."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import is_valid

from flows import align, amend, nightly
from flows.run import progress, slot
from flows.serve import ending, offered
from flows.serve.forms import Decision, PrincipleEdit
from flows.serve.schema import filled_in, guarded
from storage.errors import InputError
from storage.ledger import Ledger, insert, now

FLOWS: dict[str, Any] = {
    "align": align.align,
    "train": align.train,
    "amend": amend.amend,
    "nightly": nightly.nightly,
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "shop" / ".solon"))
    (tmp_path / "shop" / ".solon").mkdir(parents=True)
    return tmp_path / "shop"


def form(flow: str, recipe: str | None = "smoke") -> dict[str, Any]:
    return guarded(parameter_schema(FLOWS[flow]).model_dump(exclude_unset=True), recipe)


@pytest.mark.parametrize("flow", FLOWS)
def test_a_form_shows_no_types_and_what_has_a_default_is_filled_in(flow: str) -> None:
    schema = form(flow)
    assert "anyOf" not in str(schema)
    own = schema["properties"]
    assert "recipe" in schema["required"]
    assert set(own) - set(schema["required"]) <= {"until", "constitution", "edit"}
    untouched = {name: part["default"] for name, part in own.items() if "default" in part}
    assert is_valid(untouched, schema)
    assert is_valid({"recipe": "smoke"} | filled_in(schema), schema)
    empty = {name: None for name in ("until", "constitution") if name in own}
    assert is_valid(untouched | empty, schema) is (not empty)  # left out, not null
    assert not is_valid(untouched | {"recipe": "../x"}, schema)


def test_what_a_form_sends_is_what_a_flow_takes() -> None:
    edit = {"slug": "be-brief", "critique": "Say more."}
    sent = {"recipe": "smoke", "overrides": ["prompts.limit=6"], "edit": edit, "samples": 2}
    taken = amend.amend.validate_parameters(sent)
    assert (taken["overrides"], taken["edit"].slug) == ({"prompts.limit": 6}, "be-brief")
    for flow in (align.align, align.train, align.refresh, nightly.nightly):
        own = flow.validate_parameters({"recipe": "smoke", "overrides": ["dpo.beta=0.2"]})
        assert own["overrides"] == {"dpo.beta": 0.2}


def test_nobodys_recipe_is_chosen_for_the_nights() -> None:
    schema = form("nightly", None)
    assert "default" not in schema["properties"]["recipe"]
    assert not is_valid(filled_in(schema), schema)


def test_principles_are_offered_and_no_other_is_taken(home: Path) -> None:
    words = "name: shop\nprinciples:\n  - {slug: be-brief, critique: a, revision: b, comparison: c}"
    (home / "constitution.yaml").write_text(words)
    (home / "recipe.yaml").write_text("{name: shop, model: random:tiny, constitution: c.yaml}")
    assert "be-brief" not in offered.slugs()  # a recipe that cannot be read offers none
    text = "{name: shop, model: random:tiny, constitution: constitution.yaml}"
    (home / "recipe.yaml").write_text(text)
    assert {"be-brief", "be-concise"} <= set(offered.slugs())
    values = {"recipe": "shop", "edit": {"slug": "be-brief", "critique": "Say more."}}
    schema = form("amend")
    assert is_valid(filled_in(schema) | values, schema)
    values["edit"] = {"slug": "be-breif", "critique": "Say more."}
    assert not is_valid(filled_in(schema) | values, schema)


def test_a_form_is_preset_to_the_project_else_to_what_ran_last(home: Path) -> None:
    assert offered.likely_recipe() == "demo"
    ledger = Ledger(home / ".solon" / "ledger.duckdb")
    run = {"run_id": "run_1", "recipe": "smoke", "settings": "{}", "state": "completed"}
    with ledger.transaction() as con:
        insert(con, "runs", [run | {"started_at": now()}])
    assert offered.likely_recipe() == "smoke"
    (home / "recipe.yaml").write_text("{name: shop, model: random:tiny}")
    assert offered.likely_recipe() == "shop"


def test_a_flow_that_cannot_go_on_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    logger = SimpleNamespace(error=lambda text, *rest: said.append(text % rest))
    monkeypatch.setattr(ending, "get_run_logger", lambda: logger)
    monkeypatch.setattr(ending, "deployment", SimpleNamespace(get_id=lambda: "a deployment"))

    def mistyped() -> None:
        raise InputError("betta", "no recipe has this key", "did you mean dpo.beta?")

    def stopped() -> None:
        raise KeyboardInterrupt

    state = ending.plainly(mistyped)()
    assert state.is_failed()
    assert said == [state.message] == ["betta: no recipe has this key; did you mean dpo.beta?"]
    assert ending.plainly(stopped)().is_cancelled()
    with pytest.raises(ZeroDivisionError):  # a fault of ours keeps its stack
        ending.plainly(lambda: 1 / 0)()
    monkeypatch.setattr(ending, "deployment", SimpleNamespace(get_id=lambda: None))
    with pytest.raises(InputError):
        ending.plainly(mistyped)()


def test_the_answer_to_a_plan_is_asked_without_types_or_marks() -> None:
    """The UI draws what may be null as a choice of types, and descriptions as they are written."""
    schema = Decision.model_json_schema()
    assert "anyOf" not in str(schema)
    assert schema["required"] == ["approve", "by"]
    assert is_valid({"approve": True, "by": "Ada"}, schema)
    assert Decision(approve=True, by="Ada").limit_calls is None
    said = [part["description"] for part in schema["properties"].values()]
    said += [
        part["description"] for part in PrincipleEdit.model_json_schema()["properties"].values()
    ]
    assert not [text for text in said if "*" in text or "](" in text]


def test_a_runs_name_says_what_it_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def name(flow: str, **parameters: Any) -> str:
        monkeypatch.setattr(ending, "flow_run", SimpleNamespace(parameters=parameters))
        return ending.named(flow)()

    assert name("align", recipe="shop", until=None) == "align shop"
    assert name("align", recipe="shop", until="pairs") == "align shop until pairs"
    assert name("amend", recipe="shop", edit={"slug": "be-brief"}) == "amend shop: be-brief"
    (home / "recipe.yaml").write_text("{name: pharmacy, model: random:tiny}")
    assert name("align", recipe=str(home / "recipe.yaml")) == "align pharmacy"


def test_a_wait_for_the_device_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "_current", SimpleNamespace(say=said.append))
    with slot._said(first_s=0.01):
        while not said:
            time.sleep(0.01)
    assert said == ["waits for the device, which another run has: 0 s"]


def test_two_recipes_have_no_key_in_common() -> None:
    assert progress.key_of("shop", "plan") == "shop-plan"
    assert progress.key_of("../My Shop.yaml", "plan") == "my-shop-plan"
    assert progress.key_of("", "plan") == "plan"
