"""The fingerprint of code: what a module would do, not how its file looks.

It is the hash of the syntax trees, without comments and docstrings, of a module and of every module
of ours that it imports, directly or not.
"""

from __future__ import annotations

import ast
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from storage.ids import canonical_json, digest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("constitution", "flows", "storage", "tasks")
LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes")


@cache
def fingerprint(module: str, root: Path = ROOT) -> str:
    """32 hexadecimal digits for `module` (dotted) and everything of ours it imports."""
    return digest(canonical_json(modules(module, root)))


@cache
def modules(module: str, root: Path = ROOT) -> dict[str, str]:
    """Digest of every module in the closure of `module`, by dotted name."""
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        base = root.joinpath(*name.split("."))
        files = (base.with_suffix(".py"), base / "__init__.py")
        path = next((path for path in files if path.is_file()), None)
        if name in found or path is None or name.split(".", 1)[0] not in PACKAGES:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found[name] = digest(ast.unparse(_without_docstrings(tree)).encode())
        waiting += _imports(tree, name, path.name == "__init__.py")
    return found


def _imports(tree: ast.AST, name: str, is_package: bool) -> list[str]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".") if is_package else name.split(".")[:-1]
            above = parts[: len(parts) - node.level + 1] if node.level else []
            source = ".".join(filter(None, [*above, node.module]))
            names += [source, *(f"{source}.{alias.name}" for alias in node.names)]
    return names


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Drop every bare string, those below attributes too."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            code = [n for n in body if not (isinstance(n, ast.Expr) and _is_string(n.value))]
            node.body = code or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def library_versions() -> dict[str, str]:
    """Versions of the libraries that training depends on, read without importing them.

    The build's tag (`+cpu`) is left out: the same checkpoint is asked for on any machine.
    """
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library).split("+")[0]
        except PackageNotFoundError:
            found[library] = "absent"
    return found
