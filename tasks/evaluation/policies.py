"""One frozen base and every adapter under evaluation on it, loaded once and switched by name.

Shapes: B rows, P prompt tokens, C completion tokens, H hidden size, V vocabulary.
Leaves out training: nothing here has a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import GenerationConfig

from tasks.engines.tokens import end_tokens, pad, positions
from tasks.report import JobInputError
from tasks.training.base import ADAPTER_WEIGHTS, device, load_base

REWARD = "solon-reward"  # the reward adapter's name on the model: no policy may be called so


class Policies:
    """The base, its tokenizer, the adapters (None is the base itself) and the reward head."""

    def __init__(
        self, model: dict[str, Any], adapters: dict[str, str | None], reward: str | None
    ) -> None:
        """adapters: policy name to adapter folder or None. Raises JobInputError for a bad one."""
        self.base, self.tokenizer = load_base(model)
        self.adapters = adapters
        self.eos = end_tokens(self.base, self.tokenizer)
        self.pad = self.tokenizer.pad_token_id
        self.context = int(getattr(self.base.config, "max_position_embeddings", 1 << 30))
        self.head = _reward_head(Path(reward)) if reward else None
        folders = {name: folder for name, folder in adapters.items() if folder}
        self.model = self._load(folders | ({REWARD: reward} if reward else {})).eval()

    def _load(self, folders: dict[str, str]) -> Any:
        """Put every adapter on the base; float32, frozen. Without any the base stays as it is."""
        model: Any = self.base
        for name, folder in folders.items():
            if not (Path(folder) / ADAPTER_WEIGHTS).is_file():
                raise JobInputError(folder, f"holds no {ADAPTER_WEIGHTS}", "train that stage again")
            if isinstance(model, PeftModel):
                model.load_adapter(folder, name, local_files_only=True)
            else:
                model = PeftModel.from_pretrained(
                    model, folder, adapter_name=name, local_files_only=True
                )
        return model.requires_grad_(False)

    @contextmanager
    def use(self, policy: str) -> Iterator[Any]:
        """The model with the policy's adapter active, or with none for the base."""
        if not isinstance(self.model, PeftModel):
            yield self.model
        elif policy != REWARD and self.adapters[policy] is None:
            with self.model.disable_adapter():
                yield self.model
        else:
            self.model.set_adapter(policy, inference_mode=True)
            yield self.model

    def render(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """Token ids of the conversation, ending where the assistant's answer starts."""
        return list(
            self.tokenizer.apply_chat_template(
                list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
            )
        )

    @torch.inference_mode()
    def generate(
        self, policy: str, prompts: list[list[int]], max_new_tokens: int, temperature: float
    ) -> list[list[int]]:
        """One completion per prompt, up to and including the first end-of-sequence token.

        Greedy at temperature 0, else sampled from the whole softmax by torch's global generator.
        """
        ids, mask = pad(prompts, self.pad, left=True, device=device())
        sampling = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature > 0 else {}
        config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=bool(sampling),
            repetition_penalty=1.0,
            eos_token_id=self.eos,
            pad_token_id=self.pad,
            **sampling,
        )
        with self.use(policy) as model:
            out = model.generate(
                input_ids=ids, attention_mask=mask.long(), generation_config=config
            )
        return [self._until_eos(row) for row in out[:, ids.shape[1] :].tolist()]

    def _until_eos(self, tokens: list[int]) -> list[int]:
        ends = [index for index, token in enumerate(tokens) if token in self.eos]
        return tokens[: ends[0] + 1] if ends else tokens

    @torch.inference_mode()
    def log_probabilities(
        self,
        policy: str,
        prompts: list[list[int]],
        completions: list[list[int]],
        temperature: float,
    ) -> list[float]:
        """Sum over each completion's tokens of log p(token | what comes before), in nats, [B].

        temperature: logits are divided by it (0 counts as 1). Prompts are padded on the left and
        completions on the right, so that logits are computed for C + 1 positions only.
        """
        left, left_mask = pad(prompts, self.pad, left=True, device=device())
        right, right_mask = pad(completions, self.pad, device=device())
        mask = torch.cat([left_mask, right_mask], 1).long()
        with self.use(policy) as model:
            logits = model(
                input_ids=torch.cat([left, right], 1),
                attention_mask=mask,
                position_ids=positions(mask),
                logits_to_keep=right.shape[1] + 1,
            ).logits[:, :-1]  # [B, C, V]
        sums = []
        for row, tokens in zip(logits, completions, strict=True):
            scores = row[: len(tokens)].float() / (temperature or 1.0)
            chosen = scores.gather(1, torch.tensor(tokens, device=scores.device)[:, None])[:, 0]
            sums.append(float((chosen - scores.logsumexp(1)).double().sum()))
        return sums

    @torch.inference_mode()
    def rewards(self, conversations: list[list[int]]) -> list[float]:
        """The reward head's score of each whole conversation: last attended token, float32."""
        assert self.head is not None
        ids, mask = pad(conversations, self.pad, device=device())
        with self.use(REWARD):
            decoder = self.model.get_base_model().base_model
            hidden = decoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        last = hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1].float()
        return (last @ self.head.to(last.device).T)[:, 0].tolist()


def _reward_head(folder: Path) -> torch.Tensor:
    """The scalar head saved beside the reward adapter, float32 [1, H]; raises if there is none.

    peft would load such an adapter without its head and without a word, and score at random.
    """
    weights = folder / ADAPTER_WEIGHTS
    tensors = load_file(weights) if weights.is_file() else {}
    heads = [value for key, value in tensors.items() if key.endswith("score.weight")]
    if len(heads) != 1 or heads[0].shape[0] != 1:
        raise JobInputError(
            str(folder), "holds no reward head (score.weight [1, hidden])", "train reward again"
        )
    return heads[0].float()
