"""Fit the classifier of refusals, and say how often the rules of rows are right.

    python tests/benchmarks/hygiene_fit.py          accuracy on the labelled lines
    python tests/benchmarks/hygiene_fit.py --fit    fit anew, write tasks/hygiene/refusal.json

The labelled lines (`tests/tasks/*_fit.jsonl`, `*_set_aside.jsonl`) were split by a hash of their
text before any rule was written; later lines were added to the fit half only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from tasks.hygiene.refusal import BIAS, is_refusal, is_unrelated, refusal_features
from tasks.hygiene.rows import fault
from tasks.hygiene.same import is_unchanged

ROOT = Path(__file__).resolve().parents[2]
LINES = ROOT / "tests" / "tasks"
WEIGHTS = ROOT / "tasks" / "hygiene" / "refusal.json"
SHARED = ROOT.parent / "shared"
LEAST = 2  # lines that must have a feature
DECAY = 4.0  # weight of half the squared weights beside the summed log-loss


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Logistic regression with weight decay; the weight by feature, zeros left out."""
    seen = [refusal_features(row["text"]) for row in rows]
    names = sorted({name for one in seen for name in one})
    names = [name for name in names if sum(name in one for one in seen) >= LEAST]
    x = np.array([[1.0, *(name in one for name in names)] for one in seen])
    y = np.array([1.0 if row["refusal"] else -1.0 for row in rows])

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = y * (x @ w)
        decayed = np.concatenate([[0.0], w[1:]])
        slope = -y / (1 + np.exp(margin))
        return (
            float(np.logaddexp(0, -margin).sum() + DECAY / 2 * decayed @ decayed),
            x.T @ slope + DECAY * decayed,
        )

    found = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    weights = {name: round(float(w), 3) for name, w in zip([BIAS, *names], found, strict=True)}
    return {name: weight for name, weight in weights.items() if weight}


def reason_of(row: dict[str, Any]) -> str | None:
    prompt, draft, revision = row["prompt"], row["draft"], row["revision"]
    return fault(prompt, draft, revision) or (
        "unchanged" if is_unchanged(draft, revision) else None
    )


def report(name: str, right: list[bool]) -> None:
    print(f"{name:32} {sum(right):4} of {len(right):4}  {sum(right) / len(right):.3f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fit", action="store_true")
    if parser.parse_args().fit:
        weights = fit(read(LINES / "refusals_fit.jsonl"))
        WEIGHTS.write_text(json.dumps(weights, indent=0, sort_keys=True) + "\n", "utf-8")
        print(f"{len(weights)} weights")
    for half in ("fit", "set_aside"):
        rows = read(LINES / f"hygiene_{half}.jsonl")
        report(f"hygiene, {half}", [reason_of(row) == row["reason"] for row in rows])
        rows = read(LINES / f"refusals_{half}.jsonl")
        report(f"refusals, {half}", [is_refusal(row["text"]) == row["refusal"] for row in rows])
    if SHARED.is_dir():
        rows = read(SHARED / "cases" / "hygiene.jsonl")
        report("hygiene, shared cases", [reason_of(row) == row["reason"] for row in rows])
        rows = read(SHARED / "cases" / "refusals.jsonl")
        report("refusals, shared cases", [is_refusal(r["text"]) == r["refusal"] for r in rows])
        rows = read(SHARED / "data" / "pyrit_refusal.jsonl")
        for name, asked in (("text alone", False), ("or unrelated", True)):
            said = [
                is_refusal(r["assistant_response"])
                or (asked and is_unrelated(r["assistant_response"], r["objective"]))
                for r in rows
            ]
            right = [one == (r["human_score"] == "1") for one, r in zip(said, rows, strict=True)]
            report(f"refusals, pyrit, {name}", right)


if __name__ == "__main__":
    main()
