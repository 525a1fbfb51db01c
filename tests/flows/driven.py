"""Flows run by a child process (flow_driver.py) in one workspace, and what they leave behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from storage.ledger import Ledger

from .prefect_db import seed

ROOT = Path(__file__).resolve().parents[2]
# Rows with no model, and the least training there is.
TINY: dict[str, Any] = {
    "generation.engine": "scripted",
    "prompts.limit": 30,
    "prompts.held_out_percent": 40,
    **{f"{stage}.max_steps": 2 for stage in ("sft", "reward", "dpo")},
    **{f"{stage}.eval_steps": 2 for stage in ("sft", "reward", "dpo")},
    "ppo.updates": 1,
    "evaluation.prompts": 4,
    "evaluation.max_new_tokens": 16,
    "gate.questions": 4,
}


class Driven:
    """Runs flows one after another; knows the workspace's ledger."""

    def __init__(self, home: Path) -> None:
        seed(home)
        self.home, self.ledger = home, Ledger(home / "ledger.duckdb")
        env = os.environ | {"SOLON_HOME": str(home), "PYTHONPATH": str(ROOT)}
        env.pop("PREFECT_API_URL", None)
        self.log = (home.parent / "driver.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("flow_driver.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=env,
            text=True,
        )

    def run(self, flow: str, parameters: dict[str, Any], **more: Any) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        command = {"flow": flow, "parameters": parameters, **more}
        print(json.dumps(command), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, Path(self.log.name).read_text()[-4000:]
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)
        self.log.close()

    def refs(self) -> dict[str, str]:
        rows = self.ledger.query("SELECT name, target_id FROM refs")
        return {row["name"]: row["target_id"] for row in rows}

    def tables(self) -> dict[str, Any]:
        return tables(self.ledger)

    def approvals(self) -> list[dict[str, Any]]:
        return self.ledger.query("SELECT * FROM approvals ORDER BY asked_at")


def tables(ledger: Ledger) -> dict[str, Any]:
    """Every row of every table, but for the approvals."""
    sql = "SELECT table_name AS name FROM duckdb_tables() WHERE database_name = 'ledger'"
    known = {row["name"] for row in ledger.query(sql)} - {"approvals"}
    assert "completions" in known
    return {name: sorted(map(repr, ledger.query(f"SELECT * FROM {name}"))) for name in known}
