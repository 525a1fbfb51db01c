"""The page on PPO: its program runs as it stands, and it names what there is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft")

import torch
from safetensors.torch import load_file

from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.trainer import PPOTrainer
from tasks.training.settings import TrainingInputError

from . import ppo_tiny as tiny

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "tasks" / "training" / "ppo" / "README.md").read_text(encoding="utf-8")


def test_the_program_on_the_page_trains(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With another model, a folder of ours, and two updates; nothing else is changed."""
    program = re.findall(r"```python\n(.*?)```", PAGE, re.S)[0]
    model = request.getfixturevalue("tiny")
    line = re.search(r"^MODEL, OUT, UPDATES = .*$", program, re.M)
    assert line is not None
    ours = f"MODEL, OUT, UPDATES = {str(model)!r}, Path({str(tmp_path / 'actor')!r}), 2"
    found: dict[str, Any] = {}
    exec(compile(program.replace(line[0], ours), "README.md", "exec"), found)
    said = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in said] == ["1", "2"]
    saved = load_file(tmp_path / "actor" / "adapter_model.safetensors")
    assert max(float(v.abs().max()) for n, v in saved.items() if "lora_B" in n) > 0
    assert len([row for row in program.splitlines() if row.strip()]) <= 30


def test_the_page_names_settings_and_curves_that_exist() -> None:
    """In its tables; what is no setting or curve by itself is a value of one, or part of a name."""
    settings = {field.name for field in dataclasses.fields(PPOConfig)}
    metrics = set(tiny.trainer(tiny.roles()).step()[0])
    knobs, curves = (PAGE.split(title)[1] for title in ("## What each knob", "## Reading"))
    others = {"adaptive", "calibrate", "kl", "kl_k3", "samples.jsonl"}
    rows = re.findall(r"^\| (`.*?) \|", knobs.split("## Reading")[0], re.M)
    assert {name for row in rows for name in re.findall(r"`(.*?)`", row)} <= settings
    for row in re.findall(r"^\| (`.*?) \|", curves, re.M):
        assert set(re.findall(r"`(.*?)`", row)) <= metrics
    named = set(re.findall(r"`([a-z_0-9/.]+)`", "".join(re.findall(r"^\|.*$", PAGE, re.M))))
    assert named <= settings | metrics | others
    assert len(rows) > 10


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([0.5], "reward broken: gave 1 scores for 8 completions; give a list with one for each"),
        ([0.5] * 9, "gave 9 scores for 8 completions"),
        (None, "gave 0 scores for 8 completions"),
        (0.5, "gave 0 scores for 8 completions"),
        ([0.5] * 7 + [float("inf")], "reward broken: gave a score that is no finite number"),
        ([0.5] * 7 + ["good"], "gave a score that is no finite number"),
        ([0.5] * 7 + [[0.5]], "gave a score that is no finite number"),
    ],
)
def test_what_a_reward_gives_is_looked_at(given: Any, message: str) -> None:
    def broken(**_: Any) -> Any:
        return given

    run = tiny.trainer(tiny.roles(), broken)
    before = tiny.weights(run)
    with pytest.raises(TrainingInputError, match=re.escape(message)):
        run.step()
    assert tiny.furthest(before, tiny.weights(run)) == 0


def test_a_reward_that_raises_is_not_hidden() -> None:
    def failing(**_: Any) -> Any:
        raise ZeroDivisionError("of the reward's own")

    with pytest.raises(ZeroDivisionError, match="of the reward's own"):
        tiny.trainer(tiny.roles(), failing).step()


def long(completions: list[str], **_: Any) -> list[float]:
    return [float(len(text)) for text in completions]


def vowels_only(completions: list[str], **_: Any) -> list[float | None]:
    """Of every second answer nothing can be told."""
    told = enumerate(tiny.vowel_share(completions))
    return [None if number % 2 else share for number, share in told]


def with_both(**settings: Any) -> PPOTrainer:
    one = tiny.trainer(tiny.roles(), **settings)
    parts = one.roles, one.tokenizer, one.prompts, [long, vowels_only], one.config
    return PPOTrainer(*parts, weights=[0.5, -2.0])


def test_rewards_count_by_their_weights() -> None:
    """Raw they are added as they are; what is told of each is its own mean."""
    run = with_both()
    metrics = run.step()[0]
    lengths, shares = run.scores
    assert shares.isnan().tolist() == [False, True] * 4
    total = 0.5 * lengths - 2.0 * shares.nan_to_num()
    assert metrics["objective/scores"] == pytest.approx(float(total.mean()))
    assert metrics["score/long"] == pytest.approx(float(lengths.mean()))
    assert metrics["score/vowels_only"] == pytest.approx(float(shares.nanmean()))
    assert metrics["score/unscorable"] == 0
    with pytest.raises(TrainingInputError, match=r"weights=\[1\.0\]: must be as many as .*, 2"):
        PPOTrainer(run.roles, run.tokenizer, run.prompts, [long] * 2, run.config, weights=[1.0])


def test_each_reward_is_normalised_by_its_own_spread() -> None:
    """Lengths in the hundreds and shares below 1 weigh what their weights say."""
    run = with_both(reward_norm="calibrate", calibration_samples=16)
    run.calibrate()
    raw = torch.tensor([[3.0, 5.0], [0.25, float("nan")]], dtype=torch.float64)
    first, second = run.norms
    assert (first.count, second.count) == (16, 8)
    alone = 0.5 * (5.0 - first.mean) / first.std
    both = 0.5 * (3.0 - first.mean) / first.std - 2.0 * (0.25 - second.mean) / second.std
    assert run.normalised(raw).tolist() == pytest.approx([both, alone])
