"""API key and signature. https://wiro.ai/docs/authentication"""

from __future__ import annotations

import hmac

import attrs


@attrs.frozen
class Credentials:
    """An API key, and its secret if requests are signed. `repr` never shows them."""

    api_key: str | None = attrs.field(default=None, repr=False)
    api_secret: str | None = attrs.field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The texts that must never be shown."""
        return tuple(filter(None, (self.api_key, self.api_secret)))

    def headers(self, nonce: str) -> dict[str, str]:
        """Build the headers that authenticate a request. Every attempt needs a new nonce."""
        if self.api_key is None:
            return {}
        if self.api_secret is None:
            return {"x-api-key": self.api_key}
        signature = hmac.digest(self.api_key.encode(), f"{self.api_secret}{nonce}".encode(), "sha256").hex()
        return {"x-api-key": self.api_key, "x-nonce": nonce, "x-signature": signature}
