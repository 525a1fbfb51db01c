"""Supervised fine-tuning on final revisions (SL-CAI, Bai et al. 2022, section 3).

The loss is the mean negative log-likelihood of the response's tokens: its text and the end-of-turn
tokens the chat template adds. The held-out loss is the row-weighted mean of the batches' means.
Leaves out packing: rows are grouped by length instead, so that no row sees another. Leaves out
TRL's entropy and token accuracy, which cost as much as the rest of the head.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from tasks.report import Report
from tasks.training.base import attach_adapter, load_base, lora_config, set_up
from tasks.training.likelihood import token_logprobs
from tasks.training.loop import StageTrainer, make_trainer, train
from tasks.training.rows import load_split, prompt_and_responses
from tasks.training.settings import SftSettings, parse_settings


class ResponseTrainer(StageTrainer, SFTTrainer):
    """TRL's SFT trainer on tokenised rows with labels."""

    title = "SFT"
    columns = ("input_ids", "labels", "length")

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean negative log-likelihood of the labels; of all batches that one step takes in."""
        ids, mask, labels = (inputs[name] for name in ("input_ids", "attention_mask", "labels"))
        scored = labels != -100
        found = token_logprobs(cast(PeftModel, self.model), ids, mask, scored)
        count = scored[:, 1:].sum() if num_items_in_batch is None else num_items_in_batch
        loss = -found.sum() / torch.as_tensor(count).clamp(min=1)
        return (loss, {}) if return_outputs else loss


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train an SFT adapter from rows {"id", "messages", "response"}; see `tasks.training`.

    Raises JobInputError for unknown settings, and where no row is short enough to train on.
    """
    settings = parse_settings(SftSettings, spec["settings"])
    set_up(spec["seed"], spec.get("threads", 0))
    base, tokenizer = load_base(spec["model"])
    split = load_split(spec["data"], lambda row: labelled(tokenizer, row), settings, report)
    model = attach_adapter(base, lora_config(settings.lora_r, settings.lora_alpha))
    trainer = make_trainer(ResponseTrainer, SFTConfig, model, tokenizer, split, settings, spec)
    return train(trainer, split, settings, spec, report)


def labelled(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any]) -> dict[str, Any]:
    """input_ids [T] of the conversation and labels [T]: the response's ids, -100 on the prompt."""
    prompt, (response,) = prompt_and_responses(tokenizer, row["messages"], row["response"])
    return {
        "input_ids": prompt + response,
        "labels": [-100] * len(prompt) + response,
        "length": len(prompt) + len(response),
    }
