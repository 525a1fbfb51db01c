"""The shape of the code: imports point one way, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "storage": {"storage"},
    "constitution": {"constitution"},
    "tasks": {"tasks", "constitution", "storage"},
    "flows": {"flows", "tasks", "constitution", "storage"},
}
HEAVY = {"torch", "transformers", "trl", "peft", "bitsandbytes", "datasets"}
SOURCES = [path for folder in MAY_IMPORT for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    folder, found = path.relative_to(ROOT).parts[0], imported(path)
    assert found & set(MAY_IMPORT) <= MAY_IMPORT[folder]
    assert "duckdb" not in found or folder == "storage"
    assert not found & HEAVY or folder == "tasks"


def test_no_file_bears_a_dependencys_name() -> None:
    taken = {"datasets", "prefect", "types", "torch", "peft", "trl", "duckdb", "transformers"}
    assert [path for path in SOURCES if path.stem in taken] == []


CODE = """
import sys
sys.argv = ["solon", *{arguments!r}]
from flows.cli import main
try:
    main()
except SystemExit as error:
    print(error.code, sorted({heavy!r} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["plan", "--recipe", "demo"], ["why", "latest/ppo"], ["impact", "no-flattery"]],
    ids=lambda a: a[0],
)
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    code = CODE.format(arguments=arguments, heavy=HEAVY | {"prefect"})
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"SOLON_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"},
    )
    code_, modules = done.stderr.splitlines()[-1].split(" ", 1)
    assert modules == "[]", done.stderr
    assert code_ == ("2" if arguments[0] in ("why", "impact") else "0"), done.stderr
    assert not (tmp_path / "home").exists()
