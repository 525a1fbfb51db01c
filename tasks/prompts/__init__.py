"""Prompts from the outside world: files, saved datasets and the hub.

Light on purpose: no model library is imported, so planning can read prompts too.
Leaves out ids and the ledger: the caller names the rows and stores them.
"""

from tasks.prompts.read import Reading, read_prompts
from tasks.prompts.rows import UNSPECIFIED, Prompt, is_held_out

__all__ = ["UNSPECIFIED", "Prompt", "Reading", "is_held_out", "read_prompts"]
