"""One TLS context for HTTP and sockets: building one costs some 30 ms, so it is done once and off the loop."""

from __future__ import annotations

import os
import ssl
from functools import cached_property

import certifi


class Tls:
    """The session's TLS context, built when first asked for."""

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The context; call it in a thread the first time."""
        return ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE") or certifi.where())
