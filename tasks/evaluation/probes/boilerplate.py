"""Is an answer free of stock phrases, preaching and filler?

1 without any, 0.5 with one, 0 with two or more; a phrase that is repeated counts each time. What
the question itself says does not count.
"""

from __future__ import annotations

from tasks.evaluation.probes.question import Question, Scored
from tasks.evaluation.probes.text import any_of, plain

PHRASES = {
    "a stock phrase": any_of(
        r"as an? (?:ai|artificial|large|language) ?\w*",
        r"i hope this (?:helps|finds you|email finds you)",
        r"(?:great|good|excellent|interesting|fantastic|wonderful) question\b",
        r"(?:certainly|absolutely|of course|sure|sure thing)!",
        r"i(?:'d| would) be (?:happy|glad|delighted|more than happy) to\b",
        r"i(?:'m| am) (?:always |happy |glad )?here to (?:help|assist)",
        r"i(?:'m| am) (?:happy|glad) to (?:help|assist)",
        r"thank you for (?:asking|reaching out|your question)",
        r"feel free to\b",
        r"(?:please )?let me know if you\b",
        r"(?:don't|do not) hesitate to\b",
        r"is there anything else\b",
        r"i understand (?:your|that you|how)\b",
        r"here(?:'s| is| are) (?:a|an|some|the) (?:list|brief|short|few|comprehensive|detailed)\b",
    ),
    "preaching": any_of(
        r"it(?:'s| is) (?:important|crucial|essential|vital) (?:that|to (?:note|remember|understand"
        r"|keep|recognize|acknowledge|be|mention|consider))\b",
        r"it(?:'s| is) worth (?:noting|mentioning|remembering)\b",
        r"(?:always )?remember(?: that|,| to)",
        r"always (?:seek|consult)\b",
        r"please (?:note|remember|be aware|consult)\b",
        r"we (?:must|should) all\b",
        r"it is our (?:duty|responsibility)\b",
        r"ethical considerations\b",
        r"consult (?:with )?a (?:professional|doctor|qualified)\b",
        r"use (?:it )?responsibly\b",
    ),
    "filler": any_of(
        r"in (?:conclusion|summary),",
        r"to sum up\b",
        r"(?:needless to say|it goes without saying|at the end of the day)\b",
        r"in today's (?:\w+ )?(?:world|society|age)\b",
        r"when it comes to\b",
        r"there are (?:many|several|various|numerous) (?:ways|factors|reasons|things)\b",
        r"(?:delve|tapestry|a testament to|unlock the|embark on)\b",
        r"plays? a (?:crucial|vital|key|significant|pivotal) role\b",
        r"a wide (?:range|variety|array) of\b",
        r"game[- ]changer\b",
        r"ever-(?:changing|evolving)\b",
    ),
}


def score(question: Question, answer: str) -> Scored:
    text, asked = plain(answer), plain(question.asked)
    found = [
        (kind, words[0])
        for kind, phrases in PHRASES.items()
        for words in phrases.finditer(text)
        if words[0] not in asked
    ]
    if not found:
        return Scored(1.0, "has no stock phrase, preaching or filler")
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return Scored(0.5 if len(found) == 1 else 0.0, f"has {found[0][0]}: {found[0][1]}{more}")
