"""Keeps secrets out of the debug log of httpcore, which shows the headers of every response."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Final

from wiro_async._redaction import redact

ours: Final[ContextVar[bool]] = ContextVar("wiro_async_request", default=False)


def _redact(record: logging.LogRecord) -> bool:
    """Redact a record of our own requests; those of the app's other requests are not ours to change."""
    if ours.get():
        record.msg, record.args = redact(record.getMessage()), None
    return True


for name in ("http11", "http2", "connection", "proxy"):
    for library in ("httpcore", "httpcore2"):
        logging.getLogger(f"{library}.{name}").addFilter(_redact)
