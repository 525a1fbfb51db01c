"""Job "merge": put an adapter into its base's weights, as one model that needs neither us nor peft.

SPEC {"job": "merge", "model": {"path", "quantization", "dtype"} as `tasks.engines.load.load` takes
it, "adapter": DIR, "out": DIR (exists, empty)}

The sum is made in float32 of the weights that the adapter was trained on, which of an NF4 base are
its 4-bit values, and rounded once to the type of the base's own files. Result: {"dtype"}.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from tasks.chat.tokens import end_tokens
from tasks.engines.load import load, unpack
from tasks.report import Report


def stored_type(folder: str | Path) -> torch.dtype:
    """The number type that a model's files are in, as its config says; else float32."""
    config = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    found = getattr(torch, str(config.get("dtype") or config.get("torch_dtype")), None)
    return found if isinstance(found, torch.dtype) else torch.float32


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """See the module."""
    path = spec["model"]["path"]
    base, tokenizer = load(spec["model"])
    unpack(base, always=True)
    adapted = PeftModel.from_pretrained(base.float(), spec["adapter"], local_files_only=True)
    merged: Any = adapted.merge_and_unload(safe_merge=True)  # raises where a weight is not finite
    dtype = stored_type(path)
    merged.to(dtype)
    merged.config.dtype = dtype
    if tokenizer.chat_template:  # others read what ends an answer from here
        merged.generation_config.eos_token_id = end_tokens(merged, tokenizer)
    merged.save_pretrained(spec["out"])
    tokenizer.save_pretrained(spec["out"])
    return {"dtype": str(dtype).removeprefix("torch.")}
