"""The constitution and the prompts that Solon ships."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from constitution.assign import applicable, assign
from constitution.lint import lint
from constitution.load import HERE, load, resolve
from constitution.render import few_shot_critique, few_shot_revision

PATH = resolve("default")
DEFAULT = load(PATH)
ROWS = [json.loads(line) for line in (HERE / "prompts.jsonl").read_text("utf-8").splitlines()]
CATEGORIES = {row["category"] for row in ROWS}

THEMES = """dangerous-instructions protect-privacy fair-treatment self-harm-care lawful-conduct
no-manipulation brief-refusal correct-the-user no-flattery calibrated-uncertainty no-invented-facts
no-over-refusal answer-the-question follow-the-format be-concise friendly-tone""".split()


def test_the_constitution_is_clean() -> None:
    assert lint(PATH, CATEGORIES) == []


def test_the_constitution_covers_its_themes_and_all_three_aims() -> None:
    assert len(DEFAULT.enabled) >= 18
    assert set(THEMES) <= {p.slug for p in DEFAULT.enabled}
    tags = Counter(tag for p in DEFAULT.enabled for tag in p.tags)
    assert set(tags) == {"helpful", "honest", "harmless"}
    assert min(tags.values()) >= 5


def test_the_examples_show_changes_and_leaving_alone() -> None:
    kept = [e for e in DEFAULT.examples if e.revision == e.response]
    assert 3 <= len(DEFAULT.examples) <= 5
    assert 1 <= len(kept) <= 2


def test_the_examples_fit_a_small_context() -> None:
    for messages in (few_shot_critique(DEFAULT), few_shot_revision(DEFAULT)):
        assert sum(len(m["content"]) for m in messages) < 2800  # about 700 tokens


def test_prompts_are_varied_and_unique() -> None:
    assert len(ROWS) >= 140
    assert all(set(row) == {"prompt", "category"} for row in ROWS)
    assert len({row["prompt"].casefold().strip() for row in ROWS}) == len(ROWS)
    assert all(row["prompt"] == row["prompt"].strip() != "" for row in ROWS)
    assert len(CATEGORIES) >= 15
    assert min(Counter(row["category"] for row in ROWS).values()) >= 5


def test_every_category_has_principles_and_every_principle_has_prompts() -> None:
    for category in CATEGORIES:
        assert len(applicable(DEFAULT, category)) >= 6
    used = {
        assign(DEFAULT, row["prompt"], round, row["category"]).slug
        for row in ROWS
        for round in range(2)
    }
    assert used == {p.slug for p in DEFAULT.enabled}


def test_no_file_of_the_package_imports_more_than_yaml() -> None:
    foreign = ("import torch", "import duckdb", "from storage", "from tasks", "from flows")
    for path in Path(HERE).glob("*.py"):
        assert not any(line.startswith(foreign) for line in path.read_text().splitlines())
