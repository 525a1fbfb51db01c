"""The method works: a real model learns three rules of ours, by every stage, and loses nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from storage.ledger import Ledger

from .conftest import Solon

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

EFFECT = Path(__file__).with_name("effect")
Figures = dict[str, tuple[float, float, float]]


@pytest.fixture(scope="module")
def home(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("effect") / "home"
    shutil.copytree(packaged / "models", home / "models")
    return home


@pytest.fixture(scope="module")
def figures(home: Path) -> Figures:
    """The figures of the run's evaluation with their 95 % intervals, by "policy/metric"."""
    constitution = f"constitution={EFFECT / 'constitution.yaml'}"
    recipe = str(EFFECT / "recipe.yaml")
    result = Solon(home).json("run", "--recipe", recipe, "--set", constitution, hang_s=2300)
    evaluation = next(step["id"] for step in result["steps"] if step["step"] == "evaluate")
    found = Ledger(home / "ledger.duckdb").query(
        "SELECT name, value, low, high FROM metrics WHERE subject_id = ?", [evaluation]
    )
    return {row["name"]: (row["value"], row["low"], row["high"]) for row in found}


def test_more_rules_are_kept_at_every_stage(figures: Figures) -> None:
    base, sft, dpo, ppo = (figures[f"{p}/rules"] for p in ("base", "sft", "dpo", "ppo"))
    assert base[0] < sft[0] < dpo[0]
    assert base[0] < ppo[0]
    assert base[2] < min(dpo[1], ppo[1]), "the 95 % intervals of base and DPO, base and PPO touch"


def test_nothing_else_is_lost(figures: Figures) -> None:
    for policy in ("sft", "dpo", "ppo"):
        assert figures[f"{policy}/perplexity_over_base"][0] <= 1.1
        assert figures[f"{policy}/repetition_minus_base"][1] <= 0.1
        assert figures[f"{policy}/probe:helpfulness_minus_base"][2] >= 0.0
