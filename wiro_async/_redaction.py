"""Removes secrets from text that people, logs and error trackers will see."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote, urlsplit

HIDDEN: Final = "…"
SHORTEST_SECRET: Final = 8  # shorter ones would remove harmless words, too

SLASH: Final = r"(?:\\{0,7}/|%2F)"  # also escaped as in JSON and in queries
STOP: Final = r"\s'\"<>"

# The paths of output files hold access keys, those of callbacks hold signatures, and any URL may hold a password.
URL: Final = re.compile(rf"(?i)\b([a-z][a-z0-9+.-]{{1,15}})(:|%3A)({SLASH}{SLASH})([^{STOP}]+)")
AUTHORITY_END: Final = re.compile(r"(?i)[/?#\\]|%2F|%3F|%23")
# Without a scheme: //host/… and host.example/…, but not a path on a disk, which has a slash before its dots.
BARE: Final = re.compile(
    rf"(?i)(?<![\w:/\\.%@-])(\\{{0,7}}/\\{{0,7}}/[\w.-]+(?::\d+)?|(?:[a-z0-9-]+\.)+[a-z]{{2,}}(?::\d+)?)"
    rf"{SLASH}(?!{HIDDEN})[^{STOP}]+"
)
FILE_PATH: Final = re.compile(rf"(?i)({SLASH}v1{SLASH}file{SLASH})[^{STOP}]+")
NAMED: Final = re.compile(
    r"(?i)((?:api[-_ ]?key|api[-_ ]?secret|access[-_]?key|x-nonce|signature|token|password|authorization)"
    r"\\?[\"']?(?:\s*[:=]\s*(?:bearer\s+|basic\s+)?|\s+(?=\S*\d)(?=\S*[a-z]))\\?[\"']?)"
    rf"[^\s\"'\\,;&)}}\]<>{HIDDEN}]{{{SHORTEST_SECRET},}}"
)
FILE_NAME: Final = re.compile(r"[^/\\]{1,80}\.[A-Za-z0-9]{1,5}")


def redact(text: str) -> str:
    """Remove everything after the host of a URL, and named keys, tokens and signatures."""
    if "/" in text or "%" in text:
        text = BARE.sub(rf"\1/{HIDDEN}", FILE_PATH.sub(rf"\1{HIDDEN}", URL.sub(_host_of, text)))
    return NAMED.sub(rf"\1{HIDDEN}", text)


def remove_secrets(text: str, secrets: Iterable[str]) -> str:
    """Remove these secrets, as far as they are long enough to differ from words."""
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    return text


def shorten_url(url: str) -> str:
    """Shorten a file's URL to its host and a last part that looks like a file name."""
    try:
        parts = urlsplit(url)
        name = unquote(parts.path).rsplit("/", 1)[-1]
    except ValueError:
        return HIDDEN
    return f"{parts.hostname or ''}/{HIDDEN}/{name if FILE_NAME.fullmatch(name) and name.isprintable() else ''}"


def strip_userinfo(url: str) -> str:
    """Remove the user name and the password from a URL."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    if separator and "@" in path and "@" not in authority and ":" in authority:  # a password with a slash
        return f"{scheme}{separator}{HIDDEN}"
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _host_of(match: re.Match[str]) -> str:
    scheme, colon, slashes, rest = match.groups()
    end = AUTHORITY_END.search(rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    if "@" in tail or "%40" in tail:  # a password with a slash
        return f"{scheme}{colon}{slashes}{HIDDEN}"
    host = re.split("@|%40", authority)[-1]
    return f"{scheme}{colon}{slashes}{host}{f'/{HIDDEN}' if len(tail) > 1 else tail}"
