"""Texts that want to be more than text, and a reader of pages that sees whether they are."""

from __future__ import annotations

import re
from html.parser import HTMLParser

HOSTILE = [
    "cell | end\n| a | b |\n|---|---|",
    "```` fence ```\n````\n# heading\n~~~",
    "</details></del></p></article><h1>out</h1>",
    "[link](javascript:alert(1)) ![image](http://x.example/a.png)",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" \' style=\'x',
    "<!-- comment --> <![CDATA[ &amp; &#60;script&#62;",
    "مرحبا \u202eexe.pdf\u202c \u2066isolated",
    "👨‍👩‍👧 family \U0001f3f4\u200d\u2620\ufe0f",
    "nul \x00 esc \x1b[2J\x1b]0;title\x07 bell",
    "x" * 3000,
    "the page's own signs \ufdd1 \ufdd2 \ufdd0",
    "[bold red]markup[/bold red] [/]",
    "",
]
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
MARKUP = re.compile(r"(?<!\\)(<\w|</|\]\(|```|~~~|://x)")  # in Markdown outside fences
TAGS = set(
    "html head meta title style body a header h1 h2 h3 h4 div span b bdi code ul li nav main"
    " section article p ins del table thead tbody tr th td footer"
    " figure figcaption details summary small".split()
)
ATTRIBUTES = set(
    "lang charset name content http-equiv href class id dir role aria-label aria-labelledby"
    " tabindex scope".split()
)


class Reader(HTMLParser):
    """Reads a page as a browser does: its tags, attributes and text; notes what was left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
