"""The files of a workspace, held to the hashes that were written with them."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from storage.artifacts import artifact_path, check
from storage.errors import ArtifactBroken, InputError
from storage.ids import canonical_json, is_id, kind_of
from storage.known_files import model_folders, unknown_files
from storage.ledger import Ledger, Row
from storage.report_files import SEAL, whole_page
from storage.seals import Algorithm, read_digest, sealed
from storage.workspace import Workspace
from tasks import models
from tasks.integrity.faults import Fault, Looked
from tasks.model_files import HasDigests, adapter_id, whole
from tasks.training.resume import MARKER

AGAIN = "the next run that needs it makes it again"
NEXT_USE = "it is made again when it is next used"
TAKEN_OVER = "the next run that needs it takes it over"
STRAY = "move it away, or let solon gc delete it"
OnBytes = Callable[[int], None]


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder; what goes meanwhile, as a trainer's older state, is left out."""
    return (Path(place, name) for place, _, names in os.walk(folder) for name in names)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # it went, or is a link to nothing
        return 0


class Reader:
    """Digests of files, each read anew. `on_bytes` hears of each how large it was."""

    def __init__(self, on_bytes: OnBytes) -> None:
        self._on_bytes = on_bytes

    def of(self, path: Path) -> str:
        return self._read(path, "blake2b")

    def sha256(self, path: Path) -> str:
        return self._read(path, "sha256")

    def _read(self, path: Path, algorithm: Algorithm) -> str:
        found = read_digest(path, algorithm)
        self._on_bytes(path.stat().st_size)
        return found


class Files:
    """The files of one workspace. `sample`: of artifacts and of models only so many, by chance."""

    def __init__(self, workspace: Workspace, ledger: Ledger, looked: Looked, sample: int | None):
        self.workspace, self.ledger, self.looked = workspace, ledger, looked
        sql = "SELECT checkpoint_id, stage, components FROM checkpoints ORDER BY checkpoint_id"
        self.checkpoints = _some(ledger.query(sql), sample)
        self.models = _some(model_folders(workspace), sample)
        trained = "SELECT * FROM models WHERE checkpoint_id IS NOT NULL"
        self.adapters = {str(row["checkpoint_id"]): row for row in ledger.query(trained)}

    @property
    def size(self) -> int:
        """Bytes that will be read, about."""
        paths = [artifact_path(self.workspace, row["checkpoint_id"]) for row in self.checkpoints]
        folders = (*paths, *self.models, self.workspace.reports, self.workspace.state)
        return sum(map(_size, chain.from_iterable(map(_files, folders))))

    def look(self, on_bytes: OnBytes) -> None:
        """Look at all of them; what is wrong goes to `looked`."""
        reader = Reader(on_bytes)
        for row in self.checkpoints:
            self._artifact(row, reader)
        self.look_at_rest(reader)
        for path in unknown_files(self.ledger, self.workspace):
            self._unknown(path)

    def look_at_rest(self, reader: HasDigests) -> None:
        """Models, people's too, reports, and the states of unfinished trainers."""
        for folder in self.models:
            self._model(folder, reader)
        for folder in sorted(self.workspace.reports.glob("*/")):
            self._report(folder)
        states = (file for file in _files(self.workspace.state) if file.name == MARKER)
        for marker in sorted(states):
            if sealed(marker.parent, MARKER, reader.of) is None and marker.exists():
                repair = "the next run deletes it, and trains from the state before it or anew"
                self._fault(marker.parent, "a trainer's state is not what was written", repair)
            self.looked.count("states")
        self._bases(reader)

    def _artifact(self, row: Row, reader: Reader) -> None:
        """The files of a checkpoint or evaluation, what it is made of, and its adapter's id."""
        row_id = str(row["checkpoint_id"])
        path = artifact_path(self.workspace, row_id)
        self.looked.count("evaluations" if row["stage"] == "evaluate" else "checkpoints' files")
        if not path.exists():
            self.looked.faults.append(Fault(row_id, "its files are gone", AGAIN))
            return
        try:
            found = check(path, reader.sha256)
        except ArtifactBroken as error:
            rule = str(error).removeprefix(f"{path}").lstrip("/: ")
            self.looked.faults.append(Fault(row_id, rule, AGAIN))
            return
        if (made_of := found.get("components")) and not _is_same(made_of, row["components"]):
            rule = "its manifest says that it was made of something else than its row does"
            self.looked.faults.append(Fault(row_id, rule))
        self._adapter(row_id, path / "adapter", reader)

    def _adapter(self, checkpoint_id: str, folder: Path, reader: Reader) -> None:
        """An adapter's model id is made of its files and its base."""
        if (row := self.adapters.get(checkpoint_id)) and folder.is_dir():
            if adapter_id(folder, row["base_model_id"], reader) != row["model_id"]:
                self.looked.faults.append(Fault(row["model_id"], "its adapter makes another id"))
            self.looked.count("models")

    def _model(self, folder: Path, reader: HasDigests) -> None:
        found = whole(folder, reader)
        self.looked.count("models")
        if found is None:
            self._fault(folder, "the model's files are not what was written", NEXT_USE)
        elif "blake2b" not in found and is_id(folder.name):
            why = "its files have no digests, as it was made before these were kept"
            self.looked.skipped.append(f"{folder.name}: {why}; {NEXT_USE}")

    def _report(self, folder: Path) -> None:
        if (folder / SEAL).exists():
            self.looked.count("reports")
            if whole_page(folder) is None:
                data = "data " if kind_of(folder.name) == "dataset" else ""
                repair = f"solon {data}report {folder.name} writes it again"
                self._fault(folder, "the report's files are not what was written", repair)
        elif (folder / "report.html").exists():
            why = "written before reports were sealed"
            self.looked.skipped.append(f"reports/{folder.name}: {why}")

    def _bases(self, reader: HasDigests) -> None:
        """The folders of people's models: other files are another model."""
        sql = "SELECT model_id, reference FROM models WHERE kind = 'folder'"
        for row in self.ledger.query(sql):
            try:
                now = models.identify(row["reference"], self.workspace, digests=reader).model_id
            except InputError as error:
                self.looked.skipped.append(f"{row['reference']}: {error.rule}")
                continue
            if now == row["model_id"]:
                self.looked.count("models")
            else:
                why = f"holds another model now than {row['model_id']}, or is asked in another form"
                self.looked.skipped.append(f"{row['reference']}: {why}")

    def _unknown(self, path: Path) -> None:
        is_open = self.ledger.query("SELECT 1 FROM runs WHERE state = 'running'")
        is_artifact = path.parent.parent == self.workspace.artifacts
        if is_open and is_artifact:
            self.looked.skipped.append(f"{path.name}: a run is open, which may be making it")
        else:
            repair = f"{TAKEN_OVER}, or {STRAY}" if is_artifact else STRAY
            self._fault(path, "no row of the ledger knows it", repair)

    def _fault(self, path: Path, rule: str, repair: str) -> None:
        place = path.relative_to(self.workspace.root)
        self.looked.faults.append(Fault(str(place), rule, repair))


def _some(found: Sequence[Any], sample: int | None) -> list[Any]:
    return list(found) if sample is None or sample >= len(found) else random.sample(found, sample)


def _is_same(one: Any, other: str) -> bool:
    try:
        return canonical_json(one) == canonical_json(json.loads(other))
    except ValueError:
        return False
