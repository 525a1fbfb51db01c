"""More prompts from seed prompts (Self-Instruct: Wang et al. 2022, arXiv 2212.10560, section 2.2).

A model is shown prompts of one category and asked for more of their kind. What it writes is kept
where it has the length of a request and is unlike every prompt that is there, or came before it;
categories are filled evenly.

Departures: (1) the prompts shown are of one category, so that new ones have it too; (2) only seeds
are shown, none of the new ones, so that all calls are known beforehand and are made once; (3) two
prompts are alike by their runs of three words (hygiene/duplicates.py), not by ROUGE-L; (4) no
answers are asked for: new prompts go the way of all prompts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from storage.ids import canonical_json
from tasks.generation.calls import Answer, Call, CallForm
from tasks.hygiene.duplicates import near_duplicates, overlaps
from tasks.prompts import Prompt, is_held_out

SOURCE = "self-instruct"
SHOWN = 6  # prompts before every request
ASKED = 6  # new ones a request
SPARE = 3  # asked for, for every one that is wanted: many are alike, or none
ALIKE = 0.4  # Jaccard likeness of runs of three words from which two prompts are one
WORDS = (3, 120)
SEED_CHARS = 600  # longer prompts are not shown
ITEM = re.compile(r"^\s*(?:\d{1,2}[.):]|[-*])\s+", re.MULTILINE)


@dataclass(frozen=True)
class Asked:
    """A call for more prompts of a category, and the seeds that it shows."""

    call: Call
    category: str
    seeds: tuple[Prompt, ...]


@dataclass(frozen=True)
class Made:
    """A new prompt, and the call that wrote it."""

    prompt: Prompt
    asked: Asked


def requests(form: CallForm, prompts: Sequence[Prompt], percent: int, count: int) -> list[Asked]:
    """The calls that ask for `count` new prompts and some to spare, the categories in turn.

    Seeds are the prompts of one short turn that are not held out; each call of a category shows
    others, by a hash of its number and their ids.
    """
    by_category: dict[str, list[Prompt]] = {}
    for prompt in prompts:
        is_short = len(prompt.messages[-1]["content"]) <= SEED_CHARS
        if len(prompt.messages) == 1 and is_short and not is_held_out(prompt.prompt_id, percent):
            by_category.setdefault(prompt.category, []).append(prompt)
    names = sorted(by_category)
    calls = -(-count * SPARE // ASKED) if names else 0
    return [
        _asked(form, names[n % len(names)], by_category[names[n % len(names)]], n // len(names))
        for n in range(calls)
    ]


def _asked(form: CallForm, category: str, seeds: Sequence[Prompt], number: int) -> Asked:
    def drawn(prompt: Prompt) -> bytes:
        return blake2b(canonical_json([number, prompt.prompt_id]), digest_size=8).digest()

    shown = tuple(sorted(seeds, key=drawn)[:SHOWN])
    lines = (f"{n}. {_line(seed)}" for n, seed in enumerate(shown, 1))
    request = (
        "Here are things that people ask an assistant:\n\n" + "\n".join(lines) + "\n\n"
        f"Write {ASKED} more of the same kind, each about something else, numbered from 1, one a"
        " line. Write only what people ask, and no answers."
    )
    message = {"role": "user", "content": request}
    call = form.call(shown[0].prompt_id, (message,), sample_index=number)
    return Asked(call, category, shown)


def _line(prompt: Prompt) -> str:
    return " ".join(prompt.messages[-1]["content"].split())


def items(answer: Answer) -> list[str]:
    """The numbered items of an answer; of one that was cut without the last."""
    found = [" ".join(part.split()) for part in ITEM.split(answer.text)[1:]]
    if answer.finish_reason != "stop":
        found = found[:-1]
    return [text.strip("\"' ") for text in found]


def chosen(
    asked: Sequence[Asked],
    answers: Mapping[str, Answer],
    prompts: Sequence[Prompt],
    percent: int,
    count: int,
) -> tuple[list[Made], Counter[str]]:
    """At most `count` new prompts, the categories filled evenly; how many others were left out,
    by reason: length, alike, held_out (by their id they would be), over (more than wanted).
    """
    left_out: Counter[str] = Counter()
    made: dict[str, Made] = {}
    for each in asked:
        answer = answers.get(each.call.completion_id)
        for text in items(answer) if answer else ():
            if not WORDS[0] <= len(text.split()) <= WORDS[1] or len(text) > SEED_CHARS:
                left_out["length"] += 1
                continue
            messages = ({"role": "user", "content": text},)
            prompt = Prompt(messages, each.category, SOURCE, len(made) + 1)
            if is_held_out(prompt.prompt_id, percent):
                left_out["held_out"] += 1
            elif prompt.prompt_id in made:
                left_out["alike"] += 1
            else:
                made[prompt.prompt_id] = Made(prompt, each)
    alike = _alike(made, prompts)
    left_out["alike"] += len(alike)
    kept = _evenly([found for key, found in made.items() if key not in alike], count)
    left_out["over"] += len(made) - len(alike) - len(kept)
    return kept, +left_out


def _alike(made: Mapping[str, Made], prompts: Sequence[Prompt]) -> set[str]:
    """The ids of new prompts that are like one that is there, or like a new one before them."""
    texts = {key: _line(found.prompt) for key, found in made.items()}
    known = {prompt.prompt_id: _line(prompt) for prompt in prompts}
    again = {key for group in near_duplicates(texts, ALIKE) for key in group[1:]}
    return again | {key for key, _ in overlaps(texts, known, ALIKE)} | (set(texts) & set(known))


def _evenly(made: Sequence[Made], count: int) -> list[Made]:
    """The first of each category, then the second of each, and so on."""
    place: Counter[str] = Counter()
    ranked = []
    for number, found in enumerate(made):
        place[found.prompt.category] += 1
        ranked.append((place[found.prompt.category], found.prompt.category, number))
    return [made[number] for *_, number in sorted(ranked)[:count]]
