"""A tiny random Llama with a ChatML tokenizer on disk, and datasets for it.

Real in kind, small in size: hidden 64 (NF4 needs multiples of 64), two layers, byte-level tokens,
and pad == eos == `<|im_end|>` as in SmolLM2-Instruct, the case that breaks masks made from ids.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.worker import JOBS

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] "
    "+ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer() -> Any:
    """256 bytes and the two ChatML tokens; a newline is a token of its own."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=CHATML,
    )


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the tiny model in safetensors."""
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    tokenizer = make_tokenizer()
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    folder = tmp_path_factory.mktemp("tiny")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows as JSONL and return the path as text."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


class Stage:
    """One stage's folders and spec on a tmp_path; `run` calls the job as the worker does."""

    def __init__(self, root: Path, model: Path, job: str, quantization: str = "nf4") -> None:
        self.root, self.job = root, job
        self.out, self.state = root / "out", root / "state"
        self.events: list[dict[str, Any]] = []
        self.spec: dict[str, Any] = {
            "job": job,
            "out": str(self.out),
            "state": str(self.state),
            "model": {"path": str(model), "name": "tiny", "quantization": quantization},
            "adapters": {},
            "data": {"train": "", "eval": ""},
            "settings": {"batch_size": 4, "max_length": 64}
            | ({} if job == "dpo" else {"lora_r": 4, "lora_alpha": 4}),
            "seed": 3,
            "threads": 1,
        }

    def data(self, train: list[dict[str, Any]], held_out: list[dict[str, Any]]) -> Stage:
        self.root.mkdir(parents=True, exist_ok=True)
        self.spec["data"] = {
            "train": write_jsonl(self.root / "train.jsonl", train),
            "eval": write_jsonl(self.root / "eval.jsonl", held_out),
        }
        return self

    def run(
        self, *, stop_at: int | None = None, end_at: int | None = None, **settings: Any
    ) -> dict[str, Any]:
        """Run the stage; when that step is reported, stop_at raises KeyboardInterrupt and end_at
        sends this process SIGTERM.
        """
        from tasks.report import Report

        stage = self

        class Recorder(Report):
            def event(self, kind: str, /, **fields: Any) -> None:
                stage.events.append({"event": kind, **fields})
                if kind == "progress" and fields["done"] == stop_at:
                    raise KeyboardInterrupt
                if kind == "progress" and fields["done"] == end_at:
                    os.kill(os.getpid(), signal.SIGTERM)

        self.out.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(parents=True, exist_ok=True)
        spec = {**self.spec, "settings": {**self.spec["settings"], **settings}}
        return importlib.import_module(JOBS[self.job]).run(spec, Recorder(io.StringIO()))

    def adapter(self) -> dict[str, Any]:
        """The written adapter's tensors."""
        from safetensors.torch import load_file

        return load_file(self.out / "adapter" / "adapter_model.safetensors")

    def logged(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl."""
        text = (self.out / "metrics.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def stage(tmp_path: Path, tiny: Path) -> Callable[..., Stage]:
    """Make a Stage in its own folder: stage("sft"), stage("sft", "again", "none")."""

    def make(job: str, name: str = "run", quantization: str = "nf4") -> Stage:
        return Stage(tmp_path / job / name, tiny, job, quantization)

    return make
