"""The recipe's model before its first call: is its folder whole, what does its chat template take,
does what is asked and trained fit its context. Weights are not loaded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from flows.plan.inputs import Inputs
from flows.plan.recipe import Recipe
from flows.plan.steps import Stage, Step, at_most
from storage.errors import InputError
from tasks.chat.calls import CALLS
from tasks.chat.fold import fold
from tasks.chat.template import Refusal, Template, turn
from tasks.model_look import context_of, look_at
from tasks.prompts import Prompt

USUAL = ("system", "user", "assistant", "user")
"""The turns of worked examples before a question."""
ROWS: tuple[Stage, ...] = ("sft", "reward", "dpo")


def check_models(inputs: Inputs, until: Step | None) -> None:
    """Raise InputError where a model that is asked or trained on here, its template or its context
    do not do for a run until there. What is not converted or downloaded yet is looked at once it is
    there.
    """
    for hand in inputs.asked:
        if hand.seen and hand.seen.folder:
            check_folder(inputs, hand.seen.folder, hand.seen.template)
    if inputs.folder and at_most("sft", until):
        check_folder(inputs, inputs.folder, inputs.template)
        check_rows(inputs.recipe, context_of(inputs.folder), until)


def check_folder(inputs: Inputs, folder: Path, template: Template | None) -> None:
    """Raise InputError where a model, its template or its context do not do for what is asked."""
    recipe, prompts = inputs.recipe, inputs.prompts
    look_at(folder, template)
    if template is None:
        rule = "the model has no chat template, and is asked nothing but conversations"
        fix = "use an instruction-tuned model, or put chat_template.jinja into a copy of its folder"
        raise InputError(folder.name, rule, fix, "model")
    check_prompts(template, prompts, recipe.generation.system)
    check_requests(recipe, context_of(folder))


def check_prompts(template: Template, prompts: Iterable[Prompt], system: str) -> None:
    """Raise Refusal where the template does not take the turns of a prompt, as they are folded."""
    _check_turns(template, USUAL, "")
    tried: set[tuple[str, ...]] = {USUAL}
    for prompt in prompts:
        roles = tuple(CALLS if CALLS in m else m["role"] for m in prompt.messages)
        before = ("system",) if system and roles[0] != "system" else ()
        if (*before, *roles) not in tried:
            tried.add((*before, *roles))
            _check_turns(template, (*before, *roles), f"{prompt.source}:{prompt.line}")


def _check_turns(template: Template, roles: Sequence[str], where: str) -> None:
    texts = [f"solon{n}text" for n in range(len(roles))]
    messages = fold([_turn(*each) for each in zip(roles, texts, strict=True)], template.traits)
    try:
        text = template.render(messages)
    except Refusal as error:
        raise Refusal(error.value, error.rule, error.fix, where or "model") from None
    if not all(each in text for each in texts):
        rule = "the model's chat template leaves out a part of such a conversation"
        fix = "use another model, or mend chat_template.jinja in a copy of its folder"
        raise Refusal(f"turns of {', '.join(roles)}", rule, fix, where or "model")


def _turn(role: str, text: str) -> dict[str, str]:
    """A turn with this text; of a call of a tool its name."""
    if role != CALLS:
        return turn(role, text)
    calls = [{"name": text, "arguments": {}}]
    return turn("assistant", "") | {CALLS: json.dumps(calls)}


def check_requests(recipe: Recipe, context: int | None) -> None:
    """Raise InputError where the longest request and answer do not fit the context."""
    worst = longest_request(recipe)
    if context and worst > context:
        rule = f"max_prompt_tokens plus the longest answer must fit the context of {context} tokens"
        raise InputError(worst, rule, "lower generation.max_prompt_tokens", "generation")


def longest_request(recipe: Recipe) -> int:
    """Tokens of the longest request and answer that the recipe allows."""
    generation = recipe.generation
    answers = [*generation.max_new_tokens.model_dump().values(), recipe.evaluation.max_new_tokens]
    if recipe.pairs.shares.distilled or recipe.pairs.shares.candidates:
        answers.append(recipe.pairs.max_new_tokens)
    return int(generation.max_prompt_tokens + max(answers))


def check_rows(recipe: Recipe, context: int | None, until: Step | None) -> None:
    """Raise InputError where rows of a stage do not fit the context of the model it trains."""
    if context is None:
        return
    for stage in ROWS:
        longest = getattr(recipe, stage)["max_length"]
        if longest > context and at_most(stage, until):
            rule = f"rows must fit the model's context of {context} tokens"
            raise InputError(longest, rule, f"lower {stage}.max_length", f"{stage}.max_length")
    longest = recipe.ppo["max_prompt_tokens"] + recipe.ppo["max_new_tokens"]
    if longest > context and at_most("ppo", until):
        rule = f"prompt and answer must fit the model's context of {context} tokens"
        raise InputError(longest, rule, "lower ppo.max_prompt_tokens", "ppo")
