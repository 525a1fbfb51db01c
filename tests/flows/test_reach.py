"""Every file that a form's overrides name is one of the workspace, or a name of ours."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows.plan.recipe import settings
from flows.plan.recipe_file import FILES, MODELS, PATHS
from flows.serve import reach
from storage.errors import InputError

# Settings with a text in them that is never the path of a file.
NO_PATHS = set(
    "name description prompts.columns prompts.encoding prompts.categories prompts.licence"
    " generation.system generation.date generation.think_tags ppo.stop_token_ids judge.clamp"
    " gate.rules track".split()
)
REFUSED = {"server.base_urls", "server.model", "server.key_env", "vllm.arguments"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace of a deployment's run."""
    monkeypatch.setenv("SOLON_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(reach, "deployment", SimpleNamespace(get_id=lambda: "a deployment"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_every_setting_that_may_be_a_path_is_looked_at() -> None:
    """A new setting with a text in it is a path, hence looked at, or stands above."""
    kinds = {key: set(re.split(" or | of ", each.type)) for key, each in settings().items()}
    texts = {key for key, found in kinds.items() if found & {"text", "list", "mapping"}}
    assert texts == NO_PATHS | REFUSED | set(PATHS)


@pytest.mark.parametrize("key", ["prompts", *(key for key in FILES if key != "constitution")])
def test_no_file_outside_is_named(home: Path, key: str) -> None:
    with pytest.raises(InputError, match="a form takes files of the workspace"):
        reach.check_form("smoke", {key: str(home.parent / "mine.jsonl")})
    reach.check_form("smoke", {key: str(home / "mine.jsonl")})


@pytest.mark.parametrize("key", [*MODELS, "constitution"])
def test_no_model_or_constitution_outside_is_named(home: Path, key: str) -> None:
    with pytest.raises(InputError, match="a form takes"):
        reach.check_form("smoke", {key: str(home.parent)})


@pytest.mark.parametrize("path", ["../mine.jsonl", "{home}/link", "{home}/prefect/login", "~/x"])
def test_no_way_leads_outside(home: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(home)
    (home / "link").symlink_to(home.parent / "mine.jsonl")
    with pytest.raises(InputError, match="a form takes files of the workspace"):
        reach.check_form("smoke", {"prompts.path": path.format(home=home)})


def test_the_owner_may_open_folders(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = [home.parent / "data", home.parent / "more"]
    monkeypatch.setenv("SOLON_DATA", os.pathsep.join(map(str, data)))
    for folder in data:
        reach.check_form("smoke", {"prompts.path": str(folder / "mine.jsonl")})
    with pytest.raises(InputError, match="SOLON_DATA"):
        reach.check_form("smoke", {"prompts.path": str(data[0] / ".." / "mine.jsonl")})


@pytest.mark.parametrize(
    "overrides",
    [
        {"vllm.arguments": ["--chat-template=/etc/passwd"]},
        {"models.judge": {"base_urls": "http://host/v1", "model": "x"}},
        {
            "generation.engine": "openai",
            "server.base_urls": "http://host/v1",
            "server.model": "x",
            "server.key_env": "HOME",
        },
    ],
)
def test_no_server_and_no_argument_is_named(home: Path, overrides: dict[str, object]) -> None:
    with pytest.raises(InputError, match="a form"):
        reach.check_form("smoke", overrides)


def test_names_of_ours_are_none(home: Path) -> None:
    reach.check_form("smoke", {"evaluation.probes": "honesty", "prompts": "everyday"})
    reach.check_form("smoke", {"evaluation.probes": "all"})
