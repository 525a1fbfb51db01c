"""Curves of a training in TensorBoard's files, MLflow and W&B, as those tools read them back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.plan.recipe import load
from flows.run import progress, tracking
from flows.run.tracking import Training, followed
from storage.errors import InputError
from storage.ids import content_id

CHECKPOINT = content_id("checkpoint", "x")
EVENTS: list[dict[str, Any]] = [
    {"event": "log", "level": "info", "message": "one"},
    {"event": "progress", "done": 1, "total": 2, "unit": "steps", "loss": 2.0},
    {"event": "metric", "step": 1, "loss": 2.0, "grad_norm": 0.5},
    {"event": "metric", "step": 2, "loss": 1.5, "note": "words are no number"},
]
LOSSES = [(1, 2.0), (2, 1.5)]


@pytest.fixture
def training(tmp_path: Path) -> Training:
    logs = tmp_path / "logs" / "run_1"
    logs.mkdir(parents=True)
    return Training("ours", "run_1", "dpo", CHECKPOINT, logs, tmp_path)


@pytest.fixture
def said() -> Iterator[list[str]]:
    lines: list[str] = []

    class Heard(progress.LogProgress):
        def say(self, message: str) -> None:
            lines.append(message)

    before = progress.current()
    progress.use(Heard())
    yield lines
    progress.use(before)


def follow(training: Training, *kinds: str) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    with followed(kinds, training, heard.append) as hear:
        for event in EVENTS:
            hear(event)
    return heard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's files hold, by name: records of length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, list[tuple[int, float]]] = {}
    for file in folder.rglob("events.out.tfevents.*"):
        data = file.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
            data = data[16 + size :]
    return found


def test_tensorboards_files_hold_the_curves(training: Training, said: list[str]) -> None:
    assert follow(training, "tensorboard") == EVENTS
    found = scalars(training.logs / "tensorboard" / "dpo")
    assert found == {"loss": LOSSES, "grad_norm": [(1, 0.5)]}
    assert said == []


def test_mlflow_has_a_run_a_stage(training: Training, said: list[str], monkeypatch) -> None:
    client_of = pytest.importorskip("mlflow.tracking").MlflowClient
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    follow(training, "mlflow")
    follow(training, "mlflow")  # again, in the same experiment
    assert said == []
    client = client_of(f"sqlite:///{training.root / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "ours"]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 2
    assert runs[0].data.tags["solon.checkpoint"] == CHECKPOINT
    history = client.get_metric_history(runs[0].info.run_id, "loss")
    assert [(one.step, one.value) for one in history] == LOSSES
    assert runs[0].info.status == "FINISHED"


def test_wandb_writes_beside_the_logs_and_to_nobody(training, said, monkeypatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    follow(training, "wandb")
    assert said == []
    (folder,) = (training.logs / "wandb").glob("offline-run-*")
    assert list(folder.glob("*.wandb"))


def test_what_a_tool_fails_at_is_said_once_and_ends_nothing(
    training: Training, said: list[str], monkeypatch
) -> None:
    class Broken:
        def __init__(self, training: Training) -> None:
            self.fails_at = 1

        def add(self, step: int, values: Any) -> None:
            if step >= self.fails_at:
                raise OSError("no space left")

        def close(self) -> None:
            raise OSError("no space left")

    monkeypatch.setitem(tracking.TRACKERS, "mlflow", Broken)
    assert follow(training, "mlflow", "tensorboard") == EVENTS
    (line,) = said
    assert line.startswith("mlflow does not follow dpo ckp_")
    assert "no space left" in line
    assert scalars(training.logs)["loss"] == LOSSES


def test_what_failed_is_closed_and_its_words_hold_no_login(
    training: Training, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Away:
        def __init__(self, training: Training) -> None: ...

        def add(self, step: int, values: Any) -> None:
            raise OSError("http://ann:secret@host/api\n\x1b[31m" + "x" * 1000)

        def close(self) -> None:
            closed.append("closed")

    monkeypatch.setitem(tracking.TRACKERS, "wandb", Away)
    assert follow(training, "wandb", "wandb") == EVENTS
    assert closed == ["closed"]
    (line,) = said
    assert "http://host/api [31mx" in line
    assert "secret" not in line
    assert len(line) < 400


def test_a_recipe_says_who_follows() -> None:
    assert load("smoke").track == ["tensorboard"]
    assert load("smoke", {"track": []}).track == []
    with pytest.raises(InputError, match="track"):
        load("smoke", {"track": ["aim"]})


def test_a_tool_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="wandb is not installed here: pip install wandb"):
        load("smoke", {"track": ["wandb"]})
    with pytest.raises(InputError, match="pip install tensorboardX"):
        load("smoke")
