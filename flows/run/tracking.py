"""A training's curves in other tools while it is trained: TensorBoard's files, MLflow, W&B.

Each stage is a run of its own there, named by its checkpoint. TensorBoard's files lie beside the
run's logs and go when they go (`tensorboard --logdir .solon/logs`). MLflow and W&B write where
their own variables say (MLFLOW_TRACKING_URI, WANDB_MODE and others), else into the workspace and to
nobody. What a tool fails at is said once, and the training goes on without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flows.run import progress
from storage.ids import short

LOGIN = re.compile(r"//[^/@\s]+@")
MOST_WORDS = 300
# Of MLflow's client: the device is held while a server that is away is asked.
PATIENCE = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
Hear = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Training:
    """What is followed: a stage of a run, whose logs are in `logs`."""

    recipe: str
    run_id: str
    stage: str
    checkpoint_id: str
    logs: Path
    root: Path

    @property
    def name(self) -> str:
        return f"{self.stage} {short(self.checkpoint_id)}"


class Curves(Protocol):
    """Where a training's numbers go."""

    def add(self, step: int, values: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class TensorBoard:
    def __init__(self, training: Training) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(training.logs / "tensorboard" / training.stage))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class MLflow:
    def __init__(self, training: Training) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{training.root / 'mlflow.db'}"
        self._client = MlflowClient(uri)
        known = self._client.get_experiment_by_name(training.recipe)
        where = known.experiment_id if known else self._client.create_experiment(training.recipe)
        tags = {"solon.run": training.run_id, "solon.checkpoint": training.checkpoint_id}
        made = self._client.create_run(where, run_name=training.name, tags=tags)
        self._run_id = made.info.run_id

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run_id, name, value, step=step)

    def close(self) -> None:
        self._client.set_terminated(self._run_id)


class WandB:
    def __init__(self, training: Training) -> None:
        import wandb

        os.environ.setdefault("WANDB_MODE", "offline")
        tags = {"run": training.run_id, "checkpoint": training.checkpoint_id}
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or training.recipe,
            group=training.run_id,
            name=training.name,
            config=tags,
            dir=os.environ.get("WANDB_DIR") or str(training.logs),
            reinit="create_new",  # never the run of a stage before
            settings=wandb.Settings(silent=True, console="off"),
        )

    def add(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        self._run.finish()


TRACKERS: dict[str, Callable[[Training], Curves]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}


@contextmanager
def followed(kinds: Sequence[str], training: Training, hear: Hear) -> Iterator[Hear]:
    """What hears a worker's events as `hear` does, and gives its metrics to these trackers too."""
    curves: dict[str, Curves] = {}

    def safely(kind: str, do: Callable[[], Any]) -> None:
        try:
            do()
        except Exception as error:  # whatever another tool raises must not end hours of training
            ended = curves.pop(kind, None)
            if ended:
                _close(ended)
            progress.current().say(f"{kind} does not follow {training.name}: {_words(error)}")

    def begin(kind: str) -> None:
        curves[kind] = TRACKERS[kind](training)

    def follow(event: dict[str, Any]) -> None:
        hear(event)
        if event["event"] != "metric":
            return
        numbers = ((name, value) for name, value in event.items() if name != "step")
        values = {name: value for name, value in numbers if isinstance(value, int | float)}
        for kind, known in list(curves.items()):
            safely(kind, lambda known=known: known.add(event["step"], values))  # type: ignore[misc]

    for kind in dict.fromkeys(kinds):
        safely(kind, lambda kind=kind: begin(kind))  # type: ignore[misc]
    try:
        yield follow
    finally:
        for known in curves.values():
            _close(known)


def _close(curves: Curves) -> None:
    with suppress(Exception):
        curves.close()


def _words(error: Exception) -> str:
    """What a tool says of its fault, in one line, without the login of an address in it."""
    text = "".join(c if c.isprintable() else " " for c in str(error))
    return LOGIN.sub("//", " ".join(text.split()))[:MOST_WORDS]
