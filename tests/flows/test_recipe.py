from __future__ import annotations

from pathlib import Path

import pytest

from flows.plan.recipe import Recipe, load, parse_overrides
from flows.plan.recipe_file import MAX_BYTES, RECIPES, names
from storage.errors import InputError

SHIPPED = ["demo", "paper", "single-gpu", "smoke", "values"]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_recipe_is_valid_and_explains_itself(name: str) -> None:
    assert load(name).name == name
    lines = (RECIPES / f"{name}.yaml").read_text().splitlines()
    assert any("#" in line for line in lines)


def test_a_workspace_has_recipes_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOLON_HOME", str(tmp_path))
    assert names() == SHIPPED
    folder = tmp_path / "recipes"
    folder.mkdir()
    smoke = (RECIPES / "smoke.yaml").read_text()
    (folder / "mine.yaml").write_text(smoke.replace("limit: 48", "limit: 7"))
    (folder / "demo.yaml").write_text(smoke)
    (folder / "notes.txt").write_text("none")
    assert names() == sorted([*SHIPPED, "mine"])
    assert load("mine").prompts.limit == 7
    assert load("demo").name == "demo"


def test_a_recipe_that_is_too_large_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("name: x\n" + "# " + "x" * MAX_BYTES)
    with pytest.raises(InputError, match="at most 1048576 bytes"):
        load(str(path))


def test_a_recipe_that_cannot_be_read_is_bad_input() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load("x" * 5000 + ".yaml")


def test_a_file_that_is_no_yaml_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntoken: {the-login-itself\n")
    with pytest.raises(InputError, match=r"mine\.yaml:3: .* must be YAML") as caught:
        load(str(path))
    assert "the-login-itself" not in repr(caught.value)


START = "name: x\nmodel: random:tiny\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "sft: {max_steps: 3}\ndpo: {}\nsft: {batch_size: 2}\n",
            "5: sft: the key stands at line 3",
        ),
        ("sft:\n  batch_size: 2\n  batch_size: 3\n", "5: batch_size: the key stands at line 4"),
        ("sft: &one {batch_size: 2}\ndpo: *one\n", "3: one: anchors and aliases are not read"),
        (f"sft: {'[' * 20_000}", "3: 11: at most 10 levels may be nested"),
        ("sft: {}\nna\x1b[2Jme: x\n", r"4: '\\x1b': a control character"),
    ],
)
def test_what_is_written_twice_or_grows_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(START + text)
    with pytest.raises(InputError, match=f"mine.yaml:{words}"):
        load(str(path))


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(START.encode() + "description: Café\n".encode("latin-1"))
    with pytest.raises(
        InputError, match=r"mine.yaml:3: b'\\xe9\\n': is not UTF-8; save it as UTF-8"
    ):
        load(str(path))
    path.write_text(START + "description: Café\n", encoding="utf-8-sig")
    assert load(str(path)).description == "Café"


def test_a_number_with_an_exponent_is_a_number(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(START + "sft: {learning_rate: 5e-5}\n")
    assert load(str(path)).sft["learning_rate"] == 5e-5
    assert parse_overrides(["dpo.learning_rate=2e-6"]) == {"dpo.learning_rate": 2e-6}


@pytest.mark.parametrize(
    "text", ["Rank item #1 first, and stay short.", "Tone: warm", "No", "", " 'quoted' ", "null."]
)
def test_a_text_that_is_set_is_that_text_whole(text: str) -> None:
    set_to = parse_overrides([f"generation.system={text}"])
    assert load("smoke", set_to).generation.system == text
    assert parse_overrides(['generation.system=" in quotes"']) == {
        "generation.system": " in quotes"
    }


def test_the_number_type_is_a_choice() -> None:
    assert load("smoke").compute == "auto"
    with pytest.raises(InputError, match="compute"):
        load("smoke", {"compute": "float16"})


def test_stages_have_every_setting_filled_in() -> None:
    demo = load("demo")
    assert demo.sft["lora_r"] == 16
    assert demo.ppo["gamma"] == 1.0


def test_an_override_reaches_a_nested_value() -> None:
    changed = load("demo", {"generation.max_new_tokens.draft": 7, "dpo.beta": 0.5})
    assert changed.generation.max_new_tokens.draft == 7
    assert changed.dpo["beta"] == 0.5
    assert (
        changed.generation.max_new_tokens.critique
        == load("demo").generation.max_new_tokens.critique
    )


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"prompts.limits": 3}, "prompts.limits: no recipe has this key"),
        ({"nonsense": 3}, "nonsense: no recipe has this key"),
        ({"sft.learning_rat": 3}, "learning_rat"),
        ({"ppo.updatez": 3}, "updatez"),
        ({"prompts.limit": "many"}, "prompts.limit='many'"),
        ({"prompts.limit": 0}, "greater than or equal to 1"),
        ({"sft.learning_rate": "fast"}, "learning_rate='fast'"),
        ({"generation.temperature": -1}, "generation.temperature=-1"),
        ({"quantization": "int3"}, "quantization"),
        ({"prompts": 3}, "prompts"),
        ({"name.first": 3}, "has no keys under it"),
        ({"dpo.lora_r": 4}, "dpo.lora_r: no recipe has this key"),  # it goes on from SFT's adapter
    ],
)
def test_a_bad_override_is_one_clear_line(overrides: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        load("demo", overrides)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "../demo", "nothing.yaml", ""])
def test_an_unknown_recipe_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(InputError, match="demo"):
        load(name)


@pytest.mark.parametrize("text", ["a: [", "- 1", "'just text'", "!!python/object:os.system {}"])
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        load(str(path))


@pytest.mark.parametrize("text", ["prompts.limit", "=3", " =3"])
def test_an_override_must_be_key_and_value(text: str) -> None:
    with pytest.raises(InputError, match=r"key.path=value"):
        parse_overrides([text])


def test_overrides_are_read_as_yaml() -> None:
    found = parse_overrides(["a.b=64", "c=true", "d=[1, 2]", "e=text=more", "f=: ["])
    assert found == {"a.b": 64, "c": True, "d": [1, 2], "e": "text=more", "f": ": ["}


def test_the_same_content_is_the_same_recipe() -> None:
    assert load("demo") == Recipe.model_validate(load("demo").model_dump())
