"""Who last committed a constitution's file, as git tells it.

A repository's own configuration is not trusted to be harmless. Only two read-only commands run, and
neither compares the work tree, since that would run the repository's filters: the committed bytes
are fetched and compared here. No hook, pager, monitor, signature program or download is started.
In a shallow clone the commit may be the oldest one that the clone has.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

TIMEOUT_S = 10.0
SAFE = ("core.fsmonitor=false", "core.hooksPath=/dev/null", "log.showSignature=false")
FORMAT = "%H%x00%an <%ae>%x00%cI"


@dataclass(frozen=True)
class Origin:
    """The last commit that changed the file; all None where the file has uncommitted changes."""

    commit: str | None = None  # hexadecimal, 40 digits (64 in a SHA-256 repository)
    author: str | None = None  # "Name <mail>", one printable line
    committed_at: datetime | None = None  # UTC; None also where the commit's date is unreadable


def origin(path: str | Path) -> Origin | None:
    """Return where the file comes from; None outside a checkout, for a file that was never
    committed, and where git is missing, too slow or unwilling. Never raises.
    """
    try:
        path = Path(path).resolve()
        here = path.read_bytes()
    except (OSError, ValueError, RuntimeError):
        return None
    committed = _git(path.parent, "cat-file", "blob", f"HEAD:./{path.name}")
    if committed is None:
        return None
    if here.replace(b"\r\n", b"\n") != committed.replace(b"\r\n", b"\n"):  # as git compares
        return Origin()
    show = ("-1", "--encoding=UTF-8", f"--format={FORMAT}")
    found = _git(path.parent, "log", *show, "--", path.name)
    if not found:
        return None
    commit, author, committed_at = found.decode("utf-8", "replace").strip("\n").split("\0")
    shown = "".join(c if c.isprintable() else "\ufffd" for c in author)
    try:
        return Origin(commit, shown, datetime.fromisoformat(committed_at).astimezone(UTC))
    except (ValueError, OverflowError):  # a date that git cannot read or a calendar does not hold
        return Origin(commit, shown)


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Return the standard output of a git command in `folder`; None if it failed.

    Variables that point git at another repository are left out. GIT_ALLOW_PROTOCOL names no
    protocol there is, so that a partial clone fetches nothing.
    """
    options = [part for setting in SAFE for part in ("-c", setting)]
    command = ["git", "--no-pager", "--literal-pathspecs", *options, "-C", str(folder), *arguments]
    env = {"GIT_ALLOW_PROTOCOL": "none", "GIT_TERMINAL_PROMPT": "0"}
    for name, value in os.environ.items():
        if name.startswith("GIT_CONFIG") or not name.startswith("GIT_"):
            env[name] = value
    try:
        return subprocess.run(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=True,
        ).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
