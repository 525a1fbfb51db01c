"""A model's chat template, tried in a process of its own before it is filled in ours.

A template is a program: it may loop without end, or write without end. So before it is first used
it is filled with short and with long conversations where time and memory are bounded. What was
tried is remembered by its content, beside the workspace's models. A template that goes astray
only where it meets a certain text is not found so.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from storage.durable import replace_text
from storage.ids import canonical_json, digest
from storage.workspace import Workspace
from tasks.chat.folder import read_template, source_of, special_tokens
from tasks.chat.manner import DEFAULT, Manner
from tasks.chat.template import FIX, Refusal, turn
from tasks.process import environment

TIME_S = 10  # of the processor; templates of known families need a hundredth
WAIT_S = 120.0  # on a busy machine
MEMORY = 1 << 30  # bytes
MAX_WRITTEN = 1 << 20  # characters that a template adds to a conversation
TURNS = 64


def try_out(folder: Path, workspace: Workspace, manner: Manner = DEFAULT) -> None:
    """Raise Refusal where a folder's template takes too much, or cannot be read; pay it once."""
    source = source_of(folder)
    if source is None:
        return
    key = digest(canonical_json([source, special_tokens(folder), asdict(manner)]))
    if key not in _load(workspace):
        _in_a_child(folder, manner)
        with suppress(OSError):  # the workspace may only be read, or is not there yet
            tried = sorted({*_load(workspace), key})
            replace_text(workspace.templates, json.dumps(tried, indent=1))


def _in_a_child(folder: Path, manner: Manner) -> None:
    told = str(folder.absolute()), json.dumps(asdict(manner)), str(TIME_S)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tasks.chat.trial", *told],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WAIT_S,
        )
        is_bounded = done.returncode == 0
    except subprocess.TimeoutExpired:
        is_bounded = False
    if not is_bounded:
        rule = f"it is not filled within {TIME_S} s, {MEMORY >> 20} MB and {MAX_WRITTEN} characters"
        raise Refusal("chat_template", rule, FIX)


def _load(workspace: Workspace) -> set[str]:
    try:
        return set(json.loads(workspace.templates.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return set()


def main(folder: str, manner: str, time_s: str) -> int:
    """Fill the template; 1 where it writes too much. Killed, or out of memory, by its limits."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(time_s), int(time_s)))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    texts = [f"solon{number}" for number in range(TURNS)]
    talk = [turn(("user", "assistant")[n % 2], text) for n, text in enumerate(texts)]
    try:
        template = read_template(Path(folder), Manner.of(json.loads(manner)))
        if template is None:
            return 0
        _ = template.traits
        written = max(len(template.render(talk[:count])) for count in (1, TURNS - 1))
    except Refusal:  # said where it is used, in its own words
        return 0
    return int(written > MAX_WRITTEN)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
