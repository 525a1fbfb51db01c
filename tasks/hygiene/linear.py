"""A linear classifier over named features, its weights in a JSON file beside this module."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources

BIAS = "bias"


@dataclass(frozen=True)
class Linear:
    """`weights`: by feature, one number a label in the order of `labels`; no feature, no weight.

    A text's label is the one with the greatest sum (multinomial logistic regression).
    """

    labels: tuple[str, ...]
    weights: Mapping[str, tuple[float, ...]]

    @classmethod
    def load(cls, name: str) -> Linear:
        """The fitted classifier `weights_<name>.json`; without a file one that knows nothing."""
        file = resources.files("tasks.hygiene") / f"weights_{name}.json"
        if not file.is_file():
            return cls(("none",), {})
        read = json.loads(file.read_text("utf-8"))
        return cls(
            tuple(read["labels"]), {key: tuple(row) for key, row in read["weights"].items()}
        )

    def says(self, features: Iterable[str]) -> str:
        """The label of a text with these features."""
        rows = [row for key in (BIAS, *features) if (row := self.weights.get(key))]
        sums = [sum(column) for column in zip(*rows, strict=True)]
        return self.labels[sums.index(max(sums))] if sums else self.labels[0]
