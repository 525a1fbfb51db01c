"""What people type as an id, ref or slug is looked up, never made into a path; and whom the login
is sent to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows.commands import cli
from flows.serve.server import PLACE, served_port
from storage.artifacts import artifact_path
from storage.ids import is_id
from storage.ledger import Ledger, point
from storage.workspace import Workspace

ID = "ckp_" + "0" * 32
NO_IDS = [
    "../../outside",
    "/etc/passwd",
    f"{ID}/../../../outside",
    f"{ID}\n",
    "ckp_" + "\u0660" * 32,  # digits, of Arabic
    "ckp_\0",
    "CKP_" + "0" * 32,
    "x" * 5000,
    "latest/\x1b[2J",
    "champion~\u0661",
]
SAID = [NO_IDS[n] for n in (0, 2, 3, 4, 5, 7, 8)]
COMMANDS = [
    "why {}",
    "impact {}",
    "diff {} {}",
    "report {}",
    "data report {}",
    "export {} --out {out}",
    "export-model {} --out {out}",
    "chat {} Hello",
    "compare {} {} Hello",
    "ref set mine {}",
    "ref set {} champion",
    "ref rollback {}",
    "plan --recipe smoke --set model=checkpoint:{}",
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    workspace = Workspace(home).create()
    point(Ledger(workspace.ledger), "champion", ID)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.json").write_text("{}")
    monkeypatch.setenv("SOLON_HOME", str(home))
    return home


def files(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*") if path.suffix != ".lock"}


@pytest.mark.parametrize("text", NO_IDS)
def test_only_an_id_becomes_part_of_a_path(text: str, tmp_path: Path) -> None:
    assert not is_id(text)
    with pytest.raises(ValueError, match="is no id"):
        artifact_path(Workspace(tmp_path), text)
    assert artifact_path(Workspace(tmp_path), ID).is_relative_to(tmp_path / "artifacts")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_makes_a_path_of_what_it_is_given(
    command: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = files(tmp_path)
    for text in SAID:
        words = [
            word.replace("{out}", str(tmp_path / "out")).replace("{}", text)
            for word in command.split()
        ]
        monkeypatch.setattr("sys.argv", ["solon", *words])
        assert cli.answer() == 2, text
        out, err = capsys.readouterr()
        assert out == "", text
        assert (err[:7], err.count("\n")) == ("error: ", 1), text
        assert len(err) < 700, text
        assert err[:-1].isprintable(), text
        assert files(tmp_path) == before, text


def test_the_login_is_sent_to_no_stranger(home: Path) -> None:
    """After `kill -9` of `solon serve` its note stays, and another program may have its port."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        place = {"pid": ended.pid, "port": stranger.getsockname()[1]}
        (home / "prefect").mkdir()
        (home / "prefect" / PLACE).write_text(json.dumps(place))
        stranger.settimeout(0.2)
        assert served_port(Workspace(home)) is None
        with pytest.raises(TimeoutError):
            stranger.accept()


def test_a_terminal_that_is_closed_ends_a_command_as_sigterm_does() -> None:
    ended: list[int] = []
    was = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # under nohup
        cli.end_with_terminal()
        os.kill(os.getpid(), signal.SIGHUP)
        assert ended == []
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        cli.end_with_terminal()
        os.kill(os.getpid(), signal.SIGHUP)
        assert ended == [signal.SIGTERM]
    finally:
        for name, before in was.items():
            signal.signal(name, before)
