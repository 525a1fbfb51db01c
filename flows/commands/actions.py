"""Which action a model trained by DPO would take next: Q-values of candidates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from flows.commands.by_hand import NameArgument, SystemOption, clean_end, named, subjects
from flows.commands.options import JsonOption, WhoseOption, err, print_result
from flows.explain.compare.text import visible
from storage.errors import InputError

if TYPE_CHECKING:  # a second to import, which other commands need not wait for
    from flows.run.actions import Decision, QModel, Valued

app = typer.Typer()


@app.command()
def q(
    id: NameArgument,
    prompt: Annotated[str | None, typer.Argument(help="What came before the actions.")] = None,
    actions: Annotated[
        list[str] | None, typer.Option("--action", "-a", help="One that could come next; repeat.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Rows of messages (or prompt), the user's last, and actions."),
    ] = None,
    system: SystemOption = "",
    recipe: WhoseOption = "",
    as_json: JsonOption = False,
) -> None:
    """Rank actions by the Q-values of a DPO checkpoint: beta * log(policy / reference).

    Example: solon q latest/dpo "The door is red." -a "open it" -a "knock"
    """
    from flows.run import actions as valuing
    from flows.run import by_hand

    with clean_end():
        workspace, ledger, (policy,) = subjects(recipe, id)
        decisions = _decisions(prompt, actions or [], file, system)
        model = valuing.q_model(ledger, workspace, policy)
        trained = [side for side in (policy, model.reference) if side.checkpoint_id]
        total = 2 * sum(len(decision.actions) for decision in decisions)
        with err.status("loading the model") as status:
            with by_hand.engine_of(policy.base, trained, workspace, status.update) as engine:
                found = valuing.q_values(
                    engine,
                    model,
                    decisions,
                    lambda done: status.update(f"log-probabilities: {done} of {total}"),
                )
        ranked = [sorted(values, key=lambda one: -one.q) for values in found]
        value = _as_json(model, decisions, ranked)
        print_result(as_json, value, map(_table, decisions, ranked))


def _decisions(
    prompt: str | None, actions: list[str], file: Path | None, system: str
) -> list[Decision]:
    """What is to be decided: in the file, or the one that was typed."""
    from flows.run.actions import decision, read_decisions

    if (prompt is None) == (file is None) or (file is not None and (actions or system)):
        rule, fix = "give one of the two", 'a "prompt" with --action twice or more, or a --file'
        raise InputError("the history", rule, fix, "PROMPT, --file")
    if file is not None:
        return list(read_decisions(file))
    if not str(prompt).strip():
        raise InputError("the prompt", "it is empty", "say what came before", "PROMPT")
    opening = [{"role": "system", "content": system}] if system else []
    return [decision([*opening, {"role": "user", "content": str(prompt)}], actions, "--action")]


def _as_json(
    model: QModel, decisions: Sequence[Decision], ranked: Sequence[Sequence[Valued]]
) -> dict[str, Any]:
    return {
        "model": named(model.policy),
        "reference": named(model.reference),
        "beta": model.beta,
        "per_token": model.is_per_token,
        "decisions": [
            {"messages": list(decision.messages), "actions": [vars(one) for one in values]}
            for decision, values in zip(decisions, ranked, strict=True)
        ],
    }


def _table(decision: Decision, ranked: Sequence[Valued]) -> Table:
    """The actions after one history, the best first."""
    title = Text(visible(decision.messages[-1]["content"]))
    made = Table(title=title, title_justify="left", title_style="bold")
    made.add_column("Q", justify="right")
    made.add_column("action", ratio=1, overflow="fold")
    for one in ranked:
        made.add_row(f"{one.q:+.3f}", Text(visible(one.action)))
    return made
