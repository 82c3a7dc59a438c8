"""Takes secrets out of text that people, logs and trackers will see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

HIDDEN: Final = "…"
SHORTEST_SECRET: Final = 8  # shorter ones would take harmless words with them

# The paths of output files hold access keys, those of callbacks signatures, and any address may hold a password.
URL: Final = re.compile(r"(?i)\b(https?|wss?)(://)(?:[^\s/?#'\"<>]*@)?([^\s/?#'\"<>]*)([/?#][^\s'\"<>]*)?")
NAMED: Final = re.compile(
    r"(?i)((?:api[-_ ]?key|api[-_ ]?secret|access[-_]?key|x-nonce|signature|token|password|authorization)"
    r"\\?[\"']?\s*[:=]\s*(?:bearer\s+|basic\s+)?\\?[\"']?)"
    rf"[^\s\"'\\,;&)}}\]<>{HIDDEN}]{{{SHORTEST_SECRET},}}"
)
FILE_NAME: Final = re.compile(r"[^/\\]{1,80}\.[A-Za-z0-9]{1,5}")


def redacted(text: str) -> str:
    """The text without what stands behind the host of a URL, and without named keys, tokens and signatures."""
    if "://" in text:
        text = URL.sub(_host_of, text)
    return NAMED.sub(rf"\1{HIDDEN}", text)


def without(text: str, secrets: Iterable[str]) -> str:
    """The text without these very secrets, as far as they are long enough to be told from words."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return text


def shown_url(url: str) -> str:
    """A file's URL fit to be seen: only the host and a name that looks like a file's."""
    try:
        parts = urlsplit(url)
        name = unquote(parts.path).rsplit("/", 1)[-1]
    except ValueError:
        return HIDDEN
    return f"{parts.hostname or ''}/{HIDDEN}/{name if FILE_NAME.fullmatch(name) and name.isprintable() else ''}"


def without_login(url: str) -> str:
    """An address without the name and password it may hold."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _host_of(match: re.Match[str]) -> str:
    path = match[4] or ""
    return f"{match[1]}{match[2]}{match[3]}{f'/{HIDDEN}' if len(path) > 1 else path}"
