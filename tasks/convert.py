"""Job "convert": put a model into a folder of safetensors that every other job can load.

SPEC {"job": "convert", "out": DIR (exists, empty), "source": one of
      {"kind": "gguf", "path": FILE}                      dequantised once, to bfloat16
      {"kind": "hub", "repo": "owner/name", "revision"}   downloaded; SPEC["online"] must be true
      {"kind": "random"}}                                 a tiny random Llama for trials

Result: {"files": names written}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    TokenizersBackend,
)

from tasks.report import JobInputError, Report

# What is downloaded: never pickled weights, never code.
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt"]

END = "<|im_end|>"
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def from_gguf(path: Path, out: Path) -> None:
    """Dequantise `path`; save the model in bfloat16 and its tokenizer with the chat template."""
    names: dict[str, Any] = {
        "gguf_file": path.name,
        "local_files_only": True,
        "trust_remote_code": False,
    }
    model = AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.bfloat16, **names)
    tokenizer = AutoTokenizer.from_pretrained(path.parent, **names)
    # Let it save as what it is now: transformers still believes the file's type.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None  # type: ignore[assignment]
    model.is_quantized = False  # type: ignore[assignment]
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def from_hub(repo: str, revision: str, out: Path) -> None:
    """Download what `HUB_FILES` allows; JobInputError when hub or repository is not there."""
    from huggingface_hub import errors, snapshot_download

    reference = f"{repo}@{revision}"
    try:
        snapshot_download(repo, revision=revision, local_dir=out, allow_patterns=HUB_FILES)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        fix = "check the name and, for a gated model, that HF_TOKEN may read it"
        raise JobInputError(reference, "the hub has no such model or revision", fix) from error
    except (errors.HfHubHTTPError, OSError) as error:
        fix = "connect, or use a local folder or a package: reference"
        raise JobInputError(reference, "the hub cannot be reached", fix) from error
    if not any(out.glob("*.safetensors")):
        rule = "the repository has no safetensors weights"
        fix = "pickled weights are never loaded: use a converted repository"
        raise JobInputError(reference, rule, fix)


def byte_tokenizer() -> TokenizersBackend:
    """One token a byte, ChatML turns; as in SmolLM2 the end-of-turn token doubles as padding."""
    specials = ["<|endoftext|>", "<|im_start|>", END]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*specials, *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(specials)
    names = {"unk_token": specials[0], "bos_token": specials[1], "eos_token": END, "pad_token": END}
    tokenizer = TokenizersBackend(tokenizer_object=core, **names)
    tokenizer.chat_template = CHATML
    return tokenizer


def random_tiny(out: Path, seed: int = 0) -> None:
    """A two-layer Llama with random float32 weights (about 0.13 million) and a byte tokenizer."""
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=8192,
        initializer_range=0.05,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).float()
    # Spread the logits of printable ASCII and of the end of turn: most text can be read.
    printable = [chr(code) for code in range(33, 127)] + ["Ġ", END]
    with torch.no_grad():
        model.get_output_embeddings().weight[tokenizer.convert_tokens_to_ids(printable)] *= 6
    model.generation_config = GenerationConfig.from_model_config(model.config)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    source, out = spec["source"], Path(spec["out"])
    report.progress(0, 1, "models")
    if source["kind"] == "gguf":
        from_gguf(Path(source["path"]), out)
    elif source["kind"] == "hub":
        from_hub(source["repo"], source["revision"], out)
    elif source["kind"] == "random":
        random_tiny(out, int(spec.get("seed", 0)))
    else:
        raise JobInputError(source["kind"], "unknown source", "use gguf, hub or random")
    report.progress(1, 1, "models")
    return {"files": sorted(path.name for path in out.iterdir() if path.is_file())}
