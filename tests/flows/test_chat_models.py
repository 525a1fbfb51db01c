"""Models with other templates and faulty copies of models, on the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.ledger import Ledger

from .conftest import ROOT, Solon

CASES = ROOT.parent / "shared" / "cases"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not at ../shared/cases")
SMOKE = ("--recipe", "smoke", "--set", "prompts.limit=8")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from tasks.convert import random_tiny

    folder = tmp_path_factory.mktemp("model")
    random_tiny(folder)
    return folder


@pytest.fixture
def variant(tiny: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of the tiny model with that fault, or with that template of the cases."""

    def make(kind: str) -> Path:
        folder = tmp_path / kind
        if (CASES / f"template-{kind}.jinja").is_file():
            shutil.copytree(tiny, folder)
            shutil.copyfile(CASES / f"template-{kind}.jinja", folder / "chat_template.jinja")
        else:
            script = str(CASES / "model-variant.py")
            subprocess.run([sys.executable, script, str(tiny), str(folder), kind], check=True)
        return folder

    return make


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("half", "half: 1 of its 2 layers are missing from its files: 1"),
        (
            "custom-code",
            "custom-code: a model of code of its own (mystery, auto_map)",
        ),
    ],
)
def test_a_faulty_model_is_one_line_before_anything_runs(
    solon: Solon, variant: Callable[[str], Path], kind: str, said: str
) -> None:
    model = ("--set", f"model={variant(kind)}", "--until", "drafts")
    for command in ("plan", "run"):
        err = solon.run(command, *SMOKE, *model, code=2)[1]
        assert err.startswith(f"error: model: {said}")
        assert err.count("\n") == 1
    assert not (solon.home / "prefect").exists()


def test_a_template_that_refuses_something_else_is_one_line(
    solon: Solon, variant: Callable[[str], Path]
) -> None:
    model = variant("no-system")
    source = "{% if messages | length > 1 %}{{ raise_exception('one turn only') }}{% endif %}x"
    (model / "chat_template.jinja").write_text(source + "{{ messages[0]['content'] }}")
    err = solon.run("plan", *SMOKE, "--set", f"model={model}", "--until", "drafts", code=2)[1]
    said = "turns of user, assistant, user: the model's chat template refuses this conversation"
    assert err.startswith(f"error: model: {said}: one turn only; ")
    assert err.count("\n") == 1


def test_what_does_not_fit_the_context_is_said_by_the_plan(solon: Solon, tiny: Path) -> None:
    for setting, said in (
        ("dpo.max_length=9000", "dpo.max_length: 9000: rows must fit the model's context of 8192"),
        ("ppo.max_prompt_tokens=8190", "ppo: 8206: prompt and answer must fit"),
        ("generation.max_prompt_tokens=8190", "generation: 8238: max_prompt_tokens plus the"),
    ):
        chosen = ("--set", f"model={tiny}", "--set", setting)
        err = solon.run("plan", "--recipe", "smoke", *chosen, code=2)[1]
        assert said in err


def test_a_date_and_a_switch_are_part_of_what_is_asked(solon: Solon, tiny: Path) -> None:
    """Where the template reads them; other models' rows stay theirs."""
    from .world import World

    clock = tiny.parent / "clock"
    shutil.copytree(tiny, clock, dirs_exist_ok=True)
    template = (tiny / "chat_template.jinja").read_text()
    (clock / "chat_template.jinja").write_text("{{ strftime_now('%Y') }}" + template)

    def generator(model: Path, **settings: Any) -> str:
        named = {f"generation.{name}": value for name, value in settings.items()}
        return (
            World(solon.home, model=str(model))
            .read(**{"generation.engine": "transformers", "model": str(model), **named})
            .hands.own.model_id
        )

    assert generator(tiny) == generator(tiny, date="2020-01-01")
    assert generator(clock) != generator(clock, date="2020-01-01")
    err = solon.run(
        "plan", *SMOKE, "--set", f"model={tiny}", "--set", "generation.thinking=false", code=2
    )[1]
    assert "generation.thinking: False: the model's chat template has no switch for thinking" in err
    err = solon.run("plan", *SMOKE, "--set", "generation.date=May 1st", code=2)[1]
    assert "'May 1st' is no date as 2026-01-31" in err


@pytest.mark.slow
def test_a_model_without_a_system_role_goes_the_whole_way(
    solon: Solon, variant: Callable[[str], Path]
) -> None:
    """Its system text is in the first user turn, in generation, training and evaluation alike."""
    settings = ("--set", "generation.system=Be kind.", "--set", "prompts.limit=24")
    model = ("--set", f"model={variant('no-system')}")
    done = solon.json("run", "--recipe", "smoke", *settings, *model)
    assert all(done["checkpoints"].values())
    asked = Ledger(solon.home / "ledger.duckdb").query(
        "SELECT request, prompt_tokens FROM completions WHERE step = 'draft' LIMIT 1"
    )[0]
    messages = json.loads(asked["request"])
    assert messages[0] == {"role": "system", "content": "Be kind."}, "the ledger has what was asked"
    around = "<start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n", "Be kind.\n\n"
    said = "".join((*around, messages[1]["content"]))
    assert asked["prompt_tokens"] == len(said.encode())  # a token is a byte
