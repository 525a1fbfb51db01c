"""Worker job "evaluate": every policy answers every held-out prompt; reward and KL of each answer.

Writes `answers.jsonl` into SPEC["out"], one row per policy and prompt, in the order of
SPEC["policies"], then of the prompts:

    {"policy", "prompt_id", "category", "prompt", "text", "finish_reason", "tokens", "reward", "kl"}

* finish_reason: "stop" (ended by itself), "length" (cut at max_new_tokens), "too_long" (the prompt
  leaves no room in the context; nothing was generated, reward and kl are null).
* tokens: generated tokens, the end-of-sequence token included.
* reward: the reward adapter's score of the conversation as the chat template renders it; null
  without a reward adapter.
* kl: log p_policy(answer) - log p_sft(answer) in nats, summed over the policy's own tokens (the k1
  estimate of http://joschu.net/blog/kl-approx.html). Its mean over answers estimates
  KL(policy || sft) without bias where the answers are sampled; of greedy answers it is only a
  log-ratio. Logits are divided by the sampling temperature. Exactly 0 for sft; null without sft.

Policies share the random numbers of each batch, so equal policies give equal answers and paired
differences carry less noise. Leaves out resuming: an evaluation is minutes, not hours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from tasks.evaluation.policies import REWARD, Policies
from tasks.report import JobInputError, Report
from tasks.training.base import computed_in, set_up
from tasks.training.rows import conversation_ids, read_rows

REFERENCE = "sft"


def run(spec: dict[str, Any], report: Report) -> dict[str, Any]:
    """Answer, score and write.

    Returns {"answers": rows written, "policies": names, "too_long": n, "dtype": computed in}.

    Raises JobInputError for a missing adapter, a lost reward head, repeated names, no prompts.
    """
    set_up(int(spec["seed"]), int(spec.get("threads", 0)))
    prompts = read_rows(spec["data"]["prompts"])
    adapters = {policy["name"]: policy["adapter"] for policy in spec["policies"]}
    _check(spec, prompts, adapters)
    reward = spec["reward"]["adapter"] if spec.get("reward") else None
    report.log(f"loading the base and {len(adapters)} policies")
    policies = Policies(spec["model"], adapters, reward)
    answers = _answer_all(policies, prompts, spec, report)
    if reward:
        _add_rewards(policies, answers, prompts, spec["settings"]["batch_size"], report)
    with (Path(spec["out"]) / "answers.jsonl").open("w", encoding="utf-8") as stream:
        for answer in answers:
            stream.write(json.dumps(answer) + "\n")  # ASCII: no odd line end in a text ends a row
    too_long = sum(answer["finish_reason"] == "too_long" for answer in answers)
    return {
        "answers": len(answers),
        "policies": list(adapters),
        "too_long": too_long,
        "dtype": computed_in(spec["model"]),
    }


def _check(spec: dict[str, Any], prompts: list[Any], adapters: dict[str, Any]) -> None:
    if not prompts:
        raise JobInputError(spec["data"]["prompts"], "holds no prompts", "hold out some prompts")
    if not adapters or len(adapters) < len(spec["policies"]) or REWARD in adapters:
        names = ", ".join(policy["name"] for policy in spec["policies"])
        raise JobInputError(names, "policy names must be different", "name each policy once")


def _answer_all(
    policies: Policies, prompts: list[dict[str, Any]], spec: dict[str, Any], report: Report
) -> list[dict[str, Any]]:
    """All answers without rewards, in the order of the file."""
    settings = spec["settings"]
    rendered = [policies.render(prompt["messages"]) for prompt in prompts]
    room = policies.context - settings["max_new_tokens"]
    fitting = [index for index, ids in enumerate(rendered) if len(ids) <= room]
    batches = list(_batches(fitting, [len(ids) for ids in rendered], settings["batch_size"]))
    total = len(policies.adapters) * len(prompts)
    answers: list[dict[str, Any]] = []
    for policy in policies.adapters:
        rows = [_row(policy, prompt) for prompt in prompts]
        done = len(answers) + len(prompts) - len(fitting)
        for batch in batches:
            _answer_batch(policies, rows, batch, rendered, spec)
            done += len(batch)
            report.progress(done, total, "answers", policy=policy)
        answers.extend(rows)
    return answers


def _answer_batch(
    policies: Policies,
    rows: list[dict[str, Any]],
    batch: list[int],
    rendered: list[list[int]],
    spec: dict[str, Any],
) -> None:
    """Fill in text, finish_reason, tokens and kl of the rows at `batch`."""
    policy, temperature = rows[0]["policy"], float(spec["settings"]["temperature"])
    asked = [rendered[index] for index in batch]
    torch.manual_seed(_seed(spec["seed"], [rows[index]["prompt_id"] for index in batch]))
    made = policies.generate(policy, asked, spec["settings"]["max_new_tokens"], temperature)
    kls = _kl(policies, policy, asked, made, temperature)
    for index, tokens, kl in zip(batch, made, kls, strict=True):
        has_ended = tokens[-1] in policies.eos
        text = policies.tokenizer.decode(tokens, skip_special_tokens=True)
        rows[index].update(
            text=text, finish_reason="stop" if has_ended else "length", tokens=len(tokens), kl=kl
        )


def _kl(
    policies: Policies,
    policy: str,
    asked: list[list[int]],
    made: list[list[int]],
    temperature: float,
) -> Sequence[float | None]:
    """log p_policy - log p_sft of each answer; see the module's docstring."""
    if REFERENCE not in policies.adapters:
        return [None] * len(made)
    if policy == REFERENCE:
        return [0.0] * len(made)
    own, reference = (
        policies.log_probabilities(name, asked, made, temperature) for name in (policy, REFERENCE)
    )
    return [p - q for p, q in zip(own, reference, strict=True)]


def _add_rewards(
    policies: Policies,
    answers: list[dict[str, Any]],
    prompts: list[dict[str, Any]],
    batch_size: int,
    report: Report,
) -> None:
    """Score every answer that was made, in batches of similar length."""
    report.log("scoring the answers")
    messages = {prompt["id"]: prompt["messages"] for prompt in prompts}
    ids = [
        conversation_ids(policies.tokenizer, messages[answer["prompt_id"]], answer["text"])
        for answer in answers
    ]
    made = [i for i, answer in enumerate(answers) if answer["finish_reason"] != "too_long"]
    for batch in _batches(made, [len(row) for row in ids], batch_size):
        scores = policies.rewards([ids[index] for index in batch])
        for index, score in zip(batch, scores, strict=True):
            answers[index]["reward"] = score


def _row(policy: str, prompt: dict[str, Any]) -> dict[str, Any]:
    """The row of an answer that was not made (yet)."""
    return {
        "policy": policy,
        "prompt_id": prompt["id"],
        "category": prompt.get("category", ""),
        "prompt": prompt["messages"][-1]["content"],
        "text": "",
        "finish_reason": "too_long",
        "tokens": 0,
        "reward": None,
        "kl": None,
    }


def _batches(indices: list[int], lengths: list[int], size: int) -> Iterator[list[int]]:
    """Indices in batches of at most `size`, longest first: memory runs out at once or never."""
    ordered = sorted(indices, key=lambda index: (-lengths[index], index))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _seed(seed: int, prompt_ids: list[str]) -> int:
    """The sampling seed of a batch: the same for every policy."""
    digest = hashlib.blake2b(json.dumps([seed, *prompt_ids]).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1
