"""Three models in one run, through the command line: ours drafts, another of ours criticises, a
server revises; then another critic.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.ledger import Ledger
from tests.tasks.scripted_server import MODEL, ScriptedServer

from .conftest import Solon

pytest.importorskip("torch", reason="two tiny models are made")
from tasks.convert import random_tiny

pytestmark = pytest.mark.slow

ASKED = """
    SELECT DISTINCT step, m.kind, m.reference, engine
    FROM completions JOIN models m USING (model_id) ORDER BY ALL"""
DRAFTS = "SELECT completion_id, text FROM completions WHERE step = 'draft' ORDER BY ALL"
TO_MAKE = ("drafts", "critiques", "revisions")


def critic(folder: Path, seed: int) -> str:
    folder.mkdir()
    random_tiny(folder, seed)
    return str(folder)


def test_three_models_write_the_rows_of_one_run(solon: Solon, tmp_path: Path) -> None:
    first, second = (critic(tmp_path / f"critic{seed}", seed) for seed in (1, 2))
    with ScriptedServer() as server, solon.serving():
        reviser = f"{{base_urls: '{server.url}', model: {MODEL}, price_out: 10}}"
        given = ["--recipe", "smoke", "--set", "prompts.limit=10"]
        given += ["--set", f"models.revision={reviser}", "--set"]

        plan = solon.json("plan", *given, f"models.critique={first}", "--until", "pairs")
        steps = {step["step"]: step for step in plan["steps"]}
        assert [steps[name]["to_generate"] for name in TO_MAKE] == [[10, 10]] * 3
        assert sorted(plan["models"].values()) == sorted([MODEL, first])
        assert plan["cost"]["money"][0] > 0

        solon.run("refresh", *given, f"models.critique={first}")
        ledger = Ledger(solon.home / "ledger.duckdb")
        assert [tuple(row.values()) for row in ledger.query(ASKED)] == [
            ("critique", "folder", first, "transformers"),
            ("draft", "random", "random:tiny", "transformers"),
            ("revision", "server", f"{MODEL} owned_by=tests", "openai"),
        ]
        drafts = ledger.query(DRAFTS)

        plan = solon.json("plan", *given, f"models.critique={second}", "--until", "pairs")
        steps = {step["step"]: step for step in plan["steps"]}
        assert [steps[name]["to_generate"] for name in TO_MAKE] == [[0, 0], [10, 10], [0, 10]]
        assert {cause["root"] for cause in plan["why"]} == {"models.critique"}
        made = solon.json("refresh", *given, f"models.critique={second}")
        assert [step["generated"] for step in made["steps"][:2]] == [0, 10]
        assert ledger.query(DRAFTS) == drafts

    out, _ = solon.run("plan", *given, f"models.critique={second}", "--until", "pairs")
    assert "nothing to do" in out
    out, _ = solon.run("why", "latest/sft-rows")
    for did in ("random:tiny (draft)", "critic2 (critique)", "owned_by=tests (revision)"):
        assert did in out
    slug = ledger.query("SELECT slug FROM revisions JOIN principles USING (principle_id) LIMIT 1")
    tried = solon.json("preview", slug[0]["slug"], *given, f"models.critique={second}", "-n", "1")
    assert tried["generated"] == 0
