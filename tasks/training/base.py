"""One frozen base, quantised once, and the LoRA adapters each stage puts on it.

Dtypes are explicit and autocast is never used: the base computes in the one type that the machine
is fast at (`tasks.compute`), the adapters and heads are float32 masters. Training, scoring and PPO
therefore see the same numbers for the same tokens.

Departures from the usual QLoRA set-up: (1) never `prepare_model_for_kbit_training`, which upcasts
embeddings and norms to float32; (2) adapters stay float32, where TRL 1.16 casts them to bfloat16
(`float32_adapters`): bfloat16 loses most of a step at small learning rates.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from transformers.utils import logging

from tasks.chat.tokens import chat_of
from tasks.compute import compute_type
from tasks.engines.load import (
    ADAPTER_WEIGHTS,
    compute_unpacked,
    device,
    feed_head_whole,
    never_repack,
    precision,
    read_tokenizer,
    read_weights,
)
from tasks.report import Report
from tasks.training.attention import widen_where_short
from tasks.training.settings import require

HEAD_KEY = "base_model.model.score.weight"
"""Where a reward adapter's file holds its head [1, hidden]."""


def set_up(seed: int, threads: int = 0) -> None:
    """Seed every generator, limit torch's threads (0 keeps its default), hide progress bars."""
    set_seed(seed)
    logging.disable_progress_bar()
    if threads > 0:
        torch.set_num_threads(threads)


def load_base(
    model: dict[str, Any], *, with_head: bool = False
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a frozen base and its tokenizer from local safetensors, offline and without model code.

    model: {"path": folder, "name": any, "quantization": "nf4" | "none", "compute": "auto" (if
    missing) | "float32" | "bfloat16"}. NF4 uses double quantisation. The type computed in, and
    that of all weights that are not quantised, is `computed_in`'s. with_head: the decoder with a
    scalar `score` head (random) in place of `lm_head`.
    The tokenizer always has a pad token, often equal to eos: build masks from lengths.
    Raises JobInputError for an unknown quantization or a folder without a model.
    """
    path = Path(model["path"])
    is_model = (path / "config.json").is_file()
    require(is_model, path, "is not a model folder", "give a folder with config.json")
    kind = AutoModelForSequenceClassification if with_head else AutoModelForCausalLM
    with _errors_only():  # a new head is reported as missing weights
        base = read_weights(
            kind,
            path,
            ["score.weight"] if with_head else [],
            **precision(model["quantization"], getattr(torch, computed_in(model))),
            **({"num_labels": 1} if with_head else {}),
        )
    base.requires_grad_(False)
    never_repack(base)
    compute_unpacked(base)
    feed_head_whole(base)
    widen_where_short()
    return base, load_tokenizer(path, model.get("chat"))


@contextmanager
def _errors_only() -> Iterator[None]:
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def computed_in(model: dict[str, Any]) -> str:
    """The number type that `load_base` computes a model in, "float32" or "bfloat16".

    Without quantization "auto" is float32 on a CPU, so that the base's weights stay as they are.
    """
    wanted = model.get("compute", "auto")
    if wanted == "auto" and model["quantization"] == "none" and device().type == "cpu":
        return "float32"
    return compute_type(wanted).dtype


def load_tokenizer(
    path: str | Path, chat: Mapping[str, Any] | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder; pad ends a turn where it has no pad token of its own."""
    tokenizer = read_tokenizer(path, chat)
    fix = "use an instruct model or add chat_template.jinja to its folder"
    require(tokenizer.chat_template is not None, path, "has no chat template", fix)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(chat_of(tokenizer).end)
    return tokenizer


def lora_config(lora_r: int, lora_alpha: int, *, head: bool = False) -> LoraConfig:
    """LoRA on all linear layers of the decoder, no dropout; head adds a trained `score` layer."""
    return LoraConfig(
        r=lora_r,
        lora_alpha=lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules="all-linear",
        task_type="SEQ_CLS" if head else "CAUSAL_LM",
        modules_to_save=["score"] if head else None,
    )


def attach_adapter(
    base: PreTrainedModel, config: LoraConfig, start: str | Path | None = None
) -> PeftModel:
    """Put one trainable float32 adapter named "default" on the base.

    start: the folder of an adapter to copy; its rank, alpha and targets then replace config's.
    Without it the adapter is fresh: A random, B zero, so the model still equals the base.
    """
    if start is None:
        return get_peft_model(base, config)
    weights = adapter_file(start)
    model = PeftModel.from_pretrained(base, start, is_trainable=True, local_files_only=True)
    check_fit(start, set(load_file(weights)), set(adapter_state(model)))
    # A saved adapter names its base, and peft would look that name up on the hub when it saves.
    model.peft_config["default"].base_model_name_or_path = base.config.name_or_path
    return model


def adapter_file(folder: str | Path) -> Path:
    """The file of an adapter's weights; raises TrainingInputError where there is none."""
    file = Path(folder) / ADAPTER_WEIGHTS
    require(file.is_file(), folder, "holds no adapter", f"give a folder with {ADAPTER_WEIGHTS}")
    return file


def check_fit(adapter: str | Path, saved: set[str], wanted: set[str]) -> None:
    """Raise TrainingInputError unless an adapter's saved weights are those that a model wants."""
    rule = "does not fit this base: some of its weights would be left out"
    require(saved == wanted, adapter, rule, "use an adapter trained on the same base")


@contextmanager
def float32_adapters(model: PeftModel) -> Iterator[None]:
    """Undo what a block (a TRL constructor) does to the trainable weights: restore value and dtype.

    TRL 1.16 rounds a QLoRA model's trainable weights to bfloat16. Casting back would keep the
    rounding, and DPO's policy would no longer equal its reference, so the values are put back.
    """
    saved = trained_weights(model)
    yield
    for name, parameter in model.named_parameters():
        if name in saved:
            parameter.data = saved[name].to(device=parameter.device, dtype=torch.float32)


def trained_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Copies of the weights that the optimizer moves, by name, on the CPU."""
    return {n: p.detach().cpu().clone() for n, p in model.named_parameters() if p.requires_grad}


def largest_change(
    before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], report: Report
) -> float:
    """The largest absolute difference of a weight; 0, which is warned of, if all are the same."""
    gaps = ((after[name] - value).abs().max().item() for name, value in before.items())
    change = max(gaps, default=0.0)
    if change == 0:
        report.log("no weight changed: raise the steps or the learning rate", "warning")
    return change


def trainable_parameters(model: torch.nn.Module) -> int:
    """How many numbers the optimizer moves."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def adapter_state(model: PeftModel, adapter: str = "default") -> dict[str, torch.Tensor]:
    """An adapter's tensors, and its head's, under the keys of a saved file."""
    return get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)


def save_adapter(
    model: PeftModel, out: str | Path, name: str, adapter: str = "default", *, head: bool = False
) -> None:
    """Write one adapter as adapter_config.json and adapter_model.safetensors (float32) into out.

    name replaces the base's machine path in the config. Keys bear no adapter name, so a stage can
    load the file under any: `base_model.model.….lora_A.weight`, and with a head
    HEAD_KEY. head: raise KeyError if the head is missing.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    state = adapter_state(model, adapter)
    tensors = {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in state.items()}
    if head and HEAD_KEY not in tensors:
        raise KeyError(f"{HEAD_KEY} is not among the adapter's tensors")
    save_file(tensors, out / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = cast(LoraConfig, copy.deepcopy(model.peft_config[adapter]))
    config.base_model_name_or_path = name
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules or [])  # a set: no order of its own
    config.save_pretrained(str(out))
