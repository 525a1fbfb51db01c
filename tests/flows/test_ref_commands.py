"""`solon ref` as a person uses it, on one ledger."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from constitution.errors import ConstitutionError
from constitution.load import HERE
from flows.commands import cli
from storage.errors import InputError
from storage.ids import content_id
from storage.ledger import Ledger

OLD, NEW = content_id("constitution", "old"), content_id("constitution", "new")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path))
    with Ledger(tmp_path / "ledger.duckdb").transaction() as con:
        for row_id in (OLD, NEW):
            con.execute(
                "INSERT INTO constitutions (constitution_id, name, principle_ids, body, created_at)"
                " VALUES (?, 'c', [], '{}', now())",
                [row_id],
            )


def ref(*arguments: str) -> str:
    result = CliRunner().invoke(cli.app, ["ref", *arguments])
    if result.exception:
        raise result.exception
    return result.stdout


def test_set_roll_back_and_list() -> None:
    assert json.loads(ref("set", "constitution", OLD, "--json"))["was"] is None
    assert ref("set", "constitution", NEW[:12], "--note", "a \x1b[31mtrial").startswith("constitut")
    assert "already" in ref("set", "constitution", NEW)
    told = json.loads(ref("list", "constitution", "--json"))["moves"]
    assert [(move["name"], move["target_id"]) for move in told] == [
        ("constitution", NEW),
        ("constitution~1", OLD),
    ]
    assert told[0]["author"]
    assert "\x1b[31m" not in ref("list", "constitution")
    assert json.loads(ref("rollback", "constitution", "--json")) == {
        "name": "constitution",
        "was": NEW,
        "is": OLD,
    }
    assert json.loads(ref("list", "--json"))["refs"][0]["note"] == "rollback"
    with pytest.raises(InputError):
        ref("rollback", "constitution")


def test_a_file_may_be_named_as_an_id_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "con_v2.yaml").write_bytes((HERE / "default.yaml").read_bytes())
    assert json.loads(ref("set", "constitution", "con_v2.yaml", "--json"))["is"] not in (OLD, NEW)
    assert json.loads(ref("set", "constitution", OLD, "--json"))["is"] == OLD
    with pytest.raises(ConstitutionError, match="no constitution has this name"):
        ref("set", "constitution", "nothing")


def test_an_author_whose_name_is_no_utf8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "gitconfig"
    config.write_bytes(b"[user]\n\tname = J\xf6rg\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.chdir(tmp_path)
    ref("set", "constitution", OLD)
    told = json.loads(ref("list", "constitution", "--json"))["moves"]
    assert told[0]["author"].startswith("J\ufffdrg")


def test_a_git_that_hangs_names_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*arguments: object, timeout: float, **options: object) -> None:
        raise subprocess.TimeoutExpired("git", timeout)

    monkeypatch.setattr(subprocess, "run", hang)
    monkeypatch.setenv("USER", "ada")
    ref("set", "constitution", OLD)
    told = json.loads(ref("list", "constitution", "--json"))["moves"]
    assert told[0]["author"] == "ada"
