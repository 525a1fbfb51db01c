"""The shape of the code: imports point one way, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "storage": {"storage"},
    "constitution": {"constitution"},
    "tasks": {"tasks", "constitution", "storage"},
    "flows": {"flows", "tasks", "constitution", "storage"},
}
# The rooms of flows/, and which of them each may import; "" is the flows themselves.
ROOMS = {
    "plan": {"plan"},
    "run": {"run", "plan"},
    "explain": {"explain", "plan"},
    "serve": {"serve", "run", "explain", "plan"},
    "": {"", "serve", "run", "explain", "plan"},
    "commands": {"commands", "", "serve", "run", "explain", "plan"},
}
FLOORS = 8
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


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for path in SOURCES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def edges(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that one imports anywhere: inside functions and for types as well."""
    asked: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            asked |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            asked |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            asked |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return {m for m in asked if m in known and m != name and known[m].stat().st_size}


def room_of(name: str) -> str:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else ""


def test_rooms_import_downwards_only() -> None:
    known = modules()
    wrong = [
        f"{name} -> {other}"
        for name, path in known.items()
        for other in edges(name, path, known)
        if name.startswith("flows")
        and other.startswith("flows")
        and room_of(other) not in ROOMS[room_of(name)]
    ]
    assert wrong == []


def test_there_are_no_circles_and_no_towers() -> None:
    """At most FLOORS imports one above the other within a folder."""
    known = modules()
    below = {name: edges(name, path, known) for name, path in known.items()}
    order = tuple(TopologicalSorter(below).static_order())  # raises CycleError
    floor: dict[str, int] = {}
    for name in order:
        own = known[name].parent
        floor[name] = 1 + max((floor[m] for m in below[name] if known[m].parent == own), default=0)
    assert {name: height for name, height in floor.items() if height > FLOORS} == {}


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {""}))
def test_a_room_says_what_lives_there(room: str) -> None:
    text = (ROOT / "flows" / room / "__init__.py").read_text(encoding="utf-8")
    assert text.startswith('"""')


def test_every_folder_of_code_is_packaged() -> None:
    """What is not listed is missing from a wheel, which no test here is made of."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted({".".join(p.relative_to(ROOT).parts[:-1]) for p in SOURCES})


def test_no_file_bears_a_dependencys_name() -> None:
    taken = {"datasets", "prefect", "types", "torch", "peft", "trl", "duckdb", "transformers"}
    assert [path for path in SOURCES if path.stem in taken] == []


CODE = """
import sys
sys.argv = ["solon", *{arguments!r}]
from flows.commands.cli import main
try:
    main()
except SystemExit as error:
    print(error.code, sorted({heavy!r} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["plan", "--recipe", "demo"],
        ["why", "latest/ppo"],
        ["impact", "no-flattery"],
        ["data", "report"],
        ["report"],
        ["review"],
    ],
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
    assert code_ == (
        "2" if arguments[0] in ("why", "impact", "data", "report", "review") else "0"
    ), done.stderr
    assert not (tmp_path / "home").exists()
