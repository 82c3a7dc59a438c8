"""HTTP over any httpx transport; the only place that imports httpx, at first use."""

from wiro_async._transport.http.round_trip import HttpResponse
from wiro_async._transport.http.transport import Download, HttpTransport

__all__ = ["Download", "HttpResponse", "HttpTransport"]
