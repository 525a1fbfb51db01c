"""draft → critique → revise in distilabel, with a language model that costs nothing.

    python distilabel_path.py PROMPTS.jsonl CONSTITUTION.yaml FOLDER [--batch 50]

Runs in the environment that `distilabel_env` makes, not in Solon's. Three `TextGeneration` tasks in
a chain, each row with one principle's two requests, taken in turn; everything but the batch size is
distilabel's default, its cache included. Solon's requests carry worked examples as well, these do
not. All texts are the same 35 words. The last line printed is a JSON object:

    {"rows": n, "run_s": x, "path_s": x, "versions": {package: version}}

`run_s` is `Pipeline.run` whole. `path_s` goes from the first batch's arrival at the first task's
model to the last batch's departure from the last task's: start-up, the last write and the build of
the data set are left out, which is in distilabel's favour.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from distilabel.models.llms import LLM
from distilabel.pipeline import Pipeline
from distilabel.steps.tasks import TextGeneration

TEXT = (
    "The answer is that you should ask someone kind and careful about this because it may harm "
    "people. I think we could help in a safe way first, then say what is true and why."
)
STEPS = (
    ("draft", ["prompt"], "{{ prompt }}"),
    (
        "critique",
        ["prompt", "draft", "critique_request"],
        "Human: {{ prompt }}\n\nAssistant: {{ draft }}\n\nCritique request: {{ critique_request }}"
        "\n\nCritique:",
    ),
    (
        "revision",
        ["prompt", "draft", "critique_request", "critique", "revision_request"],
        "Human: {{ prompt }}\n\nAssistant: {{ draft }}\n\nCritique request: {{ critique_request }}"
        "\n\nCritique: {{ critique }}\n\nRevision request: {{ revision_request }}\n\nRevision:",
    ),
)


class Instant(LLM):
    """Answers at once. At its end it writes when it was first and last called, in `times`."""

    times: str
    _first_s: float | None = None
    _last_s: float | None = None

    @property
    def model_name(self) -> str:
        return "instant"

    def generate(self, inputs: list[Any], num_generations: int = 1) -> list[dict[str, Any]]:
        if self._first_s is None:
            self._first_s = time.monotonic()
        counts = {"input_tokens": [100], "output_tokens": [35]}
        made = [{"generations": [TEXT] * num_generations, "statistics": counts} for _ in inputs]
        self._last_s = time.monotonic()
        return made

    def unload(self) -> None:
        super().unload()
        Path(self.times).write_text(json.dumps([self._first_s, self._last_s]), encoding="utf-8")


def read_rows(prompts: Path, constitution: Path) -> list[dict[str, str]]:
    words = yaml.safe_load(constitution.read_text(encoding="utf-8"))["principles"]
    lines = prompts.read_text(encoding="utf-8").splitlines()
    return [
        {
            "prompt": json.loads(line)["prompt"],
            "critique_request": words[n % len(words)]["critique"],
            "revision_request": words[n % len(words)]["revision"],
        }
        for n, line in enumerate(lines)
    ]


def build(folder: Path, batch: int) -> Pipeline:
    with Pipeline(name="constitutional", cache_dir=str(folder / "cache")) as pipeline:
        draft, critique, revision = (
            TextGeneration(
                name=name,
                llm=Instant(times=str(folder / f"{name}.json")),
                columns=columns,
                template=template,
                input_batch_size=batch,
                output_mappings={"generation": name, "model_name": f"{name}_model"},
            )
            for name, columns, template in STEPS
        )
        draft >> critique >> revision
    return pipeline


def measure(rows: list[dict[str, str]], folder: Path, batch: int) -> dict[str, Any]:
    started = time.monotonic()
    made = build(folder, batch).run(dataset=rows, dataset_batch_size=batch)["default"]["train"]
    run_s = time.monotonic() - started
    if len(made) != len(rows) or made[-1]["revision"] != TEXT:
        raise SystemExit(f"distilabel gave {len(made)} of {len(rows)} rows, or one without text")
    first_s = json.loads((folder / "draft.json").read_text())[0]
    last_s = json.loads((folder / "revision.json").read_text())[1]
    versions = {name: version(name) for name in ("distilabel", "datasets", "pyarrow")}
    return {"rows": len(made), "run_s": run_s, "path_s": last_s - first_s, "versions": versions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("prompts", type=Path)
    parser.add_argument("constitution", type=Path)
    parser.add_argument("folder", type=Path, help="empty; cache and times go there")
    parser.add_argument("--batch", type=int, default=50, help="rows a batch; distilabel's own: 50")
    given = parser.parse_args()
    rows = read_rows(given.prompts, given.constitution)
    print(json.dumps(measure(rows, given.folder, given.batch)))


if __name__ == "__main__":
    main()
