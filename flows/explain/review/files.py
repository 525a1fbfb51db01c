"""The queue as a file for other tools, and the verdicts in one that comes back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flows.explain.compare.text import one_line
from storage.durable import replace_text
from storage.errors import InputError
from storage.ledger import Ledger
from tasks.review.given import Fault, Given, Taken, Taker
from tasks.review.label_studio import INTERFACE, read_tasks, tasks
from tasks.review.queue import Item, queue
from tasks.review.record import everything, standing
from tasks.review.sheet import read_sheet, sheet
from tasks.review.verdicts import Verdict

SHEETS = (".csv", ".tsv", ".xlsx")
TOLD = 5  # rows that are left out and told one by one


def write(to: Path, items: Sequence[Item], verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Write a new file: `.csv` for spreadsheets; `.json` for Label Studio, its interface beside it.

    Raises InputError for another kind, and where a file is there already.
    """
    interface = to.with_suffix(".interface.xml") if to.suffix == ".json" else None
    if to.suffix not in (".csv", ".json"):
        raise InputError(to, "is neither .csv nor .json", "name one that is", "--export")
    for path in filter(None, (to, interface)):
        if path.exists() or path.is_symlink():
            raise InputError(path, "the file is there already", "name a new one", "--export")
        if not path.parent.is_dir():
            raise InputError(path, "its folder is not there", "make the folder first", "--export")
    ordered = queue(items, verdicts)
    ids = {item.subject.subject_id for item in ordered}
    own = [verdict for verdict in verdicts if verdict.subject.subject_id in ids]
    if interface is None:
        replace_text(to, sheet(ordered, own))
    else:
        replace_text(to, json.dumps(tasks(ordered, own), ensure_ascii=False, indent=1) + "\n")
        replace_text(interface, INTERFACE)
    shown = str(interface) if interface else None
    return {"file": str(to), "interface": shown, "pairs": len(ordered), "verdicts": len(own)}


def take(path: Path, ledger: Ledger, items: Sequence[Item], author: str) -> Taken:
    """The verdicts in a file; writes nothing. Raises InputError for a file that holds none."""
    read: Callable[[Path], Iterator[Given | Fault]]
    if path.suffix.lower() in SHEETS:
        read = read_sheet
    elif path.suffix.lower() == ".json":
        read = read_tasks
    else:
        kinds = ", ".join((*SHEETS, ".json"))
        raise InputError(path, f"is not one of {kinds}", "export it as one", "--import")
    every = everything(ledger)
    subjects = [*(item.subject for item in items), *(verdict.subject for verdict in every)]
    return Taker(subjects, every, standing(ledger), author).take(read(path))


def taken_lines(taken: Taken) -> Iterator[str]:
    """What was read, and why rows were left out."""
    yield (
        f"read {taken.read} rows: {len(taken.verdicts)} new verdicts, {taken.known} known already,"
        f" {taken.blank} without a verdict, {len(taken.left_out)} left out"
    )
    for fault in taken.left_out[:TOLD]:
        yield one_line(f"  {fault.place}: {fault.reason}: {fault.detail}", 200)
    if len(taken.left_out) > TOLD:
        yield f"  and {len(taken.left_out) - TOLD} more: --json has them all"
