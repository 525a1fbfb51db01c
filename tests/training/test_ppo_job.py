"""The PPO job as the worker runs it: NF4 base, chat template, adapters and probes from disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from tasks.training.base import attach_adapter, load_base, lora_config, save_adapter
from tasks.training.scoring import load_scorer, score_conversations
from tasks.training.settings import WEIGHT_CHANGE, TrainingInputError

ROWS: list[dict[str, Any]] = [
    {
        "id": f"p{i}",
        "messages": [{"role": "user", "content": "Say " + "abc"[: 1 + i % 3] * (i + 1)}],
    }
    for i in range(5)
]
SETTINGS: dict[str, Any] = {
    "updates": 4,
    "batch_size": 4,
    "epochs": 2,
    "micro_batch_size": 2,
    "max_new_tokens": 6,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "calibration_samples": 8,
    "save_every": 2,
    "lora_r": 4,
}


@pytest.fixture(scope="module", params=["nf4", "none"])
def adapters(request: Any, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An SFT adapter, and a reward adapter with probes that the reward stage's model scored."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp(request.param)
    spec = {"path": str(tiny), "name": "tiny", "quantization": request.param}
    sft = attach_adapter(load_base(spec)[0], lora_config(4, 8))
    scorer_base, tokenizer = load_scorer(spec, seed=5)
    scorer = attach_adapter(scorer_base, lora_config(4, 8, head=True))
    torch.manual_seed(11)
    for model in (sft, scorer):
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.05)
    save_adapter(sft, root / "sft" / "adapter", "tiny")
    save_adapter(scorer, root / "reward" / "adapter", "tiny", head=True)
    chats = [[*row["messages"], {"role": "assistant", "content": row["id"]}] for row in ROWS]
    scores = score_conversations(scorer.eval(), tokenizer, chats, batch_size=1)
    probes = [{"messages": c, "score": s} for c, s in zip(chats, scores, strict=True)]
    (root / "reward" / "reward_probe.json").write_text(json.dumps({"probes": probes}))
    return {
        "sft": str(root / "sft" / "adapter"),
        "reward": str(root / "reward" / "adapter"),
        "quantization": request.param,
    }


@pytest.fixture
def job(stage: Callable[..., Any], adapters: dict[str, str]) -> Callable[[str], Any]:
    """Make a PPO stage on those adapters: job("name")."""

    def make(name: str) -> Any:
        made = stage("ppo", name, adapters["quantization"]).data(ROWS, [])
        made.spec["adapters"] = {k: adapters[k] for k in ("sft", "reward")}
        made.spec["settings"] = dict(SETTINGS)
        return made

    return make


def test_run_writes_the_artifact(job: Callable[[str], Any], tiny: Path) -> None:
    made = job("whole")
    result = made.run()
    assert result["steps"] == 4
    assert result["metrics"]["stopped"] == 0.0
    assert result["metrics"]["kl_first"] == 0.0
    wanted = {"loss", "reward", "kl", "eos_rate", "mean_length"}
    assert {f"{name}_last" for name in wanted} <= set(result["metrics"])
    assert {p.name for p in made.out.iterdir()} == {
        *("adapter", "critic", "heads.safetensors", "ppo_config.json", "reward_norm.json"),
        *("metrics.jsonl", "loss.png", "samples.jsonl"),
    }
    progress = [event for event in made.events if event["event"] == "progress"]
    assert [event["done"] for event in progress] == [1, 2, 3, 4]
    assert {"unit", "reward", "kl", "total"} <= set(progress[0])
    assert progress[0]["unit"] == "updates"
    samples = [json.loads(line) for line in (made.out / "samples.jsonl").read_text().splitlines()]
    assert [sample["mode"] for sample in samples] == ["greedy"] * 4 + ["sampled"] * 4
    assert {"prompt", "completion", "score", "kl", "length", "terminated"} <= set(samples[0])
    config = json.loads((made.out / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    spec = made.spec["model"]
    loaded = PeftModel.from_pretrained(load_base(spec)[0], made.out / "adapter")
    names = {n for n, _ in loaded.named_parameters() if "lora_" in n}
    assert len(names) == len(made.adapter()) > 0
    heads = load_file(made.out / "heads.safetensors")
    assert set(heads) == {"value_head.weight", "value_head.bias", "reward_head.weight"}
    norms = json.loads((made.out / "reward_norm.json").read_text())
    assert {name: norm["count"] for name, norm in norms.items()} == {"reward_model": 8}
    assert made.logged()[0]["first_minibatch_logp_diff"] == 0.0


def test_an_actor_that_learned_nothing_is_said(job: Callable[[str], Any]) -> None:
    changes = {}
    for name, rate in (("learns", 1e-3), ("not", 1e-60)):
        made = job(name)
        result = made.run(updates=2, actor_lr=rate)
        changes[name] = result["metrics"][WEIGHT_CHANGE]
        said = [e for e in made.events if "no weight changed" in e.get("message", "")]
        assert len(said) == (name == "not")
        assert result["dtype"] in ("float32", "bfloat16")
    assert changes["not"] == 0 < changes["learns"]


@pytest.mark.parametrize(
    ("how", "raised"),
    [
        ({"stop_at": 3}, KeyboardInterrupt),  # after a save
        ({"end_at": 1, "save_every": 100}, SystemExit),  # SIGTERM: the update at work is saved
    ],
)
def test_killed_and_resumed_equals_uninterrupted(
    job: Callable[[str], Any], how: dict[str, Any], raised: type[BaseException]
) -> None:
    whole, cut = job("whole"), job("cut")
    whole.run()
    with pytest.raises(raised):
        cut.run(**how)
    assert not (cut.out / "adapter").exists()
    cut.run()
    assert any("resumed after update 2" in e.get("message", "") for e in cut.events)
    left, right = whole.adapter(), cut.adapter()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert [row["objective/scores"] for row in whole.logged()] == [
        row["objective/scores"] for row in cut.logged()
    ]


def test_a_changed_probe_is_refused(job: Callable[[str], Any], tmp_path: Path) -> None:
    made = job("probe")
    source = Path(made.spec["adapters"]["reward"])
    copied = tmp_path / "reward" / "adapter"
    copied.mkdir(parents=True)
    for file in source.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    kept = json.loads((source.parent / "reward_probe.json").read_text())
    kept["probes"][0]["score"] += 0.05
    (copied.parent / "reward_probe.json").write_text(json.dumps(kept))
    made.spec["adapters"]["reward"] = str(copied)
    with pytest.raises(TrainingInputError, match=r"reward_probe\.json: off by"):
        made.run()
    assert list(made.out.iterdir()) == []


def test_a_missing_reward_adapter_is_refused(job: Callable[[str], Any]) -> None:
    made = job("none")
    made.spec["adapters"].pop("reward")
    with pytest.raises(TrainingInputError, match="train the reward stage first"):
        made.run()


def test_long_prompts_are_counted(job: Callable[[str], Any]) -> None:
    made = job("long")
    made.run(updates=1, max_prompt_tokens=30)
    assert any("2 prompts over 30 tokens were dropped" in e.get("message", "") for e in made.events)
    with pytest.raises(TrainingInputError, match="no prompt is left"):
        job("none").run(max_prompt_tokens=3)
    with pytest.raises(TrainingInputError, match="context of 256"):
        job("wide").run(max_new_tokens=250)
