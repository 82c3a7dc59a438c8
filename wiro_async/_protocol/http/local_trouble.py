"""Find the cause of a failure before a request could leave, its remedy, and whether another attempt may help.

Nothing of such a request was sent, so the error can be raised at once. Some causes pass, such as a refused
connection, and are worth another attempt. Others last until somebody changes something on this machine.

Errors are recognised by the names of their classes and their numbers: this layer knows no sockets and no libraries.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import attrs

UNTRUSTED = " If that certificate is right, trust its authority: AsyncWiro(verify=…)."
STRICT = (
    " Python 3.13 and later check more strictly (ssl.VERIFY_X509_STRICT), and this certificate, or its authority's, "
    "does not keep to RFC 5280. Have it issued again, or leave the flag out: context = ssl.create_default_context(); "
    "context.verify_flags &= ~ssl.VERIFY_X509_STRICT; AsyncWiro(verify=context)."
)
# OpenSSL checks these with X509_V_FLAG_X509_STRICT only (x509_vfy.h): from "path length invalid for non-CA cert" to
# "certificate public key has explicit ECC parameters".
STRICT_CODES = range(80, 95)

# In words, and whether it lasts.
BY_ERRNO: dict[int, tuple[str, bool]] = {
    errno.ECONNREFUSED: ("connection refused", False),
    errno.ECONNRESET: ("the connection was reset", False),
    errno.ETIMEDOUT: ("timed out", False),
    errno.ENETUNREACH: ("the network is unreachable", False),
    errno.EHOSTUNREACH: ("there is no route to the host", False),
    errno.EMFILE: ("this process has too many open files and connections; raise its limit (ulimit -n)", False),
    errno.ENFILE: ("this machine has too many open files", False),
    errno.EACCES: ("permission denied by this machine; check its firewall or sandbox", True),
    errno.EPERM: ("permission denied by this machine; check its firewall or sandbox", True),
}
# Other errors, by the names of their classes.
UNTRUSTED_ERROR = "SSLCertVerificationError"
LOOKUP_ERROR = "gaierror"
THROUGH_PROXY = "ProxyConnectError"
PROXY_ERRORS = ("ProxyError", "ClientHttpProxyError")
PROXY_STATUS_MAY_PASS = ("408", "429")
TIMEOUTS = ("the TLS handshake timed out", "the proxy timed out")

Links: TypeAlias = Sequence[BaseException]


@attrs.frozen
class Trouble:
    """Why nothing was sent.

    Attributes:
        words: the cause.
        permanent: whether another attempt would fail the same way.
        is_setting: whether a setting of the caller is wrong, or something is not installed.
        remedy: what to do, as further sentences.
    """

    words: str
    permanent: bool = False
    is_setting: bool = False
    remedy: str = ""


def diagnose(links: Links, text: str) -> Trouble:
    """Say what failed.

    Args:
        links: an error, then what caused it, down to the error of the operating system.
        text: the text of the error, for a cause that has no words of its own here.
    """
    proxy = next((link for link in links if _is(link, THROUGH_PROXY)), None)
    trouble = _diagnose(links, text)
    return trouble if proxy is None else attrs.evolve(trouble, words=f"the proxy {proxy}: {trouble.words}")


def _diagnose(links: Links, text: str) -> Trouble:
    # Behind an error that was not raised from another one lies what the caller was doing when it called us.
    explicit = [*links[:1], *(link for before, link in pairwise(links) if before.__cause__ is link)]
    for link in links:
        if _is(link, UNTRUSTED_ERROR):
            is_strict = getattr(link, "verify_code", 0) in STRICT_CODES
            return Trouble(text, permanent=True, remedy=STRICT if is_strict else UNTRUSTED)
        if _is(link, LOOKUP_ERROR):
            return Trouble(f"its name could not be looked up ({link})")
        if _is(link, *PROXY_ERRORS):
            return _refused_by_proxy(link, text)
        if isinstance(link, (UnicodeError, OverflowError)) and link in explicit:
            return Trouble(f"no host can have that name or port ({link})", permanent=True, is_setting=True)
        if isinstance(link, ImportError) and link in explicit:
            remedy = " Install what is missing."
            return Trouble(f"a library cannot be imported ({link})", permanent=True, is_setting=True, remedy=remedy)
        # Neither the numbers of OpenSSL, which are of another kind, nor errors about files.
        if isinstance(link, OSError) and not _is(link, "SSLError") and link.filename is None:
            known = BY_ERRNO.get(link.errno or 0)
            if known is not None:
                return Trouble(*known)
    if any(isinstance(link, TimeoutError) for link in links):
        said = str(links[0])
        return Trouble(said if said in TIMEOUTS else "timed out")
    return Trouble(text)


def _refused_by_proxy(error: BaseException, text: str) -> Trouble:
    answer = f"{getattr(error, 'status', '')} {getattr(error, 'message', '')}".strip() or str(error)
    status = answer[:3]
    if not status.isdigit():
        return Trouble(text)
    remedy = " Put name:password@ before its host in HTTPS_PROXY." if status == "407" else ""
    permanent = status[0] in "34" and status not in PROXY_STATUS_MAY_PASS
    return Trouble(f"the proxy answered {answer}", permanent=permanent, remedy=remedy)


def _is(error: BaseException, *names: str) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)
