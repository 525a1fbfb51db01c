"""From completions to one shaped score each, by the reward adapter or callables.

The order is fixed: raw scores (logged) -> normalise each reward's -> weighted sum -> clip ->
missing-EOS penalty.

Departure from TRL 1.12's PPO: the reward model reads the answer's text encoded anew, with the end
of its turn, as it did in training, not the raw rollout ids (which lack what the template writes
after the answer).
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from constitution.checks import complies
from constitution.schema import Principle
from tasks.chat.tokens import conversation_ids
from tasks.engines.tokens import last_attended
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.prompts import Prompt
from tasks.training.ppo.roles import Roles, scalar
from tasks.training.ppo.rollout import chunks
from tasks.training.preference import correlation
from tasks.training.scoring import pad_right
from tasks.training.settings import require

Reward = Callable[..., Any]
"""f(*, prompts, completions, completion_ids, id) -> list of float or None (not scorable), or a
coroutine of one. Completions are [{"role": "assistant", "content": ...}] or strings."""

PROBE_TOLERANCE = 1e-2
PROBE_CORRELATION = 0.8


class RewardAdapter:
    """The reward role as a reward function."""

    name = "reward_model"

    def __init__(self, roles: Roles, tokenizer: PreTrainedTokenizerBase, batch_size: int) -> None:
        assert roles.reward_head is not None
        self._roles, self._tokenizer, self._batch_size = roles, tokenizer, batch_size
        self._head = roles.reward_head

    def __call__(self, prompts: list[Any], completions: list[Any], **_: Any) -> list[float]:
        pairs = zip(prompts, completions, strict=True)
        return self.score([prompt + completion for prompt, completion in pairs])

    @torch.no_grad()
    def score(
        self, conversations: Sequence[list[dict[str, str]] | str], batch_size: int = 0
    ) -> list[float]:
        """Scores of whole conversations, or of texts (an EOS is added, as in reward training)."""
        self._roles.train(False)
        encoded = [self._encode(conversation) for conversation in conversations]
        scores: list[float] = []
        with self._roles.use("reward"):
            for part in chunks(len(encoded), batch_size or self._batch_size):
                batch = pad_right(encoded[part], self._roles.causal.device)
                hidden = self._roles.hidden(*batch.values())
                scores += scalar(
                    self._head, last_attended(hidden, batch["attention_mask"])
                ).tolist()
        return scores

    def _encode(self, conversation: list[dict[str, str]] | str) -> list[int]:
        if isinstance(conversation, str):
            return self._tokenizer(conversation + str(self._tokenizer.eos_token))["input_ids"]
        *messages, answer = conversation
        return conversation_ids(self._tokenizer, messages, answer["content"])

    def check_probes(self, path: Path, dtype: str) -> None:
        """Score the texts stored when the reward model was trained; dtype: computed in now.

        Scores stored in the other number type differ by a third of their spread and more: those
        need only go up and down with the stored ones.

        Raises TrainingInputError if the file is missing, a score is off by more than
        PROBE_TOLERANCE, or scores in two number types correlate by less than PROBE_CORRELATION.
        """
        fix = "train the reward stage again"
        require(path.is_file(), path, "reward probes are missing", fix)
        kept = json.loads(path.read_text(encoding="utf-8"))
        scores = self.score([probe["messages"] for probe in kept["probes"]], batch_size=1)
        stored = [float(probe["score"]) for probe in kept["probes"]]
        if kept.get("dtype", dtype) != dtype:
            found = correlation(torch.tensor(scores), torch.tensor(stored))
            require(
                found is None or found >= PROBE_CORRELATION,
                f"{path.name}: correlation {found or 0:.3g}",
                f"scores computed in {dtype} must follow those stored in {kept['dtype']},"
                f" at least {PROBE_CORRELATION}",
                "use the base model and chat template it was trained with",
            )
            return
        worst = max((abs(a - b) for a, b in zip(scores, stored, strict=True)), default=math.inf)
        require(
            worst <= PROBE_TOLERANCE,
            f"{path.name}: off by {worst:.3g}",
            f"the reward model must give its stored scores within {PROBE_TOLERANCE}",
            "use the base model, precision and chat template it was trained with",
        )


class Checks:
    """The programs of a constitution as a reward: the share that an answer keeps, in [0, 1], of
    those that apply to its prompt; None where none does.
    """

    name = "checks"

    def __init__(self, checks: Sequence[Sequence[Any]]) -> None:
        """checks: [name, parameter] each; see constitution/README.md."""
        self._principles = [
            Principle(name, "", "", "", "", check=(name, tuple(p) if isinstance(p, list) else p))
            for name, p in checks
        ]

    def __call__(self, prompts: list[Any], completions: list[Any], **_: Any) -> list[float | None]:
        return [self._share(*pair) for pair in zip(prompts, completions, strict=True)]

    def _share(self, prompt: Any, completion: Any) -> float | None:
        asked, said = (t if isinstance(t, str) else t[-1]["content"] for t in (prompt, completion))
        kept = [complies(principle, asked, said) for principle in self._principles]
        told = [each for each in kept if each is not None]
        return sum(told) / len(told) if told else None


def collect_scores(
    rewards: Sequence[Reward],
    prompts: Sequence[Prompt],
    texts: Sequence[str],
    completion_ids: Sequence[list[int]],
) -> Tensor:
    """What each of R rewards gives, [R, B] float64; NaN for a row that it could not score.

    Raises TrainingInputError where a reward does not give a number, or None, for each completion.
    """
    completions = [
        text if isinstance(prompt.source, str) else [{"role": "assistant", "content": text}]
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    scores = []
    for reward in rewards:
        result = reward(
            prompts=[prompt.source for prompt in prompts],
            completions=completions,
            completion_ids=list(completion_ids),
            id=[prompt.id for prompt in prompts],
        )
        result = asyncio.run(result) if inspect.iscoroutine(result) else result
        part = _checked(result, len(prompts), name_of(reward))
        scores.append(part)
    return torch.stack(scores)


def combined(scores: Tensor, weights: Sequence[float]) -> Tensor:
    """Weighted sum [B] of scores [R, B]; NaN for a row that no reward could score."""
    parts = scores * torch.tensor(weights, dtype=scores.dtype, device=scores.device)[:, None]
    return torch.where(scores.isnan().all(0), math.nan, parts.nansum(0))


def name_of(reward: Reward) -> str:
    """What a reward is called in figures and errors."""
    return str(getattr(reward, "name", getattr(reward, "__name__", type(reward).__name__)))


def _checked(result: Any, count: int, name: str) -> Tensor:
    """The scores [B] that a reward gave for ``count`` completions, NaN where it gave none."""
    given = len(result) if isinstance(result, Sequence) else 0
    rule, fix = f"gave {given} scores for {count} completions", "give a list with one for each"
    require(given == count, f"reward {name}", rule, fix)
    try:
        scores = [math.nan if score is None else float(score) for score in result]
    except (TypeError, ValueError):
        scores = [math.inf]
    rule, fix = "gave a score that is no finite number", "give a float, or None for no score"
    require(math.inf not in map(abs, scores), f"reward {name}", rule, fix)
    return torch.tensor(scores, dtype=torch.float64)


ROUNDING = 1e-9
"""Scores that differ by less, of their mean's size, are the same ones, rounded."""


@dataclass
class RewardNorm:
    """Mean and spread of raw scores: fixed (`calibrate`), up to date (`running`), or unused."""

    kind: str
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared deviations from the mean."""

    @property
    def std(self) -> float:
        """Unbiased; 1 where scores do not vary or are fewer than two."""
        if self.count < 2:
            return 1.0
        std = math.sqrt(max(self.squares, 0.0) / (self.count - 1))
        return std if std > ROUNDING * max(1.0, abs(self.mean)) else 1.0

    def update(self, scores: Tensor) -> None:
        """Take in more scores (NaN are left out), by the parallel form of Welford's sums."""
        scores = scores[~scores.isnan()]
        if not len(scores):
            return
        mean, count = float(scores.mean()), self.count + len(scores)
        shift = mean - self.mean
        self.squares += float((scores - mean).square().sum())
        self.squares += shift**2 * self.count * len(scores) / count
        self.mean += shift * len(scores) / count
        self.count = count

    def apply(self, scores: Tensor) -> Tensor:
        """`calibrate`: (score - mean) / std; `running`: score / std, so that 0 stays 0."""
        if self.kind == "none":
            return scores
        return (scores - (self.mean if self.kind == "calibrate" else 0.0)) / self.std


def shape_scores(scores: Tensor, terminated: Tensor, config: PPOConfig) -> Tensor:
    """[B] normalised scores -> [B] scores for the rewards; unscorable rows (NaN) become 0."""
    scores = torch.where(scores.isnan(), 0, scores)
    if config.score_clip is not None:
        scores = scores.clamp(-config.score_clip, config.score_clip)
    if config.missing_eos_penalty is not None:
        scores = scores - config.missing_eos_penalty * ~terminated
    return scores
