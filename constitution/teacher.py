"""What a teacher is shown before it answers: its principles' rules, and answers that keep them.

The context of context distillation (Askell et al. 2021, https://arxiv.org/abs/2112.00861, sec. 2.2;
Maiya et al. 2025, https://arxiv.org/abs/2511.01689): a student answers the same prompts without it.
Departure: worked answers stand before the prompt as earlier turns, for a small model learns a rule
from these and hardly at all from its words.

`teacher_prefix` is the same for all prompts that meet the same principles, so that an engine can
keep its key/value cache; `teacher_turns` follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest

from constitution.checks import applies, complies
from constitution.render import Message, transcript
from constitution.schema import Principle, WorkedAnswer

N_SHOWN = 4  # worked answers before a prompt
RULES = "Follow these rules in every answer:"


def teacher_prefix(principles: Sequence[Principle], system: str = "") -> list[Message]:
    """The rules as a system message, then at most `N_SHOWN` worked answers as turns.

    `system`: what stands before the rules. The order of `principles` does not count; their titles
    are the words of the rules. Without principles there are no rules to show.
    """
    shown = sorted(principles, key=lambda p: p.slug)
    rules = "\n".join([RULES, *(f"- {p.title}" for p in shown)]) if shown else ""
    text = "\n\n".join(part for part in (system.strip(), rules) if part)
    messages = [{"role": "system", "content": text}] if text else []
    for answer in worked_answers(shown)[:N_SHOWN]:
        messages.append({"role": "user", "content": answer.prompt})
        messages.append({"role": "assistant", "content": answer.response})
    return messages


def worked_answers(principles: Sequence[Principle]) -> list[WorkedAnswer]:
    """Every principle's first example in turn, then every one's second, and so on; before others
    go those to whose prompts more of these principles apply: to a prompt for JSON, prompts for it.

    Left out are those that break the check of one of these principles, and prompts that stand
    there already.
    """
    turns = chain.from_iterable(zip_longest(*(p.examples for p in principles)))
    found: dict[str, WorkedAnswer] = {}
    for answer in turns:
        if answer and all(keeps(answer, p) for p in principles):
            found.setdefault(answer.prompt, answer)
    return sorted(found.values(), key=lambda a: -sum(applies(p, a.prompt) for p in principles))


def keeps(answer: WorkedAnswer, principle: Principle) -> bool:
    """Whether the answer keeps the principle, as far as a program can see."""
    return complies(principle, answer.prompt, answer.response) is not False


def teacher_turns(conversation: Sequence[Message]) -> list[Message]:
    """The conversation as it follows `teacher_prefix`: its system message, which can no longer come
    first, begins the user's first message.

    Raises ConstitutionError if it does not end with a user's message.
    """
    transcript(conversation)  # raises
    if conversation[0]["role"] != "system":
        return list(conversation)
    system, first, *rest = conversation
    return [{**first, "content": f"{system['content'].strip()}\n\n{first['content']}"}, *rest]


def shown(prefix: Sequence[Message]) -> list[str]:
    """What a prefix shows, piece by piece: the lines of its system message, each worked answer."""
    texts = [message["content"] for message in prefix]
    if prefix and prefix[0]["role"] == "system":
        return [*texts[0].splitlines(), *shown(prefix[1:])]
    return ["\n".join(turn) for turn in zip(texts[::2], texts[1::2], strict=True)]
