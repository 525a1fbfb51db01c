"""SFT: what is trained, on which tokens, what is dropped, when it stops, how it resumes."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from transformers import AutoModelForCausalLM

from tasks.report import Report
from tasks.training import loop, sft
from tasks.training.base import load_tokenizer
from tasks.training.callbacks import BEST, best_step
from tasks.training.resume import MARKER, latest_complete
from tasks.training.settings import WEIGHT_CHANGE, TrainingInputError
from tests.flipped import flip

PAIR = {"chosen": "ab", "rejected": "ba", "preference": 1.0}


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "id": f"r{n}",
            "messages": [{"role": "user", "content": "q" * (1 + n % 5)}],
            "response": "ab" * (1 + n % 3),
        }
        for n in range(start, start + count)
    ]


def frozen(model: torch.nn.Module) -> dict[str, bytes]:
    """The bytes of every weight the optimizer must not move."""
    return {
        name: parameter.detach().contiguous().view(torch.uint8).numpy().tobytes()
        for name, parameter in model.named_parameters()
        if not parameter.requires_grad
    }


def test_every_adapter_weight_moves_and_no_base_weight(stage, monkeypatch):
    seen: dict[str, Any] = {}

    def train(trainer: Any, *rest: Any) -> Any:
        model = trainer.model
        seen["model"], seen["frozen"] = model, frozen(model)
        seen["before"] = {n: p.clone() for n, p in model.named_parameters() if p.requires_grad}
        return loop.train(trainer, *rest)

    monkeypatch.setattr(sft, "train", train)
    result = stage("sft").data(rows(10), []).run(max_steps=4, learning_rate=1e-2)
    after = dict(seen["model"].named_parameters())
    assert len(seen["before"]) == 28
    assert all(not torch.equal(after[n], p) for n, p in seen["before"].items())
    assert frozen(seen["model"]) == seen["frozen"]
    assert result["steps"] == 4
    assert result["trainable_parameters"] == sum(p.numel() for p in seen["before"].values())


@pytest.mark.parametrize("steps", [1, 2])
def test_a_training_of_a_step_or_two_learns(stage, steps: int):
    """A warm-up of half the steps, rounded up, would cover a single one: its rate would be 0."""
    run = stage("sft").data(rows(4), [])
    metrics = run.run(max_steps=steps, warmup_ratio=0.5, learning_rate=1e-3)["metrics"]
    assert metrics[WEIGHT_CHANGE] == pytest.approx(1e-3, rel=0.2)
    assert not [event for event in run.events if "no weight" in event.get("message", "")]


def test_a_training_that_changed_nothing_says_so(stage):
    run = stage("sft").data(rows(4), [])
    assert run.run(max_steps=2, learning_rate=1e-60)["metrics"][WEIGHT_CHANGE] == 0
    said = [event for event in run.events if event["event"] == "log"]
    assert [event["level"] for event in said if "no weight changed" in event["message"]] == [
        "warning"
    ]


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_the_number_type_is_told(stage, compute: str):
    run = stage("sft").data(rows(4), [])
    run.spec["model"]["compute"] = compute
    assert run.run(max_steps=1)["dtype"] == compute


@pytest.mark.parametrize("job", ["sft", "reward", "dpo"])
def test_a_model_without_names_for_end_and_padding_is_trained(
    job: str, stage, tiny: Path, tmp_path: Path
):
    """What ends a turn is told by the template."""
    bare = tmp_path / "bare"
    shutil.copytree(tiny, bare)
    for name in ("tokenizer_config.json", "config.json", "generation_config.json"):
        found = json.loads((bare / name).read_text())
        kept = {k: v for k, v in found.items() if not k.startswith(("eos_", "pad_", "bos_"))}
        (bare / name).write_text(json.dumps(kept))
    run = stage(job).data([row | PAIR for row in rows(4)], [])
    run.spec["model"]["path"] = str(bare)
    assert run.run(max_steps=1)["steps"] == 1
    assert load_tokenizer(bare).pad_token == "<|im_end|>"


def test_labels_are_the_response_with_its_end_and_nothing_else(tiny: Path):
    tokenizer = load_tokenizer(tiny)
    row = sft.labelled(tokenizer, rows(1)[0])
    learned = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(learned) == "ab<|im_end|>\n"
    cut = len(row["labels"]) - len(learned)
    assert row["labels"] == [-100] * cut + row["input_ids"][cut:]
    assert row["length"] == len(row["input_ids"]) == len(row["labels"])


def test_loss_is_the_mean_over_response_tokens(stage, tiny: Path):
    """Parity with a plain forward; pad == eos must hide neither the prompt's nor the last eos."""
    run = stage("sft", quantization="none").data(rows(4), rows(3, 7))
    metrics = run.run(max_steps=1)["metrics"]
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    tokenizer = load_tokenizer(tiny)
    losses = []
    for row in rows(3, 7):
        ids = sft.labelled(tokenizer, row)
        logprobs = model(torch.tensor([ids["input_ids"]])).logits.log_softmax(-1)[0, :-1]
        for position, label in enumerate(ids["labels"][1:]):
            if label != -100:
                losses.append(-logprobs[position, label].item())
    assert metrics["eval_loss_first"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)


def test_accumulated_batches_give_the_loss_and_gradient_of_the_whole(stage):
    whole = stage("sft", "whole").data(rows(4), [])
    parts = stage("sft", "parts").data(rows(4), [])
    whole.run(max_steps=1, batch_size=4)
    parts.run(max_steps=1, batch_size=1, gradient_accumulation=4)
    for name in ("loss", "grad_norm"):
        assert parts.logged()[0][name] == pytest.approx(whole.logged()[0][name], rel=2e-2)


@pytest.mark.parametrize("job", ["sft", "reward", "dpo"])
def test_recomputing_activations_changes_no_gradient(stage, job):
    pairs = [{**r, "chosen": "ab", "rejected": "c", "preference": 0.8} for r in rows(4)]
    kept, recomputed = (stage(job, name).data(pairs, []) for name in ("kept", "recomputed"))
    kept.run(max_steps=2, learning_rate=1e-2)
    recomputed.run(max_steps=2, learning_rate=1e-2, gradient_checkpointing=True)
    for name in ("loss", "grad_norm"):
        for one, other in zip(kept.logged(), recomputed.logged(), strict=True):
            assert other[name] == pytest.approx(one[name], rel=1e-5)


def test_too_long_rows_are_dropped_and_counted(stage):
    long = {**rows(1)[0], "response": "x" * 80}
    run = stage("sft").data([*rows(5), long], [*rows(2), long])
    metrics = run.run(max_steps=1)["metrics"]
    assert (metrics["examples"], metrics["held_out"], metrics["dropped_too_long"]) == (5, 2, 2)
    assert any(e["event"] == "log" and "dropped 2 rows" in e["message"] for e in run.events)


def test_nothing_left_to_train_on_is_an_error(stage):
    long = {**rows(1)[0], "response": "x" * 80}
    with pytest.raises(TrainingInputError, match="all 1 rows are over max_length=64"):
        stage("sft").data([long], []).run()
    with pytest.raises(TrainingInputError, match="is empty"):
        stage("sft", "empty").data([], []).run()


def test_unknown_setting_is_refused(stage):
    with pytest.raises(TrainingInputError, match="lr: is no setting of SftSettings"):
        stage("sft").data(rows(2), []).run(lr=1)


def test_files_events_and_metrics(stage):
    run = stage("sft").data(rows(8), rows(4, 8))
    result = run.run(max_steps=3, eval_steps=2)
    written = {str(p.relative_to(run.out)) for p in run.out.rglob("*") if p.is_file()}
    assert written == {
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "metrics.jsonl",
        "loss.png",
    }
    steps = [(e["done"], e["total"]) for e in run.events if e["event"] == "progress"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [r["step"] for r in run.logged() if "eval_loss" in r] == [0, 2, 3]
    assert [r["step"] for r in run.logged() if "loss" in r] == [1, 2, 3]
    assert {"loss_first", "loss_last", "eval_loss", "eval_loss_first"} <= result["metrics"].keys()


def test_a_slow_training_is_saved_by_the_clock_too(stage):
    """As if every step took minutes: the last step done is resumed from, and nothing else changes;
    with 0 there is none to resume from.
    """
    settings = {"max_steps": 5, "batch_size": 2, "save_steps": 1000, "learning_rate": 1e-2}
    for minutes, resumed in ((1e-9, 3.0), (0.0, 0.0)):
        run = stage("sft", f"every-{minutes}").data(rows(10), [])
        with pytest.raises(KeyboardInterrupt):
            run.run(**settings, save_minutes=minutes, stop_at=4)
        metrics = run.run(**settings, save_minutes=minutes)["metrics"]
        assert metrics["resumed_from_step"] == resumed
        assert len(list(run.state.glob("checkpoint-*"))) <= 2


@pytest.mark.parametrize("stop_at", [3, 5, 7])
def test_interrupted_equals_uninterrupted(stage, stop_at):
    """10 rows in batches of 2, two passes a step: epochs end inside a step's reach at 3 and 6."""
    settings = {
        "max_steps": 7,
        "batch_size": 2,
        "gradient_accumulation": 2,
        "save_steps": 2,
        "eval_steps": 3,
        "learning_rate": 1e-2,
    }
    straight = stage("sft", "straight").data(rows(10), rows(4, 10))
    straight.run(**settings)
    broken = stage("sft", "broken").data(rows(10), rows(4, 10))
    with pytest.raises(KeyboardInterrupt):
        broken.run(**settings, stop_at=stop_at)
    (broken.state / "checkpoint-99").mkdir()  # torn: killed while saving
    metrics = broken.run(**settings)["metrics"]
    assert metrics["resumed_from_step"] == (stop_at - 1) // 2 * 2
    assert broken.logged() == straight.logged()
    assert broken.adapter().keys() == straight.adapter().keys()
    for name, tensor in straight.adapter().items():
        assert torch.equal(broken.adapter()[name], tensor)


def test_a_flipped_bit_of_a_checkpoint_changes_no_weight(stage, tmp_path):
    """In every file of it: seen before it is used, and the checkpoint before it goes on."""
    settings: dict[str, Any] = {"max_steps": 6, "save_steps": 2, "eval_steps": 1, "patience": 9}
    settings |= {"batch_size": 2, "learning_rate": 1e-2}
    straight, broken = (stage("sft", n).data(rows(10), rows(4, 10)) for n in ("whole", "broken"))
    straight.run(**settings)
    with pytest.raises(KeyboardInterrupt):
        broken.run(**settings, stop_at=5)
    files = {path.name for path in (broken.state / "checkpoint-4").iterdir()}
    assert {"optimizer.pt", "scheduler.pt", "rng_state.pth", "adapter_model.safetensors"} <= files
    assert {BEST, "trainer_state.json", MARKER} <= files
    for number, file in enumerate(sorted(files)):
        state = Path(shutil.copytree(broken.state, tmp_path / str(number)))
        flip(state / "checkpoint-4" / file)
        assert latest_complete(state, Report(io.StringIO())) == state / "checkpoint-2"
    flip(broken.state / "checkpoint-4" / "adapter_model.safetensors")
    broken.events.clear()
    metrics = broken.run(**settings)["metrics"]
    assert metrics["resumed_from_step"] == 2
    (warning,) = [event["message"] for event in broken.events if event.get("level") == "warning"]
    assert "checkpoint-4: is not what was written" in warning
    assert broken.logged() == straight.logged()
    assert all(torch.equal(broken.adapter()[n], t) for n, t in straight.adapter().items())


def test_a_finished_state_trains_no_further(stage):
    run = stage("sft").data(rows(6), rows(2))
    run.run(max_steps=2)
    first = run.adapter()
    run.events.clear()
    again = run.run(max_steps=2)
    assert again["metrics"]["resumed_from_step"] == 2
    assert not [e for e in run.events if e["event"] == "progress"]
    assert all(torch.equal(first[n], t) for n, t in run.adapter().items())


def test_patience_stops_and_keeps_the_best_adapter(stage, monkeypatch):
    """Held out are other answers, so training helps them at first (the ending) and then hurts."""
    trainers: list[Any] = []

    def train(trainer: Any, *rest: Any) -> Any:
        trainers.append(trainer)
        return loop.train(trainer, *rest)

    monkeypatch.setattr(sft, "train", train)
    run = stage("sft").data(rows(8), [{**row, "response": "zz"} for row in rows(4)])
    settings = {"eval_steps": 2, "save_steps": 2, "patience": 2, "learning_rate": 3e-2}
    result = run.run(max_steps=30, **settings)
    kept = result["metrics"]["kept_step"]
    assert result["steps"] == kept + 4 < 30
    losses = {r["step"]: r["eval_loss"] for r in run.logged() if "eval_loss" in r}
    assert result["metrics"]["eval_loss"] == min(losses.values()) == losses[kept]
    assert losses[result["steps"]] > losses[kept]
    assert trainers[0].evaluate()["eval_loss"] == losses[kept]


def test_a_kill_after_an_early_stop_trains_no_further(stage, monkeypatch):
    held_out = [{**row, "response": "zz"} for row in rows(4)]
    settings = {"eval_steps": 2, "save_steps": 2, "patience": 2, "learning_rate": 3e-2}
    straight, killed = (stage("sft", name).data(rows(8), held_out) for name in ("one", "two"))
    result = straight.run(max_steps=30, **settings)

    def kill(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "save_adapter", kill)
        with pytest.raises(KeyboardInterrupt):
            killed.run(max_steps=30, **settings)
    again = killed.run(max_steps=30, **settings)
    assert again["steps"] == result["steps"] < 30
    assert again["metrics"]["kept_step"] == result["metrics"]["kept_step"]
    assert killed.logged() == straight.logged()
    kept = straight.adapter()
    assert all(torch.equal(kept[name], tensor) for name, tensor in killed.adapter().items())


def test_best_step_is_the_earliest_lowest():
    history = [{"step": s, "eval_loss": v} for s, v in [(0, 2.0), (5, 1.0), (10, 1.0), (15, 3.0)]]
    assert best_step([{"step": 1, "loss": 0.1}, *history]) == 5


def test_a_loss_that_is_no_number_stops_the_stage(stage, monkeypatch):
    original = sft.ResponseTrainer.compute_loss

    def broken(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs) * float("nan")

    monkeypatch.setattr(sft.ResponseTrainer, "compute_loss", broken)
    with pytest.raises(FloatingPointError, match="loss is nan at step 1"):
        stage("sft").data(rows(4), []).run(max_steps=2)


def test_a_held_out_loss_that_is_no_number_stops_the_stage(stage, monkeypatch):
    original = sft.ResponseTrainer.compute_loss

    def broken(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        loss = original(self, model, *args, **kwargs)
        return loss if model.training else loss * float("nan")

    monkeypatch.setattr(sft.ResponseTrainer, "compute_loss", broken)
    with pytest.raises(FloatingPointError, match="held-out loss is nan at step 0"):
        stage("sft").data(rows(4), rows(2, 4)).run(max_steps=2)


def test_the_loss_is_the_models_own(tiny):
    """Over the labels of one batch, and over those of all batches of a step."""
    from tasks.training.base import attach_adapter, load_base, lora_config

    base, tokenizer = load_base({"path": str(tiny), "quantization": "none"})
    model = attach_adapter(base, lora_config(4, 4))
    found = [sft.labelled(tokenizer, row) for row in rows(3)]
    width = max(row["length"] for row in found)
    pads = [width - row["length"] for row in found]
    batch = {
        "input_ids": [row["input_ids"] + [0] * pad for row, pad in zip(found, pads, strict=True)],
        "labels": [row["labels"] + [-100] * pad for row, pad in zip(found, pads, strict=True)],
        "attention_mask": [
            [1] * row["length"] + [0] * pad for row, pad in zip(found, pads, strict=True)
        ],
    }
    inputs = {name: torch.tensor(values) for name, values in batch.items()}
    trainer: Any = object.__new__(sft.ResponseTrainer)
    trainer.model = model
    expected = model(**inputs).loss.item()
    assert trainer.compute_loss(model, dict(inputs)).item() == pytest.approx(expected, rel=1e-5)
    count = (inputs["labels"] != -100).sum()
    halved = trainer.compute_loss(model, dict(inputs), num_items_in_batch=2 * count)
    assert halved.item() == pytest.approx(expected / 2, rel=1e-5)
