"""Job "generate": a causal language model that answers calls read from standard input.

SPEC {"job": "generate", "model": as `tasks.engines.load.AdaptedModel` takes it,
      "batch_tokens": int, "batch_rows": int, "threads": int}

After loading: event `ready` {device, dtype, context}. A call is one JSON line {"call": n, "do":
"generate" | "score" | "reward", "items": [...]}, whose items have the fields of
`tasks.engines.engine.Request` or `Continuation`. Answers are `items` {call, items, duration_s} for
each finished batch, then `done` {call}. The end of the input ends the job.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import IO, Any

from tasks.engines.generate import Generator
from tasks.engines.load import AdaptedModel
from tasks.engines.score import Scorer
from tasks.report import Report


def serve(
    generator: Generator, scorer: Scorer, lines: Iterable[str] | IO[str], report: Report
) -> int:
    """Answer every call in `lines`; returns how many items were written."""
    total = 0
    work = {"generate": generator.answer, "score": scorer.score, "reward": scorer.reward}
    for line in lines:
        call = json.loads(line)
        for items, duration_s in work[call["do"]](call["items"]):
            total += len(items)
            report.event("items", call=call["call"], items=items, duration_s=duration_s)
        report.event("done", call=call["call"])
    return total


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """See the module. Result: {"items": how many were written}."""
    model, sizes = AdaptedModel(spec["model"]), (spec["batch_tokens"], spec["batch_rows"])
    generator = Generator(model, *sizes)
    dtype = str(model.base.dtype).removeprefix("torch.")
    report.event("ready", device=model.base.device.type, dtype=dtype, context=generator.context)
    return {"items": serve(generator, Scorer(model, *sizes), sys.stdin, report)}
