"""The elements of a JSON list read from a stream, in memory that does not grow with the list."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

_CHUNK = 1 << 20
_SPACE = re.compile(r"[ \t\r\n]*")


def list_elements(stream: IO[str], max_element: int) -> Iterator[Any]:
    """Each element of the one JSON list in `stream`, in order.

    Raises ValueError at the point where the text stops being such a list: bad JSON, cut off, an
    element of more than about `max_element` characters, or something after the list.
    """
    window = _Window(stream)
    if window.next() != "[":
        raise ValueError("a list must start with [")
    separator = window.next() if window.peek() == "]" else ","
    while separator == ",":
        yield window.element(max_element)
        separator = window.next()
    if separator != "]":
        raise ValueError(f"expected , or ], found {separator or 'the end of the file'}")
    if window.peek():
        raise ValueError("there is more text after the list")


class _Window:
    """The unread part of the text that is in memory."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream, self.text, self.at = stream, "", 0
        self.decoder = json.JSONDecoder()

    def more(self) -> bool:
        """Read on; False at the end of the stream."""
        chunk = self.stream.read(_CHUNK)
        self.text, self.at = self.text[self.at :] + chunk, 0
        return bool(chunk)

    def peek(self) -> str:
        """The next character that is no space, left unread; "" at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more():
                return ""

    def next(self) -> str:
        """The next character that is no space, read."""
        character = self.peek()
        self.at += 1
        return character

    def element(self, max_element: int) -> Any:
        """The JSON value that comes next."""
        self.peek()
        while True:
            try:
                value, end = self.decoder.raw_decode(self.text, self.at)
            except RecursionError as error:
                raise ValueError("nested too deeply") from error
            except ValueError:
                if len(self.text) - self.at > max_element or not self.more():
                    raise
            else:  # where the text ends, a number may go on in the next chunk
                if end < len(self.text) or not self.more():
                    self.at = end
                    return value
