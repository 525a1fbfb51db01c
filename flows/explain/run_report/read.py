"""What a report is made of, from the ledger: figures, gates, stages, data, settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flows.explain.data_report import read as data_read
from flows.explain.run_report.facts import Bin, Data, Figure, Gate
from flows.explain.run_report.subject import Subject
from flows.explain.standard import standard_of
from flows.plan import gates as said
from flows.plan.answers import quantized
from storage.ledger import Ledger, Row
from tasks.evaluation.rows import BASE
from tasks.generation import teaching_text

POLICIES = ("base", "sft", "dpo", "ppo", "champion")
STAGES = """
    SELECT c.checkpoint_id, c.stage, c.dataset_id, c.duration_s, d.row_count FROM checkpoints c
    JOIN wanted w ON w.id = c.checkpoint_id LEFT JOIN datasets d USING (dataset_id)"""
TRAINED = """
    SELECT step, subject_id FROM decisions SEMI JOIN checkpoints ON checkpoint_id = subject_id
    WHERE run_id = ? AND step <> 'evaluate' ORDER BY number"""
FIGURES = (
    "SELECT name, value, low, high, sample_count FROM metrics WHERE subject_id = ? AND step < 0"
)
LEFT_OUT = """
    SELECT step, reason, sum(row_count)::BIGINT AS rows FROM exclusions WHERE run_id = ?
    GROUP BY ALL ORDER BY step, rows DESC, reason"""
ROWS = """
    SELECT dataset_id, kind FROM datasets WHERE run_id = ? AND kind = 'preferences'
    ORDER BY created_at DESC LIMIT 1"""


def metrics(ledger: Ledger, subject_id: str) -> dict[str, Figure]:
    """What was measured of something, by name; figures that are not finite are left out."""
    return {
        row["name"]: Figure(row["value"], row["low"], row["high"], row["sample_count"] or 0)
        for row in ledger.query(FIGURES, [subject_id])
        if row["value"] is not None and abs(row["value"]) < float("inf")
    }


def checkpoints(ledger: Ledger, subject: Subject) -> dict[str, str]:
    """By stage: those that were measured; of a run without evaluation those it made or reused."""
    if subject.evaluation:
        return subject.measured
    rows = ledger.query(TRAINED, [subject.run_id]) if subject.run_id else []
    return {row["step"]: row["subject_id"] for row in rows}


def figures(found: Mapping[str, Figure]) -> dict[str, dict[str, Figure]]:
    """An evaluation's figures by policy and metric, the policies in their order."""
    policies = [p for p in POLICIES if any(name.startswith(f"{p}/") for name in found)]
    return {
        policy: {
            name.removeprefix(f"{policy}/"): figure
            for name, figure in found.items()
            if name.startswith(f"{policy}/")
        }
        for policy in policies
    }


def standard(
    ledger: Ledger,
    subject: Subject,
    checkpoints: Mapping[str, str],
    settings: Mapping[str, str],
) -> dict[str, dict[str, Figure]]:
    """Figures of standard tasks by policy: of its checkpoint, of the base as it is loaded."""
    base = (subject.evaluation or {}).get("base_model_id")
    asked = {BASE: quantized(settings.get("quantization", "nf4"), base)} if base else {}
    asked |= {policy: checkpoints[policy] for policy in POLICIES if policy in checkpoints}
    return {
        policy: {
            name: Figure(row["value"], row["low"], row["high"], row["n"] or 0)
            for name, row in own.items()
            if row["value"] is not None
        }
        for policy, own in standard_of(ledger, asked).items()
    }


def gates(ledger: Ledger, evaluation_id: str) -> tuple[Gate, ...]:
    """Every bound that its policies were held against; none for one from before that was kept."""
    fields = ("policy", "checkpoint_id", "metric", "is_passed", "reason")
    rows = said.kept(ledger, evaluation_id)
    return tuple(Gate(**{name: row[name] for name in fields}) for row in rows)


def gate_sentences(ledger: Ledger, evaluation_id: str, found: Iterable[Gate]) -> dict[str, str]:
    """The verdict of its gates on every policy."""
    policies = dict.fromkeys(gate.policy for gate in found)
    return {policy: said.sentence(ledger, evaluation_id, policy) for policy in policies}


def stages(ledger: Ledger, checkpoints: list[str]) -> list[Row]:
    return ledger.query(STAGES, wanted={"id": checkpoints}) if checkpoints else []


def left_out(ledger: Ledger, run_id: str | None) -> tuple[tuple[str, str, int], ...]:
    rows = ledger.query(LEFT_OUT, [run_id]) if run_id else []
    return tuple((row["step"], row["reason"], row["rows"]) for row in rows)


def data(ledger: Ledger, dataset_id: str | None, run_id: str | None) -> Data:
    """The pairs that were trained on, as their run counted them."""
    dataset_id = dataset_id or _rows_of(ledger, run_id)
    if dataset_id is None:
        return Data(None, {}, {}, ())
    found = metrics(ledger, dataset_id)
    by_source, by_evidence = _counts(found, "source/"), _counts(found, "evidence/")
    pairs = sum(by_evidence.values())
    backed = pairs - by_evidence.get("none", 0)
    teaching = {
        "pairs": pairs,
        "share_with_evidence": backed / pairs if pairs else None,
        "by_evidence": by_evidence,
        "turned": int(found["turned"].value) if "turned" in found else 0,
        "principles": {
            slug: vars(own) for slug, own in data_read.lessons(ledger, dataset_id).items()
        },
    }
    said = [teaching_text.headline(teaching), *teaching_text.hints(teaching)] if pairs else []
    return Data(dataset_id, by_source, by_evidence, tuple(said))


def _rows_of(ledger: Ledger, run_id: str | None) -> str | None:
    rows = ledger.query(ROWS, [run_id]) if run_id else []
    return str(rows[0]["dataset_id"]) if rows else None


def _counts(found: Mapping[str, Figure], start: str) -> dict[str, int]:
    return {n.removeprefix(start): int(f.value) for n, f in found.items() if n.startswith(start)}


def judge(ledger: Ledger, *run_ids: str | None) -> tuple[dict[str, Figure], tuple[Bin, ...]]:
    """The judge's report card, and its reliability, of the first of these runs that has one."""
    for run_id in filter(None, run_ids):
        found = metrics(ledger, run_id)
        card = {n.removeprefix("judge/"): f for n, f in found.items() if n.startswith("judge/")}
        if card:
            return card, _bins(found)
    return {}, ()


def _bins(found: Mapping[str, Figure]) -> tuple[Bin, ...]:
    starts = sorted({n.split("/")[1] for n in found if n.startswith("reliability/")})
    bins = []
    for start in starts:
        right, sure = (found.get(f"reliability/{start}/{x}") for x in ("accuracy", "confidence"))
        if right and sure:
            bins.append(Bin(sure.value, right.value, right.n))
    return tuple(bins)


def run_of(ledger: Ledger, dataset_id: str | None) -> str | None:
    """The run that made a snapshot."""
    sql = "SELECT run_id FROM datasets WHERE dataset_id = ?"
    rows = ledger.query(sql, [dataset_id]) if dataset_id else []
    return str(rows[0]["run_id"]) if rows else None


def settings(run: Row | None) -> dict[str, str]:
    """The recipe's values by their paths, as `dpo.beta`."""
    found: dict[str, str] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                walk(inner, f"{path}.{name}" if path else str(name))
        else:
            found[path] = value if isinstance(value, str) else json.dumps(value)

    walk(json.loads((run or {}).get("settings") or "{}"), "")
    return found
