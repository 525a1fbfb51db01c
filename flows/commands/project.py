"""A project of one's own in a folder, and what every setting of its recipe means."""

from __future__ import annotations

import csv
import importlib.resources
import io
import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from string import Template
from typing import Annotated, Any

import typer

from flows.commands.options import JsonOption, RecipeOption, SetOption, print_result
from flows.explain.compare.text import one_line
from flows.plan.recipe import parse_overrides
from flows.plan.told import Told, told
from storage.errors import InputError
from tasks.prompts import UNSPECIFIED, read_prompts
from tasks.prompts.left_out import by_reason, rows_in
from tasks.prompts.read import PromptBatch
from tasks.prompts.source import OWN

app = typer.Typer()
STARTER = importlib.resources.files("flows") / "starter"
RECIPE, RULES, QUESTIONS, GUIDE = "recipe.yaml", "constitution.yaml", "prompts.csv", "README.md"
STARTER_QUESTIONS = 120  # of our everyday ones: rows enough to learn three rules from
ASKS_FOR_FORM = "form"  # a category of ours whose prompts ask for what the three rules forbid
QUESTIONS_SEEN = 360  # in SFT, each as often as it is seen
LEAST_EPOCHS, MOST_EPOCHS = 2, 8
REASONS = 3
LINE_CHARS = 200


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where; made if need be.")] = Path(
        "."
    ),
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", help="Your own questions: a file, or what prompts.path takes."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A project of your own: recipe, constitution, questions, and a README of what comes next.

    Nothing that is there is written over. Example: solon init shop --prompts questions.csv
    """
    check_free(folder, (RECIPE, RULES, *([] if prompts else [QUESTIONS])))
    batch = read_prompts(prompts) if prompts else None
    kept = len(batch.prompts) if batch else STARTER_QUESTIONS
    texts = _texts(folder, prompts, kept)
    written = _write(folder, texts)
    value: dict[str, Any] = {"folder": str(folder), "written": written}
    lines = [f"{name} is in {folder.absolute()}" for name in written]
    if GUIDE not in written:
        lines.append(f"{GUIDE} was there and is as it was")
    if batch:
        value["prompts"] = {"kept": len(batch.prompts), "left_out": rows_in(batch.exclusions)}
        lines += understood(prompts or "", batch)
    is_here = folder.resolve() == Path().resolve()
    inside = "" if is_here else f"cd {shlex.quote(str(folder))} && "
    print_result(as_json, value, [*lines, "next:", f"  {inside}solon plan"])


def check_free(folder: Path, names: Iterable[str]) -> None:
    """Raise InputError where one of the files is there already."""
    for name in names:
        if os.path.lexists(folder / name):
            fix = "give an empty folder, or edit what is there"
            raise InputError(folder / name, "there is one already: nothing was written", fix)


def _texts(folder: Path, prompts: str | None, count: int) -> dict[str, str]:
    """The files of a project with so many questions, by name."""
    values = {"name": _name(folder), "prompts": _from(folder, prompts), "epochs": epochs_for(count)}
    shown = {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}
    texts = {name: (STARTER / name).read_text("utf-8") for name in (RECIPE, RULES, GUIDE)}
    texts = {name: Template(text).substitute(shown) for name, text in texts.items()}
    return texts if prompts else texts | {QUESTIONS: _questions()}


def epochs_for(count: int) -> int:
    """Passes of SFT over the answers to so many questions: the fewer there are, the more."""
    return min(max(round(QUESTIONS_SEEN / count), LEAST_EPOCHS), MOST_EPOCHS)


def _name(folder: Path) -> str:
    """A recipe's name made of the folder's."""
    words = re.findall(r"[a-z0-9]+", folder.resolve().name.lower())
    return "-".join(words) or "project"


def _from(folder: Path, prompts: str | None) -> str:
    """The prompts as a recipe in `folder` names them."""
    if prompts is None:
        return QUESTIONS
    if prompts in OWN or prompts.startswith("hub:") or not Path(prompts).exists():
        return prompts
    return os.path.relpath(prompts, folder)


def _questions() -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("prompt", "category"))
    usable = (p for p in read_prompts("everyday").prompts if p.category != ASKS_FOR_FORM)
    for prompt, _ in zip(usable, range(STARTER_QUESTIONS), strict=False):
        table.writerow((prompt.messages[-1]["content"], prompt.category))
    return text.getvalue()


def _write(folder: Path, texts: dict[str, str]) -> list[str]:
    """Write the files, none over another; the names of those that were written."""
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        try:
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            continue  # a README, or one that came in this moment
        written.append(name)
    return written


def understood(source: str, batch: PromptBatch) -> Iterator[str]:
    """What was made of a file of prompts: how many were kept, and why others were left out."""
    kept, left_out = batch.prompts, batch.exclusions
    known = {prompt.category for prompt in kept} - {UNSPECIFIED}
    of = f" in {len(known)} categories ({', '.join(sorted(known)[:5])})" if known else ""
    talks = sum(len(prompt.messages) > 1 for prompt in kept)
    yield f"{source}: {len(kept)} prompts kept{of}" + (f", {talks} with more turns" * bool(talks))
    yield "  " + one_line(f"the first: {kept[0].messages[-1]['content']}", LINE_CHARS)
    for reason, rows in by_reason(left_out).most_common(REASONS):
        first = next(found for found in left_out if found.reason == reason)
        detail = f"left out: {rows} {reason}, as row {first.line}: {first.detail}"
        yield "  " + one_line(detail, LINE_CHARS)


@app.command("recipe")
def show_recipe(
    key: Annotated[
        str | None, typer.Argument(help="A setting, or the start of several, as dpo.")
    ] = None,
    recipe: RecipeOption = "",
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Every setting: what it means, what it may be, its value, and where that comes from.

    Example: solon recipe pairs.samples
    """
    found = told(recipe, parse_overrides(set_), key)
    value = {"recipe": recipe, "settings": [setting.to_json() for setting in found]}
    print_result(as_json, value, (line for setting in found for line in _lines(setting)))


def _lines(setting: Told) -> Iterator[str]:
    """Its value and where that is from; below it what it means and may be."""
    value = json.dumps(setting.value, ensure_ascii=False)
    yield one_line(f"{setting.key}: {value}  ({setting.source})", LINE_CHARS)
    of = ", ".join(filter(None, (setting.type, setting.range)))
    meaning = f"{setting.meaning.rstrip('.')}. " if setting.meaning else ""
    default = "no default" if setting.is_required else f"default {json.dumps(setting.default)}"
    yield f"    {meaning}{of[:1].upper()}{of[1:]}; {default}."
