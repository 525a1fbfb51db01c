"""Digests of files, paid once for each state of a file.

A state is the file's size, times of change of content (mtime) and of the file itself (ctime), and
inode. Size and mtime prove nothing: `os.utime` and `cp -p` put both back. The ctime is the kernel's
alone. What changed a moment ago is not remembered, as it may change again within one tick of the
file system's clock.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.durable import replace_text
from storage.seals import Algorithm, read_digest

SETTLED_NS = 2_000_000_000  # the coarsest clock of a file system counts two seconds

# What this process has read: (algorithm, path) -> [*state, digest].
_READ: dict[tuple[str, str], list[Any]] = {}


class Digests:
    """Digests of files, remembered by this process, and by others in `file` once it is saved.

    It is a file and no table of the ledger: what it has is of this machine's disk alone, no run
    has to wait for it, and to lose it costs nothing but reading once more.
    """

    def __init__(self, file: Path, algorithm: Algorithm) -> None:
        self._file, self._algorithm = file, algorithm
        self._new: dict[str, list[Any]] = {}
        self._known: dict[str, list[Any]] | None = None

    def of(self, path: Path) -> str:
        """32 hexadecimal digits of BLAKE2b-128, 64 of SHA-256. Raises OSError."""
        name = str(path.absolute())
        before = _state(path)
        for entry in (_READ.get((self._algorithm, name)), self._remembered(name)):
            if entry is not None and entry[:-1] == before:
                return str(entry[-1])
        entry = [*before, read_digest(path, self._algorithm)]
        if _state(path) == before and _is_settled(before):
            _READ[self._algorithm, name] = self._new[name] = entry
        return str(entry[-1])

    def save(self) -> None:
        """Keep what was read since; what others kept stays, of files that are there."""
        new, self._new = self._new, {}
        if new:
            known = {**_load(self._file), **new}
            there = {name: entry for name, entry in known.items() if Path(name).exists()}
            replace_text(self._file, json.dumps(there, indent=1))

    def try_to_save(self) -> None:
        """`save`, where the folder is there and may be written to."""
        with suppress(OSError):
            self.save()

    def _remembered(self, name: str) -> list[Any] | None:
        if self._known is None:
            self._known = _load(self._file)
        found = self._known.get(name)
        return found if isinstance(found, list) else None


def _state(path: Path) -> list[int]:
    s = path.stat()
    return [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino]


def _is_settled(state: list[int]) -> bool:
    return max(state[1:3]) + SETTLED_NS <= time.time_ns()


def _load(file: Path) -> dict[str, list[Any]]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return {}
