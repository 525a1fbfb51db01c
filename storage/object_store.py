"""Files kept under the SHA-256 of their content, and backups as small lists of them.

    objects/ab/abcd…     a file's content, or a piece of a ledger's
    backups/DATE-ID.json a backup: its files, each with its size and the objects that it is made of

An object is written aside and renamed: what is there is whole. A backup is there once its list is.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from storage.durable import replace_text, sync
from storage.errors import InputError, SolonError

FORMAT = 1
CHUNK = 1 << 20
DIGEST = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{12}")
Heard = Callable[[int], None]  # of bytes that are done with


@dataclass(frozen=True)
class Entry:
    """A file of a backup: its path in the workspace, and its content's objects in order."""

    file: str
    size: int
    objects: tuple[str, ...]


@dataclass(frozen=True)
class Backup:
    """One backup. new_bytes: what it added to the store; left_out: what could not be kept."""

    id: str
    made_at: datetime
    workspace: str
    files: tuple[Entry, ...]
    new_bytes: int
    left_out: tuple[str, ...]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.files)

    def to_json(self) -> dict[str, Any]:
        told = {name: value for name, value in asdict(self).items() if name != "files"}
        return told | {"files": len(self.files), "bytes": self.size}


class Store:
    """A folder of objects and backups."""

    def __init__(self, root: Path) -> None:
        self.root, self.objects, self.lists = root, root / "objects", root / "backups"
        self.new_bytes = 0

    def create(self) -> Store:
        """Make its folders; it is its owner's alone, as a workspace is."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.objects, self.lists):
            folder.mkdir(exist_ok=True)
        for half in self.objects.glob(".*.tmp"):  # of a backup that was killed
            half.unlink(missing_ok=True)
        return self

    def path(self, digest: str) -> Path:
        return self.objects / digest[:2] / digest

    def has(self, digest: str, size: int) -> bool:
        """Whether an object is there, and as large as it was: one that was cut is written anew."""
        path = self.path(digest)
        return path.is_file() and path.stat().st_size == size

    def keep(self, source: BinaryIO, size: int, heard: Heard) -> str:
        """Keep the next `size` bytes of a file (-1: all that follow); their digest."""
        start = source.tell()
        digest = _digest_of(source, size, lambda count: None)
        if self.has(digest, source.tell() - start):
            heard(source.tell() - start)
            return digest
        source.seek(start)
        beside = self.objects / f".{uuid.uuid4().hex}.tmp"
        try:
            with beside.open("xb") as out:
                digest = _copied(source, out, size, heard)
            sync(beside)
            self.path(digest).parent.mkdir(exist_ok=True)
            self.new_bytes += beside.stat().st_size
            beside.replace(self.path(digest))
            sync(self.path(digest).parent)
        finally:
            beside.unlink(missing_ok=True)
        return digest

    def take(self, entry: Entry, to: Path, heard: Heard) -> None:
        """Write a file of a backup. Raises SolonError where its content is not what was kept."""
        to.parent.mkdir(parents=True, exist_ok=True)
        with to.open("xb") as out:
            for digest in entry.objects:
                try:
                    with self.path(digest).open("rb") as source:
                        found = _copied(source, out, -1, heard)
                except FileNotFoundError:
                    found = ""
                if found != digest:
                    what = "damaged" if found else "missing"
                    fix = "restore an earlier backup with --backup"
                    raise SolonError(f"{self.path(digest)}: {what}, of {entry.file}; {fix}")
        if to.stat().st_size != entry.size:
            raise SolonError(f"{entry.file}: not of the size that its backup says")
        sync(to)

    def add(self, made: Backup) -> None:
        text = json.dumps({"format": FORMAT, **asdict(made)}, indent=1, default=str)
        replace_text(self.lists / f"{made.made_at:%Y%m%dT%H%M%SZ}-{made.id}.json", text)

    def backups(self) -> list[Backup]:
        """Those that are there, the newest first. Raises SolonError for a list that is none."""
        names = (path for path in self.lists.glob("*.json") if NAME.fullmatch(path.stem))
        return [_read(path) for path in sorted(names, reverse=True)]

    def find(self, backup_id: str | None) -> Backup:
        """The backup of which the id begins so, else the newest. InputError where there is none."""
        there = self.backups()
        found = [each for each in there if each.id.startswith(backup_id or "")]
        if not there:
            rule = "there is no backup in this folder"
            raise InputError(self.root, rule, "make one with solon backup", "DIR")
        if not found or (backup_id and len(found) > 1):
            rule = "several backups' ids begin so" if found else "no backup has this id"
            raise InputError(str(backup_id), rule, "see solon backup DIR --list", "--backup")
        return found[0]


def _read(path: Path) -> Backup:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(_entry(each) for each in found.pop("files"))
        if found.pop("format") != FORMAT:
            raise ValueError("another format")
        made_at, left_out = datetime.fromisoformat(found.pop("made_at")), found.pop("left_out")
        return Backup(**found, made_at=made_at, left_out=tuple(left_out), files=files)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise SolonError(f"{path}: no list of a backup that can be read ({error})") from None


def _entry(found: dict[str, Any]) -> Entry:
    """Raises ValueError for a path that leads out of a workspace, or what is no digest."""
    path, objects = PurePosixPath(str(found["file"])), tuple(map(str, found["objects"]))
    if path.is_absolute() or ".." in path.parts or path.parts[:1] in ((), ("prefect",)):
        raise ValueError(f"{path}: not a file of a workspace")
    if not all(DIGEST.fullmatch(digest) for digest in objects):
        raise ValueError(f"{path}: no digests")
    return Entry(str(path), int(found["size"]), objects)


def _chunks(source: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left and (data := source.read(CHUNK if left < 0 else min(CHUNK, left))):
        left -= len(data) if left > 0 else 0
        yield data


def _digest_of(source: BinaryIO, size: int, heard: Heard) -> str:
    made = hashlib.sha256()
    for data in _chunks(source, size):
        made.update(data)
        heard(len(data))
    return made.hexdigest()


def _copied(source: BinaryIO, out: BinaryIO, size: int, heard: Heard) -> str:
    """Copy, and say the digest of what was written."""
    made = hashlib.sha256()
    for data in _chunks(source, size):
        made.update(data)
        out.write(data)
        heard(len(data))
    return made.hexdigest()
