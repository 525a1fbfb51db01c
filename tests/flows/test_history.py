"""What a plan's seconds are taken from: what the same machine took."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from flows.plan import history
from flows.plan.history import History
from storage.ledger import Ledger, insert, now

MODEL = "mdl_1"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(history, "machine_name", lambda: "EPYC, 2 cores")
    return Ledger(tmp_path / "ledger.duckdb")


def took(ledger: Ledger, name: str, seconds: float, **facts: Any) -> None:
    """A run of that name that made a draft and an SFT checkpoint in so many seconds each."""
    run = {"run_id": name, "recipe": "r", "settings": "{}", "state": "completed"}
    draft = {
        **{"completion_id": f"cmp_{name}", "cut_at": 0, "model_id": MODEL, "prompt_id": "prm"},
        **{"run_id": name, "step": "draft", "request": "[]", "text": "", "finish_reason": "stop"},
        **{"temperature": 1.0, "top_p": 1.0, "sample_index": 0, "prompt_tokens": 1},
        **{"completion_tokens": 10, "engine": "e", "device": "cpu", "dtype": "float32"},
        **{"batch_rows": 1, "duration_s": seconds, "created_at": now()},
    }
    checkpoint = {
        **{"checkpoint_id": f"ckp_{name}", "base_model_id": MODEL, "dataset_id": "dst"},
        **{"run_id": name, "parent_ids": ["x"], "parent_roles": ["sft"], "stage": "sft"},
        **{"components": "{}", "path": "", "duration_s": seconds, "device": "cpu"},
        **{"created_at": now()},
    }
    with ledger.transaction() as con:
        insert(con, "runs", [run | {"started_at": now()} | facts])
        insert(con, "completions", [draft])
        insert(con, "checkpoints", [checkpoint])


def known(ledger: Ledger) -> tuple[float | None, float | None]:
    """Seconds of a draft and of SFT."""
    found = History(ledger)
    draft, stage = found.call_cost(MODEL).get("draft"), found.stage_cost("sft", MODEL)
    return draft.seconds if draft else None, stage.seconds if stage else None


def test_another_machines_seconds_do_not_count(ledger: Ledger) -> None:
    took(ledger, "there", 1.0, machine="EPYC, 2 cores, NVIDIA H100", host=platform.node())
    assert known(ledger) == (None, None)
    assert History(ledger).call_cost(MODEL)["draft"].tokens == 10  # tokens are the model's
    took(ledger, "here", 7.0, machine="EPYC, 2 cores", host="another-container")
    took(ledger, "later", 2.0, machine="Xeon, 64 cores")
    assert known(ledger) == (7.0, 7.0)


def test_of_runs_before_machines_had_names_the_host_tells(ledger: Ledger) -> None:
    took(ledger, "there", 1.0, host="elsewhere")
    assert known(ledger) == (None, None)
    took(ledger, "here", 7.0, host=platform.node())
    assert known(ledger) == (7.0, 7.0)
