"""Converting models: the tiny random one, and the real packaged one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from storage.workspace import Workspace
from tasks.engines.engine import Request
from tasks.models import identify, prepare

torch = pytest.importorskip("torch")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from tasks.convert import byte_tokenizer, random_tiny  # noqa: E402
from tasks.engines.generate import Generator  # noqa: E402
from tasks.engines.load import AdaptedModel  # noqa: E402
from tests.conftest import PACKAGE  # noqa: E402


def test_random_tiny_is_the_same_every_time(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        torch.rand(1)
        random_tiny(tmp_path / name, seed)
    read = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert read[0] == read[1]
    assert read[0] != read[2]


def test_building_it_leaves_the_global_random_state_alone(tmp_path: Path) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    random_tiny(tmp_path)
    assert torch.equal(torch.rand(1), wanted)


def test_the_byte_tokenizer_gives_any_text_back(tmp_path: Path) -> None:
    random_tiny(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = "Zoë said:  “no”\n\t日本 🙂"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    shown = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert shown == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert len(tokenizer) == len(byte_tokenizer())


@pytest.mark.slow
def test_the_packaged_model_converts_and_answers_in_english(packaged: Path, tmp_path: Path) -> None:
    known = identify(PACKAGE, Workspace(tmp_path))
    prepared = prepare(PACKAGE, Workspace(packaged))
    assert prepared.model_id == known.model_id
    config = json.loads((prepared.path / "config.json").read_text())
    assert "quantization_config" not in config
    model = AutoModelForCausalLM.from_pretrained(prepared.path)
    assert model.dtype == torch.bfloat16
    tokenizer = AutoTokenizer.from_pretrained(prepared.path)
    assert tokenizer.pad_token == tokenizer.eos_token == "<|im_end|>"
    generator = Generator(AdaptedModel({"path": str(prepared.path)}), 999, 4)
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    request = Request(asked, None, 0.0, 1.0, (), 24, 500, 0)
    items = [item for batch, _ in generator.answer([asdict(request)]) for item in batch]
    assert "Paris" in items[0]["text"]
