"""Who does something here, as far as the machine can tell."""

from __future__ import annotations

import getpass
import subprocess

TIMEOUT_S = 10.0


def person() -> str:
    """The name and mail that git knows for this person, else the user's name."""
    name, mail = _git("user.name"), _git("user.email")
    if name or mail:
        return f"{name} <{mail}>" if name and mail else name or mail
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a process whose user has no name
        return ""


def _git(setting: str) -> str:
    """Empty where git is missing, too slow or unwilling."""
    try:
        done = subprocess.run(
            ["git", "config", "--get", setting],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
