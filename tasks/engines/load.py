"""A base model in memory and the adapters on it: loaded when first asked for, switched by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from tasks.chat.manner import Manner
from tasks.chat.tokens import set_manner
from tasks.compute import compute_type
from tasks.machine import usable_memory
from tasks.report import JobInputError

ADAPTER_WEIGHTS = "adapter_model.safetensors"

UNPACKED_SHARE = 0.25
"""Of the machine's memory that 4-bit weights may take up once they are unpacked."""


def device() -> torch.device:
    """The accelerator if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(quantization: str, dtype: torch.dtype) -> dict[str, Any]:
    """What `from_pretrained` takes to load weights as they are ("none") or as 4-bit NF4 ("nf4").

    Computed in `dtype`; NF4 with double quantisation (Dettmers et al. 2023, arXiv 2305.14314).
    """
    if quantization == "none":
        return {"dtype": dtype}
    if quantization != "nf4":
        raise JobInputError(quantization, "is no quantization", "use 'nf4' or 'none'")
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "dtype": dtype}


def never_repack(base: PreTrainedModel) -> None:
    """Keep bitsandbytes from changing the frozen weights at the first forward on a CPU.

    With AVX-512 BF16, an NF4 layer's first forward in eval mode packs its weights for a kernel
    that has no gradient, rounding their scales to bfloat16.
    """
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def unpack(base: PreTrainedModel, *, always: bool = False) -> bool:
    """Hold NF4 weights as plain ones of the type that is computed in; whether that was done.

    They are the very numbers that an NF4 layer makes of its 4 bits in every pass, so nothing but
    speed and memory changes. Done on a CPU, where they take up at most UNPACKED_SHARE of its
    memory: of all of it, not of what is free, so that what else runs decides nothing.
    always: for who needs plain weights.
    """
    if not getattr(base, "is_loaded_in_4bit", False) or not (always or fits_unpacked(base)):
        return False
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it warns that other weights were better before
    base.dequantize(dtype=base.dtype)
    logging.set_verbosity(before)
    base.is_loaded_in_4bit = False  # type: ignore[assignment]
    base.requires_grad_(False)
    return True


def fits_unpacked(base: PreTrainedModel) -> bool:
    """Whether a base on a CPU may be held unpacked: see `unpack`."""
    count = sum(layer.in_features * layer.out_features for layer in linear_layers(base))
    fits = count * base.dtype.itemsize <= UNPACKED_SHARE * usable_memory()
    return fits and base.device.type == "cpu"


def compute_unpacked(base: PreTrainedModel) -> bool:
    """Have NF4 layers compute with plain copies of their weights; whether that was done.

    Where and why `unpack` does it, for a base that is trained on: layers stay what peft takes for
    4-bit ones, so adapters on them round as before, and outputs and gradients keep every bit.
    """
    if not getattr(base, "is_loaded_in_4bit", False) or not fits_unpacked(base):
        return False
    from bitsandbytes.functional import dequantize_4bit  # loaded by now, as the base is packed
    from bitsandbytes.nn import Linear4bit

    for layer in linear_layers(base):
        if isinstance(layer, Linear4bit):
            packed: Any = layer.weight
            plain = dequantize_4bit(packed.data, packed.quant_state).to(base.dtype)
            layer.forward = partial(_plainly, layer, plain)  # type: ignore[method-assign]
    return True


def _plainly(layer: torch.nn.Linear, weight: Tensor, x: Tensor) -> Tensor:
    """What an NF4 layer makes of x [..., in], of its unpacked weight [out, in]."""
    bias = None if layer.bias is None else layer.bias.to(weight.dtype)
    return torch.nn.functional.linear(x.to(weight.dtype), weight, bias).to(x.dtype)


def feed_head_whole(base: PreTrainedModel) -> None:
    """Have the head be given its hidden states without gaps between the rows.

    Of the last positions alone they are a view with gaps, for which torch 2.13 multiplies row by
    row, on a CPU with a copy of the head for each: 7 GB, and 20 of the 25 s in which a model of 135
    million weights reads 128 prompts.
    """
    head = base.get_output_embeddings()
    if isinstance(head, torch.nn.Module):
        head.register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]))


def linear_layers(base: PreTrainedModel) -> list[torch.nn.Linear]:
    """All of them; an NF4 layer is one too, whose sizes are of its weights and not of its bytes."""
    return [module for module in base.modules() if isinstance(module, torch.nn.Linear)]


def load(model: dict[str, Any]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The base in evaluation mode and its tokenizer.

    model: {"path", "quantization": "nf4" | "none" (if missing), "dtype": "auto" (if missing) |
    "float32" | "bfloat16", "chat": fields of `tasks.chat.manner.Manner`}.
    """
    dtype = getattr(torch, compute_type(model.get("dtype", "auto")).dtype)
    base = read_weights(
        AutoModelForCausalLM,
        model["path"],
        **precision(model.get("quantization", "none"), dtype),
    )
    if not unpack(base):
        never_repack(base)
    feed_head_whole(base)
    return base.eval(), read_tokenizer(model["path"], model.get("chat"))


def read_weights(kind: Any, path: str | Path, made: Sequence[str] = (), **how: Any) -> Any:
    """A model of a local folder, whole and without code of its own. `made`: the names of weights
    that are drawn where the files lack them. Raises JobInputError where others are missing.
    """
    base, found = kind.from_pretrained(
        path,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        device_map={"": device()},
        output_loading_info=True,
        **how,
    )
    if missing := sorted(set(found["missing_keys"]) - set(made)):
        rule = f"{len(missing)} weights are missing from the model's files, {missing[0]} first"
        raise JobInputError(Path(path).name, rule, "get the model's files again")
    return base


def read_tokenizer(
    path: str | Path, chat: Mapping[str, Any] | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder. chat: the fields of a Manner, how its template is filled."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        path, local_files_only=True, trust_remote_code=False
    )
    set_manner(tokenizer, Manner.of(chat))
    return tokenizer


class AdaptedModel:
    """The base, its tokenizer, and its adapters. Nothing here has a gradient."""

    def __init__(self, model: dict[str, Any]) -> None:
        """model: as `load` takes it, with {"adapters": folder of each, by name}."""
        self.base, self.tokenizer = load(model)
        self._folders: dict[str, str] = model.get("adapters") or {}
        self._adapted: Any = None  # peft's wrapper around the base, once there is an adapter

    @contextmanager
    def use(self, adapter: str | None) -> Iterator[PreTrainedModel]:
        """The base with this adapter alone on it, or with none."""
        if adapter is not None:
            self._load(adapter)
            self._adapted.set_adapter(adapter, inference_mode=True)
        is_bare = adapter is None and self._adapted is not None
        with self._adapted.disable_adapter() if is_bare else nullcontext():
            yield self.base

    def head(self, adapter: str) -> Tensor:
        """The scalar head saved beside a reward adapter, float32 [1, hidden size].

        peft would load such an adapter without its head and without a word, and score at random.
        """
        weights = load_file(self._folder(adapter) / ADAPTER_WEIGHTS)
        heads = [value for key, value in weights.items() if key.endswith("score.weight")]
        if len(heads) != 1 or heads[0].shape[0] != 1:
            rule = "holds no reward head (score.weight [1, hidden])"
            raise JobInputError(self._folders[adapter], rule, "train reward again")
        return heads[0].float().to(self.base.device)

    def _folder(self, adapter: str) -> Path:
        if adapter not in self._folders:
            rule = f"is none of the adapters {', '.join(self._folders) or '(there are none)'}"
            raise JobInputError(adapter, rule, "name one of them, or none for the base")
        folder = Path(self._folders[adapter])
        if not (folder / ADAPTER_WEIGHTS).is_file():
            raise JobInputError(folder, f"holds no {ADAPTER_WEIGHTS}", "train that stage again")
        return folder

    def _load(self, adapter: str) -> None:
        """Put the adapter on the base, where it is not yet, in the base's number type: in float32
        it took a third longer."""
        from peft import LoraConfig, PeftModel  # seconds to import; most calls need no adapter

        folder = self._folder(adapter)
        if self._adapted is None:
            config = LoraConfig.from_pretrained(str(folder))
            config.task_type, config.modules_to_save = "CAUSAL_LM", None  # a head is read by `head`
            self._adapted = PeftModel.from_pretrained(
                self.base, str(folder), adapter, config=config, local_files_only=True
            )
        elif adapter not in self._adapted.peft_config:
            self._adapted.load_adapter(str(folder), adapter, local_files_only=True)
        else:
            return
        for name, parameter in self.base.named_parameters():
            if f".{adapter}." in name:
                parameter.data = parameter.data.to(self.base.dtype)
