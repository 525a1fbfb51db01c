"""Inputs that were good until somebody changed them: bytes, lines, words, or values in a document.

Every change is drawn from the `random.Random` that is given, so a seed makes the same inputs again.
"""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Sequence
from typing import Any

WORDS: Sequence[bytes | str] = (
    *(b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x1b[2J"),
    *("\u202e", "\u2028", "\ufffe", "e\u0301", "\U0001f468\u200d\U0001f469", "\r", "\t", "\n\n"),
    *("'", '"', '""', ",", ";", ":", ": ", "- ", "#", "|", ">", "---\n", "...", "? ", "%YAML 9\n"),
    *(
        "{",
        "}",
        "[",
        "]",
        "[" * 2000,
        '{"a":' * 2000,
        "&a ",
        "*a",
        "<<: *a",
        "!!",
        "!!python/none ",
    ),
    *("!!binary ", "!!set ", "!!timestamp ", "null", "~", "true", "No", "NaN", "-Infinity", ".inf"),
    *(
        "0x1F",
        "1e999",
        "-0",
        "9" * 5000,
        "1_000",
        "190:20:30",
        "2001-99-99",
        "2001-12-14t21:59:43Z",
    ),
    *("\\u0000", "\\ud800", "\\udfff", "\\", "../../etc/passwd", "hub:a/b", "file:///etc/passwd"),
    *(
        "user",
        "assistant",
        "prompt",
        "messages",
        "Human:",
        "\n\nHuman: ",
        "\n\nAssistant: ",
        "sep=;",
    ),
    *("<|im_end|>", "a" * 70_000, "=1+1", "${HOME}", "$(id)", "~/x"),
)
VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 2**31, 2**63, -(2**64), 10**400, 0.5, -0.0, 1e308, float("nan")),
    *(float("inf"), "", " ", "\x00", "\ud800", "a\nb", "a" * 9000, "\u202e", "null", "x: y", "0"),
    *([], {}, [[]], [None], {"": ""}, {"a": {"b": {"c": []}}}, [1, "a", None], {"role": "user"}),
    *(
        [{"role": "user", "content": None}],
        {"path": "/etc/passwd"},
        "../x",
        "hub:x",
        "checkpoint:x",
    ),
)


def mutated(draw: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """`content` with one to four changes of its bytes; `others` lend pieces."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        at, end = sorted(draw.randint(0, len(content)) for _ in range(2))
        end = draw.choice((at, min(at + 1, len(content)), end))
        piece = content[at:end]
        lent = draw.choice(others)
        start = draw.randint(0, len(lent))
        word = draw.choice(WORDS)
        put = draw.choice(
            (
                word if isinstance(word, bytes) else word.encode("utf-8", "surrogatepass"),
                piece * draw.choice((0, 2, 50)),
                bytes(byte ^ 1 << draw.randrange(8) for byte in piece[:4]),
                lent[start : start + draw.choice((3, 30, 300))],
                draw.randbytes(draw.randint(1, 4)),
            )
        )
        content = content[:at] + put + content[end:]
    return content if draw.random() < 0.9 else content[: draw.randint(0, len(content))]


def remade(draw: random.Random, value: Any) -> Any:
    """The value with one to three of its parts replaced, removed, renamed, doubled or wrapped."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 1, 3))):
        places = list(_places(value))
        if not places:
            return draw.choice(VALUES)
        holder, key = draw.choice(places)
        _change(draw, holder, key)
    return value


def _places(value: Any) -> Any:
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _change(draw: random.Random, holder: Any, key: Any) -> None:
    kind = draw.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[draw.choice((str(key) + "s", key.upper(), "id", "prompt", " ", ""))] = holder.pop(
            key
        )
    elif kind == 2:
        holder[key] = [copy.deepcopy(holder[key])] * draw.choice((1, 2, 40))
    elif kind == 3:
        holder[key] = str(holder[key])
    else:
        holder[key] = copy.deepcopy(draw.choice(VALUES))


def as_json(draw: random.Random, value: Any) -> bytes:
    """JSON of it, NaN and lone surrogates included."""
    text = json.dumps(value, ensure_ascii=draw.random() < 0.7)
    return text.encode("utf-8", "surrogatepass")


def repacked(draw: random.Random, content: bytes) -> bytes:
    """A zip file in which one member was changed."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        members = {info.filename: packed.read(info) for info in packed.infolist()}
    name = draw.choice(sorted(members))
    members[name] = mutated(draw, members[name], sorted(members.values()))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as packed:
        for member, data in members.items():
            packed.writestr(member, data)
    return made.getvalue()
