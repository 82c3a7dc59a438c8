"""Responses that are not the service's: pages of proxies, firewalls, load balancers and logins.

A page in place of an answer says little about the request. Its status says more. Where something between here and the
service refused the request, the service never saw it, and nothing was run. A page with a success, or with a failure of
what lies behind, proves nothing: the service may have taken the request before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from wiro_async._protocol.http.retry import REFUSALS
from wiro_async._redaction import remove_secrets

SHOWN_TITLE = 80
SHOWN_BODY = 120
SEARCHED = 8 * 1024  # bytes at the beginning of a page in which its title is looked for; some patterns are quadratic
TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
HIDDEN_PART = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<!--.*?-->", re.IGNORECASE | re.DOTALL)
TAG = re.compile(r"<[^>]*>")
# Possessive: a page of many comments has very many ways to be read.
HTML = re.compile(r"(?:\ufeff|\s|<!--.*?-->|<\?xml.*?\?>)*+<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
LOOKED_AT = 1024  # bytes at the beginning of a page that show its kind
PAGE_TYPES = ("text/html", "application/xhtml+xml")

REPEAT_ELSEWHERE = (301, 307, 308)  # "send it there": so it was not carried out here
SEE_ELSEWHERE = (302, 303)  # the same, if it is another host; within one it may be the way to a result
LOGIN = "This network, or a server before the service, wants a login first: open a page in a browser."
DOUBTFUL = "Check base_url, and what stands between you and the service."
REMEDIES = {
    403: "A proxy or firewall refused it: ask those who run it to let it pass, or check base_url.",
    407: "The proxy wants a login: put name:password@ before its host in HTTPS_PROXY.",
    411: "A proxy takes no body of unknown length: give files as paths or bytes, not as streams.",
    413: "A proxy takes no body of this size: send smaller files, or their URLs.",
    511: LOGIN,
}


def refusal_of(status: int, headers: Mapping[str, str], url: str) -> str | None:
    """Say what refused a request before the service saw it, from a response that is not the service's; None if unsure.

    Args:
        headers: names are case-insensitive.
        url: of the request.
    """
    nothing = " The request did not reach the service, so nothing was run. "
    target = headers.get("location", "")
    host = _host_of(target)
    is_elsewhere = host not in ("", _host_of(url))
    if target and (status in REPEAT_ELSEWHERE or (status in SEE_ELSEWHERE and is_elsewhere)):
        return f". It leads {f'to {host}' if host else 'elsewhere'}.{nothing}{LOGIN}"
    if status in REFUSALS and status >= 400:
        return f".{nothing}{REMEDIES.get(status, DOUBTFUL)}"
    return None


def describe_body(headers: Mapping[str, str], body: bytes, secrets: Sequence[str] = ()) -> str:
    """Describe a body that is not the service's, in one line, such as "an HTML page ('Access denied')".

    Args:
        secrets: texts that are cut out, in case the page repeats them.
    """
    text = remove_secrets(body[:SEARCHED].decode(errors="replace"), secrets)
    line = " ".join(text.split())
    if not line:
        return "an empty body"
    if looks_like_html(body) or (is_declared_html(headers) and line[0] == "<"):
        title = TITLE.search(text)
        words = _visible(title[1] if title else "") or _visible(text)
        return f"an HTML page ({words[:SHOWN_TITLE]!r})" if words else "an HTML page"
    if line[0] in '{["':
        return f"{len(body)} bytes of broken or unknown JSON"
    return repr(line[:SHOWN_BODY])


def is_declared_html(headers: Mapping[str, str]) -> bool:
    """Whether a response says that it is a page."""
    return headers.get("content-type", "").partition(";")[0].strip().lower() in PAGE_TYPES


def looks_like_html(beginning: bytes) -> bool:
    """Whether a body begins like a page."""
    return HTML.match(beginning[:LOOKED_AT].decode(errors="replace")) is not None


def _visible(markup: str) -> str:
    from html import unescape  # its table takes a millisecond to load, and pages are rare

    text = unescape(TAG.sub(" ", HIDDEN_PART.sub(" ", markup)))
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
