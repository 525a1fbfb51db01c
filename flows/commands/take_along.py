"""Take a checkpoint along for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.by_hand import NameArgument, clean_end, named, subjects
from flows.commands.options import JsonOption, WhoseOption, err, print_result

app = typer.Typer()


@app.command("export-model")
def export(
    id: NameArgument,
    to: Annotated[Path, typer.Option("--out", help="A new folder, or an export to replace.")],
    merge: Annotated[
        bool, typer.Option("--merge", help="One whole model instead of an adapter.")
    ] = False,
    here: Annotated[
        bool,
        typer.Option(
            "--here",
            help="Name the base by its folder, so that AutoPeft… loads it on this machine.",
        ),
    ] = False,
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """A checkpoint for other programs: adapter or merged model, tokenizer, template, card.

    Example: solon export-model latest/dpo --merge --out model
    """
    from flows.explain.model_card import model_card
    from flows.run.export_model import export_model
    from tasks import models

    with clean_end():
        workspace, book, (model,) = subjects(recipe, id, may_be_base=False)
        with err.status("writing"):
            export_model(
                model,
                to,
                workspace,
                lambda base, dtype: model_card(book, model, base, dtype),
                merged=merge,
                is_here=here,
            )
        base = models.prepare(model.base.reference, workspace).path
        value = {**named(model), "is_merged": merge, "out": str(to.absolute())}
        lines = [f"{model.label} is in {to}"]
        lines += [] if merge else [f"its base    {base}"]
        print_result(as_json, value | {"base_folder": str(base)}, lines)
