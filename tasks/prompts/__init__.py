"""Prompts from the outside world: files, saved datasets and the hub.

Light on purpose: no model library is imported, so planning can read prompts too.
Leaves out ids and the ledger: the caller names the rows and stores them.
"""

from tasks.prompts.read import DEFAULT_MAX_CHARS, PromptBatch, read_prompts
from tasks.prompts.rows import REASONS, UNSPECIFIED, Exclusion, Prompt
from tasks.prompts.split import is_held_out

__all__ = [
    "DEFAULT_MAX_CHARS",
    "REASONS",
    "UNSPECIFIED",
    "Exclusion",
    "Prompt",
    "PromptBatch",
    "is_held_out",
    "read_prompts",
]
