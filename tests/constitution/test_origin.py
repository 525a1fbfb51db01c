"""A file's commit and author, and that a hostile repository runs nothing."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from constitution.origin import Origin, origin


def git(folder: Path, *arguments: str) -> str:
    names = ["-c", "user.name=Ada \x1b[31m L", "-c", "user.email=ada@example.org"]
    command = ["git", "-C", str(folder), *names, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed file in a subfolder; a later commit changed another file."""
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-01-02T03:04:05+02:00")
    git(tmp_path, "init", "-q")
    folder = tmp_path / "words"
    folder.mkdir()
    path = folder / "c.yaml"
    path.write_bytes(b"name: a\nversion: 1\n")
    for name in ("c.yaml", "other.yaml"):
        (folder / name).touch()
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", name, "--", str(folder / name))
        (folder / "other.yaml").write_text("name: b\n")
    return path


def test_the_last_commit_that_changed_the_file(file: Path) -> None:
    found = origin(file)
    assert found is not None
    assert found.commit == git(file.parent, "log", "--format=%H", "-1", "--", "c.yaml")
    assert found.commit != git(file.parent, "rev-parse", "HEAD")
    assert found.author == "Ada \ufffd[31m L <ada@example.org>"
    assert found.committed_at == datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)
    assert found.commit is not None


def test_a_link_is_the_file_it_names(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    assert origin(link) == origin(file)


def test_changes_that_are_not_committed(file: Path) -> None:
    file.write_bytes(b"name: a\r\nversion: 1\r\n")
    committed = origin(file)
    assert committed is not None
    assert committed.commit is not None, "other line ends are no change"
    file.write_text("name: a\nversion: 2\n")
    assert origin(file) == Origin()
    assert Origin().commit is None
    git(file.parent, "add", ".")
    assert origin(file) == Origin(), "staged is not committed"


def test_files_that_git_does_not_know(file: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (file.parent / "new.yaml").write_text("name: a\n")
    assert origin(file.parent / "new.yaml") is None
    assert origin(file.parent / "gone.yaml") is None
    assert origin(file.parent) is None
    outside = tmp_path_factory.mktemp("outside") / "c.yaml"
    outside.write_text("name: a\n")
    assert origin(outside) is None


def test_a_name_is_a_name_and_no_pattern_or_option(file: Path) -> None:
    for name in ("--help", ":(top)c.yaml", "*.yaml", "a b\n.yaml"):
        path = file.with_name(name)
        path.write_text(name)
        git(file.parent, "add", ".")
        git(file.parent, "commit", "-q", "-m", "odd")
        found = origin(path)
        assert found is not None
        assert found.commit == git(file.parent, "rev-parse", "HEAD")


def test_without_git_there_is_no_origin(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert origin(file) is None


def test_the_environment_cannot_point_elsewhere(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = origin(file)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    assert origin(file) == expected


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that leaves the file `ran` beside it."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\ntouch '{tmp_path / 'ran'}'\ncat\n")
    path.chmod(0o755)
    return path


def sign(folder: Path) -> None:
    """Give the last commit a signature that only the repository's own program could check."""
    head, _, message = git(folder, "cat-file", "commit", "HEAD").partition("\n\n")
    forged = f"{head}\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n\n{message}\n"
    command = ["git", "-C", str(folder), "hash-object", "-t", "commit", "-w", "--stdin"]
    done = subprocess.run(command, input=forged, text=True, capture_output=True, check=True)
    git(folder, "update-ref", "HEAD", done.stdout.strip())


def test_a_hostile_repository_runs_nothing(file: Path, tmp_path: Path, program: Path) -> None:
    file.write_text("name: c\n")
    git(tmp_path, "commit", "-q", "-m", "last", "--", str(file))
    sign(tmp_path)
    git(tmp_path, "config", "log.showSignature", "true")
    (tmp_path / ".git" / "info").mkdir(exist_ok=True)
    (tmp_path / ".git" / "info" / "attributes").write_text("* filter=x diff=x\n")
    settings = """core.fsmonitor core.pager core.sshCommand diff.external diff.x.textconv
        filter.x.clean filter.x.smudge gpg.program alias.log alias.cat-file pager.log""".split()
    for setting in settings:
        git(tmp_path, "config", setting, str(program))
    file.touch()
    found = origin(file)
    assert found is not None
    assert found.commit is not None
    file.write_text("name: changed\n")
    assert origin(file) == Origin()
    assert not (tmp_path / "ran").exists()


def test_what_a_partial_clone_lacks_is_not_fetched(
    file: Path, tmp_path: Path, program: Path
) -> None:
    blob = git(file.parent, "rev-parse", "HEAD:./c.yaml")
    (tmp_path / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    settings = {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{program}",
        "protocol.ext.allow": "always",
    }
    for setting, value in settings.items():
        git(tmp_path, "config", setting, value)
    assert origin(file) is None
    assert not (tmp_path / "ran").exists()


def test_a_date_that_no_calendar_holds(file: Path, tmp_path: Path) -> None:
    file.write_text("name: c\n")
    git(tmp_path, "commit", "-q", "-m", "last", "--", str(file))
    head, _, message = git(file.parent, "cat-file", "commit", "HEAD").partition("\n\n")
    lines = [line for line in head.split("\n") if not line.startswith("committer")]
    lines.append("committer Ada <ada@example.org> not-a-date")
    command = ["git", "-C", str(tmp_path), "hash-object", "-t", "commit", "-w", "--stdin"]
    command.append("--literally")
    odd = "\n".join(lines) + f"\n\n{message}\n"
    done = subprocess.run(command, input=odd, text=True, capture_output=True, check=True)
    git(tmp_path, "update-ref", "HEAD", done.stdout.strip())
    found = origin(file)
    assert found is not None
    assert (found.commit, found.committed_at) == (done.stdout.strip(), None)
