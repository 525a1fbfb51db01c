"""Chat templates in the manner of known families, in our own words, and tokenizers for them."""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import TokenizersBackend

from tasks.convert import CHATML, byte_tokenizer

LLAMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set rules = messages[0]['content'] %}"
    "{% set turns = messages[1:] %}{% else %}{% set rules = '' %}{% set turns = messages %}"
    "{% endif %}<|start_header_id|>system<|end_header_id|>\n\nToday: {{ strftime_now('%d %b %Y') }}"
    "\n\n{{ rules }}<|eot_id|>{% for turn in turns %}<|start_header_id|>{{ turn['role'] }}"
    "<|end_header_id|>\n\n{{ turn['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{% set rules = messages[0]['content'] %}"
    "{% set turns = messages[1:] %}{% else %}{% set turns = messages %}{% endif %}"
    "{% for turn in turns %}{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "{% if turn['role'] == 'user' %}[INST]{% if loop.last and rules is defined %}"
    "{{ rules + '\n\n' }}{% endif %}{{ turn['content'] }}[/INST]"
    "{% else %} {{ turn['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}"
    "{% endif %}{% for turn in messages %}"
    "{% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}<start_of_turn>"
    "{{ 'model' if turn['role'] == 'assistant' else turn['role'] }}\n{{ turn['content'] | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
QWEN = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    "{% for turn in messages %}{% set said = turn['content'] %}"
    "{% if turn['role'] == 'assistant' and '</think>' in said %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "<|im_start|>{{ turn['role'] }}\n{{ said }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
REASONER = (
    "{{ bos_token }}{% for turn in messages %}{% if turn['role'] == 'user' %}<|user|>"
    "{{ turn['content'] }}{% elif turn['role'] == 'assistant' %}<|assistant|>{{ turn['content'] }}"
    "{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
PHI = (
    "{% for turn in messages %}{{ '<|' + turn['role'] + '|>\n' + turn['content'] + '<|end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
TEMPLATES = {
    "llama": LLAMA,
    "mistral": MISTRAL,
    "gemma": GEMMA,
    "qwen": QWEN,
    "chatml": CHATML,
    "phi": PHI,
    "reasoner": REASONER,
}
ENDS = {
    "llama": "<|eot_id|>",
    "mistral": "</s>",
    "gemma": "<end_of_turn>",
    "qwen": "<|im_end|>",
    "chatml": "<|im_end|>",
    "phi": "<|end|>",
    "reasoner": "</s>",
}
SPECIAL = ["<s>", "</s>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|im_start|>"]
SPECIAL += ["<|im_end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|end|>"]
PLAIN = ["<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]", "<think>", "</think>"]
"""Control tokens that are not flagged as special."""
WORDS = "the of a is in what Spain capital Madrid hello user model system assistant ? . : I < > |"
KINDS = ("bytes", "words", "unigram", "pieces")


@cache
def tokenizer_of(kind: str) -> Any:
    """A byte-level BPE; a WordLevel of words; a Unigram, and a BPE as sentencepiece makes them,
    both with bytes for what they do not know.
    """
    controls = [*SPECIAL, *PLAIN]
    if kind == "bytes":
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        core = Tokenizer(models.BPE(_numbered([*controls, *alphabet]), [], ignore_merges=True))
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
    elif kind == "words":
        core = Tokenizer(models.WordLevel(_numbered([*controls, "[UNK]", *WORDS.split()]), "[UNK]"))
        core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    else:
        core = _sentencepiece(kind, controls)
    core.add_special_tokens(SPECIAL)
    # as `normalized`, it is found in what the normalizer makes of a text
    core.add_tokens([AddedToken(token, special=False, normalized=True) for token in PLAIN])
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>"}
    unknown = {"unk_token": "[UNK]"} if kind == "words" else {}
    return TokenizersBackend(tokenizer_object=core, **names, **unknown)


def _sentencepiece(kind: str, controls: list[str]) -> Tokenizer:
    letters = [*"abcdefghijklmnopqrstuvwxyzABCMS<>|_/[].,?!:", "▁"]
    pieces = ["<unk>", *controls, *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    if kind == "unigram":
        scored = [(piece, -1.0 - number / 1000) for number, piece in enumerate([*pieces, "▁the"])]
        core = Tokenizer(models.Unigram(scored, unk_id=0, byte_fallback=True))
        core.normalizer = normalizers.NFKC()  # type: ignore[assignment]
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")  # type: ignore[assignment]
    else:
        vocabulary = _numbered([*pieces, "▁t", "▁th"])
        merges = [("▁", "t"), ("▁t", "h")]
        core = Tokenizer(
            models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
        )
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")  # type: ignore[assignment]
    core.decoder = decoders.Sequence(  # type: ignore[assignment]
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return core


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def family(name: str, kind: str = "bytes") -> Any:
    """A tokenizer of that kind with the template of that family."""
    found = tokenizer_of(kind) if kind != "ours" else byte_tokenizer()
    found.chat_template = TEMPLATES[name]
    return found
