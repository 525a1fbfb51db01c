"""Text in other encodings than UTF-8, read as if it were UTF-8."""

from __future__ import annotations

import codecs
import io
from typing import IO

from storage.errors import InputError

_CHUNK = 1 << 16  # characters
_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def check_encoding(name: str) -> None:
    """Raise InputError unless Python knows a text encoding of this name."""
    try:
        "".encode(name)
        codecs.getincrementaldecoder(name)("surrogateescape").decode(b"")
    except (LookupError, ValueError, TypeError):
        fix = "name one as utf-8, windows-1252, latin-1, utf-16, gb18030 or shift_jis"
        raise InputError(name, "no text encoding has this name", fix, "prompts.encoding") from None


def as_utf8(stream: IO[bytes], encoding: str) -> IO[bytes]:
    """The stream itself where it is UTF-8, else one that gives its text as UTF-8.

    UTF-16 is told by its mark, as Excel writes it. Bytes that are none of the encoding stay as they
    are, which is not UTF-8: their rows are seen to be broken, the others are read.
    """
    mark: bytes = stream.peek(2)[:2]  # type: ignore[attr-defined]
    name = codecs.lookup(_MARKS.get(mark, encoding)).name
    return stream if name == "utf-8" else io.BufferedReader(_Recoded(stream, name))


class _Recoded(io.RawIOBase):
    """UTF-8 bytes of a text in another encoding."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._text = io.TextIOWrapper(stream, encoding, errors="surrogateescape", newline="")
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._left:
            self._left = self._text.read(_CHUNK).encode("utf-8", "surrogateescape")
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size
