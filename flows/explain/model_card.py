"""README.md of an exported model: what it was made from, what it measured, how it is loaded."""

from __future__ import annotations

import importlib.metadata
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flows.explain.show import markdown_table
from flows.explain.standard import standard_of
from flows.plan.subjects import Subject
from storage.ledger import Ledger, Row
from tasks import models
from tasks.evaluation.escape import markdown_cell

LICENCE_LINE = re.compile(r"^license:\s*([\w.+-]+)\s*$", re.MULTILINE)

LOAD_MERGED = """from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("FOLDER")
tokenizer = AutoTokenizer.from_pretrained("FOLDER")"""

LOAD_ADAPTER = """from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
base = AutoModelForCausalLM.from_pretrained("BASE", dtype="auto")
model = PeftModel.from_pretrained(base, "FOLDER").eval()
tokenizer = AutoTokenizer.from_pretrained("FOLDER")"""


def model_card(ledger: Ledger, subject: Subject, base: Path, dtype: str | None) -> str:
    """The card of a checkpoint's model. base: its base's folder; dtype: of a merged model, else
    None. Text that came from data is escaped."""
    assert subject.checkpoint_id is not None
    made = ledger.query(
        "SELECT k.*, r.recipe, r.git_commit, c.name AS constitution FROM checkpoints k"
        " LEFT JOIN runs r USING (run_id)"
        " LEFT JOIN constitutions c ON c.constitution_id = k.constitution_id"
        " WHERE checkpoint_id = ?",
        [subject.checkpoint_id],
    )[0]
    licence = licence_of(subject.base.reference, base)
    lines = [
        *_front_matter(licence, dtype),
        f"# {made['stage']} {made['checkpoint_id']}",
        "",
        *_what_it_is(subject, dtype),
        "",
        "## Made from",
        "",
        *(f"- {line}" for line in _origin(ledger, made, subject, licence)),
        "",
        "## Measured",
        "",
        *_measures(ledger, made),
        *_standard(ledger, made["checkpoint_id"]),
        "",
        "## Load",
        "",
        "```python",
        LOAD_MERGED if dtype else LOAD_ADAPTER.replace("BASE", _base_name(subject)),
        "```",
        "",
        "Its answers are a model's: they may be wrong or harmful, whatever the constitution says.",
    ]
    return "\n".join(lines) + "\n"


def _base_name(subject: Subject) -> str:
    """What transformers loads a base by: a hub model's name; else BASE, a folder of one's own."""
    base = models.parse(subject.base.reference)
    return base.value if base.kind == "hub" else "BASE"


def _front_matter(licence: str | None, dtype: str | None) -> Iterator[str]:
    yield "---"
    if licence:
        yield f"license: {licence.lower()}"
    yield f"library_name: {'transformers' if dtype else 'peft'}"
    yield from ("pipeline_tag: text-generation", "---", "")


def _what_it_is(subject: Subject, dtype: str | None) -> Iterator[str]:
    base, kind = code(subject.base.public_name), subject.base.quantization
    if dtype:
        whole = "its 4-bit NF4 values" if kind == "nf4" else "it"
        yield f"A whole model in {dtype}: {base}, of which {whole} and the adapter were added"
        yield f"in float32 and rounded once to {dtype}."
        return
    yield f"A LoRA adapter of {base}."
    if kind == "nf4":
        yield "It was trained and measured on this base quantized to NF4 (double quantization):"
        yield "on the unquantized base its answers differ a little."


def _origin(ledger: Ledger, made: Row, subject: Subject, licence: str | None) -> Iterator[str]:
    known = f"licence {markdown_cell(licence)}" if licence else "its licence is not known here"
    yield f"base: {code(subject.base.public_name)}, `{made['base_model_id']}`, {known}"
    if made["constitution_id"]:
        name = markdown_cell(str(made["constitution"]))
        yield f"constitution: {name} `{made['constitution_id']}`"
    yield f"recipe: {markdown_cell(str(made['recipe']))}, code {made['git_commit']}"
    for stage, found in [*_ancestors(ledger, made), (made["stage"], made)]:
        rows = ledger.query(
            "SELECT kind, row_count FROM datasets WHERE dataset_id = ?", [found["dataset_id"]]
        )
        kind, count = (rows[0]["kind"], rows[0]["row_count"]) if rows else ("rows", "?")
        of = f"snapshot `{found['dataset_id']}` ({kind}, {count} rows to train on)"
        yield f"{stage}: `{found['checkpoint_id']}` from {of}"
    settings = json.loads(made["components"]).get("settings") or {}
    if settings:
        named = (f"{name} {code(json.dumps(settings[name]))}" for name in sorted(settings))
        yield f"settings: {', '.join(named)}"


def _ancestors(ledger: Ledger, made: Row) -> Sequence[tuple[str, Row]]:
    """The checkpoints it comes from, first made first, by what each was to its child."""
    found: dict[str, tuple[str, Row]] = {}
    waiting = list(zip(made["parent_roles"], made["parent_ids"], strict=True))
    while waiting:
        role, parent = waiting.pop(0)
        rows = ledger.query("SELECT * FROM checkpoints WHERE checkpoint_id = ?", [parent])
        if rows and parent not in found:
            found[parent] = role, rows[0]
            waiting += zip(rows[0]["parent_roles"], rows[0]["parent_ids"], strict=True)
    return sorted(found.values(), key=lambda pair: pair[1]["created_at"])


def _measures(ledger: Ledger, made: Row) -> Iterator[str]:
    """The newest evaluation that asked this checkpoint, with its 95 % intervals."""
    evaluations = ledger.query(
        "SELECT checkpoint_id FROM checkpoints WHERE stage = 'evaluate'"
        " AND list_contains(parent_ids, ?) ORDER BY created_at DESC LIMIT 1",
        [made["checkpoint_id"]],
    )
    policy = f"{made['stage']}/"
    rows = ledger.query(
        "SELECT name, value, low, high, sample_count FROM metrics"
        " WHERE subject_id = ? AND starts_with(name, ?) AND step = -1 ORDER BY name",
        [evaluations[0]["checkpoint_id"] if evaluations else "", policy],
    )
    if not rows:
        yield "Not measured: no evaluation has asked this checkpoint."
        return
    yield f"By evaluation `{evaluations[0]['checkpoint_id']}`, of held-out questions:"
    yield ""
    cells = (_cells(row["name"].removeprefix(policy), row, row["sample_count"]) for row in rows)
    yield from markdown_table(("measure", "value", "95 % interval", "n"), cells)


def _standard(ledger: Ledger, checkpoint_id: str) -> Iterator[str]:
    """The standard tasks that it was asked."""
    for found in standard_of(ledger, {"": checkpoint_id}).values():
        yield from ("", "By lm-eval, of standard tasks:", "")
        cells = (_cells(name, row, row["n"]) for name, row in found.items())
        yield from markdown_table(("task", "value", "95 % interval", "n"), cells)


def _cells(name: str, row: Row, n: int | None) -> tuple[str, ...]:
    spread = "" if row["low"] is None else f"{_number(row['low'])} to {_number(row['high'])}"
    return name, _number(row["value"]), spread, str(n or "")


def code(text: str) -> str:
    """Text between backticks as it is; what could leave them is escaped outside of them."""
    is_plain = text.isprintable() and "`" not in text and text.strip() == text != ""
    return f"`{text}`" if is_plain else markdown_cell(text)


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}"


def licence_of(reference: str, folder: Path) -> str | None:
    """The licence of a base where it is known: from its README, or of the package it is in."""
    base = models.parse(reference)
    if base.kind == "package":
        return _package_licence(base.value)
    try:
        card = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    front = card.split("\n---", 1)[0] if card.startswith("---") else ""
    found = LICENCE_LINE.search(front)
    return found[1] if found else None


def _package_licence(module: str) -> str | None:
    names = importlib.metadata.packages_distributions().get(module, [])
    for name in names:
        about = importlib.metadata.metadata(name)
        for key in ("License-Expression", "License"):
            found = about[key] if key in about else ""
            if re.fullmatch(r"[\w.+-]+", found or ""):
                return found
    return None
