"""The preference model (Bai et al. 2022, section 4.1): scores whose margins match soft labels.

Loss: Bradley-Terry cross-entropy against p = row["preference"], -(p log s(d) + (1-p) log s(-d)).
Departures from TRL's RewardTrainer: (1) soft targets; (2) pooling at the last attended token (see
`scoring`); (3) a float32 head with a small seeded start. Leaves out margins and score centring.

Beside adapter/ it writes reward_probe.json, {"dtype", "probes": [{"messages", "score"}, …]}:
conversations with the scores of the model as saved, each scored alone, and the number type they
were computed in. Whoever loads the adapter can check itself against them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl import RewardConfig, RewardTrainer

from tasks.chat.tokens import conversation_ids
from tasks.report import Report
from tasks.training.base import (
    ADAPTER_WEIGHTS,
    HEAD_KEY,
    adapter_state,
    attach_adapter,
    check_fit,
    lora_config,
    set_up,
)
from tasks.training.loop import StageTrainer, make_trainer, train
from tasks.training.preference import accuracy, bradley_terry, calibration_error, correlation
from tasks.training.rows import load_split, preference
from tasks.training.scoring import load_scorer, pad_right, score_conversations, score_ids
from tasks.training.settings import RewardSettings, parse_settings, require

PROBES = 8


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Right-padded ids and mask [2B, T], the B chosen first, and preference [B]."""
    batch = pad_right([row[side] for side in ("chosen_ids", "rejected_ids") for row in rows])
    return {**batch, "preference": torch.tensor([row["preference"] for row in rows])}


class PreferenceTrainer(StageTrainer, RewardTrainer):
    """TRL's reward trainer with soft targets; logs accuracy and margin per step."""

    title, has_head = "reward model", True
    columns = ("chosen_ids", "rejected_ids", "preference", "length")
    collate = staticmethod(collate)

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean loss of a batch whose first half are the chosen, second half the rejected."""
        preferences = inputs["preference"]
        scores = model(
            input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]
        ).logits.squeeze(-1)
        chosen, rejected = scores.chunk(2)
        margins = chosen - rejected
        kept = self._metrics["train" if model.training else "eval"]
        kept["margin"].append(margins.mean().item())
        share = accuracy(margins.detach(), preferences)
        if share is not None:
            kept["accuracy"].append(share)
        loss = bradley_terry(margins, preferences).mean()
        return (loss, {"margins": margins}) if return_outputs else loss


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """Train a reward adapter and head from preference rows {"messages", "chosen", "rejected", …}.

    Raises TrainingInputError for unknown settings, a preference outside [0, 1], no row short
    enough, or `start: sft` without an SFT adapter.
    """
    settings = parse_settings(RewardSettings, spec["settings"])
    sft = spec.get("adapters", {}).get("sft") if settings.start == "sft" else None
    have_start = settings.start == "base" or bool(sft)
    require(have_start, "start=sft", "needs an SFT adapter", "train sft first or use base")
    set_up(spec["seed"], spec.get("threads", 0))
    base, tokenizer = load_scorer(spec["model"], spec["seed"])
    split = load_split(spec["data"], lambda row: compared(tokenizer, row), settings, report)
    scorer = attach_scorer(base, settings, sft)
    own = {"remove_unused_columns": False}
    trainer = make_trainer(
        PreferenceTrainer, RewardConfig, scorer, tokenizer, split, settings, spec, **own
    )
    result = train(trainer, split, settings, spec, report)
    probes = Path(spec["out"]) / "reward_probe.json"
    write_probes(probes, scorer, tokenizer, split.held_out + split.train, result["dtype"])
    result["metrics"] |= held_out_metrics(scorer, split.held_out, settings.batch_size)
    return result


def attach_scorer(base: PreTrainedModel, settings: RewardSettings, start: str | None) -> PeftModel:
    """An adapter with a trained head: fresh, or with start a copy of that adapter's LoRA weights.

    A copy keeps the rank and alpha it was trained with, whatever the settings say.
    """
    if start is None:
        return attach_adapter(base, lora_config(settings.lora_r, settings.lora_alpha, head=True))
    copied = LoraConfig.from_pretrained(start)
    scorer = attach_adapter(base, lora_config(copied.r, copied.lora_alpha, head=True))
    weights = load_file(Path(start) / ADAPTER_WEIGHTS)
    fresh = adapter_state(scorer)
    check_fit(start, set(weights), set(fresh) - {HEAD_KEY})
    set_peft_model_state_dict(scorer, weights | {HEAD_KEY: fresh[HEAD_KEY]})
    return scorer


def compared(tokenizer: PreTrainedTokenizerBase, row: dict[str, Any]) -> dict[str, Any]:
    """The row with the token ids of both conversations and the length of the longer one."""
    messages, chosen, rejected = row["messages"], row["chosen"], row["rejected"]
    chosen_ids = conversation_ids(tokenizer, messages, chosen)
    rejected_ids = conversation_ids(tokenizer, messages, rejected)
    ids = {"chosen_ids": chosen_ids, "rejected_ids": rejected_ids}
    length = max(len(chosen_ids), len(rejected_ids))
    return {**row, **ids, "preference": preference(row), "length": length}


def write_probes(
    path: Path,
    scorer: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    dtype: str,
) -> None:
    """Write the first conversations of the rows, at most PROBES, each with its score."""
    conversations = [
        [*row["messages"], {"role": "assistant", "content": row[side]}]
        for row in rows
        for side in ("chosen", "rejected")
    ][:PROBES]
    scores = score_conversations(scorer, tokenizer, conversations, batch_size=1)
    probes = [
        {"messages": messages, "score": score}
        for messages, score in zip(conversations, scores, strict=True)
    ]
    text = json.dumps({"dtype": dtype, "probes": probes}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def held_out_metrics(
    scorer: PeftModel, rows: list[dict[str, Any]], batch_size: int
) -> dict[str, float]:
    """Accuracy, calibration, length bias and mean scores; what is undefined is left out."""
    if not rows:
        return {}
    chosen = score_ids(scorer, [row["chosen_ids"] for row in rows], batch_size)
    rejected = score_ids(scorer, [row["rejected_ids"] for row in rows], batch_size)
    preferences = torch.tensor([row["preference"] for row in rows])
    longer = torch.tensor([float(len(r["chosen_ids"]) - len(r["rejected_ids"])) for r in rows])
    margins = chosen - rejected
    metrics = {
        "eval_accuracy": accuracy(margins, preferences),
        "eval_calibration_error": calibration_error(margins, preferences),
        "eval_length_correlation": correlation(margins, longer),
        "eval_score_chosen": chosen.mean().item(),
        "eval_score_rejected": rejected.mean().item(),
        "eval_margin": margins.mean().item(),
    }
    return {name: value for name, value in metrics.items() if value is not None}
