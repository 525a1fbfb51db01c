"""Which recipe's `latest/…`, champion or constitution a name means.

Every recipe has its own, kept as `RECIPE/latest/dpo`: a trial of one moves nothing of another's.
Said without the recipe, such a name means that of the ledger's recipe, else of the recipe whose run
began last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from storage.ledger import Connection, Ledger, rows

OWN = ("latest", "champion", "constitution", "ablate")
LAST = "SELECT recipe FROM runs ORDER BY started_at DESC LIMIT 1"
RECIPES = "SELECT recipe FROM runs GROUP BY recipe ORDER BY max(started_at) DESC"
REF = "SELECT target_id FROM refs WHERE name = ?"


def is_own(name: str) -> bool:
    """Whether every recipe has a ref of this name: `latest/dpo`, `champion~1`."""
    return re.split("[/~]", name, maxsplit=1)[0] in OWN


def at_hand(con: Connection, recipe: str) -> str:
    """The recipe itself, else the one whose run began last; empty before the first run."""
    return recipe or next((str(row["recipe"]) for row in rows(con, LAST)), "")


def full(con: Connection, name: str, recipe: str) -> str:
    """The name under which a ref is kept."""
    own = at_hand(con, recipe) if is_own(name) else ""
    return f"{own}/{name}" if own else name


def full_name(ledger: Ledger, name: str) -> str:
    """`full` of the ledger's recipe, in a transaction of its own where one is needed."""
    if not is_own(name) or not (ledger.recipe or ledger.exists):
        return name
    if ledger.recipe:
        return f"{ledger.recipe}/{name}"
    with ledger.transaction() as con:
        return full(con, name, "")


def target(ledger: Ledger, name: str) -> str | None:
    """What a ref points to; None where there is none. One that no recipe has is the workspace's."""
    for known in dict.fromkeys((full_name(ledger, name), name)):
        if found := ledger.query(REF, [known]):
            return str(found[0]["target_id"])
    return None


def recipes(ledger: Ledger) -> list[str]:
    """The names of the recipes that have run, the last one first."""
    return [str(row["recipe"]) for row in ledger.query(RECIPES)]


def others(con: Connection, name: str, recipe: str) -> list[str]:
    """The refs of this name that other recipes have, sorted."""
    sql = "SELECT name FROM refs WHERE ends_with(name, ?) ORDER BY name"
    own = full(con, name, recipe)
    return [row["name"] for row in rows(con, sql, [f"/{name}"]) if row["name"] != own]


def shown(names: Iterable[str], recipe: str) -> list[str]:
    """Full names, and those of the recipe at hand as they may be said in short."""
    found = list(names)
    start = f"{recipe}/"
    return [*found, *(name.removeprefix(start) for name in found if name.startswith(start))]
