"""What templates of known families take and write, and how conversations are folded for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from storage.workspace import Workspace
from tasks.chat import trial
from tasks.chat.fold import fold
from tasks.chat.folder import read_template
from tasks.chat.manner import Manner
from tasks.chat.template import Refusal, Template, turn
from tasks.chat.think import Thinking, opens_thought

from .chat_families import LLAMA, MISTRAL, REASONER, TEMPLATES, family

NAMES = {"bos_token": "<s>", "eos_token": "</s>"}


def template(name: str, manner: Manner | None = None) -> Template:
    return Template(TEMPLATES[name], NAMES, manner or Manner())


@pytest.mark.parametrize(
    ("name", "takes"),
    [
        ("llama", (True, True, True)),
        ("mistral", (True, False, False)),
        ("gemma", (False, False, False)),
        ("qwen", (True, True, True)),
        ("chatml", (True, True, True)),
        ("phi", (True, True, True)),
        ("reasoner", (False, False, True)),  # it drops system text
    ],
)
def test_what_a_family_takes(name: str, takes: tuple[bool, ...]) -> None:
    found = template(name).traits
    assert (found.takes_system, found.takes_later_system, found.takes_neighbours) == takes


def folded(name: str, *turns: tuple[str, str]) -> list[tuple[str, str]]:
    found = fold([turn(*each) for each in turns], template(name).traits)
    return [(message["role"], message["content"]) for message in found]


def test_system_text_is_folded_into_the_first_user_turn() -> None:
    asked = ("system", "Be kind."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Bye")
    for name in ("gemma", "reasoner"):
        assert folded(name, *asked) == [("user", "Be kind.\n\nHi"), *asked[2:]]
    for name in ("llama", "mistral", "chatml"):
        assert folded(name, *asked) == list(asked)


def test_neighbours_are_joined_where_turns_must_alternate() -> None:
    asked = ("user", "One"), ("user", "Two"), ("assistant", "A"), ("assistant", "B"), ("user", "C")
    joined = [("user", "One\n\nTwo"), ("assistant", "A\n\nB"), ("user", "C")]
    assert folded("gemma", *asked) == folded("mistral", *asked) == joined
    assert folded("qwen", *asked) == list(asked)


def test_system_text_in_odd_places_is_kept() -> None:
    later = ("user", "One"), ("assistant", "A"), ("system", "Stop."), ("user", "Two")
    assert folded("mistral", *later) == [*later[:2], ("user", "Stop.\n\nTwo")]
    assert folded("mistral", ("system", "a"), ("system", "b"), ("user", "c")) == [
        ("system", "a\n\nb"),
        ("user", "c"),
    ]
    assert folded("gemma", ("user", "One"), ("system", "Stop.")) == [("user", "One\n\nStop.")]
    before = ("system", "Act."), ("assistant", "A"), ("user", "One")
    assert folded("gemma", *before) == [("user", "Act."), *before[1:]]


def test_a_refusal_is_one_line_with_the_templates_words() -> None:
    with pytest.raises(Refusal) as error:
        template("gemma").render([turn("assistant", "I begin")])
    assert str(error.value) == (
        "turns of assistant: the model's chat template refuses this conversation: roles must"
        " alternate; use another model, or mend chat_template.jinja in a copy of its folder"
    )
    with pytest.raises(Refusal, match="line 2 of the chat template cannot be read"):
        Template("{{ messages }}\n{% if %}", {})


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"llama"}))
def test_a_folder_is_rendered_as_transformers_does(name: str, tmp_path: Path) -> None:
    tokenizer = family(name)
    tokenizer.save_pretrained(tmp_path)
    found = read_template(tmp_path)
    assert found is not None
    asked = [turn("user", " Ask\n"), turn("assistant", "Answer"), turn("user", "Ask {{ 1 }}")]
    for opening in (True, False):
        wanted = tokenizer.apply_chat_template(asked, add_generation_prompt=opening, tokenize=False)
        assert found.render(asked, opening=opening) == wanted


def test_templates_of_older_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "special_tokens_map.json").write_text('{"bos_token": {"content": "<b>"}}')
    config: dict[str, Any] = {"chat_template": "{{ bos_token }}{{ messages[0].content }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    found = read_template(tmp_path)
    assert found is not None
    assert found.render([turn("user", "x")]) == "<b>x"
    config["chat_template"] = [{"name": "default", "template": "D"}, {"name": "t", "template": "T"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert getattr(read_template(tmp_path), "source", "") == "D"
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert read_template(tmp_path) is None


def test_a_clock_shows_the_recipes_date() -> None:
    found = Template(LLAMA, NAMES, Manner(date="2020-02-29"))
    assert "Today: 29 Feb 2020" in found.render([turn("user", "x")])
    assert found.filling == {"date": "2020-02-29"}
    assert template("qwen").filling == template("mistral").filling == {}


def test_a_switch_counts_where_it_is_set_and_there() -> None:
    for name, filling in (("qwen", {"thinking": False}), ("gemma", {})):
        assert template(name, Manner(thinking=False)).filling == filling


def test_a_template_does_not_get_out_of_its_sandbox() -> None:
    for source in (
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{% set n = namespace(__init__=1) %}{{ n }}",
        "{{ messages.append(1) }}",
        "{{ raise_exception.__globals__ }}",
        "{{ dict.__globals__ or strftime_now.__globals__ }}",
    ):
        try:
            text = Template(source, {}).render([turn("user", "x")])
        except Refusal:
            continue
        assert text == "", source


def test_neither_torch_nor_transformers_is_loaded() -> None:
    code = (
        "import sys, tasks.chat.folder, tasks.chat.fold, tasks.chat.think, tasks.chat.tokens;"
        "print({'torch', 'transformers', 'tokenizers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Four.", "Four."),
        (" Four.\n", " Four.\n"),  # left as it is
        ("<think>\nA sum.\n</think>\n\nFour.", "Four."),
        ("A sum.\n</think>\n\nFour.", "Four."),
        ("<think>a</think>Four<think>b</think>, I say", "Four, I say"),
        ("<think>a sum", None),
        ("<think>a</think>Four. <think>b", None),
        ("<think>a</think>", ""),
    ],
)
def test_thoughts_are_told_from_answers(text: str, answer: str | None) -> None:
    assert Thinking().answer(text) == answer
    other = Thinking(("[THINK]", "[/THINK]"))
    retold = text.replace("<think>", "[THINK]").replace("</think>", "[/THINK]")
    assert other.answer(retold) == answer
    assert other.answer(text) == text


def test_where_the_template_opens_a_thought_an_unclosed_one_is_no_answer() -> None:
    found = Template(REASONER, NAMES)
    assert [opens_thought(each) for each in (found, template("qwen"))] == [True, False]
    assert Thinking(is_opened=True).answer("a sum") is None
    assert Thinking(is_opened=True).answer("a sum</think> Four") == "Four"


def test_mistrals_system_text_is_where_generation_sees_it() -> None:
    asked = [turn("system", "Be kind."), turn("user", "One")]
    assert Template(MISTRAL, NAMES).render(asked) == "<s>[INST]Be kind.\n\nOne[/INST]"


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}x"
ENDLESS += "{% endfor %}{% endfor %}{% endfor %}"
GREEDY = {
    "loops without end": ENDLESS,
    "is folded as it is compiled": "{{ 'a' * 10**10 }}",
    "grows as it is filled": "{% set n = namespace(t='a') %}{% for m in range(60) %}"
    "{% set n.t = n.t ~ n.t %}{% endfor %}{{ n.t }}",
    "calls itself": "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    "writes much": "{{ messages[0].content }}{{ 'a' * 2000000 }}",
    "loops in long conversations only": "{{ messages[0].content }}{% if messages | length > 9 %}"
    + ENDLESS
    + "{% endif %}",
}


@pytest.mark.parametrize("source", GREEDY.values(), ids=GREEDY)
def test_a_template_without_bounds_is_refused_in_bounds(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "chat_template.jinja").write_text(source)
    monkeypatch.setattr(trial, "TIME_S", 2)
    workspace = Workspace(tmp_path / "home").create()
    with pytest.raises(Refusal, match="it is not filled within 2 s"):
        trial.try_out(tmp_path, workspace)
    assert not workspace.templates.exists()


def test_a_template_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, source in TEMPLATES.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / "chat_template.jinja").write_text(source)
        trial.try_out(folder, Workspace(tmp_path / "home").create())
    monkeypatch.setattr(sys, "executable", "/nowhere")
    trial.try_out(folder, Workspace(tmp_path / "home"))
    (folder / "chat_template.jinja").write_text(source + " ")
    with pytest.raises(FileNotFoundError):
        trial.try_out(folder, Workspace(tmp_path / "home"))
