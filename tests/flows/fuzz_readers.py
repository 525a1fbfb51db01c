"""Every reader of what people bring, called in the ways in which recipes and commands call it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from constitution.lint import lint
from constitution.load import load as load_constitution
from flows.plan.recipe import load as load_recipe
from flows.plan.recipe import parse_overrides
from flows.run.import_rows import import_rows
from storage.errors import InputError
from storage.ledger import Ledger
from storage.workspace import Workspace
from tasks.evaluation.probes.read import read_file
from tasks.evaluation.probes.shipped import SCORERS
from tasks.judging.demonstrations import read_demonstrations
from tasks.judging.gold import read_gold, read_judged
from tasks.prompts import Reading, read_prompts
from tasks.review.given import Taker
from tasks.review.label_studio import read_tasks
from tasks.review.sheet import read_sheet
from tests.flows.samples import SUBJECT

ENCODINGS = (*["utf-8"] * 20, "cp1252", "utf-16", "utf-7", "shift_jis", "idna", "hz", "x")
OURS = ({"prompt": "question"}, {"prompt": "a"}, {"system": None}, {"category": "prompt"})
COLUMNS: Sequence[Any] = (*[{}] * 12, *OURS)

Read = Callable[[random.Random, Path], None]


def read_any_prompts(draw: random.Random, path: Path) -> None:
    reading = Reading(
        columns=draw.choice(COLUMNS),
        encoding=draw.choice(ENCODINGS),
        categories=draw.choice((True, False, {"ships": "sea"})),
        max_chars=draw.choice((20_000, 5)),
        tools=draw.random() < 0.5,
    )
    batch = read_prompts(str(path), draw.choice((None, None, 1)), reading)
    stored([vars(prompt) for prompt in batch.prompts])
    assert all(len(line.splitlines()) == 1 for line in batch.notes)


def read_sets(draw: random.Random, path: Path) -> None:
    found: Sequence[Any] = ()
    reader: Any = draw.choice((read_judged, read_demonstrations, None))
    if reader is None:
        found = read_gold(path)
    else:
        found, _ = reader(str(path), columns=draw.choice(({}, {"prompt": "instruction"})))
    stored([asdict(row) for row in found])


def read_verdicts(draw: random.Random, path: Path) -> None:
    rows = read_tasks(path) if path.suffix == ".ls" else read_sheet(path)
    taken = Taker([SUBJECT], [], [], "me").take(rows)
    stored([asdict(verdict) | {"said_at": ""} for verdict in taken.verdicts])


def read_constitution(_: random.Random, path: Path) -> None:
    assert isinstance(lint(path), list)
    stored(asdict(load_constitution(path)))


def read_recipe(_: random.Random, path: Path) -> None:
    stored(load_recipe(str(path)).model_dump())


def read_overrides(_: random.Random, path: Path) -> None:
    given = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
    values = parse_overrides(given) if isinstance(given, list) else given
    stored(load_recipe("smoke", values).model_dump())


def stored(value: Any) -> None:
    """Raise where the ledger could not hold it."""
    json.dumps(value, ensure_ascii=False).encode()


def read_export(_: random.Random, path: Path) -> None:
    ledger = Workspace.open().ledger
    before = ledger.stat() if ledger.exists() else None
    try:
        import_rows(Ledger(ledger), path)
    except InputError:
        assert (ledger.stat() if ledger.exists() else None) == before
        raise


def read_questions(_: random.Random, path: Path) -> None:
    read = read_file(path, "helpfulness", tuple(SCORERS))
    stored([question.prompt.messages for question in read.questions])


def in_encoding(name: str) -> Read:
    def read(_: random.Random, path: Path) -> None:
        read_prompts(str(path), reading=Reading(encoding=name))

    return read


def read_rows(_: random.Random, path: Path) -> None:
    read_prompts(str(path))


def read_pairs(_: random.Random, path: Path) -> None:
    read_judged(path)
