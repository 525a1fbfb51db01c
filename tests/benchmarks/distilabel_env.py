"""An environment of its own for distilabel, whose dependencies are not Solon's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "distilabel_requirements.txt"


def prepare(cache: Path) -> Path:
    """The environment's interpreter; made where it is missing, half made or for other versions."""
    folder = cache / "distilabel"
    python, ready = folder / "bin" / "python", folder / "requirements.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if ready.is_file() and ready.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing distilabel into {folder}: about a minute, once", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--quiet"]
    subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)
    ready.write_text(wanted, encoding="utf-8")
    return python
