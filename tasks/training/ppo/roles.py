"""Four roles on one frozen base: actor, reference, reward, critic, and two float32 scalar heads.

Rules that keep gradients right (each broken rule gives wrong gradients without an error):
1. the forward and backward of one role are over before the next role is switched in: a backward
   that recomputes (gradient checkpointing) uses the adapter active then;
2. switching never touches requires_grad; the trainable set is fixed once, by name;
3. adapters and heads are float32, dropout is 0.

The reference is an adapter of its own (a frozen copy of the SFT adapter), or no adapter at all
where there is no SFT adapter. Heads live outside peft: as `modules_to_save` each adapter would
copy them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from tasks.engines.tokens import positions

TRAINED = ("actor", "critic")


class Roles:
    """The base with its adapters and heads, and the one way to switch between them."""

    def __init__(
        self,
        model: PeftModel,
        adapters: dict[str, str | None],
        value_head: nn.Linear,
        reward_head: nn.Linear | None,
    ) -> None:
        """``adapters``: role -> name of its adapter, None for the bare base."""
        self.model, self.adapters = model, adapters
        self.causal: PreTrainedModel = model.get_base_model()  # type: ignore[assignment]
        self.value_head, self.reward_head = value_head, reward_head
        self._layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
        self._decoder: Any = self.causal.base_model
        self._trainable = {role: adapter_parameters(model, role) for role in TRAINED}
        for name, parameter in value_head.named_parameters():
            self._trainable["critic"][f"value_head.{name}"] = parameter
        self._role = "actor"
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        self._switch_publicly("actor")
        self.fast = self.switch_test()

    @contextmanager
    def use(self, role: str) -> Iterator[PreTrainedModel]:
        """Make ``role``'s adapter the active one; the one before returns, on exceptions too."""
        before, switch = self._role, self._switch_fast if self.fast else self._switch_publicly
        try:
            switch(role)
            yield self.causal
        finally:
            switch(before)

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states [b, L, H] of the active role for ids and attention mask [b, L]."""
        output = self._decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask), use_cache=False
        )
        return output.last_hidden_state

    def logits(self, ids: Tensor, mask: Tensor, width: int) -> Tensor:
        """Logits [b, width, V] of the active role that predict the last ``width`` of ids [b, L].

        Only these pass through the language-model head, which is most of the memory.
        """
        causal: Any = self.causal
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions(mask)}
        return causal(**inputs, use_cache=False, logits_to_keep=width + 1).logits[:, :-1]

    def values(self, ids: Tensor, mask: Tensor, width: int) -> Tensor:
        """Value [b, width] before each of the last ``width`` tokens, in the critic's role."""
        return scalar(self.value_head, self.hidden(ids, mask)[:, -width - 1 : -1])

    def trainable(self, role: str) -> dict[str, nn.Parameter]:
        """Name -> parameter of a trained role; the critic's include its value head."""
        return self._trainable[role]

    def train(self, mode: bool) -> None:
        """Training mode, in which gradient checkpointing works; dropout is 0 in both modes."""
        self.model.train(mode)

    def switch_test(self) -> bool:
        """Whether the fast switch equals peft's public one: same state, same bits of logits."""
        ids = torch.arange(6, device=self.causal.device).view(2, 3)
        mask = torch.ones_like(ids)
        with torch.no_grad():
            return all(self._same(role, ids, mask) for role in self.adapters)

    def _same(self, role: str, ids: Tensor, mask: Tensor) -> bool:
        name = self.adapters[role]
        try:
            self._switch_publicly(role)
            expected = self.logits(ids, mask, 2)
            self._switch_publicly("actor")
            self._switch_fast(role)
            right = all(
                m.disable_adapters if name is None else m.active_adapters == [name]
                for m in self._layers
            )
            return right and torch.equal(self.logits(ids, mask, 2), expected)
        finally:
            self._switch_publicly("actor")

    def _switch_fast(self, role: str) -> None:
        name = self.adapters[role]
        for layer in self._layers:
            layer._disable_adapters = name is None
            if name is not None:
                layer._active_adapter = [name]
        self._role = role

    def _switch_publicly(self, role: str) -> None:
        name = self.adapters[role]
        tuner: Any = self.model.base_model
        if name is None:
            tuner.disable_adapter_layers()
        else:
            tuner.enable_adapter_layers()
            tuner.set_adapter(name, inference_mode=True)
        self.model.requires_grad_(False)
        for trained in TRAINED:
            for parameter in self.trainable(trained).values():
                parameter.requires_grad_(True)
        self._role = role


def adapter_parameters(model: nn.Module, adapter: str) -> dict[str, nn.Parameter]:
    """Name -> parameter of one adapter (`….lora_A.<adapter>.weight`)."""
    return {n: p for n, p in model.named_parameters() if f".{adapter}." in f"{n}."}


def scalar(head: nn.Linear, hidden: Tensor) -> Tensor:
    """[..., H] -> [...] in the head's dtype."""
    result: Tensor = head(hidden.to(head.weight.dtype))
    return result.squeeze(-1)
