"""Access: the firewall, the API key, the signature."""

import hashlib
import hmac
from collections.abc import Mapping

from wiro_async.testing._records import RefusedError

BLOCKED = "<html><head><title>403 Forbidden</title></head><body><h1>403 Forbidden</h1></body></html>"


def is_blocked(headers: Mapping[str, str]) -> bool:
    """Return whether the firewall blocks this client. The live one blocks httpx's default user agent."""
    return headers.get("user-agent", "").startswith("python-httpx/")


def authorize(headers: Mapping[str, str], api_key: str, api_secret: str | None) -> None:
    """Check the key, and the signature if there is a secret. Raises `RefusedError` if one is wrong."""
    if not hmac.compare_digest(headers.get("x-api-key", "").encode(), api_key.encode()):
        raise RefusedError(0, "Project authorization is not founded.", 401)
    if api_secret is None:
        return
    nonce, signature = headers.get("x-nonce", ""), headers.get("x-signature", "")
    if not nonce or not signature:
        raise RefusedError(0, "Project requires signature authentication. Send x-nonce and x-signature.", 401)
    expected = hmac.new(api_key.encode(), f"{api_secret}{nonce}".encode(), hashlib.sha256).hexdigest()
    if not nonce.isdecimal() or not hmac.compare_digest(signature.encode(), expected.encode()):
        raise RefusedError(0, "Project authorization is not valid.", 401)
