"""The one exception of this package."""

from __future__ import annotations

from typing import Any

SHOWN = 60  # characters of a bad value that an error shows


def shown(value: Any) -> str:
    """The `repr` of `value`, cut to `SHOWN` characters: one printable line."""
    text = repr(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


class ConstitutionError(ValueError):
    """A constitution, or a question put to one, is wrong. `where` is "file:line", or empty."""

    exit_code = 2

    def __init__(self, value: Any, rule: str, fix: str, where: str = "") -> None:
        self.value, self.rule, self.fix, self.where = value, rule, fix, where
        super().__init__(str(self))  # no more of the value: loggers show what an exception holds

    @property
    def message(self) -> str:
        """The line without its `where`: "value: rule; fix"."""
        return f"{shown(self.value)}: {self.rule}; {self.fix}"

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message
