"""Models looked at without their weights: missing layers, code of their own, no end of answers."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from storage.errors import InputError  # noqa: E402
from tasks.chat.folder import read_template  # noqa: E402
from tasks.convert import random_tiny  # noqa: E402
from tasks.engines.load import load, read_weights  # noqa: E402
from tasks.model_look import context_of, look_at  # noqa: E402
from tasks.report import JobInputError  # noqa: E402
from tasks.training.base import load_base  # noqa: E402


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random_tiny(tmp_path)
    return tmp_path


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without(folder: Path, part: str) -> None:
    """Take the weights with this in their names out of the file."""
    weights = load_file(folder / "model.safetensors")
    kept = {name: value.clone() for name, value in weights.items() if part not in name}
    assert len(kept) < len(weights)
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_whole_model_is_fine(folder: Path) -> None:
    look_at(folder, read_template(folder))
    assert context_of(folder) == 8192


def test_a_missing_layer_is_seen_in_the_header(folder: Path) -> None:
    without(folder, "layers.1.")
    with pytest.raises(InputError, match="1 of its 2 layers are missing from its files: 1"):
        look_at(folder, None)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_single_missing_weight_is_seen_as_it_is_loaded(folder: Path, quantization: str) -> None:
    without(folder, "layers.1.mlp.up_proj")
    look_at(folder, None)
    model = {"path": str(folder), "name": "x", "quantization": quantization}
    rule = r"1 weights are missing from the model's files, model.layers.1.mlp.up_proj.weight"
    for loaded in (load, load_base):
        with pytest.raises(JobInputError, match=rule):
            loaded(model)


def test_a_head_that_is_made_is_not_missing(folder: Path) -> None:
    load_base({"path": str(folder), "name": "x", "quantization": "none"}, with_head=True)


def test_tied_weights_are_not_missing(folder: Path) -> None:
    without(folder, "lm_head")
    edit(folder / "config.json", tie_word_embeddings=True)
    assert read_weights(AutoModelForCausalLM, folder)


def test_code_is_never_run(folder: Path) -> None:
    names = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}
    (folder / "mine.py").write_text("raise SystemExit('this file must never run')\n")
    edit(folder / "config.json", auto_map=names)
    look_at(folder, None)  # transformers knows a llama by itself
    load({"path": str(folder)})
    edit(folder / "config.json", model_type="mystery")
    with pytest.raises(InputError, match=r"code of its own .*, which is never run"):
        look_at(folder, None)
    with pytest.raises(ValueError, match="trust_remote_code"):
        load({"path": str(folder)})


def test_a_broken_file_is_one_line(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(InputError, match="its header cannot be read"):
        look_at(folder, None)


def test_a_header_that_lies_is_one_line(folder: Path) -> None:
    """A tensor longer than its file, shorter than its shape, upon another; bytes of none."""
    content = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    told, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    one, other = (
        name for name in told if name.endswith(("0.mlp.up_proj.weight", "lm_head.weight"))
    )
    begin, end = told[one]["data_offsets"]
    for change, after in (
        ({"data_offsets": [begin, 10**12]}, b""),
        ({"data_offsets": [begin, end - 4]}, b""),
        ({"data_offsets": told[other]["data_offsets"]}, b""),
        ({"shape": [1, 1]}, b""),
        ({"shape": "x"}, b""),
        ({}, b"more"),
    ):
        header = json.dumps(told | {one: told[one] | change}).encode()
        lying = struct.pack("<Q", len(header)) + header + rest + after
        (folder / "model.safetensors").write_bytes(lying)
        with pytest.raises(InputError, match="its header does not say what is in the file"):
            look_at(folder, None)


def test_no_end_of_an_answer(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", eos_token=None)
    look_at(folder, read_template(folder))  # the template writes one
    template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(InputError, match="a token that ends an answer"):
        look_at(folder, read_template(folder))
