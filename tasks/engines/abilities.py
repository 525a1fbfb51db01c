"""Ask servers what they serve and what they can do: seven short requests, once for each address."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from storage.errors import InputError, SolonError
from storage.workspace import Workspace
from tasks.engines import known as kept
from tasks.engines import wire
from tasks.engines.client import Access, Client
from tasks.engines.known import Known, report_of
from tasks.engines.wire import Abilities, Broken, Busy, Json, Refused

TRIES = 6
LONGEST_WAIT_S = 60.0
LIKELIEST = (20, 5)  # how many top_logprobs servers grant
RAW = "The quick brown fox jumps over the lazy dog."
WORDS = [{"role": "user", "content": "Write ten words at random."}]
Listed = Sequence[Json] | None  # None where a server keeps no list


def ask(access: Access, model: str, workspace: Workspace) -> Known:
    """What the servers report of `model` and can do; what was kept of it is not asked again.

    Raises InputError where one refuses or two differ, SolonError where none answers or one reports
    another model than before: what it is from now on is kept, so that a plan can say it.
    """
    with ThreadPoolExecutor(1) as thread:  # whoever calls may be within a loop of its own
        return thread.submit(asyncio.run, _ask(access, model, workspace)).result()


async def _ask(access: Access, model: str, workspace: Workspace) -> Known:
    client = Client(access, lambda message: None)
    try:
        asked = [_one(client, url, model, workspace) for url in access.base_urls]
        answers = await asyncio.gather(*asked, return_exceptions=True)
    finally:
        await client.close()
    found: dict[str, Known] = {}
    problems = []
    for url, answer in zip(access.base_urls, answers, strict=True):
        if isinstance(answer, Known):
            found[url] = answer
        elif isinstance(answer, Broken | Busy):
            problems.append(f"{url}: {answer}")
        elif isinstance(answer, BaseException):
            raise answer
    whole = kept.agreed(found)
    if whole is None:
        told = "; ".join(problems)
        raise SolonError(f"no server answers ({told}): start one, or see server.base_urls")
    before = kept.look_up(workspace, access.base_urls, model)
    for url, one in found.items():
        kept.keep(workspace, url, one)
    if before and before.report != whole.report:
        told = f"the server reports {whole.reference} now, {before.reference} before"
        raise SolonError(f"{told}: see `solon plan` for what is asked anew, and run again")
    return whole


async def _one(client: Client, url: str, model: str, workspace: Workspace) -> Known:
    """What one server says. Raises Broken, Busy, InputError."""
    listed = await _listed(client, url)
    report = report_of(listed or (), model)
    names = tuple(str(entry["id"]) for entry in listed or () if entry.get("id"))
    before = kept.look_up(workspace, [url], model)
    if before and before.report == report:
        return replace(before, names=names)
    try:
        abilities = await _abilities(client, url, model)
    except Refused as error:
        there = f"it has {', '.join(names)}" if names else "see what it serves"
        rule = f"the server {url} refuses to answer as it ({error})"
        raise InputError(model, rule, there, "server.model") from None
    return Known(model, report, names, abilities)


async def _listed(client: Client, url: str) -> Listed:
    try:
        found = (await _patiently(client, url, "/models", None, tries=3)).get("data")
    except Refused as error:
        if error.status in (404, 405):
            return None
        rule = f"the server refuses ({error})"
        raise InputError(url, rule, "see server.base_urls and server.key_env", "server") from None
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


async def _abilities(client: Client, url: str, model: str) -> Abilities:
    """What a server can do. Raises Refused where it does not answer as this model at all."""

    async def say(more: Mapping[str, Any], limit: str = "max_tokens", most: int = 1) -> Json:
        body = {"model": model, "messages": WORDS, limit: most, **more}
        found = await _patiently(client, url, "/chat/completions", body)
        wire.check_model(found, model)
        return found

    can = Abilities(seeds=False)
    try:
        await say({})
    except Refused as error:
        if "max_completion_tokens" not in error.message:
            raise
        can = replace(can, limit="max_completion_tokens")
        await say({}, can.limit)
    for number in LIKELIEST:
        asked = {"logprobs": True, "top_logprobs": number}
        told = await _unless_refused(say(asked, can.limit))
        if told and (likeliest := _likeliest(told)) > 1:
            can = replace(can, top_logprobs=min(number, likeliest))
            break
    draws = [
        await _unless_refused(say({"seed": 1234567890, "temperature": 1.0}, can.limit, 12))
        for _ in range(2)
    ]
    said = [wire.choice_of(draw).get("message") for draw in draws if draw]
    can = replace(can, seeds=len(said) == 2 and said[0] == said[1])
    return replace(can, echo=await _echo(client, url, model))


def _likeliest(told: Json) -> int:
    try:
        return len(wire.likeliest(told))
    except Broken:
        return 0


async def _echo(client: Client, url: str, model: str) -> int | None:
    """`max_tokens` with which log-probabilities of a given text come back."""
    for most in (0, 1):
        path, body = wire.echo(RAW, model, Abilities(echo=most))
        told = await _unless_refused(_patiently(client, url, path, body, tries=3))
        try:
            if told and wire.echo_score(0, RAW, told).logprobs:
                return most
        except Broken:
            continue
    return None


async def _unless_refused(asked: Awaitable[Json]) -> Json | None:
    """What is answered; None where the server will not or cannot."""
    try:
        return await asked
    except (Refused, Broken):
        return None


async def _patiently(
    client: Client, url: str, path: str, body: Json | None, tries: int = TRIES
) -> Json:
    """What one server answers, asked several times where that may help."""
    pace_s = client.access.pace_s
    for attempt in range(1, tries + 1):
        try:
            return await client.send(url, path, body)
        except Busy as error:
            if attempt == tries:
                raise
            await asyncio.sleep(min(error.wait_s or attempt * pace_s, LONGEST_WAIT_S))
        except Broken:
            if attempt == tries:
                raise
            await asyncio.sleep(attempt * pace_s / 2)
    raise AssertionError("asked at least once")
