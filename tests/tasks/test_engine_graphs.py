"""Steps of fixed shape, as a GPU replays them, against the loop that grows."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tasks.convert import random_tiny  # noqa: E402
from tasks.engines import graphs  # noqa: E402
from tasks.engines.decode import Prompt, decode  # noqa: E402
from tasks.engines.load import AdaptedModel, device  # noqa: E402
from tasks.engines.prefix import Prefix, new_cache  # noqa: E402

from .sliding import sliding_tiny  # noqa: E402
from .taped_cuda import Tape, tape_cuda  # noqa: E402

NEW = 60
START = list(range(40, 60))  # what every prompt begins with
ENDS = [5, 5, 9, 9, 14, 14, 14, 20, 26, 26, 33, 33, 33, 48, NEW, NEW]  # tokens of each row
SHARES = [16, 8, 3]  # the rows of each capture: 20, then 33 tokens leave at most half


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A base, and an adapter "mine" on it."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("tiny")
    random_tiny(folder)
    model: dict[str, Any] = {"path": str(folder), "dtype": "float32"}
    torch.manual_seed(0)
    config = LoraConfig(
        r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    get_peft_model(AdaptedModel(model).base, config).save_pretrained(str(folder / "mine"))
    return AdaptedModel({**model, "adapters": {"mine": str(folder / "mine")}})


@pytest.fixture
def tapes(monkeypatch: pytest.MonkeyPatch) -> list[Tape]:
    """What is captured: steps are fixed on a CPU too, and rows move however little is left."""
    monkeypatch.setattr(graphs, "DEVICE", device().type)
    monkeypatch.setattr(graphs, "WORTH_MOVING", 1)
    monkeypatch.setattr(graphs, "_gave_up", False)
    return tape_cuda(monkeypatch).tapes


def rows_of(tapes: list[Tape]) -> list[int]:
    return [len(tape.calls[-1][3]) for tape in tapes]


def some_prompts(temperature: float = 0.0, top_p: float = 1.0) -> list[Prompt]:
    """Sixteen of three lengths, every third the same; the odd ones are drawn."""
    texts = [START + [60 + n % 3] * (1 + 4 * (n % 3)) for n in range(len(ENDS))]
    return [
        Prompt(n, tokens, temperature * (n % 2), top_p, 2**63 + n, ())
        for n, tokens in enumerate(texts)
    ]


def ended(prompt: Prompt, tokens: list[int]) -> bool:
    return len(tokens) >= ENDS[prompt.index]


def one_by_one(prompt: Prompt, tokens: list[int]) -> bool:
    return len(tokens) > NEW // 2 + prompt.index


def grown(model: Any, prompts: list[Prompt], finished: Any = ended, **how: Any) -> list[list[int]]:
    """What the loop that grows writes."""
    with pytest.MonkeyPatch.context() as usual:
        usual.setattr(graphs, "DEVICE", "none")
        return decode(model, prompts, NEW, finished, **how)


def refuse(error: Exception) -> Callable[..., Any]:
    def raise_it(*_: Any) -> Any:
        raise error

    return raise_it


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"), [(0.0, 1.0, 0), (1.0, 1.0, 0), (1.0, 0.8, 0), (1.2, 0.9, 5)]
)
@pytest.mark.parametrize("has_prefix", [False, True])
def test_replays_write_what_the_loop_writes(
    tiny: AdaptedModel,
    tapes: list[Tape],
    has_prefix: bool,
    temperature: float,
    top_p: float,
    top_k: int,
) -> None:
    """Greedy and drawn rows, equal prompts, rows that end at different steps."""
    prefix = Prefix(tiny.base, START) if has_prefix else None
    prompts = some_prompts(temperature, top_p)
    wanted = grown(tiny.base, prompts, prefix=prefix, top_k=top_k)
    assert not tapes
    assert decode(tiny.base, prompts, NEW, ended, prefix, top_k) == wanted
    assert [len(tokens) for tokens in wanted] == ENDS
    assert len({tuple(tokens) for tokens in wanted}) > (10 if temperature else 7)
    assert rows_of(tapes) == SHARES


@pytest.mark.parametrize("mode", [nullcontext, torch.inference_mode])
def test_an_adapter_is_replayed(tiny: AdaptedModel, tapes: list[Tape], mode: Any) -> None:
    prompts = some_prompts(1.0, 0.9)
    with mode(), tiny.use("mine") as model:
        wanted = grown(model, prompts)
        assert decode(model, prompts, NEW, ended) == wanted
    with tiny.use(None) as model:
        assert grown(model, prompts) != wanted
    assert rows_of(tapes) == SHARES


def test_the_model_is_called_to_read_and_twice_a_capture(
    tiny: AdaptedModel, tapes: list[Tape]
) -> None:
    shapes: list[tuple[int, ...]] = []
    hook = tiny.base.register_forward_pre_hook(
        lambda *args: shapes.append(tuple(args[2]["input_ids"].shape)), with_kwargs=True
    )
    try:
        decode(tiny.base, some_prompts(), NEW, ended)
    finally:
        hook.remove()
    assert shapes == [(3, 29), *((rows, 1) for rows in SHARES for _ in range(2))]


def test_rows_that_end_one_by_one_are_captured_log2_times(
    tiny: AdaptedModel, tapes: list[Tape]
) -> None:
    prompts = some_prompts(1.0)
    wanted = grown(tiny.base, prompts, one_by_one)
    assert decode(tiny.base, prompts, NEW, one_by_one) == wanted
    assert rows_of(tapes) == [16, 8, 4, 2, 1]


def test_room_that_holds_no_numbers_is_hidden(tiny: AdaptedModel, tapes: list[Tape]) -> None:
    prompts = some_prompts()
    wanted = grown(tiny.base, prompts)
    torch.use_deterministic_algorithms(True)  # which fills new memory with NaN
    try:
        assert decode(tiny.base, prompts, NEW, ended) == wanted
    finally:
        torch.use_deterministic_algorithms(False)
    assert rows_of(tapes) == SHARES


def test_when_rows_move_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, tiny: AdaptedModel, tapes: list[Tape]
) -> None:
    prompts = some_prompts(1.0)
    wanted = grown(tiny.base, prompts)
    for fewest, shares in ((NEW, [16]), (30, [16, 8])):
        tapes.clear()
        monkeypatch.setattr(graphs, "WORTH_MOVING", fewest)
        assert decode(tiny.base, prompts, NEW, ended) == wanted
        assert rows_of(tapes) == shares


@pytest.mark.parametrize("captures", [0, 1])
def test_what_cannot_be_captured_goes_on_as_before(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny: AdaptedModel,
    tapes: list[Tape],
    captures: int,
) -> None:
    """The first step, or that of the rows that have moved: one line, and no more captures."""
    prompts, capture, asked = some_prompts(1.0, 0.9), graphs.capture, []

    def scarce(step: Any) -> Any:
        asked.append(step)
        return capture(step) if len(asked) <= captures else refuse(RuntimeError("no\nsuch"))()

    wanted = grown(tiny.base, prompts)
    monkeypatch.setattr(graphs, "capture", scarce)
    assert decode(tiny.base, prompts, NEW, ended) == wanted
    assert decode(tiny.base, prompts, NEW, ended) == wanted
    assert len(asked) == captures + 1
    assert rows_of(tapes) == SHARES[:captures]
    said = capsys.readouterr().err
    assert said == "CUDA graph: not captured, goes on without: no such\n"


def test_a_step_that_reads_a_value_is_not_captured(
    capsys: pytest.CaptureFixture[str], tiny: AdaptedModel, tapes: list[Tape]
) -> None:
    """And what comes after is computed on the stream before."""

    def read(*given: Any) -> None:
        int(given[2]["input_ids"].max())

    prompts, stream = some_prompts(), torch.cuda.current_stream()
    wanted = grown(tiny.base, prompts)
    hook = tiny.base.register_forward_pre_hook(read, with_kwargs=True)
    try:
        assert decode(tiny.base, prompts, NEW, ended) == wanted
    finally:
        hook.remove()
    assert len(tapes) == 1
    assert torch.cuda.current_stream() is stream
    assert "not permitted when stream is capturing\n" in capsys.readouterr().err


def test_a_replay_that_gives_other_logits_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tiny: AdaptedModel,
    tapes: list[Tape],
) -> None:
    prompts, capture = some_prompts(), graphs.capture

    def wrong(step: Any) -> Any:
        expected, replay = capture(step)
        return expected, lambda: replay().flip(-1)

    wanted = grown(tiny.base, prompts)
    monkeypatch.setattr(graphs, "capture", wrong)
    assert decode(tiny.base, prompts, NEW, ended) == wanted
    assert "its logits are not those of the step\n" in capsys.readouterr().err


def test_too_little_memory_is_the_callers(
    monkeypatch: pytest.MonkeyPatch, tiny: AdaptedModel, tapes: list[Tape]
) -> None:
    monkeypatch.setattr(graphs, "capture", refuse(torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        decode(tiny.base, some_prompts(), NEW, ended)
    assert not graphs._gave_up


def test_few_tokens_other_devices_and_other_layers_are_not_captured(
    monkeypatch: pytest.MonkeyPatch, tiny: AdaptedModel, tapes: list[Tape], tmp_path: Path
) -> None:
    sliding_tiny(tmp_path)
    sliding = AdaptedModel({"path": str(tmp_path), "dtype": "float32"}).base
    for model, new in ((tiny.base, 15), (sliding, NEW)):
        decode(model, some_prompts(), new, lambda *_: False)
    assert not tapes
    assert graphs.is_worth_it(tiny.base, new_cache(tiny.base, 0), 16)
    changes = ((type(tiny.base), "_can_compile_fullgraph", False), (graphs, "DEVICE", "none"))
    for owner, name, value in (*changes, (graphs, "MASKED", ("eager",))):
        with monkeypatch.context() as changed:
            changed.setattr(owner, name, value)
            assert not graphs.is_worth_it(tiny.base, new_cache(tiny.base, 0), NEW)
