"""What people say of pairs: planned, made into labels, told by why, kept by content."""

from __future__ import annotations

import json
import os
import pty
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

import storage.ledger
import tasks.review.say
from flows.commands import cli
from flows.commands.reviewing import Terminal, ask
from flows.explain.review.desk import status
from flows.explain.row_story import story_lines
from flows.explain.why import story
from flows.serve.pages import pages
from flows.serve.review_pages import token
from storage.errors import InputError
from tasks.review.queue import Item
from tasks.review.record import standing
from tasks.review.say import Side, said_by
from tasks.review.verdicts import BOTH_BAD

from .review_world import RECIPE, copy_of, desk_of, items_of, reviewed_world
from .world import JUDGE, World, reworded

LOGIN = ("solon", "sesame")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return reviewed_world(tmp_path_factory.mktemp("made") / "home")


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    return copy_of(made, tmp_path / "home")


def against(item: Item) -> Side:
    """The side that the rows do not choose."""
    return "b" if item.chosen == item.subject.named("a") else "a"


def by(world: World, giver: str, source: str = "") -> list[Item]:
    found = [item for item in items_of(world) if item.by == giver]
    return [item for item in found if not source or _source(world, item) == source]


def _source(world: World, item: Item) -> str:
    prompts = {prompt.prompt_id: prompt for prompt in world.inputs.prompts}
    return world.inputs.method.source(prompts[item.subject.prompt_id])


def refresh(world: World) -> None:
    """Plan, make, and plan again: nothing is left."""
    world.inputs = world.read()
    assert not world.plan(world.inputs).is_empty
    made = world.run(world.inputs, engine=JUDGE)
    assert sum(made.values()) == 0
    assert world.plan(world.inputs).is_empty


def pairs_of(world: World, item: Item) -> list[dict[str, Any]]:
    """The pairs of the newest snapshot on an item's prompt."""
    return world.ledger.query(
        "SELECT x.*, l.given_by, l.preference AS said FROM dataset_rows r JOIN pairs x"
        " ON x.pair_id = r.row_id JOIN labels l USING (pair_id)"
        " WHERE r.dataset_id = ? AND x.prompt_id = ? AND (l.verdict_id IS NOT NULL OR"
        " x.pair_id NOT IN (SELECT pair_id FROM labels WHERE verdict_id IS NOT NULL))",
        [world.rows.preferences.dataset_id, item.subject.prompt_id],
    )


def test_the_queue_has_every_pool_that_could_be_a_pair(world: World) -> None:
    items = items_of(world)
    waiting = desk_of(world).waiting()
    margins = [round(10 * item.margin) for item in waiting]
    assert margins == sorted(margins)
    assert {item.by for item in items} >= {"program", "judge"}
    assert all(item.margin == 1 for item in items if item.by == "program")
    pairs = world.ledger.query(
        "SELECT prompt_id FROM pairs JOIN dataset_rows ON row_id = pair_id WHERE dataset_id = ?",
        [world.rows.preferences.dataset_id],
    )
    assert {row["prompt_id"] for row in pairs} <= {item.subject.prompt_id for item in items}


@pytest.mark.parametrize("giver", ["program", "judge"])
def test_a_verdict_turns_a_pair_and_is_planned(world: World, giver: str) -> None:
    item = by(world, giver)[0]
    desk_of(world).say(item.subject.subject_id, against(item))
    plan = world.plan(world.read())
    (cause,) = [cause for cause in plan.why if cause["component"] == "verdict"]
    assert (cause["step"], cause["is"], cause["rows"]) == ("pairs", "Ada", 1)
    refresh(world)
    (pair,) = pairs_of(world, item)
    assert (pair["given_by"], pair["preference"], pair["said"]) == ("people", 1.0, 1.0)
    assert pair["chosen"] == item.subject.shown["ab".index(against(item))]
    with world.ledger.transaction() as con:
        told = story(con, pair["pair_id"])
    assert told is not None
    assert any("better by Ada, 20" in str(line) for line in story_lines(told))


def test_a_verdict_that_agrees_is_written_down_and_undone(world: World) -> None:
    item, desk = by(world, "program")[0], desk_of(world)
    side: Side = "a" if against(item) == "b" else "b"
    before = world.rows.preferences.dataset_id
    desk.say(item.subject.subject_id, side)
    refresh(world)
    assert world.rows.preferences.dataset_id == before
    assert [pair["given_by"] for pair in pairs_of(world, item)] == ["people"]
    assert desk.undo() is not None
    assert desk.undo() is None
    assert standing(world.ledger) == []


def test_a_clock_that_was_set_back_turns_no_verdict_round(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was said last counts, and is what undo takes back."""
    first, second = by(world, "program")[:2]
    desk = desk_of(world)
    desk.say(first.subject.subject_id, "a")
    for module in (storage.ledger, tasks.review.say):
        monkeypatch.setattr(module, "now", lambda: datetime(2001, 1, 1, tzinfo=UTC))
    desk.say(second.subject.subject_id, "a")
    desk.say(first.subject.subject_id, "b")
    assert {v.subject.subject_id: said_by(v) for v in standing(world.ledger)} == {
        first.subject.subject_id: "b",
        second.subject.subject_id: "a",
    }
    undone = desk.undo()
    assert undone is not None
    assert (undone.subject.subject_id, said_by(undone)) == (first.subject.subject_id, "b")


def test_both_bad_leaves_a_pair_out(world: World) -> None:
    item = by(world, "program", "revision")[0]
    desk_of(world).say(item.subject.subject_id, "both_bad")
    refresh(world)
    assert pairs_of(world, item) == []
    left_out = world.ledger.query(
        "SELECT step, detail FROM exclusions WHERE row_id = ? AND reason = ? ORDER BY step",
        [item.row_id, BOTH_BAD],
    )
    assert left_out == [{"step": "examples", "detail": ""}, {"step": "pairs", "detail": "Ada"}]


def test_an_edit_is_the_chosen_answer_of_a_pair_of_peoples(world: World) -> None:
    item, text = by(world, "program")[0], "A better answer, by hand."
    desk_of(world).say(item.subject.subject_id, "a", text)
    refresh(world)
    (pair,) = pairs_of(world, item)
    assert (pair["chosen"], pair["rejected"]) == (text, item.subject.shown[1])
    assert (pair["source"], pair["chosen_completion_id"]) == ("people", None)


def test_reviewers_who_disagree_make_a_soft_label(world: World) -> None:
    item = by(world, "program")[0]
    for name, side in (("Ada", "a"), ("Bob", "a"), ("Cyd", "b")):
        desk_of(world, name).say(item.subject.subject_id, side)  # type: ignore[arg-type]
    refresh(world)
    found = pairs_of(world, item)
    assert [pair["preference"] for pair in found] == [pytest.approx(2 / 3)] * 3
    assert sorted(pair["said"] for pair in found) == [0.0, 1.0, 1.0]
    told = status(items_of(world), standing(world.ledger))
    assert told["agreement"]["measure"] == "Krippendorff's alpha"
    assert (told["agreement"]["n"], len(told["disputed"])) == (1, 1)


def test_verdicts_stand_where_content_is_unchanged(world: World) -> None:
    """Against what the rows chose where that may be chosen, else for it."""
    desk, items = desk_of(world), by(world, "program", "revision")
    for item in items:
        desk.say(item.subject.subject_id, against(item))
    refresh(world)
    turned = [item for item in items if is_by_people(world, item)]
    for item in items:
        if item not in turned:
            desk.say(item.subject.subject_id, "a" if against(item) == "b" else "b")
    refresh(world)
    slug = Counter(p.slug for item in items for p in item.principles).most_common(1)[0][0]
    edited = world.edit(reworded(slug, "revision"))
    made = world.run(edited, engine=JUDGE)
    assert made["revisions0"] > 0
    stand = [item for item in items if slug not in {p.slug for p in item.principles}]
    assert [item for item in items if is_by_people(world, item)] == stand
    assert len(items) > len(stand) > 0 < len(turned)
    renewed = {item.subject.subject_id for item in items_of(world, edited)}
    assert {item.subject.subject_id for item in stand} <= renewed
    assert status(items_of(world, edited), desk.verdicts)["elsewhere"] >= len(items) - len(stand)


def is_by_people(world: World, item: Item) -> bool:
    return any(pair["given_by"] == "people" for pair in pairs_of(world, item))


class Hand:
    """Presses these keys; an edit adds a word."""

    def __init__(self, keys: str) -> None:
        self.keys = iter(keys)

    def key(self) -> str:
        for key in self.keys:
            if key == "^":
                raise KeyboardInterrupt
            return key
        raise EOFError

    def edit(self, text: str) -> str | None:
        return f"{text} Indeed."


def test_keys_in_the_terminal(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    items = items_of(world)
    ask(world.ledger, items, "Ada", Hand("xasbutneb^a"))
    found = [(v.answer in ("first", "second"), bool(v.edited)) for v in standing(world.ledger)]
    assert found == [(True, False), (False, False), (False, False), (True, True)]
    shown = capsys.readouterr().out
    assert "undone: B is better" in shown
    assert f"reviewed: 4 of {len(items)} pairs" in shown
    ask(world.ledger, items[:1], "Bob", Hand("a"))
    assert "nothing is left" in capsys.readouterr().out


def test_keys_pressed_early_are_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real terminal: an arrow is no key, an editor gets the line-wise terminal back."""
    (tmp_path / "editor").write_text("#!/bin/sh\necho and more >> $1\n")
    (tmp_path / "editor").chmod(0o755)
    monkeypatch.setenv("VISUAL", str(tmp_path / "editor"))
    master, slave = pty.openpty()
    with os.fdopen(slave, "r") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        with Terminal() as terminal:
            os.write(master, b"aB\x1b[At")
            assert [terminal.key() for _ in range(4)] == ["a", "b", "", "t"]
            assert terminal.edit("One.") == "One.\nand more"
            os.write(master, b"\x04")
            with pytest.raises(EOFError):
                terminal.key()
        monkeypatch.undo()
    os.close(master)


def test_skipped_pairs_come_last(world: World) -> None:
    desk = desk_of(world)
    first, second, *_ = desk.waiting()
    desk.skip(first.subject.subject_id)
    assert desk.waiting()[0] == second
    assert desk.waiting()[-1] == first


@pytest.fixture
def client(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", ":".join(LOGIN))
    with TestClient(pages(world.workspace), follow_redirects=False) as client:
        client.auth = LOGIN
        yield client


def form(world: World, **fields: str) -> dict[str, str]:
    first = desk_of(world).waiting()[0].subject.subject_id
    given = {"token": token(), "recipe": RECIPE, "by": "Ada", "subject": first, "answer": "a"}
    return given | fields


def test_a_button_is_a_verdict(world: World, client: TestClient) -> None:
    page = client.get(f"/review?recipe={RECIPE}&by=Ada")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert 'name="subject"' in page.text
    answer = client.post("/review", data=form(world))
    assert answer.status_code == 303
    assert [v.author for v in standing(world.ledger)] == ["Ada"]
    assert client.post("/review", data=form(world, answer="undo")).status_code == 303
    assert standing(world.ledger) == []


REFUSED: list[tuple[dict[str, str], dict[str, str], int]] = [
    ({"token": "x"}, {}, 403),
    ({"token": "é"}, {}, 403),
    ({}, {"Origin": "https://elsewhere.example"}, 403),
    ({}, {"Origin": "null"}, 403),
    ({}, {"Sec-Fetch-Site": "cross-site"}, 403),
    ({"recipe": "none"}, {}, 400),
    ({"by": ""}, {}, 400),
    ({"answer": "delete"}, {}, 400),
    ({"subject": "sbj_none"}, {}, 400),
    ({"answer": "edit_a", "text_a": " "}, {}, 400),
    ({"text_a": "x" * 2_000_000}, {}, 413),
]


def test_nothing_else_is_taken(world: World, client: TestClient) -> None:
    sent = form(world)
    for fields, headers, code in REFUSED:
        found = client.post("/review", data=sent | fields, headers=headers)
        assert (fields, headers, found.status_code) == (fields, headers, code)
    assert client.get("/review?answer=a").status_code == 200
    for path in ("/review", "/review.js", "/review.css"):
        assert client.get(path, auth=None).status_code == 401
    assert client.post("/review", data=sent, auth=("", "")).status_code == 401
    assert standing(world.ledger) == []


def test_texts_are_escaped(world: World, client: TestClient) -> None:
    item = desk_of(world).waiting()[0]
    side = item.subject.shown[0]
    with world.ledger.transaction() as con:
        con.execute("UPDATE completions SET text = text || ' <script>alert(1)</script>{{ 7*7 }}'")
    page = client.get(f"/review?recipe={RECIPE}&by=<b>Ada").text
    assert side in page or "script&gt;" in page
    assert "<script>alert" not in page
    assert "<b>Ada" not in page
    assert "{{ 7*7 }}" in page


def solon(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    recipe = [f"--set={key}={json.dumps(value)}" for key, value in world.overrides.items()]
    monkeypatch.setenv("SOLON_HOME", str(world.workspace.root))
    monkeypatch.setattr("sys.argv", ["solon", "review", "--recipe", RECIPE, *recipe, *arguments])
    return cli.answer()


def test_files_by_the_command(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    desk = desk_of(world)
    for item, side in zip(desk.waiting()[:3], ("a", "tie", "both_bad"), strict=True):
        desk.say(item.subject.subject_id, side)  # type: ignore[arg-type]
    before = standing(world.ledger)
    for name in ("pairs.csv", "pairs.json"):
        assert solon(world, monkeypatch, "--export", str(tmp_path / name)) == 0
        assert solon(world, monkeypatch, "--export", str(tmp_path / name)) == 2
    with world.ledger.transaction() as con:
        con.execute("DELETE FROM verdicts")
    capsys.readouterr()
    for name, new in (("pairs.csv", 3), ("pairs.json", 0)):
        assert solon(world, monkeypatch, "--import", str(tmp_path / name), "--json") == 0
        assert json.loads(capsys.readouterr().out)["new"] == new
    assert standing(world.ledger) == before
    (tmp_path / "bad.csv").write_text("id,verdict\nsbj_1,a\n")
    assert solon(world, monkeypatch, "--import", str(tmp_path / "bad.csv")) == 2
    assert standing(world.ledger) == before
    assert solon(world, monkeypatch, "--status", "--web") == 2
    capsys.readouterr()
    assert solon(world, monkeypatch, "--by", "Bob", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["queue"]) == len(items_of(world))


def test_a_recipe_without_rows_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    world = World(tmp_path / "none", constitution="checkable")
    assert solon(world, monkeypatch) == 2
    assert "make some: solon refresh" in capsys.readouterr().err


def test_a_name_is_asked_for(world: World) -> None:
    with pytest.raises(InputError, match="a reviewer has a name"):
        desk_of(world, " ")
