"""Figures of standard tasks in the report, in `why` and on the card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.explain.document.parts import Cell
from flows.explain.model_card import _standard
from flows.explain.run_report.facts import Figure
from flows.explain.run_report.read import standard
from flows.explain.run_report.standard import standard_section
from flows.explain.run_report.subject import Subject
from flows.explain.standard import standard_lines, standard_rows
from flows.plan.answers import quantized
from storage.ledger import Ledger, insert

BASE = quantized("nf4", "mdl_base")


def row(subject: str, name: str, value: float | None, n: int = 8, **ends: float) -> dict[str, Any]:
    made = {"subject_id": subject, "name": name, "step": -1, "value": value, "sample_count": n}
    return made | {"low": None, "high": None} | ends


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    found = Ledger(tmp_path / "ledger.duckdb")
    rows = [
        row("ckp_dpo", "standard:arc_easy/acc", 0.5, low=0.2, high=0.8),
        row("ckp_dpo", "standard:<b>|x/f1", 0.25),
        row("ckp_dpo", "loss_last", 1.0),
        row(BASE, "standard:arc_easy/acc", 0.375, 16, low=0.1, high=0.7),
        row("mdl_base", "standard:arc_easy/acc", 0.9, low=0.8, high=1.0),
    ]
    with found.transaction() as con:
        insert(con, "metrics", rows)
    return found


def test_the_report_has_the_base_as_it_was_loaded_beside_the_checkpoints(ledger: Ledger) -> None:
    subject = Subject({"base_model_id": "mdl_base"}, None)
    asked = {"dpo": "ckp_dpo", "sft": "ckp_sft", "reward": "ckp_reward"}
    found = standard(ledger, subject, asked, {"quantization": "nf4"})
    assert found == {
        "base": {"arc_easy/acc": Figure(0.375, 0.1, 0.7, 16)},
        "dpo": {"<b>|x/f1": Figure(0.25, None, None, 8), "arc_easy/acc": Figure(0.5, 0.2, 0.8, 8)},
    }
    unquantized = standard(ledger, subject, asked, {"quantization": "none"})
    assert unquantized["base"]["arc_easy/acc"].value == 0.9
    (section,) = standard_section(found)
    assert section.columns == ("task", "base", "dpo")
    assert list(section.rows) == [
        (Cell("<b>|x/f1", "n = 8"), Cell("–"), Cell("0.250")),
        (
            Cell("arc_easy/acc", "n = 8 to 16"),
            Cell("0.375", "0.100 to 0.700"),
            Cell("0.500", "0.200 to 0.800"),
        ),
    ]
    assert list(standard_section({})) == []


def test_they_stand_in_why_and_on_the_card(ledger: Ledger) -> None:
    with ledger.transaction() as con:
        lines = list(standard_lines(standard_rows(con, "ckp_dpo")))
        assert list(standard_lines(standard_rows(con, "ckp_sft"))) == []
    assert lines[0] == "standard tasks"
    assert lines[-1] == "  arc_easy/acc  0.500 (0.200 to 0.800), n = 8"
    card = "\n".join(_standard(ledger, "ckp_dpo"))
    assert "| arc_easy/acc | 0.5 | 0.2 to 0.8 | 8 |" in card
    assert r"| \<b>\|x/f1 |" in card
    assert list(_standard(ledger, "ckp_sft")) == []
