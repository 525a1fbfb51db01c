"""Does the answer follow instructions that a program can check? IFEval's, with its meanings.

expects: `instruction_id_list` and `kwargs`, as IFEval publishes them (Zhou et al. 2023, arXiv
2311.07911). The value is strict accuracy by prompt: 1 where every instruction is followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tasks.evaluation.probes.ifeval import CHECKS
from tasks.evaluation.probes.question import Question, Scored

ENGLISH = "en:"  # M-IFEval's prefix of the English instructions


@dataclass(frozen=True)
class Accuracy:
    """Strict accuracy: the share of prompts that are followed in all, and of instructions."""

    prompt: float
    instruction: float


def unsupported(instruction_id: str, arguments: dict[str, Any]) -> str | None:
    """Why there is no program for an instruction with these arguments; None where there is one."""
    check = CHECKS.get(instruction_id.removeprefix(ENGLISH))
    return check.fault(arguments) if check else "an instruction that has no program here"


def followed(question: Question, answer: str) -> list[tuple[str, bool]]:
    """(instruction id, whether it is followed) for each; an empty answer follows none."""
    found = []
    expects = question.expects
    for name, arguments in zip(expects["instruction_id_list"], expects["kwargs"], strict=True):
        check = CHECKS[name.removeprefix(ENGLISH)]
        found.append((name, bool(answer.strip()) and check.keeps(answer, **arguments)))
    return found


def score(question: Question, answer: str) -> Scored:
    found = followed(question, answer)
    broken = [name.removeprefix(ENGLISH) for name, kept in found if not kept]
    if not broken:
        return Scored(1.0, f"follows {'all ' if len(found) > 1 else ''}{len(found)}")
    return Scored(0.0, f"follows {len(found) - len(broken)} of {len(found)}, not {broken[0]}")


def accuracy(answered: Iterable[tuple[Question, str]]) -> Accuracy:
    """Raises ValueError without any answer."""
    kept = [[kept for _, kept in followed(question, answer)] for question, answer in answered]
    if not kept:
        raise ValueError("accuracy of no answers: give at least one")
    one_by_one = [value for values in kept for value in values]
    return Accuracy(sum(map(all, kept)) / len(kept), sum(one_by_one) / len(one_by_one))
