"""Every command of the tutorial, as it stands there, on a model and rows of no meaning."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.plan.steps import STAGES
from storage.ledger import Ledger

from .conftest import ROOT, Solon

pytestmark = pytest.mark.slow

TUTORIAL = ROOT / "flows" / "TUTORIAL.md"
BLOCK = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STEPS = {"max_steps": 1, "batch_size": 4, "max_length": 2048, "epochs": 1.0}
# The least there is: rows of no model, rules that they keep or break, a random model to train.
SMALL: dict[str, Any] = {
    "model": "random:tiny",
    "threads": 1,
    "generation": {"engine": "scripted"},
    "pairs": {"evidence": "presumed", "whole": False, "samples": 2},
    **{stage: STEPS for stage in ("sft", "reward", "dpo")},
    "ppo": {
        **{"updates": 1, "batch_size": 4, "max_new_tokens": 8, "max_prompt_tokens": 2000},
        "calibration_samples": 4,
    },
    "evaluation": {"prompts": 4, "answers": 1, "probes": [], "max_new_tokens": 8},
    "gate": {
        "questions": 2,
        "rules": dict.fromkeys(("rules", "rule", "reward", "perplexity", "tokens", "repetition")),
    },
}
KEPT_BY_ANY = {
    "begins_with: Short answer": "max_words: 70",
    "ends_with_question: true": "max_words: 60",
}


NEWEST = """
    SELECT name, value FROM metrics WHERE subject_id = (
        SELECT checkpoint_id FROM checkpoints WHERE stage = ? ORDER BY created_at DESC LIMIT 1)"""


def blocks(kind: str) -> Iterator[tuple[str, str]]:
    """What follows a block's kind, and the block, in the order of the text."""
    text = TUTORIAL.read_text(encoding="utf-8")
    return ((words, body) for found, words, body in BLOCK.findall(text) if found == kind)


def commands() -> list[str]:
    lines = (line for _, body in blocks("console") for line in body.splitlines())
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


class Reader:
    """Does in a folder what the tutorial says, at a smaller size."""

    def __init__(self, solon: Solon) -> None:
        self.solon = solon
        self.said: dict[str, str] = {}
        self.planned: dict[str, Any] = {}
        self.made: dict[str, dict[str, float]] = {}

    def read(self) -> None:
        """Files that a block names are written, lengthened or edited; commands are typed."""
        for kind, words, body in BLOCK.findall(TUTORIAL.read_text(encoding="utf-8")):
            if kind == "csv":
                self._write(Path(words.removeprefix(">> ")), body, is_more=words.startswith(">>"))
            elif kind == "diff":
                self._edit(Path(words), body)
            elif kind == "console":
                for line in body.splitlines():
                    if line.startswith("$ "):
                        self._type(line.removeprefix("$ "))
            elif kind == "python":
                found = subprocess.run([sys.executable, "-c", body], capture_output=True, text=True)
                assert found.returncode == 0, found.stderr
                self.said["python"] = found.stdout

    def _write(self, path: Path, text: str, is_more: bool) -> None:
        before = path.read_text() if is_more else ""
        path.write_text(before + text)

    def _edit(self, path: Path, lines: str) -> None:
        old, new = (line[1:] for line in lines.splitlines())
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def _type(self, line: str) -> None:
        program, *arguments = shlex.split(line)
        assert program == "solon"
        again = ["--until", "sft"] if line == "solon run" and line in self.said else []
        out, err = self.solon.run(*arguments, *again)  # what is behind SFT was run once
        self.said[line] = self.said.get(line, "") + out + err
        if arguments[0] == "init":
            make_small()
        if line == "solon run" and not self.planned:
            self._compare_with_a_plan()

    def _compare_with_a_plan(self) -> None:
        """Keep what a plan says of training the same rows once more, and what was just made."""
        self.planned = self.solon.json(
            "plan", "--set", "sft.learning_rate=0.001", "--set", "seed=1"
        )
        ledger = Ledger(self.solon.home / "ledger.duckdb")
        for stage in STAGES:
            found = ledger.query(NEWEST, [stage])
            self.made[stage] = {row["name"]: row["value"] for row in found}


def make_small() -> None:
    recipe = yaml.safe_load(Path("recipe.yaml").read_text())
    for key, value in SMALL.items():
        own = recipe.get(key)
        recipe[key] = {**own, **value} if isinstance(own, dict) else value
    Path("recipe.yaml").write_text(yaml.safe_dump(recipe))
    rules = Path("constitution.yaml").read_text()
    for check, other in KEPT_BY_ANY.items():
        assert check in rules
        rules = rules.replace(check, other)
    Path("constitution.yaml").write_text(rules)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The tutorial, read to its end."""
    folder = tmp_path_factory.mktemp("tutorial")
    solon = Solon(folder / ".solon")
    del solon.env["SOLON_HOME"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        found = Reader(solon)
        found.read()
        yield found


def test_from_init_to_a_report_are_at_most_ten_commands() -> None:
    typed = commands()
    first, last = typed.index("solon report"), typed[0]
    assert last.startswith("solon init")
    assert first < 10


def test_every_command_of_the_tutorial_does_what_it_says(reader: Reader) -> None:
    said = {line.split()[1]: text for line, text in reader.said.items() if " " in line}
    assert "60 prompts kept" in said["init"]
    assert "63 prompts" in said["plan"] or "60 prompts" in said["plan"]
    assert "report.html" in said["report"]
    assert "changed" in said["diff"]
    assert "champion" in said["ref"]
    assert (Path("model") / "model.safetensors").is_file()
    assert reader.said["python"].strip()


def test_what_a_run_says_comes_next_can_be_typed(reader: Reader) -> None:
    out = reader.said["solon run"]
    next_ = [line.split("   ")[0] for line in out.partition("next:\n")[2].splitlines()]
    told = [shlex.split(line)[1:] for line in next_ if line.strip().startswith("solon ")]
    assert len(told) >= 3
    for words in told[:3]:  # of the first run
        reader.solon.run(*words)
    assert (Path("pairs") / "train.jsonl").is_file()


def test_a_plan_says_rows_and_steps_as_they_come(reader: Reader) -> None:
    planned = {s["step"]: s["training"] for s in reader.planned["steps"] if s["training"]}
    assert tuple(planned) == STAGES
    for stage, training in planned.items():
        made = reader.made[stage]
        assert training["steps"] == [made["steps"]] * 2, stage
        if stage != "ppo":
            assert training["rows"] == [made["examples"]] * 2, stage
            assert training["held_out"] == [made["held_out"]] * 2, stage
        assert training["memory"] == [made["peak_memory"]] * 2, stage
        assert training["seconds"]["basis"] == "measured"
    assert reader.planned["cost"]["basis"] == "measured"
    assert reader.planned["cost"]["seconds"][0] > 0
