"""Where a constitution comes from, a file or the ledger, and its versions in the ledger."""

from __future__ import annotations

import json
from pathlib import Path

from constitution.load import from_body, load, resolve
from constitution.origin import Origin, origin
from constitution.schema import Constitution, Principle
from storage.errors import InputError
from storage.ledger import Ledger
from storage.nearest import meant
from storage.own_refs import target
from tasks.generation.calls import principle_id
from tasks.generation.record import record_constitution

REF = "ref:"


def read_constitution(name: str, ledger: Ledger) -> tuple[Constitution, Path | None]:
    """A constitution and its file: a packaged name, a path, or `ref:NAME` for the ledger's own."""
    if not name.startswith(REF):
        path = resolve(name)
        return load(path), path
    named = target(ledger, name.removeprefix(REF))
    found = ledger.query("SELECT body FROM constitutions WHERE constitution_id = ?", [named])
    if not found:
        rule = "no ref of this name points to a constitution"
        raise InputError(name, rule, "solon ref set constitution FILE", "constitution")
    return from_body(json.loads(found[0]["body"])), None


def principle_named(constitution: Constitution, slug: str) -> Principle:
    """The principle of that slug. InputError, with the one that is meant, where there is none."""
    for principle in constitution.principles:
        if principle.slug == slug:
            return principle
    slugs = [principle.slug for principle in constitution.principles]
    rule = f"no principle of {constitution.name} has this slug"
    raise InputError(slug, rule, meant(slug, slugs, f"use one of {', '.join(slugs)}"), "SLUG")


def kept_as(ledger: Ledger, constitution: Constitution) -> dict[str, str]:
    """By a principle's id that under which the words its requests show were first kept."""
    found = ledger.query(
        "SELECT slug, critique, revision, arg_min(principle_id, created_at) AS principle_id"
        " FROM principles GROUP BY ALL"
    )
    first = {(r["slug"], r["critique"], r["revision"]): r["principle_id"] for r in found}
    words = {principle_id(p): (p.slug, p.critique, p.revision) for p in constitution.principles}
    return {own: first[shown] for own, shown in words.items() if shown in first}


def keep_constitution(ledger: Ledger, constitution: Constitution, path: Path | None) -> str:
    """Keep a version of a constitution with its file's name, commit and author; returns its id."""
    where = (origin(path) if path else None) or Origin()
    name = path.name if path else None
    return record_constitution(ledger, constitution, name, where.commit, where.author)
