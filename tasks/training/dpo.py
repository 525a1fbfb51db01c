"""Direct preference optimisation (Rafailov et al. 2023, https://arxiv.org/abs/2305.18290, eq. 7).

Soft labels make it conservative (cDPO: Mitchell 2023; Chowdhury et al. 2024, arXiv:2403.00409), row
by row: the reward model's cross-entropy against p = row["preference"], its scores the implicit
rewards beta log(policy / reference). With p = 1 it is eq. 7. `nll_weight` adds the negative
log-likelihood per token of the better response (RPO: Pang et al. 2024, arXiv:2404.19733, eqs. 1-2).
`loss_type` takes the log-ratios per token, or IPO's squared distance instead of the cross-entropy.

The policy starts from the SFT adapter, the reference is a frozen copy of it on the same base:
before the first step both must give the very same log-probabilities, else the stage stops.
Without an SFT adapter the policy is fresh, as SFT's by default, and the reference equals the base.
Departures from TRL's DPOTrainer: (1) nothing is truncated; (2) the adapter is not rounded to
bfloat16, which would set the policy apart from its reference; (3) held-out accuracy and margin
are means over rows, not over batches; (4) soft labels; (5) the likelihood is a mean over the tokens
of each row, as in the paper, not of the batch; (6) experts of a mixture are not balanced.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.utils import use_adapter

from tasks.report import Report
from tasks.training import likelihood
from tasks.training.base import attach_adapter, load_base, lora_config, set_up
from tasks.training.loop import StageTrainer, make_trainer, train
from tasks.training.preference import (
    accuracy,
    better_nll,
    bradley_terry,
    smoothed,
    squared_distance,
)
from tasks.training.rows import load_split, preference, prompt_and_responses
from tasks.training.settings import DpoSettings, SftSettings, parse_settings

REFERENCE = "ref"
"""Name TRL gives the frozen copy of the policy's first adapter."""

CHECKED_PAIRS = 4

SIDES = ("chosen_ids", "rejected_ids")

DISPLACED = (
    "the better held-out responses became less likely than they were (implicit reward {:.3f}), "
    "only the worse ones more so: raise dpo.nll_weight, or lower dpo.learning_rate"
)
"""Likelihood displacement (Razin et al. 2024, arXiv:2410.08847)."""


class ReferenceMismatch(RuntimeError):
    """The policy and its reference differ before the first step: DPO would train on a wrong KL."""


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Right-padded ids and masks [2B, T], the B chosen first, and preference [B]."""
    batch = DataCollatorForPreference(pad_token_id=0)(rows)
    return {**batch, "preference": torch.tensor([row["preference"] for row in rows])}


class PairTrainer(StageTrainer, DPOTrainer):
    """TRL's DPO trainer with soft labels; logs implicit rewards, accuracy and likelihood."""

    title = "DPO"
    columns = ("prompt_ids", "chosen_ids", "rejected_ids", "preference", "length")
    collate = staticmethod(collate)
    objective = DpoSettings()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean loss of a batch whose first half are the chosen, second half the rejected."""
        preferences, asked = inputs["preference"], self.objective
        ours = cast(PeftModel, self.model)
        policy = token_logprobs(ours, inputs)
        with torch.no_grad(), use_adapter(ours, REFERENCE):
            reference = token_logprobs(ours, inputs)
        lengths = inputs["completion_mask"].sum(1)
        chosen, rejected = per_response((policy - reference).sum(1), lengths, asked).chunk(2)
        nll = better_nll(policy, lengths, preferences)
        loss = (
            preference_loss(chosen - rejected, preferences, asked) + asked.nll_weight * nll
        ).mean()
        margins = self.beta * (chosen - rejected)
        kept = self._metrics["train" if model.training else "eval"]
        kept["rewards/chosen"].append(self.beta * chosen.mean().item())
        kept["rewards/rejected"].append(self.beta * rejected.mean().item())
        kept["rewards/margins"].append(margins.mean().item())
        kept["nll"].append(nll.mean().item())
        share = accuracy(margins.detach(), preferences)
        if share is not None:
            kept["rewards/accuracies"].append(share)
        return (loss, {"margins": margins}) if return_outputs else loss


def per_response(ratios: Tensor, lengths: Tensor, asked: DpoSettings) -> Tensor:
    """log policy / reference of responses, as their loss counts it: in all, or per token."""
    return ratios if asked.loss_type == "sigmoid" else ratios / lengths


def preference_loss(gaps: Tensor, preferences: Tensor, asked: DpoSettings) -> Tensor:
    """The loss [N] of gaps [N] between the log-ratios of chosen and rejected."""
    labels = smoothed(preferences, asked.label_smoothing)
    if asked.loss_type == "ipo":
        return squared_distance(gaps, labels, 1 / (2 * asked.beta))
    return bradley_terry(asked.beta * gaps, labels)


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train a DPO adapter from rows {"id", "messages", "chosen", "rejected", …}.

    Raises TrainingInputError for unknown settings, a preference outside [0, 1] or no row short
    enough, and ReferenceMismatch.
    """
    settings = parse_settings(DpoSettings, spec["settings"])
    set_up(spec["seed"], spec.get("threads", 0))
    base, tokenizer = load_base(spec["model"])
    split = load_split(spec["data"], lambda row: paired(tokenizer, row), settings, report)
    start = spec.get("adapters", {}).get("sft")
    fresh = SftSettings()
    model = attach_adapter(base, lora_config(fresh.lora_r, fresh.lora_alpha), start)
    own = {"beta": settings.beta, "remove_unused_columns": False}
    trainer = make_trainer(PairTrainer, DPOConfig, model, tokenizer, split, settings, spec, **own)
    trainer.objective = settings
    check_reference(trainer, split.train[:CHECKED_PAIRS])
    result = train(trainer, split, settings, spec, report)
    found = held_out_metrics(trainer, split.held_out, settings)
    if found.get("eval_accuracy", 0.0) > 0.5 and found["eval_better_reward"] < 0:
        report.log(DISPLACED.format(found["eval_better_reward"]), "warning")
    result["metrics"] |= found
    return result


def paired(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any]) -> dict[str, Any]:
    """Ids of a row's prompt and responses, its label, and the length of the longer conversation."""
    prompt, (chosen, rejected) = prompt_and_responses(
        tokenizer, row["messages"], row["chosen"], row["rejected"]
    )
    return {
        "prompt_ids": prompt,
        "chosen_ids": chosen,
        "rejected_ids": rejected,
        "preference": preference(row),
        "length": len(prompt) + max(len(chosen), len(rejected)),
    }


def token_logprobs(model: PeftModel, batch: dict[str, Tensor]) -> Tensor:
    """log p of each response token [2B, T - 1], 0 elsewhere."""
    asked = (batch[name] for name in ("input_ids", "attention_mask", "completion_mask"))
    return likelihood.token_logprobs(model, *asked)


@torch.no_grad()
def response_logprobs(
    trainer: DPOTrainer, rows: list[dict[str, Any]], batch_size: int, *, reference: bool = False
) -> Tensor:
    """log p(response | prompt) [N, 2], chosen and rejected, under the policy or its reference."""
    model = cast(PeftModel, trainer.model)
    results = []
    with use_adapter(model, REFERENCE) if reference else nullcontext():
        for start in range(0, len(rows), batch_size):
            batch = trainer.data_collator(rows[start : start + batch_size])
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            logprobs = token_logprobs(model, batch).double()
            results.append(logprobs.sum(1).view(2, -1).T.cpu())
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
    """Share of decided rows whose implicit rewards agree with the label (left out where none is
    decided), the mean margin of chosen over rejected, and the mean reward of the better response:
    below 0 it became less likely than it was.
    """
    if not rows:
        return {}
    policy = response_logprobs(trainer, rows, settings.batch_size)
    reference = response_logprobs(trainer, rows, settings.batch_size, reference=True)
    lengths = torch.tensor([[len(row[side]) for side in SIDES] for row in rows])
    rewards = settings.beta * per_response(policy - reference, lengths, settings)
    preferences = torch.tensor([row["preference"] for row in rows])
    margins = rewards[:, 0] - rewards[:, 1]
    better = torch.where(preferences < 0.5, rewards[:, 1], rewards[:, 0])
    share = accuracy(margins, preferences)
    known = {} if share is None else {"eval_accuracy": share}
    means = {"eval_margin": margins.mean().item(), "eval_better_reward": better.mean().item()}
    return known | means
