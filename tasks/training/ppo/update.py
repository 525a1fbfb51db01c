"""One PPO update: epochs over mini-batches, critic after actor, one optimizer step for both.

Losses are token sums divided by the tokens of the whole optimizer step, so `micro_batch_size` never
changes the result. Metrics are sums over real tokens and executed steps.

Departures from TRL 1.12's PPO: (1) gradients are clipped, for each role apart; (2) an optimizer
step per mini-batch is one, whatever the micro-batches; (3) a mini-batch with an exploded ratio is
skipped.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from tasks.engines.logprobs import token_logprobs
from tasks.training.ppo import maths
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.prompts import permutation
from tasks.training.ppo.roles import TRAINED, Roles
from tasks.training.ppo.rollout import Rollout, chunks
from tasks.training.ppo.targets import Targets


class NonFiniteError(RuntimeError):
    """A loss or gradient norm became NaN or infinite; the run cannot go on."""


@dataclass
class Pass:
    """Sums of one role's forward passes over one mini-batch."""

    tokens: int
    loss: float = 0.0
    clipped: float = 0.0
    squared: float = 0.0
    drift: float = 0.0
    entropy: float = 0.0
    ratio: float = 0.0
    ratio_max: float = 0.0
    logp_diff: float = 0.0
    grad_norm: float = 0.0


@dataclass
class Update:
    """The epochs on one rollout; ``actor`` and ``critic`` have a Pass per executed mini-batch."""

    roles: Roles
    optimizer: torch.optim.Optimizer
    rollout: Rollout
    targets: Targets
    config: PPOConfig
    actor: list[Pass] = field(default_factory=list)
    critic: list[Pass] = field(default_factory=list)
    first_diff: float | None = None
    skipped: int = 0
    stopped_early: bool = False

    def run(self, seed: int) -> None:
        """Run all epochs; ``seed`` fixes the permutations.

        Raises NonFiniteError before the step that would have used a NaN or infinite number.
        """
        count = len(self.rollout.lengths)
        self.roles.train(True)
        for epoch in range(self.config.epochs):
            order = torch.tensor(permutation(count, seed, "mini", epoch))
            for part in chunks(count, count // self.config.num_mini_batches):
                index = order[part].to(self.rollout.lengths.device)
                if self.targets.mask[index].any():
                    self._mini_batch(index)
                self.optimizer.zero_grad(set_to_none=True)
                if self.stopped_early:
                    return

    def _mini_batch(self, index: Tensor) -> None:
        """Backward of both roles on rows ``index``, the checks, the step; gradients are left."""
        config = self.config
        actor = self._pass("actor", self._actor_loss, self.targets.mask, index)
        if self.first_diff is None:
            self.first_diff = actor.logp_diff
        if actor.ratio / actor.tokens > config.ratio_threshold:
            self.skipped += 1
            return
        if config.target_kl is not None and actor.drift / actor.tokens > 1.5 * config.target_kl:
            self.stopped_early = True
            return
        critic = self._pass("critic", self._critic_loss, self.targets.value_mask, index)
        _check_finite("loss", actor.loss, critic.loss)
        for role, sums in zip(TRAINED, (actor, critic), strict=True):
            weights = self.roles.trainable(role).values()
            sums.grad_norm = float(clip_grad_norm_(weights, config.max_grad_norm))
        _check_finite("gradient norm", actor.grad_norm, critic.grad_norm)
        self.optimizer.step()
        self.actor.append(actor)
        self.critic.append(critic)

    def _pass(
        self,
        role: str,
        loss: Callable[[Rollout, Tensor, Tensor, Pass], Tensor],
        mask: Tensor,
        index: Tensor,
    ) -> Pass:
        """Forward and backward of a role's loss over rows ``index``, in micro-batches."""
        sums = Pass(tokens=int(mask[index].sum()))
        weights = maths.token_weights(mask[index], self.config.loss_aggregation)
        with self.roles.use(role):
            for part in chunks(len(index), self.config.micro_batch_size):
                rows = self.rollout.rows(index[part])
                loss(rows, index[part], weights[part], sums).backward()
        return sums

    def _actor_loss(self, rows: Rollout, index: Tensor, weight: Tensor, sums: Pass) -> Tensor:
        config = self.config
        logprobs, entropy = token_logprobs(
            self.roles.logits(*rows.inputs),
            rows.completion_ids,
            config.temperature,
            entropy_grad=config.entropy_coef != 0,
        )
        advantages = self.targets.advantages[index]
        result = maths.policy_loss(
            logprobs, rows.logprobs, advantages, weight, config.cliprange, config.dual_clip
        )
        loss = result.loss - config.entropy_coef * (entropy * weight).sum()
        sums.loss += float(loss.detach())
        live = weight > 0
        if live.any():
            change = (logprobs.detach() - rows.logprobs)[live]
            sums.clipped += float(result.clipped.sum())
            sums.squared += float(change.square().sum())
            sums.drift -= float(change.sum())
            sums.ratio += float(result.ratio[live].sum())
            sums.ratio_max = max(sums.ratio_max, float(result.ratio[live].max()))
            sums.logp_diff = max(sums.logp_diff, float(change.abs().max()))
            sums.entropy += float(entropy.detach()[live].sum())
        return loss

    def _critic_loss(self, rows: Rollout, index: Tensor, weight: Tensor, sums: Pass) -> Tensor:
        values, returns = self.roles.values(*rows.inputs), self.targets.returns[index]
        result = maths.value_loss(values, rows.values, returns, weight, self.config.cliprange_value)
        sums.loss += float(result.loss.detach())
        sums.clipped += float(result.clipped.sum())
        return self.config.vf_coef * result.loss

    def metrics(self) -> dict[str, float]:
        """Named as TRL's PPO names them; 0 where no step was executed."""
        ratios = [p.ratio / max(p.tokens, 1) for p in self.actor]
        return {
            "policy/approxkl_avg": _per_token(self.actor, "squared") / 2,
            "policy/clipfrac_avg": _per_token(self.actor, "clipped"),
            "policy/entropy_avg": _per_token(self.actor, "entropy"),
            "loss/policy_avg": _mean([p.loss for p in self.actor]),
            "loss/value_avg": _mean([p.loss for p in self.critic]),
            "val/clipfrac_avg": _per_token(self.critic, "clipped"),
            "val/ratio": _per_token(self.actor, "ratio"),
            "val/ratio_var": statistics.variance(ratios) if len(ratios) > 1 else 0.0,
            "val/ratio_max": max((p.ratio_max for p in self.actor), default=0.0),
            "grad_norm/actor": _mean([p.grad_norm for p in self.actor]),
            "grad_norm/critic": _mean([p.grad_norm for p in self.critic]),
            "first_minibatch_logp_diff": self.first_diff or 0.0,
            "opt_steps": len(self.actor),
            "skipped_minibatches": self.skipped,
            "stopped_early": float(self.stopped_early),
        }


def _check_finite(what: str, *values: float) -> None:
    if not all(map(math.isfinite, values)):
        raise NonFiniteError(f"{what} is {values}: not finite; lower the learning rates")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _per_token(passes: list[Pass], name: str) -> float:
    return sum(getattr(p, name) for p in passes) / max(sum(p.tokens for p in passes), 1)
