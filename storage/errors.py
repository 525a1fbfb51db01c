"""The one family of exceptions. Each says the value, the rule and the fix, on one line."""

from __future__ import annotations

from pathlib import Path


class SolonError(Exception):
    """A run cannot go on. The command line prints it as one line and ends with `exit_code`."""

    exit_code = 1


class InputError(SolonError):
    """A value someone gave breaks a rule. Nothing has been written when it is raised.

    `where` is a place a reader can go to (`file:line`, a setting's key path); it may be empty.
    """

    exit_code = 2

    def __init__(self, value: object, rule: str, fix: str, where: str = "") -> None:
        value = str(value) if isinstance(value, Path) else value
        self.value, self.rule, self.fix, self.where = value, rule, fix, where
        shown = " ".join((value if isinstance(value, str) else repr(value)).split()) or "(empty)"
        if len(shown) > 120:
            shown = shown[:117] + "..."
        line = f"{where + ': ' if where else ''}{shown}: {rule}; {fix}"
        super().__init__(" ".join(line.splitlines()))


class LedgerBusy(SolonError):
    """Another process held the ledger's lock for longer than the wait budget."""


class ArtifactBroken(SolonError):
    """An artifact's files do not match its manifest."""
