"""Which prompts are kept out of training."""

from __future__ import annotations

import hashlib


def is_held_out(prompt_id: str, percent: int) -> bool:
    """Whether a prompt belongs to the held-out part, about `percent` of 100 of all prompts.

    Decided by BLAKE2b of the id alone: neither the order nor the number of other prompts matters,
    and raising `percent` only adds prompts. Raises ValueError unless 0 <= percent <= 100.
    """
    if not 0 <= percent <= 100:
        raise ValueError(f"percent {percent}: must be from 0 to 100; choose a share in that range")
    digest = hashlib.blake2b(b"held-out" + prompt_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest) * 100 < percent << 64
