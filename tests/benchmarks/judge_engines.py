"""Do two engines judge alike: a judge's preferences through vLLM and through the embedded engine.

    SOLON_VLLM=.../vllm python tests/benchmarks/judge_engines.py [--pairs 100] [--model DIR]
        [--dtype float32] [--eager] [--keep FILE] [--check]

Each pair is asked about in both orders behind the worked comparisons; its preference is the mean of
what both orders say for the first response (`tasks/judging/figures.py`). vLLM tells the likeliest
tokens of the answer, the embedded engine is given the letters. What they said is kept in FILE, so
that a part can be asked at another time. With `--check` the exit code is 1 where a
preference differs by more than 0.02.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from constitution.load import load as load_constitution
from constitution.load import resolve
from constitution.render import COMPARISON_ANSWERS, comparison_messages, few_shot_comparison
from flows.plan.recipe import load
from storage.workspace import Workspace
from tasks.engines.child import WorkerEngine
from tasks.engines.engine import Continuation, Engine
from tasks.engines.vllm import VllmEngine
from tasks.engines.vllm_command import Serving
from tasks.engines.vllm_server import VllmServer
from tasks.judging.figures import Orders, normalised
from tasks.machine import machine_name
from tasks.models import prepare
from tasks.prompts import Reading, read_prompts

CLOSE = 0.02
WORDS = 24  # of a response
AT_ONCE = 25  # pairs


def questions(count: int) -> list[Continuation]:
    """Two options in each of two orders, pair by pair: what our worked examples say first and after
    revision, asked about under each principle and prompt in turn.
    """
    constitution = load_constitution(resolve("default"))
    principles, examples = constitution.principles, constitution.examples
    prompts = [
        str(p.messages[-1]["content"])
        for p in read_prompts("default", None, Reading(max_chars=300)).prompts
    ]
    asked = []
    for n in range(count):
        talk = [{"role": "user", "content": prompts[n % len(prompts)]}]
        example = examples[n % len(examples)]
        texts = [" ".join(t.split()[:WORDS]) for t in (example.response, example.revision)]
        for first, second in (texts, texts[::-1]):
            request = comparison_messages(principles[n % len(principles)], talk, first, second)
            messages = [*few_shot_comparison(), *request]
            asked += [Continuation(messages, o, False) for o in COMPARISON_ANSWERS]
    return asked


def ask(engine: Engine, asked: list[Continuation], said: dict[str, Any]) -> Iterator[None]:
    """Adds to `said` the preferences, some pairs at a time, and the seconds they took."""
    list(engine.score(asked[:8]))  # what is loaded late is loaded
    for first in range(4 * len(said["preferences"]), len(asked), 4 * AT_ONCE):
        own = asked[first : first + 4 * AT_ONCE]
        started = time.perf_counter()
        items = {item.index: item.value for batch in engine.score(own) for item in batch.items}
        said["seconds"] += time.perf_counter() - started
        shares = [normalised(items[n], items[n + 1]) for n in range(0, len(own), 2)]
        both = [Orders(shares[n], 1.0 - shares[n + 1]) for n in range(0, len(shares), 2)]
        said["preferences"] += [orders.preference for orders in both]
        yield


@contextmanager
def engine_of(name: str, folder: Path, dtype: Any, logs: Path, eager: bool) -> Iterator[Engine]:
    """An engine that is up: "vllm" or "transformers"."""
    engine: Engine
    if name == "transformers":
        engine = WorkerEngine(folder, logs / "own.log", dtype=dtype)
        end = engine.close
    else:
        serving = Serving(0.3, 4096, dtype, arguments=("--enforce-eager",) if eager else ())
        log = logs / "vllm.log"
        server = VllmServer(folder, "judge", log, serving, lambda e: print(e["message"]))
        engine, end = VllmEngine(server, {}), server.close
    try:
        yield engine
    finally:
        engine.close()
        end()


def main() -> None:
    parser = argparse.ArgumentParser(description="Preferences of one judge through two engines.")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--model", type=Path, help="folder of a model (the embedded one)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--eager", action="store_true", help="vLLM compiles nothing: a quick start")
    parser.add_argument("--keep", type=Path, help="file for what the engines said")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    said = json.loads(options.keep.read_text()) if options.keep and options.keep.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        home = Workspace(Path(name) / "home").create()
        folder = (options.model or prepare(load("demo").model, home).path).absolute()
        for kind in ("vllm", "transformers"):
            own = said.setdefault(kind, {"preferences": [], "seconds": 0.0})
            if len(own["preferences"]) == options.pairs:
                continue
            with engine_of(kind, folder, options.dtype, home.logs, options.eager) as engine:
                for _ in ask(engine, questions(options.pairs), own):
                    if options.keep:
                        options.keep.write_text(json.dumps(said))
    served, embedded = (said[engine]["preferences"] for engine in ("vllm", "transformers"))
    apart = [abs(one - other) for one, other in zip(embedded, served, strict=True)]
    signs = sum((a - 0.5) * (b - 0.5) < 0 for a, b in zip(embedded, served, strict=True))
    seconds = [said[engine]["seconds"] for engine in ("transformers", "vllm")]
    print(f"{machine_name()}, {options.dtype}, {len(apart)} pairs in both orders")
    print(f"preferences from {min(embedded):.2f} to {max(embedded):.2f}")
    print(f"apart: mean {statistics.mean(apart):.5f}, most {max(apart):.5f}; other side: {signs}")
    print(f"seconds: embedded {seconds[0]:.1f}, vLLM {seconds[1]:.1f}")
    if options.check and max(apart) > CLOSE:
        raise SystemExit(f"a preference differs by more than {CLOSE}")


if __name__ == "__main__":
    main()
