"""Whether a new checkpoint may take the champion's place, and taking it.

Champion and candidate answer the same held-out prompts and are scored by one reward model, the
candidate's; where there is no champion yet the base model stands in its place. The candidate passes
unless it is worse beyond the interval of the mean difference, and only while it stays near its own
SFT model (a policy far from it may have found what the reward model overrates: Gao et al. 2022,
arXiv 2210.10760). One whose training, or whose reward model's, changed no weight never passes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from flows.plan.answers import BASE, POLICIES
from flows.plan.recipe import GateSettings
from flows.run.evaluation import answers_of, evaluate_checkpoints
from flows.run.publish import publish_markdown
from flows.run.session import Session
from storage.artifacts import artifact_path, is_whole
from storage.ids import short
from storage.ledger import Ledger, move
from tasks.evaluation.escape import markdown_cell
from tasks.evaluation.metrics import PER_ANSWER, Answer, bootstrap, is_finite, paired
from tasks.training.settings import WEIGHT_CHANGE

Answers = Sequence[Answer]
GATE_FAILED = "solon.gate.failed"  # the event that an alert can listen to
RESOURCE = "solon.workspace"
CANDIDATE = "ppo"
JUDGED = ("sft", "reward", "ppo")  # what a candidate is made of
CHAMPION = """
    SELECT checkpoint_id, stage, base_model_id FROM refs
    JOIN checkpoints ON checkpoint_id = target_id WHERE name = 'champion'"""
UNCHANGED = """
    SELECT c.stage FROM metrics m JOIN checkpoints c ON c.checkpoint_id = m.subject_id
    JOIN wanted w ON w.id = m.subject_id WHERE m.name = ? AND m.value = 0 ORDER BY c.created_at"""
# The evaluation in which a checkpoint was measured names all that belong together.
MEASURED_WITH = """
    SELECT parent_ids, parent_roles FROM checkpoints
    WHERE stage = 'evaluate' AND list_contains(parent_ids, ?) ORDER BY created_at DESC"""


@dataclass(frozen=True)
class Gate:
    """`reasons`: every test's outcome; `numbers`: what they were decided by.

    `difference`, `low`, `high`: mean reward of candidate minus champion (the base, for the first)
    with its 95 % interval; `kl`: candidate to SFT, mean nats an answer; `prompts`: both answered.
    """

    passed: bool
    reasons: tuple[str, ...]
    numbers: dict[str, float] = field(default_factory=dict)


def gate(
    before: Answers,
    candidate: Answers,
    settings: GateSettings,
    seed: int = 0,
    name: str = "the champion",
) -> Gate:
    """Judge a candidate by its answers and by those of what it shall replace, which `name` names.

    Answers are rows of answers.jsonl, one policy each. A number that is missing or not finite fails
    the gate: what cannot be measured is not promoted.
    """
    answers, old = (_by_prompt(rows) for rows in (candidate, before))
    if not answers:
        return Gate(False, ("the candidate answered no prompt",))
    is_near, near, numbers = _nearness(answers, settings)
    is_no_worse, worth, more = _worth(old, answers, seed, name)
    return Gate(is_near and is_no_worse, (worth, near), numbers | more)


def _by_prompt(answers: Answers) -> Mapping[str, Answer]:
    """The answers of one policy that were made."""
    return {a["prompt_id"]: a for a in answers if a["finish_reason"] != "too_long"}


def _nearness(
    answers: Mapping[str, Answer], settings: GateSettings
) -> tuple[bool, str, dict[str, float]]:
    values = [answer["kl"] for answer in answers.values()]
    if not all(is_finite(value) for value in values):
        return False, "the candidate's KL to SFT is not finite", {}
    kl = math.fsum(values) / len(values)
    is_near = kl <= settings.max_kl
    relation = "within" if is_near else "above"
    return is_near, f"KL to SFT {kl:.2f} nats, {relation} {settings.max_kl:g}", {"kl": kl}


def _worth(
    before: Mapping[str, Answer], candidate: Mapping[str, Answer], seed: int, name: str
) -> tuple[bool, str, dict[str, float]]:
    both = sum(prompt_id in before for prompt_id in candidate)
    if not both:
        return False, f"{name} and the candidate have no answered prompt in common", {}
    pairs = paired(candidate, before, PER_ANSWER["reward"])
    if len(pairs) < both:
        return False, "a reward is not finite", {"prompts": both}
    differences = [new - old for new, old in pairs]
    low, high = bootstrap(differences, seed)
    mean = math.fsum(differences) / both
    numbers = {"difference": mean, "low": low, "high": high, "prompts": both}
    verdict = f"no worse than {name}" if high >= 0 else f"worse than {name}"
    text = f"{verdict}: reward {mean:+.3f} ({low:+.3f} to {high:+.3f}, {both} prompts)"
    return high >= 0, text, numbers


def conclude(
    session: Session, result: dict[str, Any], is_wanted: bool, author: str = ""
) -> dict[str, Any]:
    """Judge a whole run's checkpoint, promote it where it passes and that is wanted, and say so.

    Returns {"gate": the verdict, "champion": the checkpoint that is it now, or null}.
    """
    verdict, candidate = judge(session, result), result["checkpoints"][CANDIDATE]
    is_promoted = verdict.passed and is_wanted
    if is_promoted:
        promote(session, candidate, author, "; ".join(verdict.reasons))
    text, shows = gate_markdown(verdict, candidate, is_promoted), _outcome(verdict)
    publish_markdown("gate", text, shows, session.recipe.name, session.run_id)
    champion = session.ledger.query(CHAMPION)
    holder = champion[0]["checkpoint_id"] if champion else None
    return {"gate": asdict(verdict), "champion": holder}


def judge(session: Session, result: Mapping[str, Any]) -> Gate:
    """The gate for the PPO checkpoint of a whole run, given the run's result. Moves no ref."""
    session.results.refs = None
    unchanged = _unchanged(session.ledger, result["checkpoints"])
    if unchanged:
        return Gate(False, tuple(f"{stage}: its training changed no weight" for stage in unchanged))
    evaluation = next(step["id"] for step in result["steps"] if step["step"] == "evaluate")
    everyone = answers_of(session, evaluation)
    answers = _of_policy(everyone, CANDIDATE)
    settings, seed = session.recipe.gate, session.recipe.seed
    found = session.ledger.query(CHAMPION)
    if not found:
        name = "the base model, as there is no champion yet"
        return gate(_of_policy(everyone, BASE), answers, settings, seed, name)
    champion, stage = found[0]["checkpoint_id"], found[0]["stage"]
    if champion == result["checkpoints"][CANDIDATE]:
        return gate(answers, answers, settings, seed)
    relatives = _relatives(session, champion, stage)
    if relatives is None or found[0]["base_model_id"] != session.inputs.base_model_id:
        rule = "the champion cannot be measured beside it: other base, no evaluation, or no files"
        return Gate(False, (rule, "promote by hand: solon ref set champion latest/ppo"))
    judged = relatives | {"reward": result["checkpoints"]["reward"]}
    before = answers_of(session, evaluate_checkpoints(session, judged))
    return gate(_of_policy(before, stage), answers, settings, seed)


def _unchanged(ledger: Ledger, checkpoints: Mapping[str, str]) -> list[str]:
    """The stages behind the candidate whose training changed no weight."""
    wanted = {"id": [checkpoints[stage] for stage in JUDGED]}
    return [row["stage"] for row in ledger.query(UNCHANGED, [WEIGHT_CHANGE], wanted)]


def _of_policy(answers: Answers, policy: str) -> list[Mapping[str, Any]]:
    return [answer for answer in answers if answer["policy"] == policy]


def _relatives(session: Session, champion: str, stage: str) -> dict[str, str] | None:
    """The checkpoints trained beside the champion, by stage; None where one is not there."""
    for row in session.ledger.query(MEASURED_WITH, [champion]):
        found = dict(zip(row["parent_roles"], row["parent_ids"], strict=True))
        paths = [artifact_path(session.workspace, found[p]) for p in POLICIES if p in found]
        is_there = len(paths) == len(POLICIES) and all(map(is_whole, paths))
        if found.get(stage) == champion and is_there:
            return found
    return None


def promote(session: Session, checkpoint: str, author: str, note: str) -> None:
    """Make a checkpoint the champion, and this run's constitution the one in force, at once."""
    with session.ledger.transaction() as con:
        move(con, "champion", checkpoint, author, note)
        move(con, "constitution", session.inputs.constitution_id, author, note)


def gate_markdown(verdict: Gate, candidate: str, is_promoted: bool) -> str:
    place = "is the champion now" if is_promoted else "is not promoted"
    lines = [f"# {_outcome(verdict)}", "", f"{short(candidate)} {place}.", ""]
    return "\n".join(lines + [f"- {markdown_cell(reason)}" for reason in verdict.reasons]) + "\n"


def _outcome(verdict: Gate) -> str:
    return "Gate: passed" if verdict.passed else "Gate: not passed"
