"""Probes: questions of our own, and programs that say how good an answer to them is.

`items/<probe>.jsonl` holds the questions, one object a line: `prompt` or `messages`, and what its
scorer expects. One module a scorer says in its first lines what counts as right, and what not.
Files of others are read by `read.py`. No model is asked, nothing is trained on.
"""

from __future__ import annotations

from tasks.evaluation.probes.question import Question, Scored
from tasks.evaluation.probes.shipped import fingerprint, name_of, names, questions, read, score

__all__ = ["Question", "Scored", "fingerprint", "name_of", "names", "questions", "read", "score"]
