"""The queue as a page: two answers, what differs marked, and a button or a key a verdict.

    GET  /solon/review                       the recipes with rows
    GET  /solon/review?recipe=NAME&by=WHO    the pair where WHO's verdict is worth most
    POST /solon/review                       a verdict, skip or undo; then the next pair

The rows are those of the recipe's last run, by the settings that it had. Nothing changes but by a
POST with a token that only a page of ours has, from our own origin. Pages are filled by Jinja2,
which escapes; they fetch their own script and style, and nothing else.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.concurrency import run_in_threadpool

from constitution.errors import ConstitutionError
from flows.explain.compare.text import visible
from flows.explain.document.style import CSS
from flows.explain.review.desk import Desk, status
from flows.explain.review.text import marked, status_lines
from flows.run.publish import PAGES
from flows.serve.review_rows import Kept, recipes
from storage.errors import InputError, SolonError
from storage.person import person
from storage.workspace import Workspace
from tasks.review.queue import Item
from tasks.review.say import MAX_CHARS, SAID, Said, checked_name

WEB = Path(__file__).with_name("web")
TEMPLATES = Environment(
    loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)
MAX_BYTES = 16 * MAX_CHARS  # of what is sent
SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without any, a form's own origin would be hidden
    "Cache-Control": "no-store",
}
PAGE = f"{PAGES}/review"


def add_to(app: FastAPI, workspace: Workspace) -> None:
    """The pages, behind what the application asks of every request."""
    kept = Kept(workspace)

    @app.get("/review")
    def review(recipe: str = "", by: str = "", next: str = "") -> HTMLResponse:
        if not recipe:
            return _page("recipes.html", recipes=recipes(kept.ledger))
        return _said(lambda: _next(kept, recipe, checked_name(by or person()), next))

    @app.post("/review")
    async def say(request: Request) -> Response:
        sent = await _sent(request)
        return await run_in_threadpool(_take, kept, sent)

    @app.get("/review.js")
    def script() -> Response:
        text = (WEB / "review.js").read_text(encoding="utf-8")
        return Response(text, media_type="text/javascript", headers=SAFE)

    @app.get("/review.css")
    def style() -> Response:
        text = CSS + (WEB / "review.css").read_text(encoding="utf-8")
        return Response(text, media_type="text/css", headers=SAFE)


def token() -> str:
    """What a page of ours sends back: known only to who has the login."""
    secret = os.environ["PREFECT_SERVER_API_AUTH_STRING"].encode()
    return hmac.new(secret, b"solon review", "sha256").hexdigest()


async def _sent(request: Request) -> dict[str, str]:
    """The fields of a form of ours. Raises HTTPException for any other request."""
    origin, host = request.headers.get("origin"), request.headers.get("host")
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site != "same-origin" or (origin and urlsplit(origin).netloc != host):
        raise HTTPException(403, "sent from another page")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BYTES:
            raise HTTPException(413, "too long")
    found = parse_qs(body.decode("utf-8", errors="replace"), keep_blank_values=True)
    fields = {name: values[-1] for name, values in found.items()}
    if not hmac.compare_digest(fields.get("token", "").encode(), token().encode()):
        raise HTTPException(403, "the page is too old: open it again")
    return fields


def _take(kept: Kept, sent: Mapping[str, str]) -> Response:
    """Do what a button says, then on to the next pair."""
    recipe, subject_id, what = (sent.get(name, "") for name in ("recipe", "subject", "answer"))

    def do() -> Response:
        author = checked_name(sent.get("by", ""))
        desk = _desk(kept, recipe, author)
        if what == "skip":
            desk.skip(subject_id)
        elif what == "undo":
            desk.undo()
        else:
            said, edited = _answer(what, sent)
            desk.say(subject_id, said, edited)
        kept.skipped[recipe, author] = desk.skipped
        place = {"recipe": recipe, "by": author}
        place |= {"next": desk.next_id} if desk.next_id else {}
        return RedirectResponse(f"{PAGE}?{urlencode(place)}", 303, headers=SAFE)

    return _said(do)


def _answer(what: str, sent: Mapping[str, str]) -> tuple[Said, str | None]:
    if what in ("edit_a", "edit_b"):
        return ("a" if what == "edit_a" else "b"), sent.get(what.replace("edit", "text"), "")
    said = next((known for known in SAID if known == what), None)
    if said is None:
        raise InputError(what, "no button says this", "use those of the page", "answer")
    return said, None


def _said(do: Any) -> Any:
    """What comes of it, or the page that says in one line why nothing does."""
    try:
        return do()
    except (SolonError, ConstitutionError) as error:
        code = 400 if isinstance(error, InputError | ConstitutionError) else 503
        return _page("problem.html", code, problem=visible(str(error)))


def _desk(kept: Kept, recipe: str, author: str, next_id: str = "") -> Desk:
    skipped = kept.skipped.get((recipe, author), ())
    return Desk(kept.ledger, kept.items(recipe), author, skipped, next_id)


def _next(kept: Kept, recipe: str, author: str, next_id: str) -> HTMLResponse:
    desk = _desk(kept, recipe, author, next_id)
    waiting = desk.waiting()
    done, left = desk.done(), len(waiting)
    shown = _shown(waiting[0]) if waiting else None
    lines = [*status_lines(status(desk.items, desk.verdicts), is_done=not waiting)]
    place: dict[str, Any] = {
        "recipe": recipe,
        "by": author,
        "done": done,
        "total": done + left,
        "lines": lines,
    }
    return _page("review.html", item=shown, token=token(), **place)


def _shown(item: Item) -> dict[str, Any]:
    """What the page shows of a pair; what the rows choose is not among it."""
    texts = dict(zip("ab", item.subject.shown, strict=True))
    pieces = marked(item)
    return {
        "id": item.subject.subject_id,
        "messages": [{**turn, "content": visible(turn["content"])} for turn in item.messages],
        "principles": [
            {"title": visible(p.title), "comparison": visible(p.comparison)}
            for p in item.principles
        ],
        "sides": [
            {"key": side, "name": side.upper(), "text": texts[side], "pieces": pieces[side]}
            for side in pieces
        ],
    }


def _page(name: str, code: int = 200, **values: Any) -> HTMLResponse:
    text = TEMPLATES.get_template(name).render(page=PAGE, home=f"{PAGES}/", **values)
    return HTMLResponse(text, code, SAFE)
