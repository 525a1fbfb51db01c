"""One flipped bit in every kind of file of a finished run: found, not served, and made anew under
the same ids; a ledger comes from a backup."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from storage.ledger import Ledger
from tests.flipped import flip

from .conftest import Solon

pytestmark = pytest.mark.slow

# A file of each kind, and what of the workspace `solon verify` names then.
FILES = {
    "an adapter": ("sft", "adapter/adapter_model.safetensors"),
    "the adapter with the reward's head": ("reward", "adapter/adapter_model.safetensors"),
    "a manifest": ("dpo", "MANIFEST.json"),
    "the critic's head": ("ppo", "heads.safetensors"),
    "answers of an evaluation": ("evaluate", "answers.jsonl"),
    "a report": ("report", "report.html"),
    "a converted model": ("model", "model.safetensors"),
}


def digests(folder: Path) -> dict[str, str]:
    """Of all that was trained; not of times and of measures of time."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*.safetensors")
    }


def ids(home: Path) -> list[dict[str, Any]]:
    ledger = Ledger(home / "ledger.duckdb")
    return ledger.query("SELECT name, target_id FROM refs WHERE name NOT LIKE '%run%' ORDER BY 1")


@pytest.fixture
def home(solon: Solon, smoke: Path) -> Path:
    return Path(shutil.copytree(smoke / "home", solon.home))


def folders(home: Path) -> dict[str, Path]:
    refs = {row["name"].rpartition("/")[2]: row["target_id"] for row in ids(home)}
    found = {
        name: home / "artifacts" / "checkpoints" / refs[name]
        for name in "sft reward dpo ppo".split()
    }
    found["evaluate"] = home / "artifacts" / "evaluations" / refs["evaluate"]
    found["report"] = home / "reports" / refs["evaluate"]
    (found["model"],) = home.glob("models/mdl_*")
    return found


def test_each_is_found_none_is_served_and_the_next_run_mends_all(solon: Solon, home: Path) -> None:
    places, before, trained = folders(home), ids(home), digests(home)
    for kind, file in FILES.values():
        flip(places[kind] / file)
    told = json.loads(solon.run("verify", "--json", code=1)[0])
    named = [fault["subject"] for fault in told["faults"]]
    assert len(named) == len(FILES)
    assert all(any(path.name in name for name in named) for path in places.values())
    for command in ("export-model latest/sft --out", "export-model latest/dpo --out"):
        said = solon.run(*command.split(), str(home.parent / "out"), code=2)[1]
        assert "gone or damaged" in said
    assert "damaged" in solon.run("report", "latest/evaluate", code=1)[1]
    assert not (home.parent / "out").exists()
    with solon.serving():
        result = solon.json("run", "--recipe", "smoke")
    done = {step["step"]: (step["generated"], step["trained"]) for step in result["steps"]}
    rows = ("drafts", "critiques", "revisions", "pairs")
    assert all(done[step] == (0, 0) for step in rows)
    assert all(done[step][1] == 1 for step in ("sft", "reward", "dpo", "ppo", "evaluate"))
    assert solon.json("verify")["is_whole"]
    assert ids(home) == before
    assert digests(home) == trained, "the same weights, bit by bit"


def test_a_flipped_bit_of_the_ledger_is_said_and_the_backup_has_all(
    solon: Solon, home: Path, tmp_path: Path
) -> None:
    solon.run("backup", str(tmp_path / "kept"))
    refs, content = ids(home), bytearray((home / "ledger.duckdb").read_bytes())
    for place in range(1 << 14, len(content), 1 << 18):  # in every block there is
        content[place] ^= 1
    (home / "ledger.duckdb").write_bytes(content)
    assert "the ledger is damaged" in solon.run("verify", code=2)[1]
    solon.run("restore", str(tmp_path / "kept"), str(tmp_path / "again"))
    restored = Solon(tmp_path / "again")
    assert restored.json("verify")["is_whole"]
    assert ids(restored.home) == refs
    assert "nothing to do" in restored.run("run", "--recipe", "smoke")[1]
