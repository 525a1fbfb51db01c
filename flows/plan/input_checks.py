"""Whether a run can give what it is for: said before anything is written or spent."""

from __future__ import annotations

from flows.plan.inputs import Inputs
from flows.plan.steps import Step, at_most
from storage.errors import InputError
from tasks.engines.vllm_command import must_find_vllm
from tasks.evaluation.probes import names as probe_names


def check_inputs(inputs: Inputs, until: Step | None) -> None:
    """Raise InputError where a run cannot give what it is for: no pair can have evidence, or none
    of the prompts is held out for the evaluation.
    """
    _ = inputs.gold, inputs.people  # which read their files
    _check_gate(inputs)
    _check_server(inputs, until)
    if at_most("evaluate", until):
        _ = inputs.questions
    if until == "comparisons":
        rule = "what is compared is made into pairs at once"
        raise InputError(until, rule, "stop after pairs", "--until")
    is_checked = any(principle.check for principle in inputs.constitution.enabled)
    needs_evidence = inputs.recipe.pairs.evidence == "required" and at_most("pairs", until)
    if needs_evidence and not (is_checked or inputs.judge or inputs.people.judged):
        raise InputError(
            inputs.constitution.name,
            "no pair can have evidence: no principle has a check, and there is no judge",
            "set judge.use=true, give principles a check, or set pairs.evidence=presumed",
            "pairs",
        )
    if inputs.recipe.ppo["check_weight"] > 0 and at_most("ppo", until):
        _check_rewards(inputs, is_checked)
    if at_most("evaluate", until) and not inputs.evaluation_prompts:
        raise InputError(
            f"{len(inputs.prompts)} prompts",
            "none of them is held out for the evaluation",
            "take more prompts, raise prompts.held_out_percent, or stop with --until ppo",
            "prompts",
        )


def _check_rewards(inputs: Inputs, is_checked: bool) -> None:
    """Raise InputError where PPO cannot be rewarded by checks: it knows no prompt's category."""
    where, fix = "ppo.check_weight", "give principles a check, or set ppo.check_weight=0"
    if not is_checked:
        rule = "no enabled principle has a check that PPO could be rewarded by"
        raise InputError(inputs.constitution.name, rule, fix, where)
    for principle in inputs.constitution.enabled:
        if principle.check and principle.applies_to:
            rule = "its check is of some categories, and PPO would reward it for every prompt"
            fix = "remove applies_to, or set ppo.check_weight=0"
            raise InputError(principle.slug, rule, fix, where)


def _check_server(inputs: Inputs, until: Step | None) -> None:
    """Raise InputError where there is no vLLM that is asked for, or the judge's server is known not
    to tell what it is asked for.
    """
    if inputs.recipe.generation.engine == "vllm":
        must_find_vllm()
    judge, server = inputs.judge, inputs.hands.of("judge").server
    if judge is None or server is None or judge.verdicts != "logprobs":
        return
    if at_most("pairs", until) and not server.abilities.top_logprobs:
        rule = "the server tells no log-probabilities of a judge's letters"
        raise InputError(server.model, rule, "set judge.verdicts=sampled", "judge.verdicts")


def _check_gate(inputs: Inputs) -> None:
    """Raise InputError for a rule on a probe or principle that nobody knows."""
    checked = [p.slug for p in inputs.constitution.enabled if p.check]
    known = {"probe": {*probe_names(), *inputs.probes}, "rule": set(checked)}
    for metric in inputs.recipe.gate.rules:
        family, _, member = metric.partition(":")
        if member and member not in known.get(
            "probe" if family == "stability" else family, {member}
        ):
            what = "no enabled principle with a check" if family == "rule" else "no probe"
            there = ", ".join(sorted(known.get(family, known["probe"]))) or "none"
            raise InputError(metric, f"{what} has this name", f"there are {there}", "gate.rules")
