"""How near decoding on a GPU comes to its memory's speed, with the step captured and without.

    python tests/benchmarks/decode_gpu.py [FOLDER [--adapter FOLDER] | --size tiny|1b|8b]
        [--rows 64 192] [--prompt 340] [--shared 230] [--new 128] [--bandwidth GB_A_SECOND]

FOLDER: a model as `solon` prepares it; without one a Llama of random weights. No row ends early.
Ways: `grows`, the loop of a CPU; `fixed`, steps of fixed shape as Python makes them; `captured`,
the same replayed; `drawn`, captured with temperature 1 and top_p 0.9, the others are greedy. Memory
allows what reading weights, keys and values once a step takes at its speed, measured if not given.
Ends with 1 where a captured row is not the fixed one to the last token. Without a GPU nothing is
captured: to see that the script works. A step's time is without reading prompts and capturing; the
tokens a second "in all" are with both.
Random weights make flat distributions, from which drawing takes longest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tasks.engines import graphs
from tasks.engines.decode import Prompt, decode
from tasks.engines.load import AdaptedModel, device
from tasks.engines.prefix import Prefix

SIZES = {  # hidden, layers, heads, key/value heads, intermediate
    "tiny": (64, 2, 4, 2, 128),
    "1b": (2048, 16, 32, 8, 8192),
    "8b": (4096, 32, 32, 8, 14336),
}
VOCABULARY = 49152
CAPTURE = graphs.capture


def random_llama(size: str) -> Any:
    """In bfloat16 on a GPU; float32 elsewhere, where ways then agree."""
    hidden, layers, heads, shared_heads, intermediate = SIZES[size]
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=shared_heads,
        max_position_embeddings=8192,
        dtype=torch.bfloat16 if torch.cuda.is_available() else torch.float32,
    )
    torch.manual_seed(0)
    with device():
        return LlamaForCausalLM._from_config(config).eval()


class Clock:
    """When the first token was there, and the seconds that captures took."""

    first: float | None = None
    captures: float = 0.0

    def never(self, _prompt: Prompt, _tokens: list[int]) -> bool:
        self.first = self.first or now()
        return False

    def capture(self, step: Any) -> Any:
        started = now()
        made = CAPTURE(step)
        self.captures += now() - started
        return made


def now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def as_it_is(step: Callable[[], Any]) -> Any:
    return step(), step


def run(way: str, model: Any, prompts: list[Prompt], new: int, prefix: Prefix | None) -> Any:
    """(tokens of each row, seconds of the steps, of captures, and in all)."""
    clock, began = Clock(), now()
    graphs.DEVICE = "none" if way == "grows" else model.device.type
    graphs.capture = as_it_is if way == "fixed" or not torch.cuda.is_available() else clock.capture
    with torch.inference_mode():
        written = decode(model, prompts, new, clock.never, prefix)
    assert clock.first is not None
    ended = now()
    return written, ended - clock.first - clock.captures, clock.captures, ended - began


def some_prompts(rows: int, length: int, shared: int, temperature: float) -> list[Prompt]:
    """Of equal length: their first `shared` tokens are the same, the others their own."""
    own = torch.Generator().manual_seed(1)
    start = list(range(10, 10 + shared))
    ends = torch.randint(10, 250, (rows, length - shared), generator=own).tolist()
    return [Prompt(n, start + end, temperature, 0.9, n, ()) for n, end in enumerate(ends)]


def bandwidth() -> float:
    """Bytes a second that a copy reads and writes, the most of ten."""
    size = 1 << (30 if torch.cuda.is_available() else 26)
    source = torch.ones(size, dtype=torch.uint8, device=device())
    target, best = torch.empty_like(source), 0.0
    for _ in range(10):
        started = now()
        target.copy_(source)
        best = max(best, 2 * size / (now() - started))
    return best


def step_bytes(model: Any, rows: int, columns: float) -> float:
    """Weights but for the table of input embeddings, and keys and values of so many columns."""
    config = model.config.get_text_config()
    table = model.get_input_embeddings().weight
    is_tied = table is model.get_output_embeddings().weight
    weights = sum(p.nbytes for p in model.parameters()) - (0 if is_tied else table.nbytes)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    column = 2 * config.num_hidden_layers * config.num_key_value_heads * size * model.dtype.itemsize
    return weights + rows * columns * column


def measure(model: Any, rows: int, options: argparse.Namespace, speed: float) -> bool:
    """Print a line a way; whether captured rows are the fixed ones."""
    start = some_prompts(1, options.prompt, options.shared, 0)[0].tokens[: options.shared]
    prefix = Prefix(model, start) if start else None
    least = step_bytes(model, rows, options.prompt + options.new / 2) / speed
    print(f"{rows} rows: memory allows {rows / least:,.0f} tokens/s, {1000 * least:.2f} ms a step")
    found = {}
    for way in ("grows", "fixed", "captured", "drawn"):
        prompts = some_prompts(rows, options.prompt, options.shared, float(way == "drawn"))
        run(way, model, prompts, graphs.SHORTEST, prefix)  # loads kernels
        found[way], took, captures, whole = run(way, model, prompts, options.new, prefix)
        step = took / (options.new - 1)
        print(f"  {way:9}{rows / step:,.0f} tokens/s, {1000 * step:.2f} ms a step", end="")
        print(f"; captures {captures:.2f} s; {rows * options.new / whole:,.0f} in all", flush=True)
    same = [sum(map(list.__eq__, found["fixed"], found[way])) for way in ("captured", "grows")]
    print(f"  rows as the fixed ones: {same[0]} captured, {same[1]} grown, of {rows}")
    return same[0] == rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Decoding against the memory's bandwidth.")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--adapter", help="a folder of an adapter on it")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--rows", type=int, nargs="+", default=[64, 192])
    for name, usual in (("prompt", 340), ("shared", 230), ("new", 128)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--bandwidth", type=float, help="GB a second")
    options = parser.parse_args()
    speed = 1e9 * options.bandwidth if options.bandwidth else bandwidth()
    where = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU: nothing is captured"
    )
    print(f"{where}; torch {torch.__version__}; memory {speed / 1e9:,.0f} GB/s")
    if options.folder:
        adapters = {"it": options.adapter} if options.adapter else {}
        adapted = AdaptedModel({"path": options.folder, "adapters": adapters})
        with adapted.use("it" if options.adapter else None) as model:
            all_right = [measure(model, rows, options, speed) for rows in options.rows]
    else:
        model = random_llama(options.size)
        all_right = [measure(model, rows, options, speed) for rows in options.rows]
    sys.exit(0 if all(all_right) and not graphs._gave_up else 1)


if __name__ == "__main__":
    main()
