"""What a plan's seconds are taken from: what the same machine took."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest

from flows.plan import measured
from flows.plan.first_rates import START_S
from flows.plan.measured import Measured
from flows.plan.settings import filled
from storage.ledger import Ledger, insert, now

MODEL = "mdl_1"


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.setattr(measured, "machine_name", lambda: "EPYC, 2 cores")
    found = Ledger(tmp_path / "ledger.duckdb")
    example = {"prompt_id": "prm", "response": "x" * 30, "source": "revision", "created_at": now()}
    rows = [example | {"example_id": f"exa_{n}"} for n in range(8)]
    members = [{"dataset_id": "dst", "row_id": f"exa_{n}", "is_held_out": False} for n in range(8)]
    snapshot = {"dataset_id": "dst", "run_id": "r", "kind": "sft", "created_at": now()}
    with found.transaction() as con:
        insert(con, "examples", rows)
        insert(con, "prompts", [{"prompt_id": "prm", "messages": "[]", "created_at": now()}])
        insert(con, "dataset_rows", members)
        insert(con, "datasets", [snapshot | {"row_count": 8, "held_out_count": 0}])
    return found


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
        **{"path": "", "duration_s": START_S + seconds, "device": "cpu"},
        "components": json.dumps({"settings": filled("sft", {})}),
        **{"created_at": now()},
    }
    with ledger.transaction() as con:
        insert(con, "runs", [run | {"started_at": now()} | facts])
        insert(con, "completions", [draft])
        insert(con, "checkpoints", [checkpoint])


def known(ledger: Ledger) -> tuple[float | None, float | None]:
    """Seconds of a draft, and of an SFT of eight rows with eight tokens each."""
    found = Measured(ledger)
    draft, stage = found.calls(MODEL, {"draft": 96}).get("draft"), found.stage("sft", MODEL)
    return draft.seconds if draft else None, round(stage.seconds * 64, 6) if stage else None


def test_another_machines_seconds_do_not_count(ledger: Ledger) -> None:
    took(ledger, "there", 1.0, machine="EPYC, 2 cores, NVIDIA H100", host=platform.node())
    assert known(ledger) == (None, None)
    assert (
        Measured(ledger).calls(MODEL, {"draft": 96})["draft"].tokens == 10
    )  # tokens are the model's
    took(ledger, "here", 7.0, machine="EPYC, 2 cores", host="another-container")
    took(ledger, "later", 2.0, machine="Xeon, 64 cores")
    assert known(ledger) == (7.0, 7.0)


def test_of_runs_before_machines_had_names_the_host_tells(ledger: Ledger) -> None:
    took(ledger, "there", 1.0, host="elsewhere")
    assert known(ledger) == (None, None)
    took(ledger, "here", 7.0, host=platform.node())
    assert known(ledger) == (7.0, 7.0)


def test_a_limit_of_now_decides_how_long_a_call_takes(ledger: Ledger) -> None:
    """Tokens and seconds are those of its settings: a text that is cut there ends there."""
    took(ledger, "here", 7.0, machine="EPYC, 2 cores")
    draft = Measured(ledger).calls(MODEL, {"draft": 5})["draft"]
    assert (draft.tokens, draft.seconds) == (5, 3.5)
    with ledger.transaction() as con:
        con.execute("UPDATE completions SET cut_at = 10")
    draft = Measured(ledger).calls(MODEL, {"draft": 30})["draft"]
    assert (draft.tokens, draft.seconds) == (30, 21.0)


def test_answers_count_of_the_model_and_the_adapters_on_it(ledger: Ledger) -> None:
    took(ledger, "here", 7.0, machine="EPYC, 2 cores")
    models = {"adapter": "quantized", "quantized": MODEL, "another": None}
    rows = [
        {"model_id": name, "base_model_id": base, "kind": "x", "reference": "", "created_at": now()}
        for name, base in models.items()
    ]
    for name, owner, seconds in (("own", "adapter", 3), ("others", "another", 1)):
        took(ledger, name, seconds, machine="EPYC, 2 cores")
        with ledger.transaction() as con:
            con.execute(
                "UPDATE completions SET step = 'answer', model_id = ? WHERE completion_id = ?",
                [owner, f"cmp_{name}"],
            )
    with ledger.transaction() as con:
        insert(con, "models", rows)
    assert Measured(ledger).calls(MODEL, {"answer": 96})["answer"].seconds == 3
    assert Measured(ledger).calls("another", {"answer": 96})["answer"].seconds == 1
