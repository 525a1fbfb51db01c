"""Tasks of lm-eval, found by name and run on an asker. The library is imported only when called."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage.errors import InputError, SolonError
from tasks.standard.memo import Asker

LIBRARY, VERSION = "lm_eval", "0.4.13"  # as in pyproject.toml
INSTALL = f"pip install lm-eval=={VERSION}"
NOISY = ("lm_eval", "lm-eval", "datasets", "huggingface_hub", "httpx")
RESAMPLES = 1000  # of bootstrapped standard errors; those of means are exact
FEW_SHOT_SEED = 1234  # the library's own
WHERE = "--tasks"


def check_installed() -> None:
    """Raise InputError where the library is not here."""
    if importlib.util.find_spec(LIBRARY) is None:
        raise InputError("lm-eval", "standard tasks need this library", f"install it: {INSTALL}")


def load_tasks(names: Sequence[str], folder: Path | None) -> dict[str, Any]:
    """The tasks, groups and tags of these names: the folder's own first, then the library's.

    Their data is read, and downloaded where it is not here. Raises InputError, or SolonError where
    the data is not here and cannot be had.
    """
    check_installed()
    if folder is not None and not folder.is_dir():
        raise InputError(folder, "is no folder", "give the folder of your tasks", "--include")
    with _quiet():
        manager = _manager(names, folder)
        unknown = [name for name in names if name not in manager.task_index]
        if unknown:
            raise InputError(unknown[0], "no task has this name", _near(unknown[0], manager), WHERE)
        tasks: dict[str, Any] = _loaded(manager, names)
    for name, task in tasks["tasks"].items():
        _check(name, task)
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=FEW_SHOT_SEED)
    return tasks


def run_tasks(tasks: dict[str, Any], asker: Asker, limit: int | None, is_chat: bool) -> Any:
    """The library's results. `limit`: the first so many questions of every task."""
    from tasks.standard.adapter import EngineLM

    evaluate = importlib.import_module("lm_eval.evaluator").evaluate
    with _quiet():
        return evaluate(
            lm=EngineLM(asker, is_chat),
            task_dict=tasks,
            limit=limit,
            bootstrap_iters=RESAMPLES,
            log_samples=False,
            apply_chat_template=is_chat,
            fewshot_as_multiturn=is_chat,
        )


def _manager(names: Sequence[str], folder: Path | None) -> Any:
    """Knows where tasks are. Those of the library take 20 s to find: only where they are needed."""
    manager = importlib.import_module("lm_eval.tasks").TaskManager
    if folder is not None:
        own = manager(include_path=str(folder), include_defaults=False)
        if all(name in own.task_index for name in names):
            return own
    return manager(include_path=str(folder) if folder is not None else None)


def _near(name: str, manager: Any) -> str:
    near = difflib.get_close_matches(name, manager.all_tasks, 3)
    return f"did you mean {', '.join(near)}?" if near else "see the library's list of tasks"


def _loaded(manager: Any, names: Sequence[str]) -> Any:
    shown = ", ".join(names)
    try:
        return manager.load(list(names))
    except ConnectionError as error:
        raise SolonError(
            f"{shown}: the data of the task is not here, and the hub cannot be reached; go online"
            " for the first time, or bring tasks of your own with --include"
        ) from error
    except Exception as error:  # of any kind: a task is YAML, templates and code of others
        rule = f"it cannot be loaded: {type(error).__name__}: {error}"
        raise InputError(shown, rule, "mend its YAML or data", WHERE) from error


def _check(name: str, task: Any) -> None:
    if getattr(task, "UNSAFE_CODE", False):
        raise InputError(name, "it runs code that a model wrote", "leave it out", WHERE)
    if getattr(task, "MULTIMODAL", False):
        raise InputError(name, "it shows pictures or sound, the model reads text", "leave it out")


@contextmanager
def _quiet() -> Iterator[None]:
    """The library's log and bars are not for people who asked for figures."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # read once, where tqdm is imported
    levels = {name: logging.getLogger(name).level for name in NOISY}
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
