from __future__ import annotations

from pathlib import Path

import pytest

from storage import refs
from storage.errors import InputError
from storage.ids import content_id
from storage.ledger import Ledger, insert, now, point
from storage.lookup import find

A, B, C = (content_id("checkpoint", name) for name in "abc")
REWARD = content_id("checkpoint", "reward")
CONSTITUTION = content_id("constitution", "c")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Three policies, a reward model, a constitution and a principle named be-kind."""
    ledger = Ledger(tmp_path / "ledger.duckdb")
    stages = {A: "sft", B: "dpo", C: "ppo", REWARD: "reward"}
    with ledger.transaction() as con:
        insert(con, "checkpoints", [checkpoint(id, stage) for id, stage in stages.items()])
        con.execute(
            "INSERT INTO constitutions (constitution_id, name, principle_ids, body, created_at)"
            " VALUES (?, 'c', [], '{}', now())",
            [CONSTITUTION],
        )
        con.execute(
            "INSERT INTO principles VALUES (?, 'be-kind', '', '', '', '', now())",
            [content_id("principle", "be-kind")],
        )
    return ledger


def checkpoint(checkpoint_id: str, stage: str) -> dict[str, object]:
    return {
        "checkpoint_id": checkpoint_id,
        "base_model_id": "mdl_x",
        "dataset_id": "dst_x",
        "run_id": "run_x",
        "parent_ids": [""],
        "parent_roles": [""],
        "stage": stage,
        "components": "{}",
        "path": "x",
        "duration_s": 1.0,
        "created_at": now(),
    }


def champion(ledger: Ledger, *targets: str) -> None:
    for target in targets:
        refs.set_ref(ledger, "champion", target, "Ada", f"to {target[:6]}", is_forced=True)


def test_every_move_is_kept_and_one_to_the_same_place_is_none(ledger: Ledger) -> None:
    champion(ledger, A, A, B)
    moves = refs.history(ledger, "champion")
    assert [(m["target_id"], m["from_id"], m["author"]) for m in moves] == [
        (B, A, "Ada"),
        (A, None, "Ada"),
    ]
    point(ledger, "latest/ppo", A)
    point(ledger, "latest/ppo", A)
    assert len(refs.history(ledger, "latest/ppo")) == 1
    assert [row["name"] for row in refs.refs(ledger)] == ["champion", "latest/ppo"]


def test_rollbacks_walk_back_and_are_moves_themselves(ledger: Ledger) -> None:
    champion(ledger, A, B, C)
    assert refs.rollback(ledger, "champion", "Bo") == (C, B)
    assert refs.rollback(ledger, "champion", "Bo") == (B, A)
    with pytest.raises(InputError, match="nowhere before"):
        refs.rollback(ledger, "champion", "Bo")
    assert refs.history(ledger, "champion")[0]["target_id"] == A
    champion(ledger, C)
    assert refs.rollback(ledger, "champion", "Bo") == (C, A)
    assert [m["note"] for m in refs.history(ledger, "champion")][:2] == [
        "rollback",
        "to ckp_" + C[4:6],
    ]
    assert len(refs.history(ledger, "champion")) == 7


def test_a_tilde_is_where_the_ref_pointed_before(ledger: Ledger) -> None:
    champion(ledger, A, B, C)
    assert [find(ledger, f"champion{back}") for back in ("", "~0", "~1", "~2")] == [
        [C], [C], [B], [A],
    ]  # fmt: skip
    with pytest.raises(InputError, match="champion~3"):
        find(ledger, "champion~3")
    with pytest.raises(InputError):
        find(ledger, "nobody~1")


@pytest.mark.parametrize(
    ("name", "target", "word"),
    [
        ("champion", REWARD, "checkpoint of sft, dpo, ppo"),
        ("champion", CONSTITUTION, "checkpoint of sft, dpo, ppo"),
        ("env/production", REWARD, "checkpoint of sft, dpo, ppo"),
        ("constitution", A, "no constitution"),
        ("champion", "ckp_nothing", "no id"),
        ("latest/ppo", A, "only runs"),
        ("latest", A, "only runs"),
        ("Champion", A, "small letters"),
        ("a//b", A, "small letters"),
        ("be-kind", A, "a principle has this name"),
        ("x; DROP TABLE refs", A, "small letters"),
    ],
)
def test_what_a_ref_may_not_be(ledger: Ledger, name: str, target: str, word: str) -> None:
    with pytest.raises(InputError, match=word):
        refs.set_ref(ledger, name, target, "Ada")
    assert refs.refs(ledger) == []


def test_a_target_may_be_the_start_of_an_id_or_another_ref(ledger: Ledger) -> None:
    assert refs.set_ref(ledger, "env/production", A[:12], "Ada") == (None, A)
    assert refs.set_ref(ledger, "env/trial", "env/production", "Ada") == (None, A)
    assert refs.set_ref(ledger, "constitution", CONSTITUTION, "Ada") == (None, CONSTITUTION)


def test_a_rollback_without_a_ledger_makes_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ref"):
        refs.rollback(Ledger(tmp_path / "none" / "ledger.duckdb"), "champion", "Ada")
    assert not (tmp_path / "none").exists()


def test_unknown_refs_are_refused(ledger: Ledger) -> None:
    with pytest.raises(InputError, match="no ref"):
        refs.history(ledger, "champion")
    with pytest.raises(InputError, match="no ref"):
        refs.rollback(ledger, "champion", "Ada")
