"""SECURITY.md: every claim names a test that is there, and what no other test holds."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

from flows.serve import review_server, server
from storage.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = re.compile(r"(tests/[\w/]+\.py)(?:::(\w+))?")
KEPT = PAGE.partition("## How it is kept")[2].partition("\n## ")[0]
TRIED = PAGE.partition("## Tried")[2].partition("\n## ")[0]


def names_in(path: str) -> set[str]:
    """The names of a file's tests, without importing it."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED.findall(PAGE)
    assert len(named) > 30
    missing = [(path, name) for path, name in named if name and name not in names_in(path)]
    assert missing == []
    assert all(names_in(path) for path, name in named if not name)


@pytest.mark.parametrize("part", [KEPT, TRIED])
def test_every_claim_names_a_test(part: str) -> None:
    claims = [line for line in part.splitlines() if line.startswith(("- ", "| "))]
    rows = [line for line in claims if not line.startswith("| kind")]
    assert len(rows) > 5
    assert [line for line in rows if not NAMED.search(line)] == []


def test_the_page_is_short() -> None:
    assert len(PAGE.splitlines()) <= 90


def test_servers_listen_on_the_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(server, "die_with_parent", lambda parent: None)
    monkeypatch.setattr(os, "execv", lambda program, words: started.append(words))
    server.main("1", "4200")
    words = started[0]
    assert words[words.index("--host") + 1] == server.HOST == review_server.HOST == "127.0.0.1"


def test_nobody_is_told_what_is_done(tmp_path: Path) -> None:
    told = server.environment(Workspace(tmp_path / "home"), 4200, is_scheduling=True)
    assert told["DO_NOT_TRACK"] == "1"
    assert told["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    hosts = {name: value for name, value in told.items() if "http" in value}
    assert all(value.startswith("http://127.0.0.1:4200") for value in hosts.values()), hosts
