"""A workspace with one evaluation, made by hand: answers, the figures and gates that follow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from constitution.load import load, resolve
from flows.explain.run_report.build import build
from flows.explain.run_report.report import RunReport
from flows.explain.run_report.subject import subject
from flows.plan.evaluation_parts import GateSettings
from flows.run.verdicts import judge_policies
from storage.artifacts import artifact_path
from storage.ids import content_id
from storage.ledger import Ledger, insert, now, point
from storage.workspace import Workspace
from tasks.evaluation.metrics import rules, summarise
from tasks.evaluation.rows import ANSWERS, write_rows
from tasks.generation.record import record_constitution
from tasks.training.settings import WEIGHT_CHANGE

POLICIES = ("base", "sft", "dpo", "ppo")
RULES = load(resolve("checkable"))
PLAIN = "I think it is fine! It is what I would do!"
GOOD = "It is fine. Most people do so, and it costs little."
# As long as PLAIN, each in words of its own: a phrase that came back would fail its gate.
KEPT = (
    "Yes, daily walking keeps joints supple. Begin slowly on flat paths.",
    "Most adults can do this. Ask a doctor if pain appears.",
    "Cold water works well. Rinse the pan before it dries out.",
    "That depends on your soil. Clay needs sand and more patience.",
    "Not before noon. The shop opens late and closes at six.",
    "A small fee is usual. Some banks waive it for students.",
    "Tea has less caffeine than coffee. Green leaves hold the least.",
    "Copper wire carries current best. Steel would heat up too quickly.",
    "Nobody knows yet. Early results hint at a slow seasonal decline.",
    "Bread dough rises faster near warmth. An oven light is enough.",
    "Old maps show two bridges there. Floods took the northern one.",
    "Whales breathe air through blowholes. They surface every few minutes.",
)
Write = Callable[[str, int, int], str]  # what a policy says to a prompt, the n-th time


def says(texts: Mapping[str, str]) -> Write:
    """A policy's answer, the same to every prompt; of one that is not named the base's."""
    return lambda policy, number, sample: texts.get(policy, PLAIN)


class Book:
    """A ledger and its artifacts under a folder; ids are hashes of plain names."""

    def __init__(self, home: Path) -> None:
        self.workspace = Workspace(home).create()
        self.ledger = Ledger(self.workspace.ledger)
        self.run = content_id("run", "run")
        self.evaluation = content_id("evaluation", "evaluation")
        self.rows = content_id("dataset", "rows")
        self.constitution = record_constitution(self.ledger, RULES, None)
        self.checkpoints = {
            stage: content_id("checkpoint", stage) for stage in ("sft", "reward", "dpo", "ppo")
        }
        settings = json.dumps({"name": "trial", "model": "tiny", "dpo": {"beta": 0.1}})
        self.insert(
            "runs",
            {
                "run_id": self.run,
                "constitution_id": self.constitution,
                "recipe": "trial",
                "settings": settings,
                "state": "completed",
                "git_commit": "0123456789abcdef",
                "started_at": now(),
            },
        )
        counts = {"row_count": 30, "held_out_count": 8, "created_at": now()}
        row = {"dataset_id": self.rows, "run_id": self.run, "kind": "preferences"}
        self.insert("datasets", row | counts)
        self.measure(
            self.rows, {"evidence/program": 20, "evidence/none": 10, "source/revision": 30}
        )
        for stage, found in self.checkpoints.items():
            self.trained(found, stage)
            self.measure(found, {"loss_first": 2.0, "loss_last": 0.5, "steps": 8, WEIGHT_CHANGE: 1})
        self.measure(self.checkpoints["reward"], {"eval_accuracy": 0.5, "held_out": 8})

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        with self.ledger.transaction() as con:
            insert(con, table, list(rows), replace=True)

    def measure(self, subject: str, values: Mapping[str, float]) -> None:
        rows = [
            {"subject_id": subject, "name": name, "step": -1, "value": float(value)}
            for name, value in values.items()
        ]
        self.insert("metrics", *rows)

    def trained(self, checkpoint: str, stage: str, **parents: str) -> None:
        self.insert(
            "checkpoints",
            {
                "checkpoint_id": checkpoint,
                "base_model_id": content_id("model", "base"),
                "dataset_id": self.rows,
                "constitution_id": self.constitution,
                "run_id": self.run,
                "parent_ids": list(parents.values()),
                "parent_roles": list(parents),
                "stage": stage,
                "components": "{}",
                "path": stage,
                "duration_s": 12.0,
                "created_at": now(),
            },
        )

    def evaluated(
        self,
        write: Write,
        prompts: int = 12,
        samples: int = 1,
        more: list[dict[str, Any]] | None = None,
        asked: str = "Is it safe, number {}?",
        are_judged: bool = True,
    ) -> None:
        """Every policy answers; the figures and the gates' verdicts are those of a real run."""
        rows = [
            held_out(policy, number, sample, asked.format(number), write(policy, number, sample))
            for policy in POLICIES
            for number in range(prompts)
            for sample in range(samples)
        ] + (more or [])
        folder = artifact_path(self.workspace, self.evaluation)
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / ANSWERS, rows)
        self.trained(self.evaluation, "evaluate", **self.checkpoints)
        self.insert(
            "metrics",
            *(
                {
                    "subject_id": self.evaluation,
                    "name": f"{row['policy']}/{row['metric']}",
                    "step": -1,
                    "sample_count": row["n"],
                    **{name: row[name] for name in ("value", "low", "high")},
                }
                for row in summarise(rows, rules(RULES))
            ),
        )
        if are_judged:
            judge_policies(self.ledger, self.evaluation, GateSettings())
        point(self.ledger, "latest/evaluate", self.evaluation)

    def report(self, name: str | None = None) -> RunReport:
        return build(self.ledger, self.workspace, subject(self.ledger, name))


def held_out(policy: str, number: int, sample: int, prompt: str, text: str) -> dict[str, Any]:
    """A row of answers.jsonl. Rewards rise from stage to stage, whatever was said."""
    return {
        "policy": policy,
        "probe": "held-out",
        "question_id": content_id("prompt", ["question", number]),
        "prompt_id": content_id("prompt", number),
        "sample": sample,
        "completion_id": None,
        "category": "advice",
        "prompt": prompt,
        "text": text,
        "finish_reason": "stop",
        "tokens": len(text.split()),
        "reward": POLICIES.index(policy) + 0.01 * number,
        "kl": 0.1 * POLICIES.index(policy),
        "score": None,
        "reason": None,
    }


def probed(policy: str, number: int, score: float, reason: str) -> dict[str, Any]:
    row = held_out(policy, 100 + number, 0, f"What is the capital, number {number}?", reason)
    own = {"probe": "helpfulness", "reward": None, "kl": None, "score": score, "reason": reason}
    return row | own
