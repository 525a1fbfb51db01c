"""What SFT learns of people's demonstrations: all but those with a visible fault.

That an answer breaks a rule of the constitution is no fault here: people say that it is good.
"""

from __future__ import annotations

from tasks.generation.assemble import Example, Exclusion
from tasks.hygiene.rows import Phrases, fault
from tasks.judging.people import Demonstrated


def learned(brought: Demonstrated, shown: Phrases) -> tuple[list[Example], list[Exclusion]]:
    """The examples of a set, and why others are none. `shown`: phrases of worked examples."""
    kept: list[Example] = []
    left_out: list[Exclusion] = []
    for found in brought.demonstrations:
        asked = found.prompt.messages[-1]["content"]
        if reason := fault(asked, "", found.response, shown=shown):
            left_out.append(Exclusion(found.example_id, "examples", reason))
        else:
            kept.append(Example(found.prompt.prompt_id, "", found.response, "people"))
    return kept, left_out
