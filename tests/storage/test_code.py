from __future__ import annotations

from pathlib import Path

import pytest

from storage.code import fingerprint, library_versions, modules


def project(root: Path, helper: str, other: str = "x = 1\n") -> Path:
    tasks = root / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "__init__.py").write_text("")
    (tasks / "stage.py").write_text(
        "from tasks import helper\nimport json\n\ndef run():\n    return helper.f()\n"
    )
    (tasks / "helper.py").write_text(helper)
    (tasks / "other.py").write_text(other)
    return root


BASE = "def f():\n    return 1\n"


@pytest.mark.parametrize(
    ("helper", "is_same"),
    [
        ('"""What it is."""\n\ndef f():\n    """Says 1."""\n    return 1  # one\n', True),
        ('def f():\n    return (1)\n\n\n"""A note."""\n', True),
        ("def f():\n    return 2\n", False),
    ],
    ids=["comments and docstrings", "layout and notes", "a helper's code"],
)
def test_only_code_counts(tmp_path: Path, helper: str, is_same: bool) -> None:
    before = fingerprint("tasks.stage", project(tmp_path / "a", BASE))
    after = fingerprint("tasks.stage", project(tmp_path / "b", helper))
    assert (before == after) is is_same


def test_a_module_that_is_not_imported_does_not_count(tmp_path: Path) -> None:
    before = fingerprint("tasks.stage", project(tmp_path / "a", BASE))
    assert before == fingerprint("tasks.stage", project(tmp_path / "b", BASE, "x = 2\n"))


def test_the_closure_is_first_party(tmp_path: Path) -> None:
    assert set(modules("tasks.stage", project(tmp_path, BASE))) == {
        "tasks",
        "tasks.stage",
        "tasks.helper",
    }


def test_versions_carry_no_build_tag() -> None:
    assert all("+" not in version for version in library_versions().values())
