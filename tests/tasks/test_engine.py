"""The transformers engine: draws, batches, the shared prefix, and every way a completion ends."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engines.child import WorkerEngine
from tasks.engines.engine import Completion, Request
from tasks.engines.scripted import ScriptedEngine
from tasks.process import WorkerError
from tasks.report import JobInputError, Report

torch = pytest.importorskip("torch")

from tasks.chat.tokens import end_tokens  # noqa: E402
from tasks.convert import random_tiny  # noqa: E402
from tasks.engines import sampling  # noqa: E402
from tasks.engines.batches import plan_batches  # noqa: E402
from tasks.engines.decode import decode  # noqa: E402
from tasks.engines.generate import Generator  # noqa: E402
from tasks.engines.load import AdaptedModel  # noqa: E402
from tasks.engines.prefix import Prefix, common_prefix, shared_prefix  # noqa: E402
from tasks.engines.sampling import Draws, choose, gumbel  # noqa: E402
from tasks.engines.score import Scorer  # noqa: E402
from tasks.engines.serve import serve  # noqa: E402

from .sliding import sliding_tiny  # noqa: E402

WORDS = "why is the sky blue and what should a careful person say about it when asked".split()


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    random_tiny(folder)
    return folder


def make(path: Path, **changes: Any) -> Generator:
    return Generator(AdaptedModel({"path": str(path), "dtype": "float32"}), 100_000, 8, **changes)


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> Generator:
    return make(tiny_model)


def ask(words: int = 1, **changes: Any) -> Request:
    said = " ".join(WORDS[:words])
    request = Request([{"role": "user", "content": said}], None, 1.0, 1.0, (), 12, 4000, words)
    return replace(request, **changes)


def answers(generator: Generator, requests: list[Request]) -> list[Completion]:
    found = [
        Completion(**item)
        for items, _ in generator.answer([asdict(request) for request in requests])
        for item in items
    ]
    assert sorted(item.index for item in found) == list(range(len(requests)))
    return sorted(found, key=lambda item: item.index)


# Draws


def frequencies(logits: list[float], temperature: float, top_p: float, n: int) -> list[float]:
    rows = torch.tensor(logits).expand(n, -1)
    draws = Draws.of([temperature] * n, [top_p] * n, range(n))
    counts = Counter(choose(rows, draws, 3).tolist())
    return [counts[token] / n for token in range(len(logits))]


@pytest.mark.parametrize("top", [2, 64])
def test_draws_follow_the_softmax(monkeypatch: pytest.MonkeyPatch, top: int) -> None:
    """With `top` 2 the other four tokens are one bucket; the distribution must be the same."""
    monkeypatch.setattr(sampling, "TOP", top)
    logits = [2.0, 1.5, 1.0, 0.5, 0.0, -1.0]
    wanted = (torch.tensor(logits) / 0.7).softmax(-1)
    seen = torch.tensor(frequencies(logits, 0.7, 1.0, 40_000))
    assert (seen - wanted).abs().max() < 0.01  # four standard errors of the likeliest


@pytest.mark.parametrize("width", [2, 64])
def test_a_nucleus_is_the_fewest_tokens_that_reach_top_p(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(sampling._from_nucleus, "__defaults__", (width,))
    monkeypatch.setattr(sampling, "TOP", 2)
    shares = torch.tensor([0.4, 0.3, 0.2, 0.1])
    seen = frequencies(shares.log().tolist(), 1.0, 0.85, 20_000)
    assert seen[3] == 0
    wanted = shares[:3] / 0.9
    assert (torch.tensor(seen[:3]) - wanted).abs().max() < 0.02


def test_greedy_and_sampled_rows_share_a_batch() -> None:
    logits = torch.randn(2, 300)
    draws = Draws.of([0.0, 5.0], [1.0, 0.9], [1, 1])
    assert choose(logits, draws, 0)[0] == logits[0].argmax()
    assert len({int(choose(logits, draws, step)[1]) for step in range(20)}) > 5


def test_noise_depends_on_seed_step_and_token_and_takes_64_bits() -> None:
    tokens = torch.arange(3)[None]
    base = gumbel(Draws.of([1.0], [1.0], [2**64 - 1]).seed, 0, tokens)
    assert base.isfinite().all()
    assert len(set(base[0].tolist())) == 3
    assert not torch.equal(base, gumbel(Draws.of([1.0], [1.0], [2**64 - 2]).seed, 0, tokens))
    assert not torch.equal(base, gumbel(Draws.of([1.0], [1.0], [2**64 - 1]).seed, 1, tokens))
    many = gumbel(torch.arange(200), 5, torch.arange(500).expand(200, -1))
    assert abs(float(many.mean()) - 0.5772) < 0.02  # Euler's constant
    assert abs(float(many.var()) - 1.6449) < 0.05  # pi^2 / 6


def test_logits_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(FloatingPointError, match="not finite"):
        choose(torch.full((1, 5), torch.nan), Draws.of([1.0], [1.0], [1]), 0)


# Batches and the shared prefix


@pytest.mark.parametrize("top_p", [1.0, 0.8])
def test_the_same_request_alone_and_in_a_batch(tiny: Generator, top_p: float) -> None:
    requests = [ask(n, seed=2**63 + n, top_p=top_p) for n in range(1, 9)]
    together = answers(tiny, requests)
    alone = [answers(tiny, [request])[0] for request in requests]
    assert [item.text for item in together] == [item.text for item in alone]
    assert len({item.text for item in together}) == 8


def test_prefix_reuse_changes_no_text_and_no_logit(
    tiny: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ask(n, temperature=0.0, max_new_tokens=24) for n in (3, 9, 15)]
    with_reuse = answers(tiny, requests)
    with monkeypatch.context() as patched:
        patched.setattr("tasks.engines.generate.shared_prefix", lambda model, prompts: None)
        without = answers(tiny, requests)
    assert [item.text for item in with_reuse] == [item.text for item in without]
    prompts = [tiny._tokenize(n, asdict(request)) for n, request in enumerate(requests)]
    shared = common_prefix([prompt.tokens for prompt in prompts])
    assert shared >= 16
    prefix = Prefix(tiny.model.base, prompts[0].tokens[:shared])
    assert (
        logits_after(tiny, prompts, prefix).sub(logits_after(tiny, prompts, None)).abs().max()
        < 1e-4
    )


def logits_after(tiny: Generator, prompts: Any, prefix: Prefix | None) -> Any:
    """The logits [B, V] that `decode` sees first."""
    seen: list[Any] = []
    hook = tiny.model.base.register_forward_hook(lambda *args: seen.append(args[2].logits[:, -1]))
    try:
        decode(tiny.model.base, prompts, 1, lambda *_: True, prefix)
    finally:
        hook.remove()
    return seen[0]


def test_our_loop_agrees_with_transformers_generate(tiny: Generator) -> None:
    prompts = [
        tiny._tokenize(n, asdict(ask(words, temperature=0.0))) for n, words in enumerate((2, 7))
    ]
    for prompt in prompts:
        ids = torch.tensor([prompt.tokens])
        generate: Any = tiny.model.base.generate
        wanted = generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False
        )[0, ids.shape[1] :].tolist()
        ours = decode(tiny.model.base, prompts, 16, lambda _, tokens: tokens[-1] in tiny.ends)
        assert ours[prompt.index] == wanted


def test_a_prefix_is_run_once_a_call_and_rows_leave_when_they_finish(tiny: Generator) -> None:
    shapes: list[tuple[int, int]] = []
    hook = tiny.model.base.register_forward_pre_hook(
        lambda *args: shapes.append(tuple(args[2]["input_ids"].shape)), with_kwargs=True
    )
    try:
        requests = [ask(n, stop=("e",) if n % 2 else (), max_new_tokens=40) for n in range(4, 16)]
        answers(tiny, requests)
    finally:
        hook.remove()
    assert sum(rows == 1 and width > 1 for rows, width in shapes) == 1
    assert sum(width > 1 for _, width in shapes) == 3  # the prefix, then two batches
    assert {rows for rows, width in shapes if width == 1} > {6}  # two of six, and fewer


def test_a_prompt_that_is_answered_several_times_is_read_once(tiny: Generator) -> None:
    shapes: list[tuple[int, int]] = []
    hook = tiny.model.base.register_forward_pre_hook(
        lambda *args: shapes.append(tuple(args[2]["input_ids"].shape)), with_kwargs=True
    )
    requests = [ask(words, seed=seed) for seed in range(2) for words in (9, 3, 9, 6)]
    try:
        together = answers(tiny, requests)
    finally:
        hook.remove()
    assert [rows for rows, width in shapes if width > 1] == [1, 3]  # the prefix, three prompts
    assert shapes[2] == (8, 1)
    alone = [answers(tiny, [request])[0] for request in requests]
    assert [item.text for item in together] == [item.text for item in alone]
    assert len({item.text for item in together}) > 3  # seeds still differ


def test_rows_that_leave_do_not_disturb_those_that_stay(tiny: Generator) -> None:
    requests = [ask(n, stop=("u", "K", "<"), max_new_tokens=40) for n in range(4, 12)]
    together = answers(tiny, requests)
    assert len({item.completion_tokens for item in together}) > 3
    alone = [answers(tiny, [request])[0] for request in requests]
    assert [item.text for item in together] == [item.text for item in alone]


@pytest.mark.parametrize(
    ("prompts", "shared"),
    [
        ([[1] * 30, [1] * 30], 29),
        ([[1] * 20 + [2], [1] * 20 + [3, 4]], 20),
        ([[1] * 15 + [2], [1] * 15 + [3]], 0),
        ([[1] * 40], 0),
        ([], 0),
    ],
)
def test_common_prefix(prompts: list[list[int]], shared: int) -> None:
    assert common_prefix(prompts) == shared


def test_batches_keep_the_budget_and_lose_nobody(tiny: Generator) -> None:
    prompts = [tiny._tokenize(n, asdict(ask(n % 16 + 1))) for n in range(40)]
    batches = list(plan_batches(prompts, lambda p: len(p.tokens) - 20 + 12, 400, 8))
    assert sorted(prompt.index for batch in batches for prompt in batch) == list(range(40))
    for batch in batches:
        widest = max(len(prompt.tokens) for prompt in batch) - 20 + 12
        assert len(batch) <= 8
        assert len(batch) == 1 or len(batch) * widest <= 400


def test_no_few_rows_are_left_over() -> None:
    sizes = [len(batch) for batch in plan_batches(range(17), lambda _: 10, 1000, 8)]
    assert sizes == [6, 6, 5]
    wide = [90, *[10] * 17]
    assert [len(b) for b in plan_batches(wide, lambda w: w, 100, 8)] == [1, 6, 6, 5]


def test_a_batch_too_big_for_memory_is_halved(
    tiny: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ask(n) for n in range(1, 8)]
    wanted = [item.text for item in answers(tiny, requests)]
    sizes: list[int] = []

    def small_memory(model: Any, batch: Any, *rest: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        return decode(model, batch, *rest)

    monkeypatch.setattr("tasks.engines.generate.decode", small_memory)
    assert [item.text for item in answers(tiny, requests)] == wanted
    assert sizes == [7, 3, 1, 2, 4, 2, 2]


# How a completion ends


def test_length_and_token_counts(tiny: Generator) -> None:
    item = answers(tiny, [ask(2, temperature=0.0, max_new_tokens=5)])[0]
    prompt = "<|im_start|>user\nwhy is<|im_end|>\n<|im_start|>assistant\n"
    marks = prompt.count("<|im_")  # each is one token, everything else one a byte
    size = len(prompt) - sum(len(mark) - 1 for mark in ["<|im_start|>"] * 2 + ["<|im_end|>"])
    assert marks == 3
    assert (item.finish_reason, item.completion_tokens, item.prompt_tokens) == ("length", 5, size)


def test_stop_string_is_removed_and_ends_the_row(tiny: Generator) -> None:
    whole = answers(tiny, [ask(3, max_new_tokens=40)])[0]
    stop = whole.text[6:9]
    cut = answers(
        tiny, [ask(3, max_new_tokens=40, stop=("never ", stop)), ask(4, max_new_tokens=40)]
    )[0]
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.completion_tokens < whole.completion_tokens


def test_end_tokens_come_from_tokenizer_and_generation_settings(tiny_model: Path) -> None:
    generator = make(tiny_model)
    prompt = generator._tokenize(0, asdict(ask(2, temperature=0.0)))
    written = decode(generator.model.base, [prompt], 9, lambda *_: False)[0]
    place = next(n for n in range(1, 9) if written[n] not in written[:n])
    settings = generator.model.base.generation_config
    settings.eos_token_id = [generator.tokenizer.eos_token_id, written[place]]
    generator.ends = end_tokens(generator.model.base, generator.tokenizer)
    assert set(generator.ends) == {generator.tokenizer.eos_token_id, written[place]}
    item = answers(generator, [ask(2, temperature=0.0, max_new_tokens=9)])[0]
    assert item.finish_reason == "stop"
    assert item.text == generator._text(written[:place])
    assert item.completion_tokens == place + 1


def test_the_templates_end_of_turn_ends_an_answer_whatever_the_settings_say(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Nor do other settings of generation_config.json change what is sampled."""
    asked = [ask(n, seed=n, max_new_tokens=40) for n in range(1, 9)]
    usual = answers(make(tiny_model), asked)
    assert "stop" in {item.finish_reason for item in usual}
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    for name, changes in (
        ("tokenizer_config.json", {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}),
        ("config.json", {"eos_token_id": 0, "pad_token_id": 0}),
        ("generation_config.json", {"eos_token_id": 0, "pad_token_id": 0, "top_k": 1}),
        ("generation_config.json", {"do_sample": True, "temperature": 0.1, "min_new_tokens": 30}),
        ("generation_config.json", {"repetition_penalty": 9.0, "suppress_tokens": [5, 2]}),
    ):
        path = other / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert answers(make(other), asked) == usual


def test_a_text_cut_within_a_character_ends_before_it(tiny: Generator) -> None:
    tokens = tiny.tokenizer("é漢", add_special_tokens=False)["input_ids"]
    prompt = tiny._tokenize(0, asdict(ask()))
    assert [tiny._finish(prompt, tokens[:n])["text"] for n in (2, 3, 4, 5)] == [
        "é",
        "é",
        "é",
        "é漢",
    ]


def test_too_long_is_not_generated_and_others_are(tiny: Generator) -> None:
    size = answers(tiny, [ask(10)])[0].prompt_tokens
    items = answers(
        tiny, [ask(10, max_prompt_tokens=size - 1), ask(10, max_prompt_tokens=size), ask(1)]
    )
    assert (items[0].finish_reason, items[0].text, items[0].completion_tokens) == (
        "too_long",
        "",
        0,
    )
    assert items[0].prompt_tokens == size
    assert "too_long" not in {items[1].finish_reason, items[2].finish_reason}
    beyond = answers(tiny, [ask(1, max_new_tokens=tiny.context)])[0]
    assert beyond.finish_reason == "too_long"


def test_raw_text_is_sent_as_it_is(tiny: Generator) -> None:
    item = answers(tiny, [ask(1, messages=None, text="abcde")])[0]
    assert item.prompt_tokens == 5


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ([ask(1), ask(1, max_new_tokens=3)], "one number"),
        ([ask(1, messages=None, text="")], "empty"),
    ],
)
def test_bad_requests_say_what_and_why(
    tiny: Generator, requests: list[Request], words: str
) -> None:
    with pytest.raises(JobInputError, match=words):
        answers(tiny, requests)


def test_messages_need_a_chat_template(tiny_model: Path) -> None:
    generator = make(tiny_model)
    generator.tokenizer.chat_template = None
    with pytest.raises(JobInputError, match="no chat template"):
        answers(generator, [ask(1)])


def test_an_adapter_changes_the_answer(tiny: Generator, tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(
        r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    get_peft_model(make(tiny_model).model.base, config).save_pretrained(str(tmp_path))
    model = {"path": str(tiny_model), "adapters": {"mine": str(tmp_path)}, "dtype": "float32"}
    generator = Generator(AdaptedModel(model))
    adapted = [ask(n, temperature=0.0, adapter="mine") for n in (1, 2)]
    plain = [replace(request, adapter=None) for request in adapted]
    mixed = [item.text for item in answers(generator, [*adapted, *plain])]
    assert mixed[:2] != mixed[2:]
    assert mixed[2:] == [item.text for item in answers(tiny, plain)]
    assert mixed == [answers(generator, [request])[0].text for request in (*adapted, *plain)]
    with pytest.raises(JobInputError, match="none of the adapters mine"):
        answers(generator, [ask(1, adapter="another")])


def test_sliding_window_models_are_served_without_prefix(tmp_path: Path) -> None:
    sliding_tiny(tmp_path)
    generator = make(tmp_path)
    requests = [ask(n, temperature=0.0) for n in (1, 6)]
    prompts = [[5] * 30 + [last] for last in (6, 7)]
    assert common_prefix(prompts) == 30
    assert shared_prefix(generator.model.base, prompts) is None
    together = answers(generator, requests)
    assert [answers(generator, [request])[0].text for request in requests] == [
        item.text for item in together
    ]


# The protocol and the parent's side


def test_a_call_answers_with_completions_then_done(tiny: Generator) -> None:
    items = [asdict(ask(n)) for n in range(1, 11)]
    line, stream = json.dumps({"call": 7, "do": "generate", "items": items}), io.StringIO()
    assert serve(tiny, Scorer(tiny.model), [line], Report(stream)) == 10
    events = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["items", "items", "done"]
    assert {event["call"] for event in events} == {7}
    assert [len(event["items"]) for event in events[:2]] == [5, 5]


@pytest.fixture(scope="module")
def engine(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerEngine]:
    log = tmp_path_factory.mktemp("logs") / "generate.log"
    made = WorkerEngine(tiny_model, log, dtype="float32", batch_rows=4, threads=1)
    with closing(made):
        yield made


def collect(engine: Any, requests: list[Request]) -> list[str]:
    items = [item for batch in engine.generate(requests) for item in batch.items]
    return [item.text for item in sorted(items, key=lambda item: item.index)]


def test_worker_engine_gives_what_the_model_gives(engine: WorkerEngine, tiny: Generator) -> None:
    requests = [ask(n, seed=2**64 - n) for n in range(1, 7)]
    assert list(engine.generate([])) == []
    assert engine.device == ""
    assert collect(engine, requests) == [item.text for item in answers(tiny, requests)]
    assert (engine.device, engine.dtype, engine.context) == (
        tiny.model.base.device.type,
        "float32",
        8192,
    )


def test_a_call_left_early_does_not_disturb_the_next(engine: WorkerEngine, tiny: Generator) -> None:
    next(engine.generate([ask(n) for n in range(1, 13)]))
    requests = [ask(n) for n in (14, 15)]
    assert collect(engine, requests) == [item.text for item in answers(tiny, requests)]


def test_a_dead_worker_is_an_error_and_the_next_call_starts_another(engine: WorkerEngine) -> None:
    first = collect(engine, [ask(1)])
    assert engine._worker is not None
    engine._worker._process.kill()  # type: ignore[union-attr]
    with pytest.raises(WorkerError, match="SIGKILL"):
        collect(engine, [ask(1)])
    assert collect(engine, [ask(1)]) == first


# The scripted engine keeps the same contract


def test_scripted_engine_keeps_the_contract() -> None:
    requests = [ask(n, seed=n, max_new_tokens=40) for n in range(1, 17)] * 10
    requests = [replace(request, seed=n) for n, request in enumerate(requests)]
    engine = ScriptedEngine(batch_rows=7)
    batches = list(engine.generate(requests))
    assert [len(batch.items) for batch in batches] == [7] * 22 + [6]
    items = [item for batch in batches for item in batch.items]
    assert [item.index for item in items] == list(range(160))
    assert {item.finish_reason for item in items} == {"stop", "length"}
    assert collect(engine, requests) == [item.text for item in items]
    assert len({item.text for item in items}) > 100


def test_scripted_limits_and_stops() -> None:
    engine = ScriptedEngine()
    whole = next(engine.generate([ask(4, max_new_tokens=1000)])).items[0]
    ended = whole.completion_tokens
    fits = next(engine.generate([ask(4, max_new_tokens=ended)])).items[0]
    cut = next(engine.generate([ask(4, max_new_tokens=ended - 1)])).items[0]
    assert (fits.finish_reason, fits.text) == ("stop", whole.text)
    assert cut.finish_reason == "length"
    stop = whole.text.split()[-1]
    stopped = next(engine.generate([ask(4, stop=(stop,), max_new_tokens=1000)])).items[0]
    assert stop not in stopped.text
    assert next(engine.generate([ask(4, max_prompt_tokens=3)])).items[0].finish_reason == "too_long"
