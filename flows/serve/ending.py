"""What the UI calls a flow's run, and how one ends that cannot go on: in a line that says why.

Prefect writes the stack of whatever ends a flow into its log, and calls Ctrl-C a crash. What is the
reader's to mend, bad input or a step that failed, needs no stack: the state and one line of the log
have the error's own words. Anything else is a fault of ours, and keeps its stack.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from prefect import get_run_logger
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Failed

from constitution.errors import ConstitutionError
from flows.plan.recipe_file import called
from storage.errors import SolonError

P = ParamSpec("P")
STOPPED = "stopped by Ctrl-C: what was committed is kept, and the next run goes on from it"


def plainly(function: Callable[P, Any]) -> Callable[P, Any]:
    """A flow's function that ends so. Run by a command it raises: the command says it itself."""

    @wraps(function)
    def flow(*arguments: P.args, **named: P.kwargs) -> Any:
        try:
            return function(*arguments, **named)
        except KeyboardInterrupt:
            return Cancelled(message=STOPPED)
        except (SolonError, ConstitutionError) as error:
            if not deployment.get_id():
                raise
            get_run_logger().error("%s", error)
            return Failed(message=str(error))

    # Prefect looks up the names of annotations where the wrapper was written: they are told here.
    flow.__signature__ = inspect.signature(function, eval_str=True)  # type: ignore[attr-defined]
    flow.__annotations__ = inspect.get_annotations(function, eval_str=True)
    return flow


def named(flow: str) -> Callable[[], str]:
    """The name of a run of that flow: "align shop until pairs", "amend shop: be-concise"."""

    def name() -> str:
        given = flow_run.parameters
        edit, until = given.get("edit"), given.get("until")
        slug = edit.get("slug") if isinstance(edit, dict) else getattr(edit, "slug", None)
        stop = f" until {until}" if until else ""
        return f"{flow} {called(given.get('recipe', 'demo'))}{stop}" + (f": {slug}" if slug else "")

    return name
