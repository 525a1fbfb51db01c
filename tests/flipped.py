"""One bit of a file, flipped: the damage that no size shows."""

from __future__ import annotations

from pathlib import Path


def flip(path: Path) -> None:
    """Flip a bit in the middle of the file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
