"""Rows of a dataset file to token ids, and the order in which they are trained on.

The prompt is what generation saw, id by id; the response is its text and what ends a turn
(`tasks.chat.tokens`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from tasks.chat.tokens import prompt_ids, response_ids
from tasks.report import Report
from tasks.training.settings import StageSettings, TrainingInputError, require

Message = dict[str, str]


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file in file order; raises TrainingInputError with the line's number."""
    rows = []
    with Path(path).open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, start=1):
            if line.strip():
                try:
                    rows.append(json.loads(line))
                except json.JSONDecodeError as error:
                    where = f"{path}:{number}"
                    raise TrainingInputError(
                        where, f"is not JSON ({error})", "export again"
                    ) from error
    return rows


def prompt_and_responses(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *responses: str
) -> tuple[list[int], list[list[int]]]:
    """The ids of a prompt, and those of each response to it with the end of its turn."""
    prompt = prompt_ids(tokenizer, messages)
    return prompt, [response_ids(tokenizer, response) for response in responses]


def preference(row: dict[str, Any]) -> float:
    """P(chosen better) of a row; raises TrainingInputError where it is no probability."""
    value = float(row["preference"])
    rule = f"preference {row['preference']} is no probability"
    fix = "use P(chosen better) in [0, 1]"
    require(0 <= value <= 1, row.get("id", "row"), rule, fix)
    return value


@dataclass(frozen=True)
class Split:
    """Tokenised rows to train on and to hold out, and how many were too long for either."""

    train: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    dropped: int

    def metrics(self) -> dict[str, float]:
        """The counts, as metrics of the stage."""
        return {
            "examples": float(len(self.train)),
            "held_out": float(len(self.held_out)),
            "dropped_too_long": float(self.dropped),
        }


def load_split(
    data: dict[str, str],
    convert: Callable[[dict[str, Any]], dict[str, Any]],
    settings: StageSettings,
    report: Report,
) -> Split:
    """Read and tokenise data["train"] and data["eval"], dropping rows over max_length tokens.

    convert gives a row's token columns and "length", the tokens of its longest sequence. What is
    dropped is counted and logged. Raises TrainingInputError if nothing is left to train on.
    """
    limit = settings.max_length
    train, held_out = ([convert(r) for r in read_rows(data[name])] for name in ("train", "eval"))
    kept, kept_out = ([r for r in rows if r["length"] <= limit] for rows in (train, held_out))
    dropped = len(train) + len(held_out) - len(kept) - len(kept_out)
    rule = f"all {len(train)} rows are over max_length={limit} tokens" if train else "is empty"
    fix = "raise max_length" if train else "generate rows before training"
    require(bool(kept), data["train"], rule, fix)
    if dropped:
        report.log(f"dropped {dropped} rows over max_length={limit} tokens", level="warning")
    return Split(kept, kept_out, dropped)


class LengthGroupedOrder(Sampler[int]):
    """A seeded order of row indices in which batches hold rows of similar length.

    Per epoch: shuffle, sort by length within windows of 16 batches, then shuffle the batches, so
    the loss does not follow the length. The order is a function of (seed, epoch) alone, which is
    what lets an interrupted run skip to its place. The last batch may be short; none is dropped.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = list(lengths), batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order is drawn next (called by the trainer)."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        window = 16 * self.batch_size
        for start in range(0, len(order), window):
            order[start : start + window] = sorted(
                order[start : start + window], key=lambda index: self.lengths[index]
            )
        batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
        short = [batches.pop()] if batches and len(batches[-1]) < self.batch_size else []
        shuffled = torch.randperm(len(batches), generator=generator).tolist()
        for batch in [*(batches[i] for i in shuffled), *short]:
            yield from batch
