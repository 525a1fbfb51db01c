"""Addresses of servers, and the names of environment variables that hold their keys.

What is refused here may be a secret in the wrong place, so no message repeats it.
"""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from storage.errors import InputError


def base_url(value: object) -> str:
    """An address as requests are sent under it: `/v1` is added where it has no path.

    Raises ValueError where it is none, or holds a password or a key.
    """
    rule = "an address is http(s)://host[:port][/path]"
    try:
        parts = urlsplit(value.strip()) if isinstance(value, str) else urlsplit("")
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise ValueError(rule) from None
    if not is_one:
        raise ValueError(rule)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an address holds no password, key or query: name a variable by key_env")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/v1'}"


def variable(value: object) -> str | None:
    """The name of an environment variable. Raises ValueError where it looks like anything else."""
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,80}", value):
        raise ValueError("this is the name of an environment variable, in capitals, not the key")
    return value


def key_of(name: str | None) -> str | None:
    """The key in that variable. Raises InputError where there is none, or it is no key."""
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        fix = f"export {name}, or set server.key_env=null"
        raise InputError(name, "no such environment variable holds a key", fix, "server.key_env")
    if not (key.isascii() and key.isprintable()):
        rule = "what this variable holds cannot be sent as a key"
        raise InputError(name, rule, "see its value", "server.key_env")
    return key
