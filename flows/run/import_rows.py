"""Take an export back: the same rows under the same ids, as the snapshot that they were.

Every row is read and checked before anything is written. Doing it again changes nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from flows.plan.paths import missing
from flows.plan.recipe_yaml import read_yaml
from storage.errors import InputError
from storage.ids import dataset_id, digest, is_id, short
from storage.ledger import Ledger
from storage.refs import NAME
from tasks.generation.record import record_prompts
from tasks.generation.record_sets import record_import
from tasks.generation.sets import IMPORTED, BroughtSet
from tasks.generation.teaching import AUTHORITY
from tasks.judging.exported import SPLITS, Member, member
from tasks.prompts.files import file_digest, iter_rows
from tasks.prompts.turns import RowError

SUFFIXES = (".jsonl", ".parquet", ".arrow")
BELOW = ("", "data", *SPLITS)  # folders of an export, and of what `datasets` saved of it
MOST_OF_A_CARD = 1 << 20  # characters that are read of it
WHOLE = "take the export as it was written, or export again"


def import_rows(ledger: Ledger, path: Path, name: str | None = None) -> dict[str, Any]:
    """The rows of the export at `path` (its folder, one file, or what `datasets` saved of it), with
    the ref imported/`name`.

    `{"id", "kind", "rows", "held_out", "new", "set", "ref"}`. name: as the file or folder, else.
    Raises InputError, with nothing written, for what is no export of ours, and for the first row
    whose content does not make its id.
    """
    files = _files(path)
    ref = _ref(path, name)
    members = _members(files)
    card = _card(path)
    found = _checked(path, members, card)
    own = BroughtSet(
        IMPORTED,
        str(path),
        digest("".join(map(file_digest, files)).encode()),
        f"snapshot {_origin(card) or found}",
        None,
        None,
        len(members),
    )
    record_prompts(ledger, [m.prompt for m in members])
    _, new = record_import(ledger, own, members, ref)
    return {
        "id": found,
        "kind": members[0].kind,
        "rows": len(members),
        "held_out": sum(m.is_held_out for m in members),
        "new": new,
        "set": own.set_id,
        "ref": ref,
    }


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise missing(path, "PATH", "give what solon export wrote")
    folders = [path / below for below in BELOW if (path / below).is_dir()]
    files = sorted(p for folder in folders for p in folder.iterdir() if p.suffix in SUFFIXES)
    if not files:
        rule = "holds no file of rows (.jsonl, .parquet, .arrow)"
        raise InputError(str(path), rule, "give what solon export wrote", "PATH")
    return files


def _ref(path: Path, name: str | None) -> str:
    words = re.findall("[a-z0-9]+", path.absolute().stem.lower())
    ref = f"{IMPORTED}/{name or '-'.join(words) or 'rows'}"
    if not NAME.fullmatch(ref):
        rule = "a name is small letters, digits and dashes"
        raise InputError(str(name), rule, "name it as helpful-1", "--name")
    return ref


def _members(files: list[Path]) -> list[Member]:
    """Every row of the files, each once. InputError for the first that is none of an export."""
    found: dict[str, Member] = {}
    for path in files:
        for line, row in iter_rows(path):
            try:
                if isinstance(row, RowError):
                    raise row
                read = member(row, str(path), line)
                if read.evidence not in ("", *AUTHORITY):
                    raise RowError("malformed", f"`evidence` is {read.evidence!r}")
                same = found.setdefault(read.row_id, read)
                if same.is_held_out is not read.is_held_out:
                    raise RowError("malformed", "the row is in both splits")
                if same.kind != next(iter(found.values())).kind:
                    raise RowError("malformed", "pairs and examples are mixed")
            except RowError as error:
                raise InputError(error.reason, error.detail, WHOLE, f"{path}:{line}") from None
    if not found:
        raise InputError(str(files[0]), "holds no row", WHOLE, "PATH")
    return list(found.values())


def _card(path: Path) -> dict[str, Any]:
    """What the front matter of the export's card says; nothing where there is no card."""
    place = path / "README.md" if path.is_dir() else path.with_name(f"{path.name}.card.md")
    if not place.is_file():
        return {}
    try:
        with place.open(encoding="utf-8") as file:
            text = file.read(MOST_OF_A_CARD)
    except (OSError, UnicodeDecodeError):
        return {}
    front = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        said = read_yaml(front[1]).value if front else None
    except InputError:
        return {}
    own = said.get("solon") if isinstance(said, dict) else None
    return own if isinstance(own, dict) else {}


def _origin(card: dict[str, Any]) -> str:
    """The snapshot that was exported; empty where the card names none."""
    named = card.get("snapshot")
    return named if isinstance(named, str) and is_id(named) else ""


def _checked(path: Path, members: list[Member], card: dict[str, Any]) -> str:
    """The id of the rows. InputError where it is not what the card says was written."""
    sides = ([m.row_id for m in members if m.is_held_out is side] for side in (False, True))
    found = dataset_id(members[0].kind, *sides)
    written = card.get("written", found)
    if written != found:
        rule = f"its card is of {short(str(written))}, its rows make {short(found)}"
        raise InputError(str(path), f"{rule}: some are missing, added or moved", WHOLE, "PATH")
    return found
