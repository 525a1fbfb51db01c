"""Model references: what each kind means, its id, and what a wrong one says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from storage.errors import InputError
from storage.seals import seal, sealed
from storage.workspace import Workspace
from tasks import models
from tasks.model_files import MANIFEST, Digests, clear_drafts, draft
from tasks.models import ModelInfo, PreparedModel, identify, parse, prepare, there


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "home")


def write_folder(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that carries weights; importing it would fail."""
    folder = tmp_path / "site" / "some_weights"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "w.gguf").write_bytes(b"GGUF one")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


@pytest.mark.parametrize(
    ("text", "kind", "value", "detail"),
    [
        ("owner/name", "hub", "owner/name", "main"),
        ("owner/name.v1@refs/pr/2", "hub", "owner/name.v1", "refs/pr/2"),
        ("/a/b", "folder", "/a/b", ""),
        ("package:mod/sub/w.gguf", "package", "mod", "sub/w.gguf"),
        ("checkpoint:ckp_0a", "checkpoint", "ckp_0a", ""),
        ("checkpoint:champion", "checkpoint", "champion", ""),
        ("random:tiny", "random", "tiny", ""),
    ],
)
def test_parse(text: str, kind: str, value: str, detail: str) -> None:
    found = parse(text)
    assert (found.kind, found.value, found.detail) == (kind, value, detail)


def test_a_relative_folder_that_exists_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse("owner/name").kind == "hub"
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert parse("owner/name").value == str(tmp_path / "owner" / "name")


@pytest.mark.parametrize(
    "text", ["", "gpt2", "random:huge", "checkpoint:", "a/b/c", "hub:a/b", "a b/c"]
)
def test_a_wrong_reference_names_the_four_kinds(text: str) -> None:
    with pytest.raises(InputError, match=r"owner/name.*\./folder.*package:.*checkpoint:") as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "file", ["../x.gguf", "a/../../x.gguf", "/etc/x.gguf", "a//x.gguf", "x.bin", ""]
)
def test_a_package_file_cannot_leave_its_package(file: str) -> None:
    with pytest.raises(InputError, match="package"):
        parse(f"package:mod/{file}")


def test_a_package_model_is_known_before_conversion(package: Path, workspace: Workspace) -> None:
    first = identify("package:some_weights/w.gguf", workspace)
    assert first.kind == "package"
    assert first.model_id is not None
    assert not workspace.root.exists()
    (package / "w.gguf").write_bytes(b"GGUF two")
    assert identify("package:some_weights/w.gguf", workspace).model_id != first.model_id


def test_the_conversion_version_is_part_of_the_id(
    package: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = identify("package:some_weights/w.gguf", workspace)
    monkeypatch.setattr(models, "CONVERSION", models.CONVERSION + 1)
    assert identify("package:some_weights/w.gguf", workspace).model_id != before.model_id


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("package:some_weights/no.gguf", "no such file"),
        ("package:not_there/w.gguf", "not installed"),
    ],
)
@pytest.mark.usefixtures("package")
def test_a_missing_package_file(workspace: Workspace, text: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        identify(text, workspace)


def test_a_folder_is_its_content_not_its_path(tmp_path: Path, workspace: Workspace) -> None:
    one, two = write_folder(tmp_path / "one"), write_folder(tmp_path / "two")
    first = identify(str(one), workspace)
    assert first == ModelInfo(first.model_id, "folder", "one")
    assert identify(str(two), workspace).model_id == first.model_id
    (two / "tokenizer.json").write_text("{}")
    assert identify(str(two), workspace).model_id != first.model_id


def test_a_prepared_folder_stays_where_it_is_and_its_digests_are_kept(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "one")
    monkeypatch.setattr("storage.digests.SETTLED_NS", 0)
    prepared = prepare(str(folder), workspace)
    assert (prepared.path, prepared.adapter, prepared.name) == (folder, None, "one")
    kept = json.loads((workspace.models / "digests.json").read_text())
    assert set(kept) == {str(folder / "model.safetensors"), str(folder / "config.json")}
    monkeypatch.setattr("hashlib.file_digest", None)  # nothing is read again
    assert identify(str(folder), workspace).model_id == prepared.model_id


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        (["pytorch_model.bin", "config.json"], "pickled"),
        (["config.json"], "no safetensors"),
        (["model.safetensors"], "config.json"),
    ],
)
def test_a_folder_that_cannot_be_loaded(
    tmp_path: Path, workspace: Workspace, files: list[str], rule: str
) -> None:
    (tmp_path / "bad").mkdir()
    for name in files:
        (tmp_path / "bad" / name).write_text("{}")
    with pytest.raises(InputError, match=rule):
        identify(str(tmp_path / "bad"), workspace)
    with pytest.raises(InputError, match="no such folder"):
        identify(str(tmp_path / "none"), workspace)


def test_a_checkpoint_is_its_adapter_on_its_base(tmp_path: Path, workspace: Workspace) -> None:
    base = write_folder(tmp_path / "base")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    (adapter / "adapter_model.safetensors").write_bytes(b"one")

    def find(ref: str) -> tuple[str, Path, str]:
        assert ref == "champion"
        return "ckp_1", adapter, str(base)

    first = identify("checkpoint:champion", workspace, find)
    assert first.base_model_id == identify(str(base), workspace).model_id
    assert first.name == "base + ckp_1"
    prepared = prepare("checkpoint:champion", workspace, find_checkpoint=find)
    assert prepared == PreparedModel(str(first.model_id), base, adapter, first.name)
    (adapter / "adapter_model.safetensors").write_bytes(b"two!")
    assert identify("checkpoint:champion", workspace, find).model_id != first.model_id


def test_a_checkpoint_needs_a_ledger(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="ledger"):
        identify("checkpoint:champion", workspace)


def test_random_is_built_once_and_a_torn_one_again(workspace: Workspace) -> None:
    events: list[dict[str, Any]] = []
    known = identify("random:tiny", workspace)
    made = prepare("random:tiny", workspace, events.append)
    assert made.model_id == known.model_id
    assert made.path.parent == workspace.models
    assert [event["event"] for event in events] == ["progress", "progress"]
    weights = (made.path / "model.safetensors").read_bytes()
    events.clear()
    assert prepare("random:tiny", workspace, events.append) == made
    assert events == []
    flip(made.path / "model.safetensors")
    assert sealed(made.path, MANIFEST) is not None  # the sizes are right
    assert there("random:tiny", workspace) is None
    prepare("random:tiny", workspace, events.append)
    assert (made.path / "model.safetensors").read_bytes() == weights
    assert list(workspace.tmp.iterdir()) == []


def test_a_hub_model_is_unknown_until_it_is_here(workspace: Workspace) -> None:
    assert identify("owner/name", workspace) == ModelInfo(None, "hub", "owner/name@main")
    folder = write_folder(workspace.models / "hub--owner--name--main")
    model_id = str(identify(str(folder), workspace).model_id)
    seal(folder, MANIFEST, model_id=model_id, name="owner/name@main")
    assert identify("owner/name", workspace).model_id == model_id
    prepared = prepare("owner/name", workspace)
    assert (prepared.model_id, prepared.path) == (model_id, folder)
    flip(folder / "model.safetensors")
    assert identify("owner/name", workspace).model_id is None


def test_a_conversion_is_held_to_its_seal_letter_by_letter(workspace: Workspace) -> None:
    folder = write_folder(workspace.models / str(identify("random:tiny", workspace).model_id))
    seal(folder, MANIFEST, model_id=folder.name, name="random:tiny")
    assert there("random:tiny", workspace) == folder
    manifest, content = folder / MANIFEST, (folder / MANIFEST).read_bytes()
    for place in range(len(content)):
        flip(manifest, place)
        assert there("random:tiny", workspace) is None, content[place:]
        manifest.write_bytes(content)
    assert there("random:tiny", workspace) == folder


def test_a_conversion_from_before_seals_had_digests_is_there_but_proves_nothing(
    workspace: Workspace,
) -> None:
    folder = write_folder(workspace.models / str(identify("random:tiny", workspace).model_id))
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    before = {"model_id": folder.name, "name": "random:tiny", "files": sizes}
    (folder / MANIFEST).write_text(json.dumps(before))
    assert there("random:tiny", workspace) == folder
    assert not models._is_proven(folder, Digests(workspace))


def test_other_weights_of_the_same_size_and_time_are_another_model(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.digests.SETTLED_NS", 0)
    folder = write_folder(tmp_path / "one")
    before = prepare(str(folder), workspace).model_id
    flip(folder / "model.safetensors")
    assert identify(str(folder), workspace).model_id != before


def flip(path: Path, place: int = 0) -> None:
    """Change one bit; size and time of change of the content are put back."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_unreachable_hub_is_one_clear_line(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(InputError, match=r"owner/name@main: the hub cannot be reached"):
        prepare("owner/name", workspace)
    assert [path.name for path in workspace.models.iterdir()] == []
    assert list(workspace.tmp.iterdir()) == []


def test_references_need_no_torch() -> None:
    code = "import sys, tasks.models, tasks.engines.engine as _; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "transformers", "huggingface_hub", "duckdb"}.isdisjoint(ran.stdout.split())


def index_of(folder: Path, *names: Any) -> Path:
    """The folder, with an index of weights that names those files."""
    weights = {f"layer.{n}": name for n, name in enumerate(names)}
    index = {"metadata": {}, "weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    "name", ["../outside/w.safetensors", "weights.bin", "gone.safetensors", "/etc/passwd", 5, ""]
)
def test_an_index_names_safetensors_of_its_folder_only(
    tmp_path: Path, workspace: Workspace, name: Any
) -> None:
    write_folder(tmp_path / "outside")
    (tmp_path / "outside" / "w.safetensors").write_bytes(b"weights")
    folder = index_of(write_folder(tmp_path / "model"), "model.safetensors", name)
    (folder / "weights.bin").write_bytes(b"a pickle")
    for ask in (identify, prepare):
        with pytest.raises(InputError, match=r"names weights that are no \.safetensors file"):
            ask(str(folder), workspace)


def test_every_file_of_an_index_is_part_of_the_id(tmp_path: Path, workspace: Workspace) -> None:
    folder = index_of(write_folder(tmp_path / "model"), "model.safetensors", "two.safetensors")
    (folder / "two.safetensors").write_bytes(b"more")
    before = identify(str(folder), workspace).model_id
    (folder / "two.safetensors").write_bytes(b"other")
    assert identify(str(folder), workspace).model_id != before


@pytest.mark.parametrize("text", ["[", "[]", "{}", '{"weight_map": 5}', "[" * 100_000])
def test_an_index_that_cannot_be_read_is_refused(
    tmp_path: Path, workspace: Workspace, text: str
) -> None:
    folder = write_folder(tmp_path / "model")
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises(InputError, match="no index of weights that can be read"):
        identify(str(folder), workspace)


@pytest.mark.parametrize("name", ["sub/x.safetensors.index.json", "../x", "model.safetensors"])
def test_settings_that_name_weights_are_refused(
    tmp_path: Path, workspace: Workspace, name: str
) -> None:
    """transformers would load those in place of the folder's own."""
    folder = write_folder(tmp_path / "model")
    (folder / "config.json").write_text(json.dumps({"transformers_weights": name}))
    with pytest.raises(InputError, match="transformers_weights"):
        identify(str(folder), workspace)


def test_an_adapter_is_no_model(tmp_path: Path, workspace: Workspace) -> None:
    """Its configuration names a base that would be loaded in its place, from anywhere."""
    folder = write_folder(tmp_path / "model")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/etc"}')
    with pytest.raises(InputError, match="an adapter, whose base"):
        identify(str(folder), workspace)


KILLED = """
import os, signal, sys
from pathlib import Path
from storage.workspace import Workspace
from tasks.model_files import draft
with draft(Workspace(Path(sys.argv[1]))) as folder:
    (folder / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_of_a_model_goes_and_what_is_at_work_stays(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.create()
    subprocess.run([sys.executable, "-c", KILLED, str(workspace.root)], check=False)
    (killed,) = workspace.tmp.iterdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (workspace.tmp / "model-link").symlink_to(elsewhere)
    with draft(workspace) as folder:
        clear_drafts(workspace)
        assert folder.is_dir()
        assert not killed.exists()
    assert [path.name for path in workspace.tmp.iterdir()] == ["model-link"]
    assert elsewhere.is_dir()
