"""`solon standard`: a library's figures on a tiny model, against figures worked out by hand."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from flows.commands import cli  # noqa: E402
from flows.run import standard as run  # noqa: E402
from storage.errors import InputError, SolonError  # noqa: E402
from storage.ledger import Ledger  # noqa: E402
from storage.workspace import Workspace  # noqa: E402
from tasks.convert import random_tiny  # noqa: E402
from tasks.engines.engine import Batch, Completion, Continuation, Request, Score  # noqa: E402
from tasks.engines.generate import Generator  # noqa: E402
from tasks.engines.load import AdaptedModel  # noqa: E402
from tasks.engines.score import Scorer  # noqa: E402
from tasks.intervals import wilson  # noqa: E402
from tasks.standard import harness  # noqa: E402
from tasks.standard.figures import figures  # noqa: E402

needs_library = pytest.mark.skipif(
    importlib.util.find_spec("lm_eval") is None,
    reason=f"needs lm-eval, which is not installed: {harness.INSTALL}",
)
SUBJECTS = ("sky", "grass", "snow", "coal", "blood", "a lemon", "the sea", "an old, old leaf")
COLOURS = ["blue", "green", "white", "black", "deep red"]
NEW_TOKENS = 6

CHOICE = """
task: colours
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: multiple_choice
doc_to_text: "What colour is {{subject}}?\\nAnswer:"
doc_to_choice: "{{choices}}"
doc_to_target: gold
metric_list: [{metric: acc}, {metric: acc_norm}]
metadata: {version: 2.0}
"""
WRITTEN = """
task: writing
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
test_split: test
output_type: generate_until
doc_to_text: "Say something of {{subject}}:"
doc_to_target: "{{said}}"
generation_kwargs: {until: ["@"], max_gen_toks: 6, do_sample: false}
metric_list: [{metric: exact_match}]
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    random_tiny(folder)
    return folder


class Local:
    """Implements `Engine` in this process, and counts what it is asked."""

    name, device, dtype = "local", "cpu", "float32"
    adapters: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        model = AdaptedModel({"path": str(path), "dtype": "float32", "adapters": {}})
        self._generator, self._scorer, self.asked = Generator(model), Scorer(model), 0

    def generate(self, requests: Sequence[Request]) -> Iterator[Batch[Completion]]:
        self.asked += len(requests)
        for items, seconds in self._generator.answer([asdict(r) for r in requests]):
            yield Batch([Completion(**item) for item in items], seconds)

    def score(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        self.asked += len(continuations)
        for items, seconds in self._scorer.score([asdict(c) for c in continuations]):
            yield Batch([Score(**item) for item in items], seconds)

    def reward(self, continuations: Sequence[Continuation]) -> Iterator[Batch[Score]]:
        raise AssertionError("no task asks for a reward")

    def close(self) -> None: ...


@pytest.fixture
def engine(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Local:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = Local(base)

    @contextmanager
    def engine_of(*_: Any) -> Iterator[Local]:
        yield found

    monkeypatch.setattr(run, "engine_of", engine_of)
    return found


class Plain:
    """The model by transformers alone."""

    def __init__(self, base: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(base).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(base)

    def logprob(self, context: str, text: str) -> float:
        before = len(self.tokenizer(context)["input_ids"])
        ids = self.tokenizer(context + text)["input_ids"]
        with torch.no_grad():
            steps = self.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        return float(sum(steps[place - 1, ids[place]] for place in range(before, len(ids))))

    def written(self, context: str) -> str:
        ids = self.tokenizer(context, return_tensors="pt")
        with torch.no_grad():
            found = self.model.generate(**ids, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = found[0, ids["input_ids"].shape[1] :]
        return str(self.tokenizer.decode(new, skip_special_tokens=True)).split("@")[0]


@pytest.fixture
def plain(base: Path) -> Plain:
    return Plain(base)


@pytest.fixture
def recipe(base: Path, tmp_path: Path) -> str:
    """A recipe whose base is the tiny model."""
    from flows.plan.recipe_file import RECIPES

    text = (RECIPES / "smoke.yaml").read_text(encoding="utf-8")
    path = tmp_path / "tiny.yaml"
    path.write_text(text.replace("random:tiny", str(base)), encoding="utf-8")
    return str(path)


def tasks_in(folder: Path, **rows: list[dict[str, Any]]) -> str:
    """A folder of tasks: the name of each is that of its YAML here."""
    folder.mkdir()
    for name, text in (("colours", CHOICE), ("writing", WRITTEN)):
        if name in rows:
            data = folder / f"{name}.json"
            data.write_text("\n".join(map(json.dumps, rows[name])))
            (folder / f"{name}.yaml").write_text(text.replace("FILE", str(data)))
    return str(folder)


def solon(*arguments: str) -> Result:
    result = CliRunner().invoke(cli.app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def colours() -> list[dict[str, Any]]:
    return [{"subject": s, "choices": COLOURS, "gold": n % 5} for n, s in enumerate(SUBJECTS)]


@needs_library
def test_choices_are_counted_as_by_hand_and_land_in_the_ledger(
    engine: Local, plain: Plain, recipe: str, tmp_path: Path
) -> None:
    own = tasks_in(tmp_path / "tasks", colours=colours())
    arguments = ("standard", "base", "--tasks", "colours", "--include", own, "--recipe", recipe)
    found = json.loads(solon(*arguments, "--json").stdout)
    right = right_by_length = 0
    for row in colours():
        context = f"What colour is {row['subject']}?\nAnswer:"
        scores = [plain.logprob(context, f" {colour}") for colour in COLOURS]
        each = [score / len(colour) for score, colour in zip(scores, COLOURS, strict=True)]
        right += scores.index(max(scores)) == row["gold"]
        right_by_length += each.index(max(each)) == row["gold"]
    assert right not in (0, 8)  # else this shows little
    by_name = {figure["metric"]: figure for figure in found["figures"]}
    assert by_name["acc"]["value"] == right / 8
    assert by_name["acc_norm"]["value"] == right_by_length / 8
    assert (by_name["acc"]["low"], by_name["acc"]["high"]) == pytest.approx(wilson(right, 8))
    assert (by_name["acc"]["n"], by_name["acc"]["version"]) == (8, "2.0")
    assert (found["requests"], found["reused"], engine.asked) == (40, 0, 40)

    again = solon(*arguments)
    assert "40 questions, 40 of them answered before" in again.stdout
    assert engine.asked == 40
    ledger = Ledger(Workspace.open().ledger)
    kept = ledger.query("SELECT * FROM metrics WHERE name = 'standard:colours/acc'")
    assert [(row["subject_id"], row["value"], row["step"]) for row in kept] == [
        (found["subject_id"], right / 8, -1)
    ]
    assert f"colours/acc  {right / 8:.3f}" in solon("why", found["subject_id"]).stdout


@needs_library
def test_a_conversation_is_asked_with_the_models_template(
    engine: Local, recipe: str, tmp_path: Path
) -> None:
    own = tasks_in(tmp_path / "tasks", colours=colours())
    arguments = ("--include", own, "--recipe", recipe, "--chat", "--limit", "1", "--json")
    asked: list[Continuation] = []
    score = engine.score
    engine.score = lambda items: asked.extend(items) or score(items)  # type: ignore[assignment,func-returns-value]
    solon("standard", "base", "--tasks", "colours", *arguments)
    (question,) = {json.dumps(item.messages) for item in asked}
    said = "What colour is sky?\nAnswer:"
    assert json.loads(question) == [{"role": "user", "content": said}]
    assert [(item.text, item.context) for item in asked] == [(c, None) for c in COLOURS]


@needs_library
def test_what_cannot_be_asked_is_said_in_one_line(
    engine: Local, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tasks_in(tmp_path / "tasks", colours=colours())

    def asked(tasks: str, folder: str = own) -> Result:
        return solon("standard", "base", "--tasks", tasks, "--include", folder, "--recipe", recipe)

    with pytest.raises(InputError, match="is no folder"):
        asked("colours", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="names no task"):
        asked(" ,")
    (tmp_path / "tasks" / "colours.json").write_text("")
    with pytest.raises(InputError, match="cannot be loaded"):
        asked("colours")

    class Manager:
        task_index = all_tasks = ("arc_easy",)

        def __init__(self, **_: Any) -> None: ...
        def load(self, names: list[str]) -> None:
            raise ConnectionError("no way out")

    monkeypatch.setattr(harness, "_manager", lambda *_: Manager())
    with pytest.raises(InputError, match="no task has this name; did you mean arc_easy"):
        asked("arc_eazy")
    with pytest.raises(SolonError, match="the hub cannot be reached"):
        asked("arc_easy")


def test_without_the_library_one_line_says_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "LIBRARY", "no_such_library")
    with pytest.raises(InputError, match=r"pip install lm-eval==") as found:
        solon("standard", "base", "--tasks", "arc_easy")
    assert "\n" not in str(found.value)


def test_the_package_and_the_message_name_one_version() -> None:
    project = Path(cli.__file__).parents[2] / "pyproject.toml"
    assert f"# {harness.VERSION} and" in project.read_text(encoding="utf-8")


RESULTS = {
    "results": {
        "a": {"alias": "a", "acc,none": 0.5, "acc_stderr,none": math.sqrt(0.25 / 9)},
        "b": {"exact_match,strict-match": 0.0, "exact_match_stderr,strict-match": 0.0},
        "c": {"perplexity,none": 12.0, "perplexity_stderr,none": 2.0},
        "d": {"word_perplexity,none": 9.0, "word_perplexity_stderr,none": "N/A"},
    },
    "groups": {"g": {"acc,none": 0.25, "acc_stderr,none": 0.1}},
    "group_subtasks": {"g": ["a", "b"]},
    "n-samples": {name: {"original": 99, "effective": 10} for name in "abcd"},
    "n-shot": {"a": 5},
    "versions": {"a": 2.0},
    "higher_is_better": {"a": {"acc": True}},
}


def test_results_become_figures_with_intervals() -> None:
    found = {figure.name: figure for figure in figures(RESULTS)}
    intervals = {name: (f.low, f.high, f.n) for name, f in found.items()}
    assert intervals["standard:a/acc"] == (*wilson(5, 10), 10)
    assert intervals["standard:b/exact_match,strict-match"] == (*wilson(0, 10), 10)
    assert intervals["standard:c/perplexity"] == pytest.approx((8.08, 15.92, 10), abs=1e-3)
    assert intervals["standard:d/word_perplexity"] == (None, None, 10)
    assert intervals["standard:g/acc"] == pytest.approx((0.054, 0.446, 20), abs=1e-3)
    assert len(found) == 5
    assert (found["standard:a/acc"].shots, found["standard:a/acc"].is_higher_better) == (5, True)


@needs_library
def test_what_is_written_is_greedy_and_ends_where_the_task_says(
    engine: Local, plain: Plain, recipe: str, tmp_path: Path
) -> None:
    written = [plain.written(f"Say something of {subject}:") for subject in SUBJECTS]
    wrong = ["not this" if n % 4 == 0 else text for n, text in enumerate(written)]
    rows = [{"subject": s, "said": text} for s, text in zip(SUBJECTS, wrong, strict=True)]
    own = tasks_in(tmp_path / "tasks", writing=rows)
    found = json.loads(
        solon(
            *("standard", "base", "--tasks", "writing", "--include", own, "--recipe", recipe),
            *("--json", "--limit", "4"),
        ).stdout
    )
    (figure,) = found["figures"]
    assert (figure["metric"], figure["value"], figure["n"]) == ("exact_match", 0.75, 4)
    kept = Ledger(Workspace.open().ledger).query("SELECT text FROM task_requests")
    assert {row["text"] for row in kept} == set(written[:4])
