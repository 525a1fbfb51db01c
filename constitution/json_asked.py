"""Does a prompt ask for a JSON object? Rules over its clauses; no model.

A prompt asks where one of its clauses speaks of an answer in JSON ("as a JSON object", "reply with
JSON only"), unless the clause says not to ("Don't answer in JSON"), is a question about JSON ("How
do I store dates in JSON?"), asks for code or a file that deals with JSON ("Write a function that
returns JSON") or describes what is given. A wish for a JSON array is none for an object. English is
seen best; of other languages only the plainest words (`_WANTED_ELSEWHERE`).
"""

from __future__ import annotations

import re

_CLAUSE = re.compile(r"(?<=[.!?:;,])\s+|[。！？；，、،؛؟।()]|\n+|\b(?:but|sondern|mais|sino)\b")
_WANTED = re.compile(
    r"\b(?:(?:as|in|into|to|using|with) (?:[\w-]+ ){0,3}?"
    r"|(?:return|reply|respond|answer|output|give|produce|provide|send|write|print|generate|make|"
    r"create|format|contain|use|only|just)\b[^\n]{0,60}?)"
    r"JSON\b(?! (?:file|schema|parser|library|api|web|path|lines|array|list))"
    r"|\b(?:response|reply|result|it)\b[^\n]{0,20} (?:must|should|has to|needs? to|shall)\b"
    r"[^\n]{0,40}\bJSON\b(?! (?:file|array|list))"
    r"|^JSON (?:only|please)\b",
    re.I,
)
_WANTED_ELSEWHERE = re.compile(
    r"\b(?:als|im|en|in|au|em|como|come|sous forme d['’]|в)"
    r" ?(?:gültiges |un |uma? |objet |oggetto |objeto |format[eo]? |formato |виде )*JSON\b"
    r"|[用以按]\s*(?:纯\s*)?JSON|(?:输出|返回|回答)[^\n]{0,8}JSON|JSON\s*(?:格式|形式|形式で|で|에|으로|형식)"
    r"|(?:بصيغة|بتنسيق) JSON|JSON (?:में|प्रारूप|फ़ॉर्मेट)",
    re.I,
)
_LABELLED = re.compile(
    r"(?<!input )(?<!data )(?<!file )\bformat(?: is)?\s*[:=]\s*"
    r"(?:an? )?(?:valid )?JSON\b(?! array)",
    re.I,
)
_POLITE = re.compile(
    r"\A(?:(?:please|now|so|then|and|also|hi|hello|just|(?:can|could|would|will) you|i want you to|"
    r"bitte|por favor|s'il te plaît)\b\W*)+",
    re.I,
)
_REFUSED = re.compile(
    r"\b(?:don['’]?t|do not|not|never|no|without|avoid|instead of|rather than|anything but|"
    r"nicht|kein\w*|ohne|pas|jamais|sans|sin|nunca|não|sem|non|senza|не|без)\b"
    r"|不要|[不别勿]|없이|لا |بدون|नहीं|ないで",
    re.I,
)
_NOTHING_BUT = re.compile(
    r"\b(?:anything|any \w+|text|words?|nothing|no \w+)\b[^\n]*\b(?:but|except|other than|outside|"
    r"besides|around|before|after)\b[^\n]*JSON",
    re.I,
)
_QUESTION = re.compile(
    r"(?:how|what|why|when|which|where|who|is|are|does|do you|do i|did|should|"
    r"wie|warum|was|wann|comment|pourquoi|cómo|qué|por qué|como se|как|почему|что)\b"
    r"|如何|怎么|什么|为什么|どう|كيف|ما |لماذا|कैसे|क्या",
    re.I,
)
_ABOUT = re.compile(
    r"\b(?:how|why|what|whether|when) (?:to |do |does |is |are |can |you |i |the )"
    r"|\b(?:about|why|how|of) JSON\b"
    r"|\b(?:explain|describe|define|compare) (?:the |an? )?(?:[\w-]+ )?JSON\b",
    re.I,
)
_CODE = re.compile(
    r"\b(?:function|script|program|code|class|method|endpoint|server|app|api|query|command)\b", re.I
)
_GIVEN = re.compile(
    r"\b(?:is|are|was|were|am|it['’]s)\b(?! to\b)[^\n]*\b(?:in|as) "
    r"(?:[\w-]+ ){0,2}?JSON\b|\b(?:given|stored|provided|written|received|saved)\b[^\n]* JSON\b",
    re.I,
)
_DEMANDED = re.compile(
    r"\b(?:should|must|needs?|has|have|shall|want|output|answer|response)\b", re.I
)


def asks_for_json(prompt: str) -> bool:
    """Whether the prompt wants a JSON object for its answer."""
    if _LABELLED.search(prompt):
        return True
    return any(_asks(clause.strip()) for clause in _CLAUSE.split(prompt))


def _asks(clause: str) -> bool:
    clause = _POLITE.sub("", clause)
    wanted = _WANTED.search(clause) or _WANTED_ELSEWHERE.search(clause)
    if wanted is None or _QUESTION.match(clause):
        return False
    said = clause[: wanted.end()]
    if _NOTHING_BUT.search(said):
        return True
    if _REFUSED.search(said) or _ABOUT.search(said) or _CODE.search(said):
        return False
    return not _GIVEN.search(said) or _DEMANDED.search(said) is not None
