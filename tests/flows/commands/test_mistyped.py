"""What is mistyped is answered with what was meant, in one line of its own, and exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from constitution.load import load, resolve
from flows.commands import cli
from flows.plan.constitutions import keep_constitution
from storage.ledger import Ledger, insert, now, point

CASES = {
    "rum": "did you mean run?",
    "ref lisst": "did you mean list?",
    "plan --recip smoke": "did you mean --recipe?",
    "plan demo": "did you mean --recipe demo?",
    "status demmo": "did you mean --recipe demo?",
    "train dp": "did you mean --until dpo?",
    "run rules.yaml --until sft": "did you mean --recipe rules.yaml?",
    "plan dpo.beta=0.2": "did you mean --set dpo.beta=0.2?",
    "evaluate dpo": "one argument too many for solon evaluate",
    "recipe smoke": "use --recipe smoke",
    "why": "missing argument 'id'",
    "plan --until": "solon plan: option '--until' requires an argument; see solon plan --help",
    "plan --recipe smokee": "did you mean smoke?",
    "plan --recipe shopp.yaml": "did you mean shop.yaml?",
    "plan --set prompts.limits=3": "did you mean prompts.limit?",
    "plan --set betta=0.2": "did you mean dpo.beta?",
    "plan --set learning_rate=0.1": "did you mean sft.learning_rate or reward.learning_rate",
    "plan --set ppo.updatez=3": "did you mean ppo.updates?",
    "plan --set judge.flor.accuracy=0.5": "did you mean judge.floor",
    "plan --set promts.path=x": "did you mean prompts?",
    "plan --set constitution=checkabel": "did you mean checkable?",
    "plan --set constitution=rulse.yaml": "did you mean rules.yaml?",
    "plan --set prompts=everydy": "did you mean everyday?",
    "plan --set prompts=qestions.csv": "did you mean questions.csv?",
    "plan --set evaluation.probes=[helpfulnes]": "did you mean helpfulness?",
    "plan --until evaluat": "did you mean evaluate?",
    "train --until sfft": "did you mean sft?",
    "preview sixty-word": "did you mean sixty-words?",
    "impact be-consise": "did you mean be-concise?",
    "why lates/dpo": "did you mean latest/dpo?",
    "why run_a1b2c4": "did you mean run_a1b2c3?",
    "report run_a1b2c4": "did you mean run_a1b2c3?",
    "why con_{}": "did you mean con_",
    "chat bse hi": "did you mean base?",
    "compare bas latest/dpo hi": "did you mean base?",
    "compare base base --file qestions.csv": "did you mean questions.csv?",
    "chat latest/ddpo hi": "did you mean latest/dpo?",
    "ref set champoin latest/dpo": "did you mean champion?",
    "ref set constitution rulse.yaml": "did you mean rules.yaml?",
    "ref list champoin": "did you mean champion?",
    "ref rollback champoin": "did you mean champion?",
    "constitution show defualt": "did you mean default?",
    "constitution show rulse.yaml": "did you mean rules.yaml?",
    "constitution lint defualt": "did you mean default?",
    "export latest/preferences-row --out x": "did you mean latest/preferences-rows?",
    "recipe pairs.sampels": "did you mean pairs.samples?",
    "recipe evaluatoin": "did you mean evaluation?",
    "init --promts questions.csv": "did you mean --prompts?",
    "init --prompts qestions.csv": "did you mean questions.csv?",
    "runs shopp": "did you mean shop?",
    "diff defualt checkable": "did you mean default?",
    "diff rulse.yaml checkable": "did you mean rules.yaml?",
    "review --import question.csv": "did you mean questions.csv?",
    "import shop.jsonl": "did you mean shop.yaml?",
    "plan --set model=checkpoint:lates/dpo": "did you mean latest/dpo?",
    "plan --set model=checkpont:latest/dpo": "did you mean checkpoint:latest/dpo?",
    "plan --set model=random:tinny": "did you mean random:tiny?",
    "diff latest/dppo latest/dpo": "did you mean latest/dpo?",
    "export-model latest/ddpo --out x": "did you mean latest/dpo?",
    "report lates/dpo": "did you mean latest/dpo?",
    "plan --set generation.engine=scriptd": "did you mean scripted?",
    "plan --set pairs.evidence=requierd": "did you mean required?",
    "plan --set gate.rules.perplexty.max=2": "did you mean perplexity?",
    "plan --set prompts.columns.promt=query": "did you mean prompt?",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with some files and a workspace that knows some names; a constitution's id."""
    tmp_path = tmp_path_factory.mktemp("mistyped")
    (tmp_path / "home").mkdir()
    ledger = Ledger(tmp_path / "home" / "ledger.duckdb")
    path = resolve("default")
    for name in ("latest/dpo", "latest/preferences-rows", "champion"):
        point(ledger, name, "ckp_0")
    run = {"run_id": "run_a1b2c3", "recipe": "shop", "settings": "{}", "state": "completed"}
    with ledger.transaction() as con:
        insert(con, "runs", [run | {"started_at": now()}])
    for name in ("shop.yaml", "rules.yaml", "questions.csv"):
        (tmp_path / name).write_text("")
    return tmp_path, keep_constitution(ledger, load(path), path)


@pytest.fixture
def con_id(folder: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The constitution's id, in that folder: what is refused writes nothing."""
    monkeypatch.chdir(folder[0])
    monkeypatch.setenv("SOLON_HOME", str(folder[0] / "home"))
    return folder[1]


@pytest.mark.parametrize("typed", CASES)
def test_what_was_meant_is_said(
    typed: str, con_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = "1" if con_id[11] != "1" else "2"
    words = typed.format(con_id[4:11] + last).split()
    monkeypatch.setattr("sys.argv", ["solon", *words])
    assert cli.answer() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert CASES[typed] in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("typed", ["", "ref", "plan -h", "plan --help"])
def test_help_is_no_error(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["solon", *typed.split()])
    assert cli.answer() == (0 if "-h" in typed else 2)
    out, err = capsys.readouterr()
    assert "Usage: solon" in out
    assert err == ""


def test_a_missing_file_is_said_with_the_folder_it_was_looked_for_in(
    con_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--recipe", "--set prompts=", "--set judge.gold="):
        glue = "" if option.endswith("=") else " "
        words = f"plan {option}{glue}sub/none.yaml".split()
        monkeypatch.setattr("sys.argv", ["solon", *words])
        assert cli.answer() == 2
        assert f"sub/none.yaml: no such file in {Path.cwd() / 'sub'}" in capsys.readouterr().err
