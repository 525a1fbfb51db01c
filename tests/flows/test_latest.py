"""An edit that was taken back: where the refs will point again."""

from __future__ import annotations

from pathlib import Path

from flows.explain.show import moved_lines
from flows.plan.latest import moves
from storage.ledger import Ledger, point


def test_a_ref_that_is_to_move_back_is_named_and_no_other(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.duckdb", recipe="shop")
    for ref, target in {"shop/latest/dpo": "ckp_new", "shop/latest/sft": "ckp_same"}.items():
        point(ledger, ref, target)
    point(ledger, "smoke/latest/dpo", "ckp_of_another")
    wanted = {"dpo": "ckp_old", "sft": "ckp_same", "ppo": "ckp_first"}
    found = list(moves(ledger, wanted))
    assert found == [("latest/dpo", "ckp_new", "ckp_old")]
    (line,) = moved_lines(found)
    assert line == "latest/dpo points to ckp_new: solon run moves it back to ckp_old"
