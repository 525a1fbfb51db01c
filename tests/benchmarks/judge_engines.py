"""Do two engines judge alike: a judge's preferences through vLLM and through the embedded engine.

    SOLON_VLLM=.../vllm python tests/benchmarks/judge_engines.py [--pairs 100] [--model DIR]
        [--dtype float32] [--eager] [--check]

Each pair is asked about in both orders behind the worked comparisons; its preference is the mean of
what both orders say for the first response (`tasks/judging/figures.py`). vLLM tells the likeliest
tokens of the answer, the embedded engine is given the letters. With `--check` the exit code is 1
where a preference differs by more than 0.02.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from constitution.load import load as load_constitution
from constitution.load import resolve
from constitution.render import COMPARISON_ANSWERS, comparison_messages, few_shot_comparison
from flows.plan.recipe import load
from storage.workspace import Workspace
from tasks.engines.child import WorkerEngine
from tasks.engines.engine import Continuation, Engine, Request
from tasks.engines.vllm import VllmEngine
from tasks.engines.vllm_command import Serving
from tasks.engines.vllm_server import VllmServer
from tasks.judging.figures import Orders, normalised
from tasks.machine import machine_name
from tasks.models import prepare
from tasks.prompts import read_prompts

CLOSE = 0.02
WORDS = 40  # tokens of a response


def pairs(engine: Engine, count: int) -> list[tuple[str, str, str]]:
    """(question, one answer, another) of our own prompts, answered by the model at T = 1."""
    prompts = read_prompts("default", count, 400).prompts
    requests = [
        Request(prompt.messages, None, 1.0, 1.0, (), WORDS, 2048, 2 * n + sample)
        for n, prompt in enumerate(prompts)
        for sample in range(2)
    ]
    texts = {item.index: item.text for batch in engine.generate(requests) for item in batch.items}
    questions = [str(prompt.messages[-1]["content"]) for prompt in prompts]
    return [(q, texts[2 * n], texts[2 * n + 1]) for n, q in enumerate(questions)]


def questions(found: list[tuple[str, str, str]]) -> list[Continuation]:
    """Two options in each of two orders, pair by pair."""
    principles = load_constitution(resolve("default")).principles
    asked = []
    for n, (question, one, other) in enumerate(found):
        talk = [{"role": "user", "content": question}]
        for first, second in ((one, other), (other, one)):
            request = comparison_messages(principles[n % len(principles)], talk, first, second)
            messages = [*few_shot_comparison(), *request]
            asked += [Continuation(messages, o, False) for o in COMPARISON_ANSWERS]
    return asked


def preferences(engine: Engine, asked: list[Continuation]) -> tuple[list[float], float]:
    """The preferences, and how many seconds they took."""
    started = time.perf_counter()
    items = {item.index: item.value for batch in engine.score(asked) for item in batch.items}
    spent = time.perf_counter() - started
    said = [normalised(items[n], items[n + 1]) for n in range(0, len(asked), 2)]
    both = [Orders(said[n], 1.0 - said[n + 1]) for n in range(0, len(said), 2)]
    return [orders.preference or 0.0 for orders in both], spent


def main() -> None:
    parser = argparse.ArgumentParser(description="Preferences of one judge through two engines.")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--model", type=Path, help="folder of a model (the embedded one)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--eager", action="store_true", help="vLLM compiles nothing: a quick start")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Workspace(Path(name) / "home").create()
        folder = (options.model or prepare(load("demo").model, home).path).absolute()
        own = WorkerEngine(folder, home.logs / "own.log", dtype=options.dtype)
        asked = questions(pairs(own, options.pairs))
        embedded, own_s = preferences(own, asked)
        own.close()
        arguments = ("--enforce-eager",) if options.eager else ()
        serving = Serving(0.3, 4096, options.dtype, arguments=arguments)
        log = home.logs / "vllm.log"
        server = VllmServer(folder, "judge", log, serving, lambda e: print(e.get("message")))
        engine = VllmEngine(server, {})
        try:
            list(engine.score(asked[:8]))  # it is up, and what is loaded late is loaded
            served, vllm_s = preferences(engine, asked)
        finally:
            engine.close()
            server.close()
    apart = [abs(one - other) for one, other in zip(embedded, served, strict=True)]
    signs = sum((a - 0.5) * (b - 0.5) < 0 for a, b in zip(embedded, served, strict=True))
    print(f"{machine_name()}, {options.dtype}, {len(apart)} pairs in both orders")
    print(f"preferences from {min(embedded):.2f} to {max(embedded):.2f}")
    print(f"apart: mean {statistics.mean(apart):.5f}, most {max(apart):.5f}; other side: {signs}")
    print(f"seconds: embedded {own_s:.1f}, vLLM {vllm_s:.1f}")
    if options.check and max(apart) > CLOSE:
        raise SystemExit(f"a preference differs by more than {CLOSE}")


if __name__ == "__main__":
    main()
