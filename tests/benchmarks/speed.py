"""Where a step's time goes on a CPU: the head of log-probabilities, 4-bit weights, freed memory.

    python tests/benchmarks/speed.py head
    python tests/benchmarks/speed.py asking MODEL_FOLDER ADAPTER_FOLDER
    python tests/benchmarks/speed.py memory

Seconds of processor time on one thread, so that what else runs matters less; the least of a few.
`head`: a batch of DPO as the demo has it (8 rows of 172 tokens, 414 in responses; V = 49,152).
`asking`: one token for each of 64 rows, by a base in NF4, unpacked, and with the adapter merged.
`memory`: twenty tensors of 100 MB, one after another, before and after `keep_freed_memory`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from tasks.worker import keep_freed_memory

ROWS, WIDTH, SCORED, VOCABULARY, HIDDEN = 8, 172, 414, 49152, 576
REPEATS = 8


def least(work: Callable[[], object], repeats: int) -> float:
    """Seconds of processor time of the fastest of `repeats`."""
    found = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def head() -> None:
    from trl.kernels import ChunkedLogProbFunction

    from tasks.training.likelihood import _HeadLogprobs

    weight = (torch.randn(VOCABULARY, HIDDEN) * 0.1).bfloat16()
    hidden = torch.randn(ROWS * WIDTH, HIDDEN).bfloat16()
    targets = torch.randint(0, VOCABULARY, (len(hidden),))

    def theirs(outputs: tuple[str, ...], states: torch.Tensor) -> Any:
        asked = (states, weight, None, targets, 1.0, 32768, None, 1.0, outputs)
        return ChunkedLogProbFunction.apply(*asked)[0]

    def ours(states: torch.Tensor) -> Any:
        return _HeadLogprobs.apply(states, weight, None, targets[:SCORED])

    def both_ways(score: Callable[[torch.Tensor], Any], states: torch.Tensor) -> None:
        score(states.clone().requires_grad_(True)).sum().backward()

    ways: dict[str, tuple[Callable[[torch.Tensor], Any], torch.Tensor]] = {
        "TRL, as DPO has it": (lambda states: theirs(("log_probs",), states), hidden),
        "TRL, as SFT has it": (
            lambda states: theirs(("log_probs", "entropy", "is_top1"), states),
            hidden,
        ),
        "ours": (ours, hidden[:SCORED]),
    }
    for name, (score, states) in ways.items():
        with torch.no_grad():
            forward = least(lambda f=score, s=states: f(s), 3)  # type: ignore[misc]
        whole = least(lambda f=score, s=states: both_ways(f, s), 3)  # type: ignore[misc]
        print(f"{name}: forward {forward:.2f} s, with backward {whole:.2f} s", flush=True)


def asking(model: str, adapter: str) -> None:
    from tasks.engines import load

    spec = {"path": model, "quantization": "nf4", "adapters": {"a": adapter}}
    share, models = load.UNPACKED_SHARE, {}
    for name, wanted in (("NF4", 0.0), ("unpacked", share), ("merged", share)):
        load.UNPACKED_SHARE = wanted
        models[name] = load.AdaptedModel(spec)
    with models["merged"].use("a"):
        pass
    models["merged"]._adapted.merge_and_unload()
    models["merged"]._adapted = None
    ids = torch.arange(64)[:, None] + 300
    for name, made in models.items():
        for asked in (None,) if name == "merged" else (None, "a"):
            with made.use(asked) as used, torch.inference_mode():
                seconds = least(lambda m=used: m(input_ids=ids, use_cache=False), REPEATS)  # type: ignore[misc]
            print(f"{name}, {'adapter' if asked else 'base'}: {1000 * seconds:.0f} ms", flush=True)


def memory() -> None:
    def allocate() -> None:
        for _ in range(20):
            torch.zeros(100 << 18) + 1

    before = least(allocate, 2)
    keep_freed_memory()
    print(f"given back {before:.2f} s, kept {least(allocate, 2):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="Where a step's time goes on a CPU.")
    parser.add_argument("what", choices=("head", "asking", "memory"))
    parser.add_argument("folders", nargs="*")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if options.what != "memory":
        keep_freed_memory()
    if options.what == "asking":
        asking(*options.folders)
    else:
        {"head": head, "memory": memory}[options.what]()


if __name__ == "__main__":
    main()
