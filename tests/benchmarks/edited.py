"""What the edits of `edits.py` are made to: public prompts, sixteen principles, limits."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "flows")]

from world import World  # noqa: E402

from constitution.load import load  # noqa: E402
from constitution.schema import Constitution, Principle  # noqa: E402
from flows.plan.inputs import Inputs  # noqa: E402
from tasks.prompts import read_prompts  # noqa: E402

PRINCIPLES = 16
SETS = (
    *("hh_harmless-base_pairs.jsonl.gz", "hh_helpful-base_pairs.jsonl.gz"),
    *("alpaca_en_demo.json", "self_instruct_user_oriented.jsonl"),
)
NEW = Principle("say-when", "Say when", "Is it dated?", "Say when it was true.", "Which is dated?")


def write_prompts(path: Path, data: Path | None, count: int) -> None:
    """`count` prompts: of the public sets, an equal share of each; else made up."""
    with path.open("w", encoding="utf-8") as file:
        for messages in _public(data, count) if data else _made_up(count):
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


def _public(data: Path, count: int) -> Iterator[list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for name in SETS:
        for prompt in read_prompts(str(data / name)).prompts:
            found[prompt.prompt_id] = list(prompt.messages)
    yield from [found[key] for key in sorted(found)][:count]


def _made_up(count: int) -> Iterator[list[dict[str, str]]]:
    for number in range(count):
        yield [{"role": "user", "content": f"Question {number}: why?"}]


def sixteen() -> Constitution:
    """The first principles of the constitution that ships."""
    constitution = load(ROOT / "constitution" / "default.yaml")
    return replace(constitution, principles=constitution.principles[:PRINCIPLES])


def indented() -> Constitution:
    """The same, from a file that another program wrote anew."""
    text = (ROOT / "constitution" / "default.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    content["principles"] = content["principles"][:PRINCIPLES]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "other.yaml"
        text = yaml.safe_dump(content, indent=6, width=60, sort_keys=False, allow_unicode=True)
        path.write_text(text, encoding="utf-8")
        return load(path)


def doubled(world: World, base: Inputs) -> Inputs:
    """The same words, and every step of revision may write twice as much."""
    limits = base.recipe.generation.max_new_tokens.model_dump()
    longer = {f"generation.max_new_tokens.{k}": 2 * v for k, v in limits.items()}
    return replace(world.read(**longer), constitution=base.constitution)
