"""One PPO update: epochs over mini-batches, actor and critic one after the other, one step for
both.

Losses are token sums divided by the tokens of the whole optimizer step, so `micro_batch_size` never
changes the result. Metrics are sums over real tokens and executed steps.

Departures from TRL 1.12's PPO: (1) gradients are clipped, for each role apart; (2) an optimizer
step per mini-batch is one, whatever the micro-batches; (3) a mini-batch with an exploded ratio is
skipped.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tasks.engines.logprobs import token_logprobs
from tasks.training.ppo import maths
from tasks.training.ppo.config import PPOConfig
from tasks.training.ppo.prompts import permutation
from tasks.training.ppo.roles import Roles
from tasks.training.ppo.rollout import Rollout, chunks
from tasks.training.ppo.targets import Targets


class NonFiniteError(RuntimeError):
    """A loss or gradient norm became NaN or infinite; the run cannot go on."""


@dataclass
class Pass:
    """Sums of one role's forward passes over one mini-batch."""

    loss: float = 0.0
    tokens: int = 0
    clipped: float = 0.0
    squared: float = 0.0
    drift: float = 0.0
    entropy: float = 0.0
    ratio: float = 0.0
    ratio_max: float = 0.0
    logp_diff: float = 0.0


@dataclass
class Tally:
    """What one update did: a Pass of each role per executed mini-batch."""

    actor: list[Pass] = field(default_factory=list)
    critic: list[Pass] = field(default_factory=list)
    grad_norms: dict[str, list[float]] = field(default_factory=lambda: {"actor": [], "critic": []})
    first_diff: float | None = None
    skipped: int = 0
    stopped_early: bool = False

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
            "grad_norm/actor": _mean(self.grad_norms["actor"]),
            "grad_norm/critic": _mean(self.grad_norms["critic"]),
            "first_minibatch_logp_diff": self.first_diff or 0.0,
            "opt_steps": len(self.actor),
            "skipped_minibatches": self.skipped,
            "stopped_early": float(self.stopped_early),
        }


def optimise(
    roles: Roles,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    targets: Targets,
    config: PPOConfig,
    seed: int,
) -> Tally:
    """Run all epochs over one batch; ``seed`` fixes the permutations.

    Raises:
        NonFiniteError: before the step that would have used a NaN or infinite loss or gradient.
    """
    tally, size = Tally(), len(rollout.lengths) // config.num_mini_batches
    roles.train(True)
    for epoch in range(config.epochs):
        order = torch.tensor(permutation(len(rollout.lengths), seed, "mini", epoch))
        for part in chunks(len(order), size):
            index = order[part].to(rollout.lengths.device)
            if targets.mask[index].any():
                _mini_batch(roles, optimizer, rollout, targets, index, config, tally)
            optimizer.zero_grad(set_to_none=True)
            if tally.stopped_early:
                return tally
    return tally


def _mini_batch(
    roles: Roles,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    targets: Targets,
    index: Tensor,
    config: PPOConfig,
    tally: Tally,
) -> None:
    """Backward of both roles, the checks, and the step; gradients are left for the caller to
    clear."""
    actor = actor_pass(roles, rollout, targets, index, config)
    if tally.first_diff is None:
        tally.first_diff = actor.logp_diff
    if actor.ratio / actor.tokens > config.ratio_threshold:
        tally.skipped += 1
        return
    if config.target_kl is not None and actor.drift / actor.tokens > 1.5 * config.target_kl:
        tally.stopped_early = True
        return
    critic = critic_pass(roles, rollout, targets, index, config)
    _check_finite("loss", actor.loss, critic.loss)
    norms = {
        role: float(
            torch.nn.utils.clip_grad_norm_(roles.trainable(role).values(), config.max_grad_norm)
        )
        for role in ("actor", "critic")
    }
    _check_finite("gradient norm", *norms.values())
    optimizer.step()
    tally.actor.append(actor)
    tally.critic.append(critic)
    for role, norm in norms.items():
        tally.grad_norms[role].append(norm)


def actor_pass(
    roles: Roles, rollout: Rollout, targets: Targets, index: Tensor, config: PPOConfig
) -> Pass:
    """Forward and backward of the policy loss over rows ``index``, in micro-batches."""
    sums = Pass(tokens=int(targets.mask[index].sum()))
    weights = maths.token_weights(targets.mask[index], config.loss_aggregation)
    with roles.use("actor"):
        for part in chunks(len(index), config.micro_batch_size):
            rows, weight = rollout.rows(index[part]), weights[part]
            logprobs, entropy = token_logprobs(
                roles.logits(*rows.inputs),
                rows.completion_ids,
                config.temperature,
                entropy_grad=config.entropy_coef != 0,
            )
            result = maths.policy_loss(
                logprobs,
                rows.logprobs,
                targets.advantages[index[part]],
                weight,
                config.cliprange,
                config.dual_clip,
            )
            loss = result.loss - config.entropy_coef * (entropy * weight).sum()
            loss.backward()
            sums.loss += float(loss.detach())
            _add_policy_sums(sums, result, logprobs.detach(), rows, weight > 0)
            sums.entropy += float(entropy.detach()[weight > 0].sum())
    return sums


def _add_policy_sums(
    sums: Pass, result: maths.Loss, logprobs: Tensor, rows: Rollout, live: Tensor
) -> None:
    if not live.any():
        return
    change = (logprobs - rows.logprobs)[live]
    sums.clipped += float(result.clipped.sum())
    sums.squared += float(change.square().sum())
    sums.drift -= float(change.sum())
    sums.ratio += float(result.ratio[live].sum())
    sums.ratio_max = max(sums.ratio_max, float(result.ratio[live].max()))
    sums.logp_diff = max(sums.logp_diff, float(change.abs().max()))


def critic_pass(
    roles: Roles, rollout: Rollout, targets: Targets, index: Tensor, config: PPOConfig
) -> Pass:
    """Forward and backward of the value loss over rows ``index``, in micro-batches."""
    sums = Pass(tokens=int(targets.value_mask[index].sum()))
    weights = maths.token_weights(targets.value_mask[index], config.loss_aggregation)
    with roles.use("critic"):
        for part in chunks(len(index), config.micro_batch_size):
            rows = rollout.rows(index[part])
            result = maths.value_loss(
                roles.values(*rows.inputs),
                rows.values,
                targets.returns[index[part]],
                weights[part],
                config.cliprange_value,
            )
            (config.vf_coef * result.loss).backward()
            sums.loss += float(result.loss.detach())
            sums.clipped += float(result.clipped.sum())
    return sums


def _check_finite(what: str, *values: float) -> None:
    if not all(map(math.isfinite, values)):
        raise NonFiniteError(f"{what} is {values}: not finite; lower the learning rates")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _per_token(passes: list[Pass], name: str) -> float:
    return sum(getattr(p, name) for p in passes) / max(sum(p.tokens for p in passes), 1)
