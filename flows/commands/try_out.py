"""Try a principle out: on a few of its prompts, or by training without it."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.commands.options import JsonOption, RecipeOption, SetOption, print_result
from flows.commands.running import run_flow
from flows.explain import show
from flows.plan import recipe as recipes
from storage.errors import SolonError

app = typer.Typer()
SlugArgument = Annotated[str, typer.Argument(help="A principle's slug.")]


@app.command()
def preview(
    slug: SlugArgument,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many prompts.")] = 8,
    recipe: RecipeOption = "",
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """An edited principle on a few of its prompts: before and after. A run reuses the rows.

    Example: solon preview be-concise -n 4
    """
    from flows.explain.preview import choose, compare, to_json
    from flows.plan.read_inputs import inputs_of

    overrides = recipes.parse_overrides(set_)
    inputs, workspace, ledger = inputs_of(recipe, overrides)
    chosen = choose(inputs, slug, count)
    rows, is_whole = compare(inputs, ledger, chosen, slug)
    if is_whole:
        result = to_json(slug, rows, 0)
    else:
        parameters = {"slug": slug, "recipe": recipe, "count": count, "overrides": overrides}
        result = run_flow("preview", parameters, workspace)
    ending = f"{result['generated']} calls made; a run with these words reuses them"
    print_result(as_json, result, [*map(show.preview_table, result["rows"]), ending])


@app.command()
def ablate(
    slug: SlugArgument,
    recipe: RecipeOption = "",
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """What a principle bought: train without the rows it had a hand in, and compare.

    Example: solon ablate be-concise
    """
    from flows.explain.ablation import left_out_line
    from flows.plan.constitutions import principle_named
    from flows.plan.planner import Planner
    from flows.plan.read_inputs import inputs_of

    overrides = recipes.parse_overrides(set_)
    inputs, workspace, ledger = inputs_of(recipe, overrides)
    principle_named(inputs.constitution, slug)  # raises where there is none
    if not Planner(inputs, workspace, ledger).make("ppo").is_made:
        raise SolonError("ablate compares with a whole run of this recipe: solon run first")
    parameters = {"slug": slug, "recipe": recipe, "overrides": overrides}
    result = run_flow("ablate", parameters, workspace)
    print_result(as_json, result, [show.ablation_table(result), left_out_line(result)])
