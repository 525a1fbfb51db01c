"""The evaluation job on a tiny random model: against plain forwards, exact KL, and itself."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from tasks.evaluation.answer import run  # noqa: E402
from tasks.evaluation.metrics import summarise  # noqa: E402
from tasks.evaluation.policies import Policies  # noqa: E402
from tasks.report import JobInputError, Report  # noqa: E402
from tasks.training.base import save_adapter  # noqa: E402

CONTEXT, END = 96, "<|im_end|>"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASKS = ["hi", "tell me more", "a somewhat longer question, is it?", "why?", "ok"]


def make_model(folder: Path) -> Path:
    """A random Llama with a byte-level tokenizer; pad is eos, as in SmolLM2."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*alphabet, "<|im_start|>", END])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END,
        pad_token=END,
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


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
    make_model(folder / "model")
    for seed, name in enumerate(["sft", "ppo", "reward"], 1):
        make_adapter(folder / "model", folder / name, seed, head=name == "reward")
    return folder


def spec_for(home: Path, out: Path, asks: list[str] = ASKS, **settings: Any) -> dict[str, Any]:
    out.mkdir(parents=True)
    rows = [
        {"id": f"prm_{n}", "messages": [{"role": "user", "content": ask}], "category": "c"}
        for n, ask in enumerate(asks)
    ]
    (out / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    policies = [("base", None), ("sft", "sft"), ("dpo", "sft"), ("ppo", "ppo")]
    return {
        "job": "evaluate",
        "out": str(out),
        "model": {"path": str(home / "model"), "name": "tiny", "quantization": "none"},
        "policies": [
            {"name": name, "adapter": str(home / folder) if folder else None}
            for name, folder in policies
        ],
        "reward": {"adapter": str(home / "reward")},
        "data": {"prompts": str(out / "prompts.jsonl")},
        "settings": {"max_new_tokens": 24, "temperature": 1.0, "batch_size": 3} | settings,
        "seed": 1,
        "threads": 1,
    }


def answers_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    run(spec, Report(io.StringIO()))
    return [json.loads(line) for line in (Path(spec["out"]) / "answers.jsonl").open()]


@pytest.fixture(scope="module")
def answers(home: Path) -> list[dict[str, Any]]:
    return answers_of(spec_for(home, home / "out"))


def test_every_policy_answers_every_prompt_in_order(answers):
    assert [(row["policy"], row["prompt_id"]) for row in answers] == [
        (policy, f"prm_{n}") for policy in ("base", "sft", "dpo", "ppo") for n in range(len(ASKS))
    ]
    assert [row["prompt"] for row in answers[: len(ASKS)]] == ASKS
    assert set(answers[0]) == {
        *("policy", "prompt_id", "category", "prompt", "text", "finish_reason"),
        *("tokens", "reward", "kl"),
    }
    assert len({row["text"] for row in answers if row["prompt_id"] == "prm_0"}) == 3


def test_kl_is_zero_for_sft_and_its_twin_and_not_for_others(answers):
    for row in answers:
        if row["policy"] in ("sft", "dpo"):
            assert row["kl"] == 0.0
        else:
            assert abs(row["kl"]) > 1e-3
    assert sum(row["kl"] for row in answers if row["policy"] == "ppo") > 5  # nats; KL >= 0
    twins = [[row["text"] for row in answers if row["policy"] == name] for name in ("sft", "dpo")]
    assert twins[0] == twins[1]


def test_a_row_is_one_line_of_ascii_whatever_the_model_says(home, answers):
    raw = (home / "out" / "answers.jsonl").read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == len(answers)
    assert not all(row["text"].isascii() for row in answers)


def test_progress_counts_answers_up_to_all(home, tmp_path):
    stream = io.StringIO()
    result = run(spec_for(home, tmp_path / "out"), Report(stream))
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    steps = [event for event in events if event["event"] == "progress"]
    assert {step["unit"] for step in steps} == {"answers"}
    assert [step["done"] for step in steps] == sorted({step["done"] for step in steps})
    assert steps[-1]["done"] == steps[-1]["total"] == 4 * len(ASKS)
    assert result == {
        "answers": 4 * len(ASKS),
        "policies": ["base", "sft", "dpo", "ppo"],
        "too_long": 0,
        "dtype": "float32",
    }


def test_rewards_equal_the_sequence_classifier_that_was_trained(home, answers):
    base = AutoModelForSequenceClassification.from_pretrained(home / "model", num_labels=1)
    reference = PeftModel.from_pretrained(base, home / "reward").eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(home / "model")
    for row in answers[::3]:
        messages = [
            {"role": "user", "content": row["prompt"]},
            {"role": "assistant", "content": row["text"]},
        ]
        ids = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=False)
        with torch.no_grad():
            expected = reference(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.item()
        assert row["reward"] == pytest.approx(expected, abs=1e-4)
    assert len({round(row["reward"], 4) for row in answers}) > 5


def load(home: Path) -> Policies:
    model = {"path": str(home / "model"), "name": "tiny", "quantization": "none"}
    adapters = {"base": None, "sft": str(home / "sft"), "ppo": str(home / "ppo")}
    return Policies(model, adapters, str(home / "reward"))


def test_log_probabilities_in_padded_batches_equal_plain_forwards(home):
    policies = load(home)
    prompts, completions = [[5, 6, 7], [9] * 20, [3]], [[1, 2], [4], [8] * 9]
    base = AutoModelForCausalLM.from_pretrained(home / "model")
    plain = PeftModel.from_pretrained(base, home / "ppo").eval()
    found = policies.log_probabilities("ppo", prompts, completions, temperature=0.7)
    for prompt, completion, value in zip(prompts, completions, found, strict=True):
        with torch.no_grad():
            logits = plain(input_ids=torch.tensor([prompt + completion])).logits[0] / 0.7
        steps = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        expected = sum(steps[place, token].item() for place, token in enumerate(completion))
        assert value == pytest.approx(expected, abs=1e-3)


def test_sampled_kl_agrees_with_the_exact_kl_of_one_token(home):
    """k1 over many one-token answers against the sum over the whole vocabulary."""
    policies, count = load(home), 3000
    prompt = policies.render([{"role": "user", "content": "hi"}])
    torch.manual_seed(0)
    made = policies.generate("ppo", [prompt] * count, 1, 1.0)
    own = policies.log_probabilities("ppo", [prompt] * count, made, 1.0)
    reference = policies.log_probabilities("sft", [prompt] * count, made, 1.0)
    kls = torch.tensor(own) - torch.tensor(reference)
    rows = []
    for name in ("ppo", "sft"):
        with policies.use(name) as model, torch.no_grad():
            rows.append(model(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1))
    exact = (rows[0].exp() * (rows[0] - rows[1])).sum().item()
    error = kls.std().item() / count**0.5
    assert abs(kls.mean().item() - exact) < 4 * error
    assert exact > 20 * error
    assert len({row[0] for row in made}) > 50  # more than the library's default top 50


def test_greedy_answers_do_not_depend_on_the_batch_and_sampled_ones_on_the_seed_only(
    home, tmp_path
):
    greedy = [
        answers_of(spec_for(home, tmp_path / f"g{size}", batch_size=size, temperature=0.0))
        for size in (1, 5)
    ]
    assert [row["text"] for row in greedy[0]] == [row["text"] for row in greedy[1]]
    for one, other in zip(*greedy, strict=True):
        assert one["kl"] == pytest.approx(other["kl"], abs=1e-3)
        assert one["reward"] == pytest.approx(other["reward"], abs=1e-4)
    first, again = (answers_of(spec_for(home, tmp_path / name)) for name in "ab")
    other = answers_of(spec_for(home, tmp_path / "c") | {"seed": 2})
    assert first == again
    assert [row["text"] for row in first] != [row["text"] for row in other]


def test_answers_end_at_eos_or_at_the_limit(home, tmp_path):
    asks = [f"question {number}" for number in range(16)]
    rows = answers_of(spec_for(home, tmp_path / "out", asks, max_new_tokens=48, batch_size=8))
    ended = [row for row in rows if row["finish_reason"] == "stop"]
    cut = [row for row in rows if row["finish_reason"] == "length"]
    assert ended
    assert cut
    assert len(ended) + len(cut) == len(rows)
    assert all(row["tokens"] == 48 for row in cut)
    assert any(row["tokens"] < 48 for row in ended)
    assert not any(END in row["text"] for row in rows)


def test_a_prompt_without_room_in_the_context_is_said_so_and_not_counted(home, tmp_path):
    spec = spec_for(home, tmp_path / "out", ["x" * CONTEXT, "hi", "ho"])
    rows = answers_of(spec)
    long = [row for row in rows if row["finish_reason"] == "too_long"]
    assert [row["prompt_id"] for row in long] == ["prm_0"] * 4
    assert all(row["reward"] is None and row["kl"] is None and row["text"] == "" for row in long)
    assert {row["n"] for row in summarise(rows) if row["metric"] in ("reward", "kl")} == {2}


def test_without_reward_and_without_sft_both_are_null(home, tmp_path):
    spec = spec_for(home, tmp_path / "out")
    spec["policies"] = [{"name": "base", "adapter": None}]
    spec["reward"] = None
    rows = answers_of(spec)
    assert {(row["reward"], row["kl"]) for row in rows} == {(None, None)}
    assert all(row["tokens"] > 0 for row in rows)


def test_switching_leaves_the_base_as_it_was(home):
    policies, plain = load(home), AutoModelForCausalLM.from_pretrained(home / "model").eval()
    ids = torch.tensor([[1, 2, 3]])
    for name in ("sft", "ppo"):
        with policies.use(name) as model, torch.no_grad():
            model(input_ids=ids)
    with policies.use("base") as model, torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)


def test_bad_inputs_are_refused_by_name(home, tmp_path):
    headless = tmp_path / "headless"
    headless.mkdir()
    tensors = load_file(home / "reward" / "adapter_model.safetensors")
    kept = {key: value for key, value in tensors.items() if "score" not in key}
    save_file(kept, headless / "adapter_model.safetensors")
    (headless / "adapter_config.json").write_text(
        (home / "reward" / "adapter_config.json").read_text()
    )
    cases: list[tuple[dict[str, Any], str]] = [
        ({"reward": {"adapter": str(headless)}}, "holds no reward head"),
        ({"policies": [{"name": "sft", "adapter": str(tmp_path)}]}, "holds no adapter_model"),
        ({"policies": [{"name": "sft", "adapter": None}] * 2}, "must be different"),
        ({"policies": []}, "must be different"),
    ]
    for number, (change, rule) in enumerate(cases):
        spec = spec_for(home, tmp_path / str(number)) | change
        with pytest.raises(JobInputError, match=rule) as caught:
            run(spec, Report(io.StringIO()))
        assert caught.value.exit_code == 2
        assert not (Path(spec["out"]) / "answers.jsonl").exists()
    with pytest.raises(JobInputError, match="holds no prompts"):
        run(spec_for(home, tmp_path / "none", []), Report(io.StringIO()))


def test_four_bit_base_with_float32_adapters_answers_and_scores(home, tmp_path):
    pytest.importorskip("bitsandbytes")
    spec = spec_for(home, tmp_path / "out", max_new_tokens=6)
    spec["model"]["quantization"] = "nf4"
    rows = answers_of(spec)
    assert all(row["reward"] is not None for row in rows)
    assert {row["kl"] for row in rows if row["policy"] in ("sft", "dpo")} == {0.0}
    assert all(abs(row["kl"]) > 0 for row in rows if row["policy"] in ("base", "ppo"))
