"""How the items of a journal are told apart when nobody named them: by what they ask for, and by which of equals."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from wiro_async._protocol.values.json import JSON, encode

DIGEST_SIZE = 12  # bytes: among ten million requests the chance that two look equal is below 1e-15


def digest(model: str, values: Mapping[str, JSON], files: Iterable[tuple[str, str]] = ()) -> str:
    """Text that is the same for the same request, in every process and on every machine.

    Args:
        values: its plain parameters; the order of their names does not matter.
        files: each file's parameter and the hash of its contents, in order.
    """
    request = encode([model, values, [list(file) for file in files]], sort_keys=True)
    return hashlib.blake2b(request, digest_size=DIGEST_SIZE).hexdigest()


def nth(digest: str, position: int) -> str:
    """The key of the n-th request, from 1, of those with this digest."""
    return digest if position == 1 else f"{digest}-{position}"


def storable(text: str) -> str:
    """Text as a database holds it: half of a surrogate pair, as in names of files that are no UTF-8, is spelt out."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def short(fingerprint: str) -> bytes:
    """A fingerprint of any length in a few bytes."""
    return hashlib.blake2b(fingerprint.encode("utf-8", "surrogatepass"), digest_size=DIGEST_SIZE).digest()
