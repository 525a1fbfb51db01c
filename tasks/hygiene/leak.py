"""Does a revision talk about itself instead of answering? A check of structure.

Three kinds: a *preamble* (a first line that announces or labels the rewrite, a last one that
explains it), a *critique* in place of an answer, the *instructions* of the step said again. Each is
told by how the classes of words follow each other in the first and the last sentence: "this
version is kinder" names the answer it stands in and praises it, "the response lacks a reason"
names and faults it.

Languages: English, the common forms of German, French and Spanish.
"""

from __future__ import annotations

import re

from tasks.hygiene.reading import (
    ACTS,
    BETTER,
    JUDGED,
    OWN,
    REPLIES,
    Reader,
    Sentence,
    ends,
    is_bare,
)

_COMPOSED = re.compile(
    r"^\W*(?:please |can you |could you )?(?:write|compose|draft|create|send)\b", re.I
)
_IN_WORLD = re.compile(
    r"^\s*(?:[\"“«„']|(?:dear|hi|hello|assert|return|def|select)\b|sehr |liebe|```|\w+\s*[=(]|\{)",
    re.I,
)

_REPEATED = re.compile(r"^\W*(?:(?:revision|critique) request|critique)\W*:", re.I | re.M)
_QUOTES = tuple('"“«„')


def leak(prompt: str, draft: str, revision: str) -> str | None:
    """ "preamble", "critique" or "instructions" where the revision is or holds one."""
    reader, text = Reader.of(prompt, draft), revision.strip()
    first, last = (reader.sentence(part) for part in ends(text))
    composed = bool(_COMPOSED.search(prompt))  # "Write a letter": it may speak of answers, too
    if composed and _IN_WORLD.search(text):
        return None
    if _is_instruction(first) or _repeats_labels(prompt, text):
        return "instructions"
    if _is_labelled(first) or _announces(first) or _tells_of_work(first, last):
        return "preamble"
    if not composed and _heeds(first):
        return "preamble"
    if not composed or not first.has("THIS") or first.has(*JUDGED):
        if _finds_fault(first, last) or _faults_the_draft(text, draft, first):
            return "critique"
        if last.text and not composed and _praises(first):
            return "preamble"
    if last.text and _explains(last):
        return "preamble"
    return None


def _is_instruction(first: Sentence) -> bool:
    """ "Revision request: ...", "Please rewrite the response so that ..." """
    if "REQUEST" in first.label and is_bare(first.label):
        return True
    tags = [tag for tag in first.tags if tag != "ORDER"]
    ordered = first.tags[:1] == ("ORDER",) or tags[:1] == ["REWRITE"]
    task = first.has("REQUEST") and first.has("YOUR") and first.has("REWRITE")
    return (ordered or task) and any(at > 0 for at in first.replies) and "I" not in first.tags[:2]


def _repeats_labels(prompt: str, text: str) -> bool:
    """A later line that begins with a label of the step's own requests."""
    found = _REPEATED.search(text, 1)
    return bool(found and text[: found.start()].strip() and not _REPEATED.search(prompt))


def _is_labelled(sentence: Sentence) -> bool:
    """ "**Revised answer:**", "Response:", "Rewritten text", "Assistant:" """
    label = frozenset(sentence.label)
    if not label or not is_bare(sentence.label) or "HERE" in label:
        return False
    named = "REPLY" in label or (label & OWN and label & {"REVISE", "MORE", "EARLIER"})
    return bool(named) or sentence.label in (("REVISE",), ("WRITER",))


def _announces(first: Sentence) -> bool:
    """ "Here is a kinder version", "Here you go, now in a kinder tone" """
    head = _until_colon(first)
    would_be = "WOULD_BE" in head and first.tags[0] != "IT"
    says = first.tags[:1] == ("TO",) and {"MORE", "I", "WOULD"} <= head and ":" in first.tags
    could_be = first.has("REPLY") and first.replies and first.tags[-3:] == ("OUGHT", "IS", ":")
    if says or could_be:
        return True
    here = "HERE" in first.tags[:5]
    if here and "NOW" in head and first.tags[-1:] == (":",):
        return True
    if not (here or would_be):
        return False
    better = head & BETTER or any(first.near(at) & {"THE", "MY"} for at in first.own)
    return bool(head & OWN and better) and not (
        head & OWN == {"ANSWER"} and head & BETTER <= {"NEW"}
    )


def _until_colon(sentence: Sentence) -> frozenset[str]:
    tags = sentence.tags
    return frozenset(tags[: tags.index(":")] if ":" in tags[1:] else tags)


def _tells_of_work(first: Sentence, last: Sentence) -> bool:
    """ "I have rewritten the answer", "Let me rephrase that", "Based on the critique" """
    if _did(first) and (last.text or not first.has("WOULD", "WOULD_BE")):
        return True
    mine = [first.near(at) for at in first.own if "MY" in first.near(at)]
    return bool(last.text) and any(near & {"EARLIER", "REVISE"} for near in mine)


def _heeds(first: Sentence) -> bool:
    """ "Based on the critique, ...", "Thank you for the feedback." """
    return "CRITIQUE" in first.tags[:7] and "CRITIQUE" not in first.label and not _blames(first)


def _did(sentence: Sentence) -> bool:
    """I, and a word for rewriting, and what was rewritten."""
    tags = sentence.tags
    for at, tag in enumerate(tags):
        if tag in ACTS and "I" in tags[max(0, at - 4) : at]:
            rest = frozenset(tags[at + 1 : at + 7])
            if (
                rest & OWN
                or rest & {"MORE", "FAULT"}
                or (tag != "CHANGE" and rest & {"THIS", "IT"})
            ):
                return True
    return False


def _blames(sentence: Sentence) -> bool:
    """Whether it names the answer it stands in, and then a fault or a wish."""
    subjects = [at for at in sentence.own if sentence.is_subject(at)]
    return any(
        sentence.after(at) & JUDGED
        or (sentence.tags[at] in REPLIES and "WOULD" in sentence.after(at))
        for at in subjects
    )


def _finds_fault(first: Sentence, last: Sentence) -> bool:
    """ "The response lacks a reason", "It would be better if the answer ...", "Feedback: ..." """
    if first.text[:1] in _QUOTES:
        return False
    if first.label == ("CRITIQUE",) or _blames(first):
        return True
    if _tells_of_people(first):
        return True
    for at in first.replies:
        before, after = first.before(at), first.after(at)
        if before & {"FAULT", "LACKS", "NEEDS", "OUGHT"} or ("NOT" in before and "FAULT" in before):
            return True
        if before & {"WOULD", "WOULD_BE", "OUGHT"} and before & {"MORE", "REWRITE", "TO", "IF"}:
            return True
        if before >= {"NOT", "MORE"}:
            return True
        good = {"THIS", "GOOD"} <= before or after & {"GOOD", "MORE"}
        if good and (not last.text or (last.tags[:1] == ("BUT",) and last.has(*JUDGED))):
            return True
    begins = first.tags[:1] == ("FAULT",) or first.tags[:2] == ("NOT", "MORE")
    return begins and (first.has("LACKS", "TEXT", "PERSON") or first.tags[2:] == (":",))


def _tells_of_people(first: Sentence) -> bool:
    """ "The user asks for a recipe", "The assistant should have said why" """
    for at, tag in enumerate(first.tags):
        if (
            tag in ("USER", "WRITER")
            and first.is_subject(at)
            and first.tags[at + 1 : at + 2] != ("OF",)
        ):
            return bool(first.after(at) & (JUDGED | {"ASKS", "REQUESTED"}))
    return False


def _faults_the_draft(text: str, draft: str, first: Sentence) -> bool:
    """It quotes the draft, and finds fault with it as an answer."""
    quoted = re.match(r"[\"“«„']([^\"”»“]+)[\"”»“']", text)
    return bool(quoted and quoted[1].strip(" .!?").casefold() in draft.casefold()) and (
        first.has("FAULT") and first.has("ANSWER", "REPLY", "USER", "LACKS")
    )


def _praises(sentence: Sentence) -> bool:
    """ "This version is kinder", "The revised answer now gives a reason" """
    for at in sentence.own:
        after, near = sentence.after(at), sentence.near(at)
        if "A" in near and not sentence.before(at) & {"THIS", "MY"}:
            continue
        if sentence.tags[at] in REPLIES | {"MANNER"} and (
            after & (BETTER | {"HELPS", "NOW"}) or near & ACTS
        ):
            return True
        if sentence.before(at) & {"THIS", "MY"} and (after | near) & BETTER:
            return True
        if sentence.before(at) & ACTS and sentence.tags[at] in REPLIES:
            return True
    return False


def _explains(last: Sentence) -> bool:
    """A last line about the rewrite: "(Revised to be kinder.)", "I kept the sentences short." """
    if _praises(last) or _did(last) or _is_made(last.aside) or _asks_for_praise(last):
        return True
    label = frozenset(last.label)
    if last.label and is_bare(last.label) and (label & ACTS or {"REPLY", "NOTE"} <= label):
        return True
    if label & {"NOTE"} and (last.replies or last.own):
        return True
    made = any(last.after(at) & ACTS for at in last.own)
    return made or any(
        last.near(at) & {"EARLIER"} and last.after(at) & JUDGED for at in last.replies
    )


def _is_made(aside: tuple[str, ...]) -> bool:
    """Brackets that begin with what was done: "(Revised for clarity)", "(Added one as asked)"."""
    if aside[:1] not in (("REVISE",), ("CHANGE",)):
        return False
    return bool({"REQUESTED"} & set(aside)) or aside[1:2] in ((), ("TO",), ("MORE",), ("BECAUSE",))


def _asks_for_praise(last: Sentence) -> bool:
    """ "Is this better?", "Does this response work for you?" """
    asks = last.text.rstrip("*_ )").endswith("?")
    return asks and (
        (last.has("THIS") and last.has("MORE") and len(last.tags) <= 6) or bool(last.replies)
    )
