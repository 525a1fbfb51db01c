"""What a machine ran out of, in one line, by whatever library it was met: a disk, or memory."""

from __future__ import annotations

import errno
import os
import resource
import shutil

from constitution.errors import ConstitutionError
from storage.errors import InputError
from storage.workspace import Workspace

DISK = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))
# In the words of the system, of DuckDB, and of what loads libraries.
MEMORY = os.strerror(errno.ENOMEM), "Out of Memory Error", "failed to map segment"
LEAST_ADDRESSES = 2_500_000_000  # bytes: with 1.5 GB a process of a run aborts without a word
ALMOST_FULL = 1 << 20  # bytes
KEPT = "what was committed is kept, and the next run goes on from it"


def ran_out(error: Exception) -> str | None:
    """What ran out and what to do; None where the error is of another kind."""
    if isinstance(error, InputError | ConstitutionError):  # which quote what they are given
        return None
    said = " ".join(str(error).split())
    if any(words in said for words in DISK):
        return f"{_full(error)}: the disk is full; make room: {KEPT}"
    if isinstance(error, MemoryError) or any(words in said for words in MEMORY):
        return f"there is not enough memory; raise the limit (ulimit -v) or free some: {KEPT}"
    return None


def _full(error: Exception) -> str:
    """The place that was written to, as far as it is known; of a copy that is the second."""
    named = getattr(error, "filename2", None) or getattr(error, "filename", None)
    root = Workspace.open().root
    if named or (root.exists() and shutil.disk_usage(root).free < ALMOST_FULL):
        return str(named or root)
    return "here, where it writes, or in the folder for temporary files"


def check_addresses() -> None:
    """Raise InputError where the shell's limit leaves no room for the processes of a run."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < LEAST_ADDRESSES:
        rule = f"a run needs {LEAST_ADDRESSES / 1e9:g} GB of addresses and room for its models"
        raise InputError(f"{limit / 1e9:.2g} GB", rule, "raise ulimit -v", "memory limit")
