"""Soft labels: losses and gradients by hand and beside TRL's, and which way they pull."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("trl")

import torch
from torch import Tensor
from trl import DPOTrainer, RewardTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from tasks.report import Report
from tasks.training import dpo, reward
from tasks.training.preference import (
    accuracy,
    better_nll,
    bradley_terry,
    smoothed,
    squared_distance,
)
from tasks.training.settings import DpoSettings, TrainingInputError

from .conftest import Stage

LOG2 = math.log(2)


def pairs(preferences: list[float]) -> list[dict[str, Any]]:
    """One row per label, of unequal lengths."""
    return [
        {
            "id": f"p{n}",
            "messages": [{"role": "user", "content": "q" * (1 + n % 5)}],
            "chosen": "a" * (1 + n % 4),
            "rejected": "b" * (1 + n % 3),
            "preference": p,
        }
        for n, p in enumerate(preferences)
    ]


class Trained(NamedTuple):
    """A trainer that has taken a few steps, and its run."""

    trainer: Any
    metrics: dict[str, float]
    logged: list[dict[str, Any]]

    def batch(self, preferences: list[float], **changed: Tensor) -> dict[str, Tensor]:
        """A fresh batch of pairs with these labels."""
        convert = dpo.paired if isinstance(self.trainer, DPOTrainer) else reward.compared
        rows = [convert(self.trainer.processing_class, row) for row in pairs(preferences)]
        return {**self.trainer.data_collator(rows), **changed}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        loss: Tensor = self.trainer.compute_loss(self.trainer.model, batch)
        return loss

    def gradients(self, loss: Tensor) -> dict[str, Tensor]:
        named = {n: p for n, p in self.trainer.model.named_parameters() if p.requires_grad}
        found = torch.autograd.grad(loss, list(named.values()))
        return dict(zip(named, found, strict=True))


def trained(
    root: Path, model: Path, job: Any, preferences: list[float], **settings: Any
) -> Trained:
    """Run a job on these labels in float32, held out the same rows, and keep its trainer."""
    caught: list[Any] = []
    train = job.train

    def spy(trainer: Any, *rest: Any) -> Any:
        caught.append(trainer)
        return train(trainer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "train", spy)
        stage = Stage(root, model, job.__name__.rsplit(".", 1)[-1], "none")
        stage.data(pairs(preferences), pairs(preferences))
        chosen = {"max_steps": 4, "learning_rate": 1e-2, "batch_size": 8, **settings}
        metrics = stage.run(**chosen)["metrics"]
    caught[0].model.eval()
    return Trained(caught[0], metrics, stage.logged())


@pytest.fixture(scope="module")
def hard_dpo(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """DPO on labels of 1: the policy is away from its reference."""
    return trained(tmp_path_factory.mktemp("dpo"), tiny, dpo, [1.0] * 8)


@pytest.fixture(scope="module")
def hard_reward(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return trained(tmp_path_factory.mktemp("reward"), tiny, reward, [1.0] * 8)


@pytest.fixture
def run(tmp_path: Path, tiny: Path) -> Callable[..., Trained]:
    """run(preferences, **settings): DPO from a fresh policy."""
    return lambda preferences, **settings: trained(tmp_path, tiny, dpo, preferences, **settings)


# -log sigmoid(d) and -log sigmoid(-d), by hand.
COSTS = {0.0: (LOG2, LOG2), 2.0: (0.126928, 2.126928), -1.0: (1.313262, 0.313262)}
SIGMOID = {0.0: 0.5, 2.0: 0.880797, -1.0: 0.268941}


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("margin", COSTS)
def test_value_and_slope_by_hand(margin: float, p: float) -> None:
    d = torch.tensor([margin], requires_grad=True)
    loss = bradley_terry(d, torch.tensor([p]))
    right, wrong = COSTS[margin]
    assert loss.item() == pytest.approx(p * right + (1 - p) * wrong, abs=1e-6)
    loss.sum().backward()
    assert d.grad is not None
    assert d.grad.item() == pytest.approx(SIGMOID[margin] - p, abs=1e-6)


@pytest.mark.parametrize("nll_weight", [0.0, 0.5])
def test_dpo_reaches_each_token_as_by_hand(
    hard_dpo: Trained, nll_weight: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log-probabilities put in the model's place: two rows, beta 0.1, their margins 2 and -1."""
    policy = torch.tensor([[-4.0, -6.0], [-8.0, 0.0], [-5.0, -5.0], [-3.0, 0.0]])
    policy.requires_grad_()
    reference = torch.tensor([[-9.0, -11.0], [-2.0, 0.0], [0.0, 0.0], [-7.0, 0.0]])
    mask = torch.tensor([[0, 1, 1], [0, 1, 0], [0, 1, 1], [0, 1, 0]])
    monkeypatch.setattr(hard_dpo.trainer, "objective", DpoSettings(nll_weight=nll_weight))
    monkeypatch.setattr(
        dpo, "token_logprobs", lambda *_: policy if torch.is_grad_enabled() else reference
    )
    batch = {"completion_mask": mask, "preference": torch.tensor([0.9, 0.25])}
    loss = hard_dpo.loss(batch)
    # Row 1: 0.1 x ((-10 + 20) - (-10 + 0)) = 2; row 2: 0.1 x ((-8 + 2) - (-3 + 7)) = -1. Per token
    # row 1's chosen costs 5; row 2's better response is the rejected one: 3.
    first, second = 0.9 * 0.126928 + 0.1 * 2.126928, 0.25 * 1.313262 + 0.75 * 0.313262
    assert loss.item() == pytest.approx((first + second) / 2 + nll_weight * (5 + 3) / 2, abs=1e-6)
    loss.backward()
    one, two = 0.1 * (0.880797 - 0.9) / 2, 0.1 * (0.268941 - 0.25) / 2
    wanted = [[one - nll_weight / 4] * 2, [two] * 2, [-one] * 2, [-two - nll_weight / 2] * 2]
    assert policy.grad is not None
    assert policy.grad.tolist() == [pytest.approx(row, abs=1e-6) for row in wanted]


@pytest.mark.parametrize("loss_type", ["sigmoid", "sigmoid_norm", "ipo"])
def test_hard_labels_are_dpo_of_trl(
    hard_dpo: Trained, loss_type: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and gradient of TRL's own compute_loss on the batch of its own collator."""
    trainer = hard_dpo.trainer
    monkeypatch.setattr(trainer, "objective", DpoSettings(loss_type=loss_type))
    monkeypatch.setattr(trainer, "loss_types", [loss_type])
    rows = [dpo.paired(trainer.processing_class, row) for row in pairs([1.0] * 6)]
    pad = trainer.processing_class.pad_token_id
    theirs = DPOTrainer.compute_loss(
        trainer, trainer.model, DataCollatorForPreference(pad_token_id=pad)(rows)
    )
    ours = hard_dpo.loss(hard_dpo.batch([1.0] * 6))
    assert abs(ours.item() - LOG2) > 0.05
    same_loss_and_gradient(hard_dpo, ours, theirs)


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 1.0])
def test_squared_distance_is_least_where_the_label_says(p: float) -> None:
    """A margin of 1 / (2 beta) for a sure label, none for a tie; by hand at 3, wanted 5."""
    d = torch.tensor([3.0, (2 * p - 1) * 5.0], requires_grad=True)
    loss = squared_distance(d, torch.tensor([p, p]), 5.0)
    assert loss[0].item() == pytest.approx(4 * p + 64 * (1 - p))
    loss.sum().backward()
    assert d.grad is not None
    assert d.grad.tolist() == pytest.approx([2 * (3 - (2 * p - 1) * 5), 0.0])


def test_a_smoothed_label_is_a_softer_label(
    hard_dpo: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of wrong labels: 1 counts as 0.9, 0.8 as 0.74, 1/2 and the likelihood stay."""
    assert smoothed(torch.tensor([1.0, 0.8, 0.5, 0.0]), 0.1).tolist() == pytest.approx(
        [0.9, 0.74, 0.5, 0.1]
    )
    wanted = hard_dpo.loss(hard_dpo.batch([0.9, 0.74, 0.5, 0.1])).item()
    monkeypatch.setattr(hard_dpo.trainer, "objective", DpoSettings(label_smoothing=0.1))
    given = hard_dpo.batch([1.0, 0.8, 0.5, 0.0])
    assert hard_dpo.loss(given).item() == pytest.approx(wanted, abs=1e-6)


def test_a_per_token_loss_is_reported_per_token(run: Any) -> None:
    """Held-out loss of the trainer's own loop, and the margin from log-probabilities by hand."""
    labels = [1.0, 0.9, 0.2, 1.0]
    ipo = run(labels, loss_type="ipo", beta=0.2)
    rows = [dpo.paired(ipo.trainer.processing_class, row) for row in pairs(labels)]
    both = (dpo.response_logprobs(ipo.trainer, rows, 8, reference=ref) for ref in (False, True))
    policy, reference = both
    tokens = torch.tensor([[len(r["chosen_ids"]), len(r["rejected_ids"])] for r in rows])
    gaps = ((policy - reference) / tokens) @ torch.tensor([1.0, -1.0]).double()
    assert ipo.metrics["eval_margin"] == pytest.approx(0.2 * gaps.mean().item(), abs=1e-6)
    wanted = squared_distance(gaps, torch.tensor(labels), 2.5).mean().item()
    assert ipo.metrics["eval_loss"] == pytest.approx(wanted, abs=1e-4)
    assert ipo.metrics["eval_loss"] < ipo.metrics["eval_loss_first"]


def test_hard_labels_are_the_reward_loss_of_trl(hard_reward: Trained) -> None:
    batch = hard_reward.batch([1.0] * 6)
    ours = hard_reward.loss(batch)
    del batch["preference"]
    theirs = RewardTrainer.compute_loss(hard_reward.trainer, hard_reward.trainer.model, batch)
    assert abs(ours.item() - LOG2) > 0.05
    same_loss_and_gradient(hard_reward, ours, theirs)


def same_loss_and_gradient(run: Trained, ours: Tensor, theirs: Tensor) -> None:
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-6)
    wanted = run.gradients(theirs)
    assert max(gradient.abs().max().item() for gradient in wanted.values()) > 1e-3
    for name, gradient in run.gradients(ours).items():
        torch.testing.assert_close(gradient, wanted[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["hard_dpo", "hard_reward"])
def test_the_other_way_round_with_the_other_label_costs_the_same(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: Trained = request.getfixturevalue(kind)
    monkeypatch.setattr(run.trainer, "objective", DpoSettings(nll_weight=0.3), raising=False)
    labels = [0.0, 0.25, 0.9, 1.0]
    batch = run.batch(labels)
    turned = {name: torch.cat(tensor.chunk(2)[::-1]) for name, tensor in batch.items()}
    turned["preference"] = 1 - batch["preference"]
    assert run.loss(turned).item() == pytest.approx(run.loss(batch).item(), abs=1e-6)
    turned["preference"] = batch["preference"]
    assert abs(run.loss(turned).item() - run.loss(batch).item()) > 1e-2


@pytest.mark.parametrize("kind", ["hard_dpo", "hard_reward"])
def test_a_tie_pulls_margins_to_zero(kind: str, request: pytest.FixtureRequest) -> None:
    """A step against the gradient narrows what training has opened; at ln 2 nothing is left."""
    run: Trained = request.getfixturevalue(kind)
    batch = run.batch([0.5] * 6)
    before = run.trainer.compute_loss(run.trainer.model, batch, return_outputs=True)
    gradients = run.gradients(before[0])
    saved = {n: p.detach().clone() for n, p in run.trainer.model.named_parameters()}
    with torch.no_grad():
        for name, parameter in run.trainer.model.named_parameters():
            if name in gradients:
                parameter -= 0.01 * gradients[name]
        after = run.trainer.compute_loss(run.trainer.model, batch, return_outputs=True)
        for name, parameter in run.trainer.model.named_parameters():
            parameter.copy_(saved[name])
    assert LOG2 <= after[0] < before[0]
    assert after[1]["margins"].square().mean() < before[1]["margins"].square().mean()


def test_likelihood_is_the_mean_per_token_by_hand(
    hard_dpo: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From plain logits of single rows; where p < 1/2 the rejected response is the better one."""
    labels = [0.9, 0.1, 1.0, 0.5]
    costs = []
    for pair, p in zip(pairs(labels), labels, strict=True):
        row = dpo.paired(hard_dpo.trainer.processing_class, pair)
        prompt, answer = row["prompt_ids"], row["chosen_ids" if p >= 0.5 else "rejected_ids"]
        with torch.no_grad():
            logits = hard_dpo.trainer.model(torch.tensor([prompt + answer])).logits[0]
        steps = logits.float().log_softmax(-1)[len(prompt) - 1 : -1]
        costs.append(-sum(steps[i, token].item() for i, token in enumerate(answer)) / len(answer))
    batch = hard_dpo.batch(labels)
    without = hard_dpo.loss(batch).item()
    monkeypatch.setattr(hard_dpo.trainer, "objective", DpoSettings(nll_weight=0.2))
    added = hard_dpo.loss(batch).item() - without
    assert added == pytest.approx(0.2 * sum(costs) / 4, abs=1e-5)


def test_likelihood_counts_a_row_by_its_own_tokens() -> None:
    logprobs = torch.tensor([[-1.0, -3.0], [-6.0, 0.0], [-1.0, 0.0], [-2.0, -2.0]])
    costs = better_nll(logprobs, torch.tensor([2, 1, 1, 2]), torch.tensor([1.0, 0.2]))
    assert costs.tolist() == [2.0, 2.0]


def test_labels_of_zero_train_the_opposite_way(hard_dpo: Trained, run: Any) -> None:
    turned = run([0.0] * 8)
    assert hard_dpo.metrics["eval_margin"] > 0.1
    assert turned.metrics["eval_margin"] < -0.1
    assert turned.metrics["eval_accuracy"] == hard_dpo.metrics["eval_accuracy"] == 1
    assert turned.metrics["eval_loss"] < LOG2


def test_held_out_accuracy_is_over_decided_rows(run: Any) -> None:
    labels = [1.0, 0.2, 0.5, 0.9, 0.5, 0.1, 1.0]
    mixed = run(labels)
    rows = [dpo.paired(mixed.trainer.processing_class, row) for row in pairs(labels)]
    policy = dpo.response_logprobs(mixed.trainer, rows, 8)
    reference = dpo.response_logprobs(mixed.trainer, rows, 8, reference=True)
    margins = mixed.trainer.beta * (policy - reference) @ torch.tensor([1.0, -1.0]).double()
    assert mixed.metrics["eval_accuracy"] == accuracy(margins, torch.tensor(labels))
    assert mixed.metrics["eval_margin"] == pytest.approx(margins.mean().item(), abs=1e-6)


def test_ties_alone_have_no_accuracy_and_teach_nothing(run: Any) -> None:
    ties = run([0.5] * 8)
    assert "eval_accuracy" not in ties.metrics
    assert ties.metrics["eval_loss"] == pytest.approx(LOG2, abs=1e-6)
    assert ties.metrics["largest_weight_change"] < 1e-6


def test_nll_weight_of_a_recipe_reaches_the_loss(hard_dpo: Trained, run: Any) -> None:
    """The first loss is ln 2 and the weighted likelihood; it ends lower than without."""
    weighted = run([1.0] * 8, nll_weight=0.5)
    first = next(row for row in weighted.logged if "loss" in row)
    assert first["loss"] == pytest.approx(LOG2 + 0.5 * first["nll"], abs=1e-5)
    last, alone = (r.logged[-1]["eval_nll"] for r in (weighted, hard_dpo))
    assert last < alone


def test_refuses_what_is_no_probability_and_negative_weights(stage: Any) -> None:
    with pytest.raises(TrainingInputError, match=r"p0: preference 1\.5 is no probability"):
        stage("dpo").data(pairs([1.5, 1.0]), []).run()
    with pytest.raises(TrainingInputError, match=r"nll_weight=-0\.5: must be at least 0"):
        stage("dpo", "weight").data(pairs([1.0]), []).run(nll_weight=-0.5)
    with pytest.raises(TrainingInputError, match=r"label_smoothing=0\.5: must be at least"):
        stage("dpo", "share").data(pairs([1.0]), []).run(label_smoothing=0.5)
    with pytest.raises(TrainingInputError, match="loss_type='hinge': must be 'sigmoid' or"):
        stage("dpo", "kind").data(pairs([1.0]), []).run(loss_type="hinge")


def test_better_responses_that_become_less_likely_are_warned_of(
    hard_dpo: Trained, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Margins are won by pushing the worse response down further: said with the figure."""
    said: list[str] = []
    monkeypatch.setattr(Report, "log", lambda _, text, level="info": said.append(text))
    plain = run([1.0] * 8)
    rewards = plain.metrics["eval_better_reward"]
    assert plain.metrics["eval_margin"] > 0
    assert any("became less likely" in text for text in said) == (rewards < 0)
    monkeypatch.setattr(
        dpo, "held_out_metrics", lambda *_: {"eval_accuracy": 0.9, "eval_better_reward": -0.25}
    )
    run([1.0] * 8)
    assert f"{-0.25:.3f}" in said[-1]
    assert "raise dpo.nll_weight" in said[-1]
