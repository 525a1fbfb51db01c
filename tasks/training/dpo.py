"""Direct preference optimisation (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, eq. 7).

The policy starts from the SFT adapter, the reference is a frozen copy of it on the same base:
before the first step both must give the very same log-probabilities, else the stage stops.
Without an SFT adapter the policy is fresh and the reference equals the base.
Departures from TRL's DPOTrainer: (1) nothing is truncated; (2) the adapter is not rounded to
bfloat16, which would set the policy apart from its reference; (3) held-out accuracy and margin
are means over rows, not over batches. Soft preferences are not used: chosen is taken as better.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer
from trl.trainer.utils import use_adapter

from tasks.report import Report
from tasks.training.base import attach_adapter, load_base, lora_config, set_up
from tasks.training.loop import StageTrainer, make_trainer, train
from tasks.training.rows import load_split, prompt_and_responses
from tasks.training.settings import DpoSettings, parse_settings

REFERENCE = "ref"
"""Name TRL gives the frozen copy of the policy's first adapter."""

CHECKED_PAIRS = 4


class ReferenceMismatch(RuntimeError):
    """The policy and its reference differ before the first step: DPO would train on a wrong KL."""


class PairTrainer(StageTrainer, DPOTrainer):
    """TRL's DPO trainer on tokenised pairs."""

    title = "DPO"
    columns = ("prompt_ids", "chosen_ids", "rejected_ids", "length")


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train a DPO adapter from rows {"id", "messages", "chosen", "rejected", …}.

    Raises TrainingInputError for unknown settings or no row short enough, and ReferenceMismatch.
    """
    settings = parse_settings(DpoSettings, spec["settings"])
    set_up(spec["seed"], spec.get("threads", 0))
    base, tokenizer = load_base(spec["model"])
    split = load_split(spec["data"], lambda row: paired(tokenizer, row), settings, report)
    start = spec.get("adapters", {}).get("sft")
    model = attach_adapter(base, lora_config(settings.lora_r, settings.lora_alpha), start)
    trainer = make_trainer(
        PairTrainer, DPOConfig, model, tokenizer, split, settings, spec, beta=settings.beta
    )
    check_reference(trainer, split.train[:CHECKED_PAIRS])
    result = train(trainer, split, settings, spec, report)
    result["metrics"] |= held_out_metrics(trainer, split.held_out, settings)
    return result


def paired(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any]) -> dict[str, Any]:
    """Ids of a row's prompt and responses; length is that of the longer conversation."""
    prompt, (chosen, rejected) = prompt_and_responses(
        tokenizer, row["messages"], row["chosen"], row["rejected"]
    )
    return {
        "prompt_ids": prompt,
        "chosen_ids": chosen,
        "rejected_ids": rejected,
        "length": len(prompt) + max(len(chosen), len(rejected)),
    }


@torch.no_grad()
def response_logprobs(
    trainer: DPOTrainer, rows: list[dict[str, Any]], batch_size: int, *, reference: bool = False
) -> Tensor:
    """log p(response | prompt) [N, 2], chosen and rejected, under the policy or its reference."""
    model: PeftModel = trainer.model  # type: ignore[assignment]
    results = []
    with use_adapter(model, REFERENCE) if reference else nullcontext():
        for start in range(0, len(rows), batch_size):
            batch = trainer.data_collator(rows[start : start + batch_size])
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            labels = batch["input_ids"].masked_fill(batch.pop("completion_mask") == 0, -100)
            logprobs = model(**batch, labels=labels, use_cache=False, fused_lm_head=True).log_probs
            results.append(logprobs.double().sum(1).view(2, -1).T.cpu())
    return torch.cat(results)


def check_reference(trainer: DPOTrainer, rows: list[dict[str, Any]]) -> None:
    """Raise ReferenceMismatch unless policy and reference agree bit for bit on the rows."""
    policy = response_logprobs(trainer, rows, len(rows))
    reference = response_logprobs(trainer, rows, len(rows), reference=True)
    difference = (policy - reference).abs().max().item()
    if not difference == 0:
        raise ReferenceMismatch(
            f"largest log-probability difference {difference:.3g} before the first step: "
            "the reference must be a copy of the adapter the policy starts from"
        )


def held_out_metrics(
    trainer: DPOTrainer, rows: list[dict[str, Any]], settings: DpoSettings
) -> dict[str, float]:
    """Share of rows whose implicit reward is higher for chosen, and the mean reward margin."""
    if not rows:
        return {}
    policy = response_logprobs(trainer, rows, settings.batch_size)
    reference = response_logprobs(trainer, rows, settings.batch_size, reference=True)
    rewards = settings.beta * (policy - reference)
    margins = rewards[:, 0] - rewards[:, 1]
    return {
        "eval_accuracy": (margins > 0).double().mean().item(),
        "eval_margin": margins.mean().item(),
    }
