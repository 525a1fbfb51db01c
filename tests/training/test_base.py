"""Settings, base, adapters, row order and checkpoints: what the stages share."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")

import torch
from safetensors.torch import load_file, save_file

from tasks.engines import load
from tasks.report import JobInputError, Report
from tasks.training import base as base_module
from tasks.training.base import (
    attach_adapter,
    float32_adapters,
    load_base,
    lora_config,
    save_adapter,
)
from tasks.training.curve import loss_summary, write_curves, write_metrics
from tasks.training.resume import MARKER, latest_complete, mark_complete
from tasks.training.rows import LengthGroupedOrder, prompt_and_responses, read_rows
from tasks.training.scoring import load_scorer
from tasks.training.settings import (
    DpoSettings,
    RewardSettings,
    SftSettings,
    TrainingInputError,
    parse_settings,
)
from tests.flipped import flip

NF4 = {"name": "tiny", "quantization": "nf4"}


@pytest.mark.parametrize("kind", [SftSettings, RewardSettings, DpoSettings])
def test_settings_round_trip(kind):
    assert parse_settings(kind, asdict(kind())) == kind()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"learning_rat": 1e-4},
            "learning_rat: is no setting of DpoSettings; use one of batch_size",
        ),
        ({"batch_size": 2.5}, "batch_size=2.5: must be a int"),
        ({"batch_size": True}, "must be a int"),
        ({"beta": 0}, "beta=0.0: must be above 0"),
        ({"learning_rate": float("nan")}, "must be a float"),
        ({"max_steps": 0}, "must be -1, or at least 1"),
        ({"warmup_ratio": 1.0}, "must be at least 0, below 1"),
    ],
)
def test_settings_refuse(values, message):
    with pytest.raises(TrainingInputError, match=message) as caught:
        parse_settings(DpoSettings, values)
    assert caught.value.exit_code == 2


def test_settings_need_no_torch():
    code = "import sys, tasks.training.settings; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_nf4_base_is_frozen_and_quantised_twice(tiny: Path, compute: str):
    import bitsandbytes as bnb

    model, tokenizer = load_base({"path": str(tiny), **NF4, "compute": compute})
    dtype = getattr(torch, compute)
    layers = [m for m in model.modules() if isinstance(m, bnb.nn.Linear4bit)]
    assert len(layers) == 14
    state: Any = layers[0].weight.quant_state  # type: ignore[attr-defined]
    assert (state.quant_type, state.nested) == ("nf4", True)
    assert layers[0].compute_dtype == dtype
    assert model.get_input_embeddings().weight.dtype == dtype
    assert model(torch.arange(8)[None]).logits.dtype == dtype
    assert not any(p.requires_grad for p in model.parameters())
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_unpacked_base_has_the_numbers_of_nf4(tiny: Path, tmp_path, monkeypatch, dtype: str):
    """To the last bit, with an adapter on it and without."""
    import bitsandbytes as bnb

    adapted = attach_adapter(load_base({"path": str(tiny), **NF4})[0], lora_config(4, 4))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    save_adapter(adapted, tmp_path, "tiny")
    ids = torch.arange(32).view(2, 16)
    found: list[list[torch.Tensor]] = []
    for share in (1.0, 0.0):
        monkeypatch.setattr(load, "UNPACKED_SHARE", share)
        spec = {"path": str(tiny), "quantization": "nf4", "dtype": dtype}
        model = load.AdaptedModel({**spec, "adapters": {"a": str(tmp_path)}})
        is_packed = any(isinstance(module, bnb.nn.Linear4bit) for module in model.base.modules())
        assert is_packed == (share == 0)
        with torch.no_grad():
            found.append([])
            for adapter in (None, "a"):
                with model.use(adapter) as used:
                    found[-1].append(used(ids).logits)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert not torch.equal(found[0][0], found[0][1])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_base_that_is_trained_on_computes_unpacked_with_the_numbers_of_nf4(
    tiny: Path, monkeypatch, dtype: str
):
    """Logits and gradients to the last bit; its weights are held and saved in 4 bits as before."""
    ids = torch.arange(32).view(2, 16)
    found: list[list[torch.Tensor]] = []
    for share in (1.0, 0.0):
        monkeypatch.setattr(load, "UNPACKED_SHARE", share)
        base, _ = load_base({"path": str(tiny), "compute": dtype, **NF4})
        plain = [m for m in base.modules() if isinstance(vars(m).get("forward"), partial)]
        assert len(plain) == (14 if share else 0)
        torch.manual_seed(0)
        model = attach_adapter(base, lora_config(4, 4))
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.normal_(std=0.1)
        output = model(ids, labels=ids)
        output.loss.backward()
        trained = [p.grad for p in model.parameters() if p.grad is not None]
        frozen = [p for p in model.parameters() if not p.requires_grad]
        found.append([output.logits, *trained, *frozen])
    assert len(found[0]) == len(found[1])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_evaluating_changes_neither_the_base_nor_the_gradients(tiny: Path):
    """On CPUs with AVX-512 BF16, bitsandbytes left alone loses the base layers' gradient."""
    torch.manual_seed(0)
    base, _ = load_base({"path": str(tiny), **NF4})
    model = attach_adapter(base, lora_config(4, 4))
    ids = torch.arange(8)[None]

    def gradients() -> list[torch.Tensor]:
        model.train()
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    weights = [p.clone() for p in base.parameters() if not p.requires_grad]
    before = gradients()
    with torch.no_grad():
        model.eval()
        model(ids)
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(), strict=True))
    after = [p for p in base.parameters() if not p.requires_grad]
    assert all(torch.equal(a, b) for a, b in zip(weights, after, strict=True))


def test_adapters_are_float32_and_start_at_the_base(tiny: Path):
    model, _ = load_base({"path": str(tiny), **NF4})
    ids = torch.arange(8)[None]
    before = model(ids).logits
    adapted = attach_adapter(model, lora_config(4, 4))
    assert {p.dtype for p in adapted.parameters() if p.requires_grad} == {torch.float32}
    assert not any("lm_head" in n for n, p in adapted.named_parameters() if p.requires_grad)
    assert torch.equal(adapted(ids).logits, before)


def test_head_stays_out_of_quantisation_and_lora(tiny: Path):
    model, _ = load_scorer({"path": str(tiny), **NF4}, seed=5)
    assert type(model.score) is torch.nn.Linear
    assert model.score.weight.dtype == torch.float32
    again, _ = load_scorer({"path": str(tiny), **NF4}, seed=5)
    assert torch.equal(model.score.weight, again.score.weight)  # type: ignore[arg-type, union-attr]
    adapted = attach_adapter(model, lora_config(4, 4, head=True))
    names = [n for n, p in adapted.named_parameters() if p.requires_grad and "score" in n]
    assert names == ["base_model.model.score.modules_to_save.default.weight"]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"quantization": "int3"}, "int3"), ({"path": "nowhere"}, "not a model folder")],
)
def test_load_base_refuses(tiny: Path, change, message):
    with pytest.raises(JobInputError, match=message):
        load_base({"path": str(tiny), **NF4, **change})


def test_float32_adapters_restores_what_trl_rounds(tiny: Path, tmp_path: Path):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model = attach_adapter(load_base({"path": str(tiny), **NF4})[0], lora_config(4, 4))
    tokenizer = base_module.load_tokenizer(tiny)
    rows = Dataset.from_list([{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}])

    def construct() -> None:
        args = SFTConfig(str(tmp_path), report_to="none", use_cpu=True, bf16=False)
        SFTTrainer(model=model, args=args, train_dataset=rows, processing_class=tokenizer)

    before = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
    with float32_adapters(model):
        construct()
    after = dict(model.named_parameters())
    assert all(after[n].dtype == torch.float32 for n in before)
    assert all(torch.equal(after[n], before[n]) for n in before)
    construct()  # without the guard TRL rounds: the reason the guard is there
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.bfloat16}


def test_saved_adapter_names_no_machine_path_and_reloads(tiny: Path, tmp_path: Path):
    model = attach_adapter(load_base({"path": str(tiny), **NF4})[0], lora_config(4, 8))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
    save_adapter(model, tmp_path / "a", "some-model")
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "some-model"
    assert config["target_modules"] == sorted(config["target_modules"])
    assert str(tiny.parent) not in json.dumps(config)
    ids = torch.arange(8)[None]
    again = attach_adapter(
        load_base({"path": str(tiny), **NF4})[0], lora_config(1, 1), tmp_path / "a"
    )
    assert torch.equal(again(ids).logits, model(ids).logits)
    assert again.peft_config["default"].base_model_name_or_path == str(tiny)
    assert {p.dtype for p in again.parameters() if p.requires_grad} == {torch.float32}


def test_an_adapter_that_does_not_fit_is_refused(tiny: Path, tmp_path: Path):
    model = attach_adapter(load_base({"path": str(tiny), **NF4})[0], lora_config(4, 8))
    save_adapter(model, tmp_path, "tiny")
    file = tmp_path / "adapter_model.safetensors"
    tensors = load_file(file)
    renamed = {k.replace("layers.1.", "layers.9."): v for k, v in tensors.items()}
    save_file(renamed, file)
    with pytest.raises(TrainingInputError, match="does not fit this base"):
        attach_adapter(load_base({"path": str(tiny), **NF4})[0], lora_config(4, 8), tmp_path)


def test_prompt_and_responses_are_the_rendered_conversation(tiny: Path):
    tokenizer = base_module.load_tokenizer(tiny)
    messages = [{"role": "user", "content": "hi"}]
    prompt, (short, long) = prompt_and_responses(tokenizer, messages, "a", "\nabc")
    assert tokenizer.decode(prompt) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(short) == "a<|im_end|>\n"
    assert tokenizer.decode(long) == "\nabc<|im_end|>\n"


def test_broken_row_names_its_line(tmp_path: Path):
    (tmp_path / "rows.jsonl").write_text('{"id": 1}\n{"id":\n')
    with pytest.raises(TrainingInputError, match=r"rows\.jsonl:2"):
        read_rows(tmp_path / "rows.jsonl")


def test_order_is_a_seeded_permutation_of_similar_lengths():
    lengths = [(37 * n) % 101 for n in range(203)]
    order = LengthGroupedOrder(lengths, 4, seed=1)
    first = list(order)
    assert sorted(first) == list(range(203))
    assert list(order) == first
    order.set_epoch(1)
    assert list(order) != first
    assert list(LengthGroupedOrder(lengths, 4, seed=2)) != first
    spans = [
        max(lengths[i] for i in first[s : s + 4]) - min(lengths[i] for i in first[s : s + 4])
        for s in range(0, 200, 4)
    ]
    assert sum(spans) / len(spans) < 15  # a random order spans about 60


def checkpoint(state: Path, step: int) -> Path:
    folder = state / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * step)
    return folder


def test_the_newest_whole_checkpoint_counts(tmp_path: Path):
    said = io.StringIO()
    assert latest_complete(tmp_path / "absent", Report(said)) is None
    for step in (8, 9, 10):
        mark_complete(checkpoint(tmp_path, step))
    checkpoint(tmp_path, 12)  # torn
    assert latest_complete(tmp_path, Report(said)) == tmp_path / "checkpoint-10"
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-9", "checkpoint-10"}
    assert said.getvalue() == ""


@pytest.mark.parametrize("file", ["weights", MARKER])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_counts(tmp_path: Path, file: str):
    for step in (9, 10):
        mark_complete(checkpoint(tmp_path, step))
    flip(tmp_path / "checkpoint-10" / file)
    said = io.StringIO()
    assert latest_complete(tmp_path, Report(said)) == tmp_path / "checkpoint-9"
    (line,) = said.getvalue().splitlines()
    assert json.loads(line)["level"] == "warning"
    assert f"{tmp_path}/checkpoint-10: is not what was written" in json.loads(line)["message"]
    flip(tmp_path / "checkpoint-9" / file)
    assert latest_complete(tmp_path, Report(said)) is None
    assert list(tmp_path.iterdir()) == []


def test_a_kill_while_one_is_removed_leaves_a_torn_one(tmp_path: Path, monkeypatch):
    for step in (8, 9):
        mark_complete(checkpoint(tmp_path, step))

    def kill(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", kill)
        with pytest.raises(KeyboardInterrupt):
            mark_complete(checkpoint(tmp_path, 10))
    whole = {path.parent.name for path in tmp_path.rglob(MARKER)}
    assert whole == {"checkpoint-9", "checkpoint-10"}


def test_loss_summary_and_files(tmp_path: Path):
    losses = [float(n) for n in range(20)]
    assert loss_summary(losses) == {"loss_first": 0.5, "loss_last": 18.5}
    assert loss_summary([3.0]) == {"loss_first": 3.0, "loss_last": 3.0}
    assert loss_summary([]) == {}
    write_metrics(tmp_path / "m.jsonl", [{"loss": float("nan"), "step": 1}])
    assert (tmp_path / "m.jsonl").read_text() == '{"step": 1, "loss": null}\n'
    write_curves(
        tmp_path / "c.png", {"loss": {"train": [(1, 2.0), (2, 1.0)], "held out": []}}, "step"
    )
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
