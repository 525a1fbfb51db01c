"""The PPO loop: rollout -> score -> update, with its controllers and stop rules.

`rollout`, `score` and `update` can be called by themselves; `step` is one round of the three and
`train` runs them to the end. Every draw is derived from (seed, update, row), so the state that
`state.py` saves holds no random generator.

Departure from TRL 1.12's PPO: with `reward_norm: calibrate` and a critic that starts as the reward
model, the value head is rescaled by a line fitted on the calibration completions. A reward model is
trained on whole conversations; what it says in the middle of one may be far off, and with values
clipped the critic would need many updates to come back.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tasks.chat.tokens import chat_of, end_tokens
from tasks.engines import decode
from tasks.engines.tokens import pad
from tasks.training.ppo import maths
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.prompts import Prompt, PromptSampler, derive_seed, permutation
from tasks.training.ppo.roles import Roles
from tasks.training.ppo.rollout import Rollout, Tokens, chunks, critic_values, measure
from tasks.training.ppo.score import (
    Reward,
    RewardAdapter,
    RewardNorm,
    collect_scores,
    combined,
    name_of,
    shape_scores,
)
from tasks.training.ppo.targets import Targets, make_targets, rollout_metrics
from tasks.training.ppo.update import Update
from tasks.training.ppo.watch import Alarm, Watch
from tasks.training.settings import require

Metrics = dict[str, float]


class PPOTrainer:
    """Trains actor and critic of ``roles`` on ``prompts`` against the weighted sum of ``rewards``.

    weights: one for each reward, 1 where left out. Raises TrainingInputError where they are not as
    many, and where a prompt and its completion would not fit the model.
    """

    def __init__(
        self,
        roles: Roles,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Sequence[Prompt],
        rewards: Sequence[Reward],
        config: PPOConfig,
        *,
        weights: Sequence[float] = (),
        seed: int = 0,
    ) -> None:
        self.roles, self.tokenizer, self.prompts, self.config = roles, tokenizer, prompts, config
        self.rewards, self.weights, self.seed = rewards, list(weights) or [1.0] * len(rewards), seed
        rule = f"must be as many as there are rewards, {len(rewards)}"
        require(len(self.weights) == len(rewards), f"weights={self.weights}", rule, "give one each")
        check_context(roles, prompts, config)
        self.stops = end_tokens(roles.causal, tokenizer, config.stop_token_ids)
        self.optimizer = torch.optim.AdamW(
            [{"params": list(roles.trainable(role).values())} for role in ("actor", "critic")],
            eps=config.adam_eps,
            weight_decay=0.0,
        )
        self.done, self.episodes = 0, 0
        self.kl_coef = config.kl_coef
        self.sampler = PromptSampler(len(prompts), seed)
        self.watch, self.stopped = Watch(), False
        learned = any(isinstance(reward, RewardAdapter) for reward in rewards)
        automatic = "calibrate" if learned else "none"
        kind = automatic if config.reward_norm == "auto" else config.reward_norm
        self.norms = [RewardNorm(kind) for _ in rewards]
        self.history: list[Metrics] = []
        self.latest: Rollout | None = None
        self.scores = torch.empty(len(rewards), 0)
        if config.gradient_checkpointing:
            roles.causal.activation_checkpointing_enable({"use_reentrant": False})

    def train(self, on_update: Callable[[Metrics, list[Alarm]], None]) -> None:
        """All updates that are left; stops early when a stop rule fires."""
        while self.done < self.config.updates and not self.stopped:
            metrics, alarms = self.step()
            on_update(metrics, alarms)

    def step(self) -> tuple[Metrics, list[Alarm]]:
        """One round. Its metrics are added to ``history``; alarms are the rules that fired."""
        if self.norms[0].kind == "calibrate" and not any(norm.count for norm in self.norms):
            self.calibrate()
        prompts = [self.prompts[i] for i in self.sampler.take(self.config.batch_size)]
        clock = [time.perf_counter()]
        rollout = self.latest = self.rollout(prompts)
        clock.append(time.perf_counter())
        targets = self.score(prompts, rollout)
        clock.append(time.perf_counter())
        update = self.update(rollout, targets)
        clock.append(time.perf_counter())
        self.done += 1
        self.episodes += len(prompts)
        metrics = {
            "step": self.done,
            "episode": self.episodes,
            **rollout_metrics(rollout, targets, self.kl_coef),
            **self.score_metrics(),
            **update.metrics(),
            "lr": self.optimizer.param_groups[0]["lr"],
            "critic_lr": self.optimizer.param_groups[1]["lr"],
            "sampling/off_policy": float(self.config.off_policy),
            "time/generate": clock[1] - clock[0],
            "time/score": clock[2] - clock[1],
            "time/update": clock[3] - clock[2],
            "mem/peak": peak_memory(),
        }
        if self.config.kl_controller == "adaptive":
            self.kl_coef = maths.adapt_kl_coef(
                self.kl_coef,
                metrics["objective/kl"],
                self.config.kl_target,
                self.config.kl_horizon,
                self.config.batch_size,
            )
        alarms = self.watch.check(metrics, self.config)
        self.stopped = any(alarm.stop for alarm in alarms)
        self.history.append(metrics)
        return metrics, alarms

    def generate(self, prompts: Sequence[Prompt], role: str, *purpose: object) -> Tokens:
        """Completions of a role, sampled for a purpose (part of every seed); greedy without one."""
        config, device, stops = self.config, self.roles.causal.device, self.stops
        temperature = config.temperature if purpose else 0.0
        seeds = [derive_seed(self.seed, *purpose, row) for row in range(len(prompts))]
        asked = [
            decode.Prompt(row, prompt.ids, temperature, config.top_p, seeds[row], ())
            for row, prompt in enumerate(prompts)
        ]
        written: list[list[int]] = []
        self.roles.train(False)
        with self.roles.use(role) as model:
            for part in chunks(len(asked), config.rollout_batch_size):
                written += decode.decode(
                    model,
                    asked[part],
                    config.max_new_tokens,
                    lambda _, tokens: tokens[-1] in stops,
                    top_k=config.top_k,
                )
        pad_id = self.tokenizer.pad_token_id
        return Tokens(
            *pad([prompt.ids for prompt in prompts], pad_id, left=True, device=device),
            pad(written, pad_id, device=device)[0],
            lengths=torch.tensor([len(tokens) for tokens in written], device=device),
            terminated=torch.tensor([tokens[-1] in stops for tokens in written], device=device),
        )

    def rollout(self, prompts: Sequence[Prompt]) -> Rollout:
        """Sample with the actor and measure with actor, reference and critic."""
        tokens = self.generate(prompts, "actor", "rollout", self.done)
        return measure(self.roles, tokens, self.config)

    def raw_scores(self, prompts: Sequence[Prompt], tokens: Tokens) -> Tensor:
        """[R, B] float64 scores as each reward gives them."""
        thinking = chat_of(self.tokenizer).thinking
        texts = [thinking.answer(text) or "" for text in tokens.texts(self.tokenizer)]
        scores = collect_scores(self.rewards, prompts, texts, tokens.ids_lists())
        return scores.to(tokens.lengths.device)

    def calibrate(self) -> None:
        """Fix the mean and spread of scores on completions of the reference policy, once."""
        order = permutation(len(self.prompts), self.seed, "calibrate")
        count, values, scores = self.config.calibration_samples, [], []
        for start in range(0, count, self.config.batch_size):
            rows = range(start, min(start + self.config.batch_size, count))
            prompts = [self.prompts[order[i % len(order)]] for i in rows]
            tokens = self.generate(prompts, "reference", "calibrate", start)
            raw = self.raw_scores(prompts, tokens)
            for norm, given in zip(self.norms, raw, strict=True):
                norm.update(given)
            kept = tokens.mask & ~raw.isnan().all(0)[:, None]
            values.append(critic_values(self.roles, tokens, self.config)[kept])
            scores.append(raw[:, :, None].expand(-1, *kept.shape)[:, kept])
        origin = self.config.critic_init
        if origin == "reward" or (origin == "auto" and "reward" in self.roles.adapters):
            wanted = self.normalised(torch.cat(scores, 1))
            self._fit_value_head(torch.cat(values).double(), wanted)

    @torch.no_grad()
    def _fit_value_head(self, values: Tensor, scores: Tensor) -> None:
        """Rescale the head so that values [n] predict the normalised scores [n] of their rows."""
        slope, intercept = maths.line_fit(values, scores)
        head = self.roles.value_head
        head.weight.mul_(slope)
        head.bias.copy_(head.bias * slope + intercept)

    def normalised(self, raw: Tensor) -> Tensor:
        """[n] weighted sums of [R, n] raw scores, each normalised by its own reward's spread."""
        each = [norm.apply(given) for norm, given in zip(self.norms, raw, strict=True)]
        return combined(torch.stack(each), self.weights)

    def score(self, prompts: Sequence[Prompt], rollout: Rollout) -> Targets:
        """Rewards, advantages and returns of a rollout."""
        raw = self.raw_scores(prompts, rollout)
        for norm, given in zip(self.norms, raw, strict=True):
            if norm.kind == "running":
                norm.update(given)
        shaped = shape_scores(self.normalised(raw), rollout.terminated, self.config)
        self.scores, total = raw, combined(raw, self.weights)
        return make_targets(rollout, total, shaped, self.kl_coef, self.config)

    def score_metrics(self) -> Metrics:
        """The mean score of each reward in the latest batch, where there are several."""
        if len(self.rewards) == 1:
            return {}
        means = self.scores.nanmean(1).nan_to_num().tolist()
        return {f"score/{name_of(r)}": mean for r, mean in zip(self.rewards, means, strict=True)}

    def update(self, rollout: Rollout, targets: Targets) -> Update:
        """All epochs on one rollout, at this update's learning rates."""
        rates = self.learning_rates()
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        update = Update(self.roles, self.optimizer, rollout, targets, self.config)
        update.run(derive_seed(self.seed, "update", self.done))
        return update

    def learning_rates(self) -> tuple[float, float]:
        """Actor's and critic's rate at this update; the actor's is 0 in the critic's warm-up."""
        config = self.config
        factor = 1.0 if config.lr_schedule == "constant" else 1 - self.done / config.updates
        factor *= min(1.0, (self.done + 1) / max(config.warmup_updates, 1))
        actor = 0.0 if self.done < config.critic_warmup else config.actor_lr
        return actor * factor, config.critic_lr * factor


def check_context(roles: Roles, prompts: Sequence[Prompt], config: PPOConfig) -> None:
    """Raise TrainingInputError where a prompt and its completion would not fit the model."""
    context = getattr(roles.causal.config.get_text_config(), "max_position_embeddings", None)
    longest = max(len(prompt.ids) for prompt in prompts) + config.max_new_tokens
    require(
        not context or longest <= context,
        f"{longest} tokens",
        f"longest prompt and max_new_tokens must fit the model's context of {context}",
        "lower max_prompt_tokens or max_new_tokens",
    )


def peak_memory() -> int:
    """Bytes: the device's peak where there is one, else the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
