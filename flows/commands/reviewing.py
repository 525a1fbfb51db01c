"""The queue in the terminal: a key a verdict, each in the ledger before the next pair is shown."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
import sys
import termios
import tty
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, Self

from rich.text import Text

from flows.commands.options import out, print_lines
from flows.explain.compare.text import visible
from flows.explain.review.desk import Desk, status
from flows.explain.review.text import KEYS, item_lines, status_lines
from storage.errors import InputError
from storage.ledger import Ledger
from tasks.review.queue import Item
from tasks.review.say import Said, Side, said_by

SAYS: dict[str, Said] = {"a": "a", "b": "b", "t": "tie", "n": "both_bad"}
TOLD = {"a": "A is better", "b": "B is better", "tie": "tie", "both_bad": "both bad"}
STOP = "."
END, ESCAPE = b"\x04", b"\x1b"


class Reviewer(Protocol):
    """Who presses the keys."""

    def key(self) -> str:
        """The next key, in small letters. Raises EOFError where there is none."""

    def edit(self, text: str) -> str | None:
        """The text as they would have it; None where they leave it."""


class Terminal:
    """Single keys and the user's editor; of a pipe a line a key, an edit ends with a line ".".

    Within the block the terminal gives every key at once, and none that is pressed early is lost.
    """

    def __init__(self) -> None:
        self.saved = termios.tcgetattr(sys.stdin) if sys.stdin.isatty() else None

    def __enter__(self) -> Self:
        if self.saved is not None:
            tty.setcbreak(sys.stdin, termios.TCSADRAIN)
        return self

    def __exit__(self, *_: object) -> None:
        if self.saved is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self.saved)

    def key(self) -> str:
        if self.saved is not None:
            return pressed(sys.stdin.fileno())
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.strip().lower()[:1]

    def edit(self, text: str) -> str | None:
        if self.saved is not None:
            self.__exit__()
            try:
                return in_editor(text)
            finally:
                self.__enter__()
        lines = iter(sys.stdin.readline, "")
        return "\n".join(iter(lambda: next(lines, STOP).rstrip("\n"), STOP))


def pressed(terminal: int) -> str:
    """One key, in small letters; "" for one that is more than a letter, as an arrow is."""
    found = os.read(terminal, 1)
    if found in (b"", END):
        raise EOFError
    if found == ESCAPE:
        if select.select([terminal], [], [], 0)[0] and os.read(terminal, 1) in (b"[", b"O"):
            while (last := os.read(terminal, 1)) and not b"@" <= last <= b"~":
                pass  # ECMA-48: the byte that ends a sequence
        return ""
    return found.decode("ascii", errors="replace").lower()


def in_editor(text: str) -> str | None:
    """The text as it is when the user's editor ends; None where it was left. InputError without an
    editor.
    """
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with TemporaryDirectory(prefix="solon-") as folder:
        path = Path(folder) / "answer.txt"
        path.write_text(text + "\n", encoding="utf-8")
        try:
            ended = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
        except (OSError, ValueError) as error:
            raise InputError(editor, f"no editor ({error})", "set EDITOR to one") from None
        found = path.read_text(encoding="utf-8", errors="replace").strip()
    return None if ended or found == text.strip() else found


def ask(ledger: Ledger, items: Sequence[Item], author: str, reviewer: Reviewer) -> None:
    """Until the queue is empty, or q, Ctrl-D or Ctrl-C; then how far reviewers agree."""
    desk = Desk(ledger, items, author)
    try:
        while waiting := desk.waiting():
            _show(desk, waiting)
            if not _answered(desk, waiting[0], reviewer):
                break
        else:
            print_lines(["nothing is left: every pair has your verdict"])
    except (EOFError, KeyboardInterrupt):
        print_lines([""])
    print_lines(status_lines(status(items, desk.verdicts), is_done=not desk.waiting()))


def _show(desk: Desk, waiting: Sequence[Item]) -> None:
    place = f"{desk.done() + 1} of {desk.done() + len(waiting)}"
    for part in item_lines(waiting[0], place, out.width):
        out.print(part)
    out.print(Text(KEYS, style="dim"))


def _answered(desk: Desk, item: Item, reviewer: Reviewer) -> bool:
    """Take keys until something is said of this pair or another is to be shown; False for q."""
    while True:
        key = reviewer.key()
        if key == "q":
            return False
        try:
            if _did(desk, item, key, reviewer):
                return True
        except InputError as error:
            _tell(str(error))


def _did(desk: Desk, item: Item, key: str, reviewer: Reviewer) -> bool:
    subject_id = item.subject.subject_id
    if key in SAYS:
        _tell(TOLD[said_by(desk.say(subject_id, SAYS[key]))])
    elif key == "s":
        desk.skip(subject_id)
        _tell("skipped: it comes again at the end")
    elif key == "u":
        undone = desk.undo()
        _tell(f"undone: {TOLD[said_by(undone)]}" if undone else "nothing to undo")
        return undone is not None
    elif key == "e":
        return _edited(desk, item, reviewer)
    else:
        return False
    return True


def _edited(desk: Desk, item: Item, reviewer: Reviewer) -> bool:
    _tell("edit which, a or b?")
    key = reviewer.key()
    if key not in ("a", "b"):
        _tell("nothing is edited")
        return False
    side: Side = "a" if key == "a" else "b"
    text = reviewer.edit(item.subject.shown[side == "b"])
    if text is None:
        _tell("nothing is edited")
        return False
    verdict = desk.say(item.subject.subject_id, side, text)
    _tell(TOLD[side] + (", as edited" if verdict.edited else ": nothing was changed"))
    return True


def _tell(text: str) -> None:
    out.print(Text(f"→ {visible(text)}", style="bold"))
