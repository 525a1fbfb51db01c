"""Read and check everything a run is made of, before anything is written or spent."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

from constitution.assign import Assigner
from flows.plan.chat import Seen, check_switch, seen, takes_calls
from flows.plan.checkpoints import find_checkpoint
from flows.plan.constitutions import kept_as, read_constitution
from flows.plan.hands import Hands, read_hands
from flows.plan.inputs import Inputs, unused_row
from flows.plan.paths import check_files
from flows.plan.recipe import Recipe, load
from storage.ledger import Ledger
from storage.readable import ledger_at
from storage.workspace import Workspace
from tasks.generation.assemble import Exclusion
from tasks.generation.calls import category_of
from tasks.prompts import read_prompts
from tasks.review.record import standing
from tasks.review.verdicts import reviews


def read_inputs(recipe: Recipe, workspace: Workspace, ledger: Ledger) -> Inputs:
    """Load constitution and prompts, identify the models. InputError or ConstitutionError."""
    check_files(recipe.files())
    constitution, path = read_constitution(recipe.constitution, ledger)
    find = partial(find_checkpoint, ledger, workspace)
    manner = recipe.generation.manner
    see = cache(partial(seen, workspace=workspace, find=find, manner=manner))
    own = None if recipe.generation.engine == "scripted" else recipe.server or recipe.model
    hands = read_hands(own, recipe.models.named(), workspace, manner, see)
    trained = see(recipe.model)
    check_switch(trained.template, manner)
    reading = replace(recipe.prompts.reading, tools=_take_calls(trained, hands))
    batch = read_prompts(recipe.prompts.path, recipe.prompts.limit, reading)
    for more in recipe.prompts.more:
        batch = batch.with_more(read_prompts(more, None, replace(reading, columns={})))
    assigner, rounds = Assigner(constitution), recipe.generation.rounds
    rounds = max(rounds, recipe.pairs.principles, recipe.judge.n_principles * recipe.judge.use)
    for category in {category_of(prompt) for prompt in batch.prompts}:
        assigner.principles("", rounds, category)  # raises where none may be
    unused = tuple(unused_row(found, "prompts") for found in batch.exclusions)
    prompts, known = tuple(batch.prompts), kept_as(ledger, constitution)
    read = recipe, constitution, path, prompts, unused, trained.info, known, hands
    found = trained.folder, trained.template, tuple(batch.notes), reviews(standing(ledger))
    return Inputs(*read, *found)


def _take_calls(trained: Seen, hands: Hands) -> bool:
    """Whether all who are given the turns of a prompt take calls of tools; the others read it as
    text. Of servers, and of models that are not here yet, it is not known."""
    given = (hands.own, hands.of("draft"), hands.of("teacher"))
    seen_of = [hand.seen for hand in given if hand.kind != "scripted"]
    return all(takes_calls(each.template if each else None) for each in (trained, *seen_of))


def inputs_of(recipe: str, overrides: dict[str, Any]) -> tuple[Inputs, Workspace, Ledger]:
    """What a run of this recipe would read, checked."""
    # Look for cycles less often: rows make none, and the walk keeps hundreds of thousands.
    # Measured over 10,000 prompts: an eighth more prompts a second, the same peak memory.
    gc.set_threshold(100_000, 50, 50)
    workspace = Workspace.open()
    chosen = load(recipe, overrides)
    ledger = ledger_at(workspace.ledger, recipe=chosen.name)
    return read_inputs(chosen, workspace, ledger), workspace, ledger


def count_exclusions(
    exclusions: Iterable[Exclusion], left_out: Counter[tuple[str, str]]
) -> list[dict[str, Any]]:
    """`[{"step", "reason", "rows"}]` of prompts and rows, most rows first."""
    counts = Counter(left_out)
    for found in exclusions:
        counts[found.step, found.reason] += found.rows
    return [{"step": s, "reason": r, "rows": n} for (s, r), n in counts.most_common()]
