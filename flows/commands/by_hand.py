"""Models by hand: talk to one, compare the answers of two."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from flows.commands.options import (
    JsonOption,
    WhoseOption,
    err,
    ledger,
    print_lines,
    print_result,
)
from flows.explain.compare.text import escaped, visible
from flows.plan.recipe_file import chosen
from storage.errors import InputError
from storage.ledger import Ledger
from storage.workspace import Workspace

if TYPE_CHECKING:  # a second to import, which other commands need not wait for
    from flows.plan.subjects import Subject
    from flows.run.by_hand import Conversation
    from tasks.engines.engine import Completion

app = typer.Typer()
ENDS = {"length": " … (cut: --max-new-tokens)", "too_long": "(too long for the model's context)"}
NameArgument = Annotated[
    str, typer.Argument(help="A checkpoint's id, its start, a ref as latest/dpo; or base.")
]
TemperatureOption = Annotated[
    float, typer.Option("--temperature", min=0.0, max=10.0, help="0 is greedy.")
]
LengthOption = Annotated[
    int, typer.Option("--max-new-tokens", min=1, max=65536, help="The longest answer.")
]
SystemOption = Annotated[str, typer.Option("--system", help="A system message before it.")]


@app.command()
def chat(
    id: NameArgument,
    prompt: Annotated[
        str | None, typer.Argument(help="Ask this and end; also what is piped in.")
    ] = None,
    temperature: TemperatureOption = 0.7,
    max_new_tokens: LengthOption = 256,
    system: SystemOption = "",
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Talk to a checkpoint or the base. /new begins again; /quit, Ctrl-D and Ctrl-C end it.

    Examples: solon chat latest/dpo; solon chat base "Why is the sky blue?"
    """
    from flows.run import by_hand

    with clean_end():
        workspace, _, (model,) = subjects(recipe, id)
        if prompt is None and not _is_typed():
            prompt = sys.stdin.buffer.read().decode("utf-8", errors="replace").strip()
        if prompt is not None and not prompt.strip():
            raise InputError("the prompt", "it is empty", "say something", "PROMPT")
        manner = by_hand.Manner(temperature, max_new_tokens)
        with by_hand.engine_of(model.base, [model], workspace, _say) as engine:
            talk = by_hand.Conversation(engine, model, manner, system)
            if prompt is not None:
                _answer(talk, model, prompt, as_json)
                return
            err.print(f"{model.label} on {visible(model.base.reference)}", markup=False)
            err.print("/new begins again; /quit, Ctrl-D or Ctrl-C ends", markup=False)
            for said in _lines():
                _turn(talk, model, said, as_json)


def _turn(talk: Conversation, model: Subject, said: str, as_json: bool) -> None:
    """Answer a line of the terminal; what cannot be answered is said, and the talk goes on."""
    if said == "/new":
        talk.begin_again()
        err.print("a new conversation")
        return
    try:
        _answer(talk, model, said, as_json)
    except InputError as error:
        err.print(f"error: {visible(str(error))}", markup=False)


def _answer(talk: Conversation, model: Subject, said: str, as_json: bool) -> None:
    with err.status("answering", spinner="dots"):
        answer = talk.say(said)
    if as_json:
        found = {"model": named(model), "messages": talk.messages[:-1], **_as_json(answer)}
        print(escaped(json.dumps(found, ensure_ascii=False)))
    else:
        print_lines([_shown(answer)])


def _lines() -> Iterator[str]:
    """What a person types, until /quit or the end of the input; empty lines are passed over."""
    while True:
        try:
            said = input("> ").strip()
        except EOFError:
            err.print()
            return
        if said == "/quit":
            return
        if said:
            yield said


@app.command()
def compare(
    a: NameArgument,
    b: NameArgument,
    prompt: Annotated[str | None, typer.Argument(help="What both are asked.")] = None,
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", help="One more; can be repeated.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Prompts as of a recipe: JSONL, CSV, Parquet, …")
    ] = None,
    samples: Annotated[int, typer.Option("-n", min=1, max=64, help="Answers a prompt.")] = 1,
    temperature: TemperatureOption = 0.7,
    max_new_tokens: LengthOption = 256,
    system: SystemOption = "",
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Two models' answers side by side, drawn with the same random numbers.

    Example: solon compare base latest/dpo "Why is the sky blue?"
    """
    from flows.run import by_hand

    with clean_end():
        workspace, _, sides = subjects(recipe, a, b)
        asked = _questions([*([prompt] if prompt else []), *(prompts or [])], file, system)
        manner, count = by_hand.Manner(temperature, max_new_tokens), 2 * len(asked) * samples
        with err.status("") as status:
            found = by_hand.side_by_side(
                sides,
                asked,
                samples,
                manner,
                workspace,
                status.update,
                lambda done: status.update(f"answers: {done} of {count}"),
            )
        rows = [
            {
                "messages": question,
                "samples": [
                    {"a": _as_json(one), "b": _as_json(other)}
                    for one, other in zip(*(side[number] for side in found), strict=True)
                ],
            }
            for number, question in enumerate(asked)
        ]
        value = {"a": named(sides[0]), "b": named(sides[1]), "prompts": rows}
        shown = (
            _table(sides, question, [side[n] for side in found]) for n, question in enumerate(asked)
        )
        print_result(as_json, value, shown)


def _questions(said: list[str], file: Path | None, system: str) -> list[list[dict[str, str]]]:
    """The conversations that both sides are asked to go on with."""
    from tasks.prompts import read_prompts
    from tasks.prompts.left_out import rows_in

    opening = [{"role": "system", "content": system}] if system else []
    asked = [[*opening, {"role": "user", "content": text}] for text in said]
    if file is not None:
        batch = read_prompts(str(file))
        if batch.exclusions:
            err.print(f"{rows_in(batch.exclusions)} rows of {file} are no prompts", markup=False)
        asked += [[*opening, *map(dict, found.messages)] for found in batch.prompts]
    if not asked or any(not question[-1]["content"].strip() for question in asked):
        fix = 'give it as "prompt", with --prompt or in a --file'
        raise InputError("no prompt", "there is nothing to ask", fix, "PROMPT")
    return asked


def _table(
    sides: list[Subject], question: list[dict[str, str]], answers: list[list[Completion]]
) -> Table:
    """A prompt's answers: a row a sample, A beside B; equal ones are said to be equal."""
    title = Text(visible(question[-1]["content"]))
    made = Table(title=title, title_justify="left", title_style="bold", show_lines=True)
    for side in sides:
        made.add_column(side.label, ratio=1, overflow="fold")
    for one, other in zip(*answers, strict=True):
        is_same = (one.text, one.finish_reason) == (other.text, other.finish_reason)
        made.add_row(Text(_shown(one)), Text("(the same)" if is_same else _shown(other)))
    return made


def subjects(
    recipe: str, *names: str, may_be_base: bool = True
) -> tuple[Workspace, Ledger, list[Subject]]:
    """The models of these names. `base` beside a checkpoint is that checkpoint's own base."""
    from flows.plan.subjects import Subject, subject

    workspace, book = Workspace.open(), ledger(*names, recipe=recipe)
    of = chosen(recipe) if may_be_base else None
    found = [subject(book, workspace, name, of) for name in names]
    trained = next((s for s in found if s.checkpoint_id), None)
    if trained:
        found = [s if s.checkpoint_id else Subject(s.label, trained.base) for s in found]
    return workspace, book, found


def _shown(answer: Completion) -> str:
    return visible(answer.text) + ENDS.get(answer.finish_reason, "")


def _as_json(answer: Completion) -> dict[str, Any]:
    reason, tokens = answer.finish_reason, answer.completion_tokens
    return {"text": answer.text, "finish_reason": reason, "tokens": tokens}


def named(model: Subject) -> dict[str, Any]:
    """What a model is, for --json."""
    base = {"base": model.base.reference, "quantization": model.base.quantization}
    return {"label": model.label, "checkpoint_id": model.checkpoint_id, **base}


def _is_typed() -> bool:
    return sys.stdin.isatty()


def _say(message: str) -> None:
    if err.is_terminal:
        err.print(message, markup=False)


@contextmanager
def clean_end() -> Iterator[None]:
    """Ctrl-C ends a command without a word of Python's."""
    try:
        yield
    except KeyboardInterrupt:
        err.print()
        raise typer.Exit(130) from None
