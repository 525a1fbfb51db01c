"""The queue as tasks of Label Studio, and what comes back of them.

A task's data are the texts; its annotations the verdicts: a choice, or the side that a pairwise tag
selected, and the better answer as edited. Who said so is the annotation's `completed_by` with its
mail; as Label Studio takes only mails it knows, those that we write stand in the choice's `meta`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from storage.errors import InputError
from tasks.review.given import Fault, Given
from tasks.review.queue import Item
from tasks.review.say import said_by
from tasks.review.sheet import WORDS, conversation
from tasks.review.verdicts import Verdict, by_subject

MAX_BYTES = 1 << 30
SIDES = {"left": "a", "right": "b"}
# The labeling interface that shows our tasks.
INTERFACE = """<View>
  <Header value="$under"/>
  <Text name="prompt" value="$prompt"/>
  <View style="display: grid; grid-template-columns: 1fr 1fr; gap: 1em">
    <View><Header value="A"/><Text name="a" value="$a"/></View>
    <View><Header value="B"/><Text name="b" value="$b"/></View>
  </View>
  <Choices name="verdict" toName="prompt" choice="single" required="true" showInline="true">
    <Choice value="a" hotkey="a"/>
    <Choice value="b" hotkey="b"/>
    <Choice value="tie" hotkey="t"/>
    <Choice value="both bad" hotkey="n"/>
  </Choices>
  <TextArea name="edited" toName="prompt" editable="true" maxSubmissions="1"
            placeholder="The better answer as you would have it"/>
</View>
"""


def tasks(items: Sequence[Item], verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One task a pair."""
    given = by_subject(verdicts)
    return [
        {
            "id": number,
            "data": {
                "subject": item.subject.subject_id,
                "prompt": conversation(item.messages),
                "under": "; ".join(f"{p.title}: {p.comparison}" for p in item.principles),
                "a": item.subject.shown[0],
                "b": item.subject.shown[1],
            },
            "annotations": [_annotation(v) for v in given.get(item.subject.subject_id, ())],
        }
        for number, item in enumerate(items, 1)
    ]


def _annotation(verdict: Verdict) -> dict[str, Any]:
    said = said_by(verdict)
    place = {"to_name": "prompt", "origin": "manual"}
    choice = {
        **place,
        "id": f"{verdict.verdict_id}-verdict",
        "from_name": "verdict",
        "type": "choices",
        "value": {"choices": [WORDS.get(said, said)]},
        "meta": {"text": [verdict.author, verdict.said_at.isoformat(), verdict.note]},
    }
    result = [choice]
    if verdict.edited is not None:
        text = {"text": [verdict.edited]}
        own = {"id": f"{verdict.verdict_id}-edited", "from_name": "edited", "type": "textarea"}
        result.append({**place, **own, "value": text})
    return {"result": result, "was_cancelled": False}


def read_tasks(path: Path) -> Iterator[Given | Fault]:
    """The annotations of Label Studio's JSON; a task without any is a row without a verdict.

    Raises InputError for a file that is none.
    """
    for number, task in enumerate(_loaded(path), 1):
        place = f"task {number}"
        data = task.get("data") if isinstance(task, dict) else None
        if not isinstance(data, dict):
            yield Fault(place, "malformed", "a task has data")
            continue
        own = {"subject_id": "subject", "a": "a", "b": "b"}
        texts = {name: _as_text(data.get(key)) for name, key in own.items()}
        found = [a for a in _lists(task.get("annotations")) if not a.get("was_cancelled")]
        if not found:
            yield Given(place, **texts)
        for n, annotation in enumerate(found, 1):
            yield _given(f"{place}, annotation {n}", annotation, texts)


def _loaded(path: Path) -> list[Any]:
    if not path.is_file():
        raise InputError(path, "is not a file that exists", "check the path")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(path, f"has more than {MAX_BYTES} bytes", "import it in parts")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is no JSON ({error})", "export it as JSON") from None
    if not isinstance(found, list) or not found:
        rule = "is no list of Label Studio's tasks"
        raise InputError(path, rule, "export it as JSON, not as JSON-MIN")
    return found


def _given(place: str, annotation: dict[str, Any], texts: dict[str, str]) -> Given:
    values: dict[str, str] = {}
    for one in _lists(annotation.get("result")):
        value, name = one.get("value"), one.get("from_name")
        if not isinstance(value, dict):
            continue
        if one.get("type") == "choices" and name == "verdict":
            values["said"] = _first(value.get("choices"))
            values |= _meta(one)
        elif one.get("type") == "pairwise":
            values["said"] = SIDES.get(_as_text(value.get("selected")), "")
        elif one.get("type") == "textarea" and name == "edited":
            values["edited"] = _first(value.get("text"))
    by = annotation.get("completed_by")
    if "by" not in values and by is not None:
        values["by"] = _as_text(by.get("email")) if isinstance(by, dict) else f"user {by}"
        values["said_at"] = _as_text(annotation.get("created_at"))
    return Given(place, **texts, **values)


def _meta(one: dict[str, Any]) -> dict[str, str]:
    """Who said it, when and with which note, as we write it; nothing where another program did."""
    meta = one.get("meta")
    said = meta.get("text") if isinstance(meta, dict) else None
    if not isinstance(said, list) or len(said) != 3:
        return {}
    return dict(zip(("by", "said_at", "note"), map(_as_text, said), strict=True))


def _lists(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _first(found: Any) -> str:
    return _as_text(found[0]) if isinstance(found, list) and found else _as_text(found)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
